//! Runtime values, and the shard sizes of customers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{App, author, found, request, unchanged};
use crate::model::{Edit, Invalid, RuntimeValue};

/// The runtime layer.
#[derive(Serialize, ToSchema)]
pub struct RuntimeAnswer<'s> {
    /// The number of the last commit that changed it.
    version: u64,
    /// Numbers, booleans and texts by their full names.
    #[schema(value_type = BTreeMap<String, Scalar>)]
    values: &'s BTreeMap<String, RuntimeValue>,
}

/// Runtime values to set.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what is read member by member")]
pub struct RuntimeChange {
    /// Numbers, booleans and texts by their full names. In a PATCH, null removes a value.
    values: BTreeMap<String, Scalar>,
}

/// A runtime value.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes a value of the model")]
pub enum Scalar {
    /// Numbers of hosts are whole, from 1 to 65536.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Any text.
    Text(String),
    /// Null, in a PATCH: removes the value.
    Removed,
}

/// The size of one customer's shard.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// A whole number of hosts.
    #[schema(value_type = u32, minimum = 1, maximum = 65536)]
    shard_size: Value,
}

/// The runtime layer.
#[utoipa::path(get, path = "/v1/runtime", responses(
    (status = 200, body = RuntimeAnswer),
    (status = 400, body = Problem),
))]
pub async fn get(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    request::query(request.uri(), &[])?;
    Ok(layer(&app))
}

/// Replaces all runtime values.
#[utoipa::path(put, path = "/v1/runtime", request_body = RuntimeChange, security(("token" = [])),
    params(("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version that the change is based on")),
    responses(
        (status = 200, body = RuntimeAnswer),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 412, body = Problem, description = "somebody changed it since"),
        (status = 413, body = Problem),
    ))]
pub async fn put(State(app): State<Arc<App>>, parts: Parts, body: Bytes) -> Result<Response, Problem> {
    change(&app, &parts, &body, |state, prefix, values| state.replace_runtime(prefix, values)).await
}

/// Merges runtime values; null removes one.
#[utoipa::path(patch, path = "/v1/runtime", request_body = RuntimeChange, security(("token" = [])),
    params(("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version that the change is based on")),
    responses(
        (status = 200, body = RuntimeAnswer),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 412, body = Problem, description = "somebody changed it since"),
        (status = 413, body = Problem),
    ))]
pub async fn patch(State(app): State<Arc<App>>, parts: Parts, body: Bytes) -> Result<Response, Problem> {
    change(&app, &parts, &body, |state, prefix, values| state.merge_runtime(prefix, values)).await
}

type Plan = fn(&crate::model::State, &str, &Map<String, Value>) -> Result<Vec<Edit>, Invalid>;

async fn change(app: &App, parts: &Parts, body: &[u8], plan: Plan) -> Result<Response, Problem> {
    request::query(&parts.uri, &[])?;
    let expected = request::expected_version(&parts.headers)?;
    let members = request::members(request::document(body)?, &["values"])?;
    let values = request::member(&members, "values", "an object", |value| value.as_object().cloned())?;
    let author = author(parts, &shown(&values))?;
    let prefix = app.plane.prefix.clone();
    app.change(author, move |state| {
        let edits = plan(state, &prefix, &values)?;
        unchanged(expected, state.changed.runtime)?;
        Ok(edits)
    })
    .await?;
    Ok(layer(app))
}

fn layer(app: &App) -> Response {
    let state = app.plane.state();
    let version = state.changed.runtime;
    found(version, &RuntimeAnswer { version, values: &state.runtime })
}

/// The values in one line, for the history.
fn shown(values: &Map<String, Value>) -> String {
    let values: Vec<_> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
    values.join(", ")
}

/// The shard size of one customer.
#[utoipa::path(get, path = "/v1/customers/{KEY}",
    params(("KEY" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", description = "the customer's key, percent-encoded")),
    responses(
        (status = 200, body = Customer),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "the customer has the default size"),
    ))]
pub async fn get_customer(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let key = request::segment(request.uri(), "KEY")?;
    request::query(request.uri(), &[])?;
    customer(&app, &key)
}

/// Sets the shard size of one customer.
#[utoipa::path(put, path = "/v1/customers/{KEY}", request_body = Customer, security(("token" = [])),
    params(
        ("KEY" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", description = "the customer's key, percent-encoded"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version of the runtime layer"),
    ),
    responses(
        (status = 200, body = Customer),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 412, body = Problem, description = "somebody changed the runtime layer since"),
        (status = 413, body = Problem),
    ))]
pub async fn put_customer(
    State(app): State<Arc<App>>,
    parts: Parts,
    body: Bytes,
) -> Result<Response, Problem> {
    let members = request::members(request::document(&body)?, &["shard_size"])?;
    let size = request::member(&members, "shard_size", "a whole number", |value| Some(value.clone()))?;
    let key = set_customer(&app, &parts, Some(size)).await?;
    customer(&app, &key)
}

/// Gives a customer the default size again.
#[utoipa::path(delete, path = "/v1/customers/{KEY}", security(("token" = [])),
    params(
        ("KEY" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", description = "the customer's key, percent-encoded"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version of the runtime layer"),
    ),
    responses(
        (status = 204, description = "it is removed"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 404, body = Problem, description = "the customer has the default size"),
        (status = 412, body = Problem, description = "somebody changed the runtime layer since"),
    ))]
pub async fn delete_customer(State(app): State<Arc<App>>, parts: Parts) -> Result<Response, Problem> {
    let key = request::segment(&parts.uri, "KEY")?;
    // If somebody else removes it in between, it is gone as well.
    customer(&app, &key)?;
    set_customer(&app, &parts, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn set_customer(app: &App, parts: &Parts, size: Option<Value>) -> Result<String, Problem> {
    let key = request::segment(&parts.uri, "KEY")?;
    request::query(&parts.uri, &[])?;
    let expected = request::expected_version(&parts.headers)?;
    let shown = size.as_ref().map(|size| format!("shard_size={size}")).unwrap_or_default();
    let (author, prefix) = (author(parts, &shown)?, app.plane.prefix.clone());
    let customer = key.clone();
    app.change(author, move |state| {
        let edits = state.set_customer(&prefix, &customer, size.as_ref())?;
        unchanged(expected, state.changed.runtime)?;
        Ok(edits)
    })
    .await?;
    Ok(key)
}

fn customer(app: &App, key: &str) -> Result<Response, Problem> {
    let state = app.plane.state();
    let Some(size) = state.customer(&app.plane.prefix, key)? else {
        return Err(Problem::missing("KEY", format!("{key:?} has no shard size of its own")));
    };
    Ok(found(state.changed.runtime, &Customer { shard_size: size.json().clone() }))
}
