//! What a call says. All of it is checked here, before anything changes.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::BodyExt;
use pinroute_core::config::UniqueValue;
use pinroute_core::key::percent;
use serde_json::{Map, Value};

use super::problem::Problem;

/// The largest body.
pub const MAX_BODY: usize = 1 << 20;
/// What is read of a larger one, and thrown away: a client that is still sending when the connection closes may miss the response.
const MAX_DISCARDED: usize = 64 << 20;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The header that says who makes a change.
pub const ACTOR: &str = "x-pinroute-actor";
const MAX_ACTOR: usize = 256;

/// The whole body. Every call's is read, also one that is refused or needs none: else the connection would be closed behind the
/// response, and the client's next call on it lost.
pub async fn whole(body: Body) -> Result<Bytes, Problem> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| {
        let problem = format!("did not arrive within {} s", BODY_TIMEOUT.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body", problem)
    })??;
    Ok(bytes.into())
}

/// The JSON document in a body, whatever the content type is: `curl -d` names one that is not JSON.
pub fn document(body: &[u8]) -> Result<Value, Problem> {
    let text =
        std::str::from_utf8(body).map_err(|error| Problem::bad("body", format!("not UTF-8: {error}")))?;
    let UniqueValue(value) = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let duplicate = message.strip_prefix("duplicate member `").and_then(|rest| rest.rsplit_once('`'));
        match duplicate {
            Some((name, _)) => Problem::bad(name, message.as_str()),
            None => Problem::bad("body", format!("not JSON: {message}")),
        }
    })?;
    Ok(value)
}

async fn read(mut body: Body) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::bad("body", format!("cannot be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY {
        let problem = format!("too large; allowed: {MAX_BODY} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body", problem));
    }
    Ok(bytes)
}

/// The members of a document that is an object with no others than these.
pub fn members(document: Value, allowed: &[&str]) -> Result<Map<String, Value>, Problem> {
    let Value::Object(members) = document else {
        return Err(Problem::bad("body", format!("got {}; allowed: an object", kind(&document))));
    };
    match members.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => {
            Err(Problem::bad(name, format!("unknown member {name:?}; allowed: {}", allowed.join(", "))))
        }
        None => Ok(members),
    }
}

/// The member of this name, as the type that `as_type` wants.
pub fn member<T>(
    members: &Map<String, Value>,
    name: &str,
    allowed: &str,
    as_type: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, Problem> {
    let Some(value) = members.get(name) else {
        return Err(Problem::bad(name, format!("missing; allowed: {allowed}")));
    };
    as_type(value).ok_or_else(|| Problem::bad(name, format!("got {}; allowed: {allowed}", kind(value))))
}

/// What a value is, for messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The last segment of the path, decoded.
pub fn segment(uri: &Uri, field: &str) -> Result<String, Problem> {
    let (_, raw) = uri.path().rsplit_once('/').unwrap_or_default();
    decoded(raw.as_bytes(), field, percent::decode_segment)
}

/// The parameters of the query, of which only these are allowed.
pub fn query(uri: &Uri, allowed: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let mut parameters = BTreeMap::new();
    let parts = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = decoded(name.as_bytes(), "query", percent::decode_form)?;
        if !allowed.contains(&name.as_str()) {
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            return Err(Problem::bad(&name, format!("unknown parameter {name:?}; allowed: {allowed}")));
        }
        let value = decoded(value.as_bytes(), &name, percent::decode_form)?;
        if parameters.insert(name.clone(), value).is_some() {
            return Err(Problem::bad(&name, format!("the parameter {name:?} occurs twice; allowed: once")));
        }
    }
    Ok(parameters)
}

/// A parameter that is a whole number in this range.
pub fn number(parameters: &BTreeMap<String, String>, name: &str, most: u32) -> Result<Option<u32>, Problem> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    match text.parse().ok().filter(|number| (1..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(Problem::bad(name, format!("got {text:?}; allowed: a whole number from 1 to {most}"))),
    }
}

fn decoded(
    raw: &[u8],
    field: &str,
    decode: impl Fn(&[u8]) -> std::borrow::Cow<'_, [u8]>,
) -> Result<String, Problem> {
    let mut escapes = raw.split(|byte| *byte == b'%').skip(1);
    // The filter would keep a broken escape as it is. Here it is more likely a key that somebody forgot to encode.
    if !escapes.all(|rest| rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))) {
        return Err(Problem::bad(
            field,
            "a % without two hexadecimal digits; allowed: %25 for a percent sign",
        ));
    }
    String::from_utf8(decode(raw).into_owned()).map_err(|_| Problem::bad(field, "not UTF-8"))
}

/// The version that a change is based on, if the call says so: a number, with or without quotes.
pub fn expected_version(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or("?").trim();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
    match bare.parse().ok().filter(|_| is_number && values.next().is_none()) {
        Some(version) => Ok(Some(version)),
        None => {
            Err(Problem::bad("If-Match", format!("got {text:?}; allowed: one version, such as 7 or \"7\"")))
        }
    }
}

/// Who makes the change, if the call says so.
pub fn actor(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(ACTOR) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let text = text.filter(|text| text.len() <= MAX_ACTOR && !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| {
        Problem::bad(ACTOR, format!("allowed: at most {MAX_ACTOR} bytes of UTF-8 without control characters"))
    })?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}
