//! Envoy's messages in the core's terms, and verdicts as messages.

use std::borrow::Cow;
use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    CommonResponse, HeaderMutation, HeadersResponse, HttpHeaders, ImmediateResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::Struct;
use envoy_types::pb::google::protobuf::value::Kind;
use pinroute_core::decision::{Route, Verdict, WRONG_HOST};
use pinroute_core::rejection::Rejection;
use pinroute_core::request::{Property, Reply, Request};
use pinroute_core::router::Router;
use pinroute_core::target::Target;

/// The attribute that says whether a host sent a response, and its value if one did.
const CODE_DETAILS: (&str, &str) = ("response.code_details", "via_upstream");

/// The headers of a request or of a response, with Envoy's attributes of it.
#[derive(Debug)]
pub struct Message {
    headers: Vec<HeaderValue>,
    /// `response.code_details`, if Envoy sends it.
    details: Option<String>,
}

impl Message {
    /// A message's content.
    pub fn new(headers: HttpHeaders, attributes: HashMap<String, Struct>) -> Self {
        let details = attributes.into_values().find_map(|mut attributes| {
            match attributes.fields.remove(CODE_DETAILS.0)?.kind? {
                Kind::StringValue(text) => Some(text),
                _ => None,
            }
        });
        Self { headers: headers.headers.unwrap_or_default().headers, details }
    }

    /// The first value of a header, as Envoy's getter gives it.
    fn get(&self, name: &str) -> Option<&[u8]> {
        // Envoy keeps the Host under this name.
        let name = if name == "host" { ":authority" } else { name };
        let header = self.headers.iter().find(|header| header.key == name)?;
        // Envoy sends bytes; older versions send text.
        let bytes = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        Some(bytes)
    }
}

impl Request for Message {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.get(":path").map(Cow::Borrowed)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.get(name).map(Cow::Borrowed)
    }

    fn property(&self, _: Property) -> Option<Cow<'_, [u8]>> {
        // A configuration that needs one is refused.
        None
    }
}

impl Reply for Message {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.get(name).map(Cow::Borrowed)
    }

    fn is_from_upstream(&self) -> bool {
        // Without the attribute a reply of Envoy's own counts too. It names no host, so it is never called a wrong one.
        self.details.as_deref().is_none_or(|details| details == CODE_DETAILS.1)
    }
}

/// What Envoy is asked to do with a request.
pub fn verdict(router: &Router, verdict: &Verdict, request: &Message) -> Response {
    let mut changes = HeaderMutation::default();
    match verdict {
        Verdict::Route(route) => {
            if !add_route(router, route, &mut changes) {
                // To go on would leave the choice of the address to the client.
                let rejection = Rejection::TargetNotAllowed;
                return immediate(rejection.status(), &rejection.body());
            }
            changes.remove_headers = present(router.unset_headers(route), request);
        }
        Verdict::Pass | Verdict::Continue(_) => {
            changes.remove_headers = present(router.owned_headers().iter(), request);
        }
        Verdict::Reject(rejection, status) => return immediate(*status, &rejection.body()),
    }
    Response::RequestHeaders(headers_response(changes, true))
}

/// The headers that show a shard, on the response.
pub fn shown(route: &Route) -> Response {
    let set_headers = route.shard_headers().map(|(name, value)| set(name, value)).collect();
    let changes = HeaderMutation { set_headers, ..HeaderMutation::default() };
    Response::ResponseHeaders(headers_response(changes, false))
}

/// The response to a client whose request reached the wrong host.
pub fn wrong_host() -> Response {
    immediate(WRONG_HOST.0, WRONG_HOST.1)
}

/// No change.
pub fn nothing() -> HeadersResponse {
    HeadersResponse::default()
}

/// Adds what a route sets. `false` if its target cannot be set.
fn add_route(router: &Router, route: &Route, changes: &mut HeaderMutation) -> bool {
    if router.request_headers() {
        changes.set_headers.extend(route.shard_headers().map(|(name, value)| set(name, value)));
    }
    match &route.host.target {
        None => {}
        Some(Target::Authority(authority)) => changes.set_headers.push(set(":authority", authority)),
        Some(Target::Header { name, value }) => changes.set_headers.push(set(name, value)),
        // A configuration with such a target is refused.
        Some(Target::DynamicHost { .. }) => return false,
    }
    changes.set_headers.extend(route.host.headers.iter().map(|(name, value)| set(name, value)));
    true
}

/// Those of the names that the request has.
fn present<'n>(names: impl Iterator<Item = &'n std::sync::Arc<str>>, request: &Message) -> Vec<String> {
    names.filter(|name| request.get(name).is_some()).map(|name| name.to_string()).collect()
}

fn headers_response(changes: HeaderMutation, is_request: bool) -> HeadersResponse {
    if changes.set_headers.is_empty() && changes.remove_headers.is_empty() {
        return nothing();
    }
    let response = CommonResponse {
        header_mutation: Some(changes),
        // As after any change by the filter, so that the route is selected by the new headers.
        clear_route_cache: is_request,
        ..CommonResponse::default()
    };
    HeadersResponse { response: Some(response) }
}

fn set(name: &str, value: &str) -> HeaderValueOption {
    let header =
        HeaderValue { key: name.to_owned(), raw_value: value.as_bytes().to_vec(), ..HeaderValue::default() };
    HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

fn immediate(status: u16, body: &str) -> Response {
    Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: status.into() }),
        body: body.as_bytes().to_vec(),
        ..ImmediateResponse::default()
    })
}
