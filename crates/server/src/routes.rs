//! The contract's endpoints.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{header, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::Router;
use pinroute_core::percent::decode_form;
use pinroute_core::query::raw_param;
use serde::Serialize;

use crate::reflect::{drain, reflect};
use crate::resolver::{Instance, Resolver};

/// What all requests share.
#[derive(Debug)]
pub struct App {
    /// This server's name.
    pub instance: Instance,
    /// How `/where` answers.
    pub resolver: Resolver,
}

/// The response of `/where`; the members are in the contract's order.
#[derive(Serialize)]
struct Where<'a> {
    client_id: &'a str,
    hostport: String,
}

/// The response of `/join`; the members are in the contract's order.
#[derive(Serialize)]
struct Join<'a> {
    assigned: &'a str,
    client_id: &'a str,
    status: &'static str,
}

/// All endpoints.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/where", get(locate))
        .route("/join", any(join))
        .route("/health", get(|| async { "ok" }))
        .route("/", any(reflect))
        .route("/headers", any(reflect))
        .route("/echo", any(reflect))
        .route("/echo/", any(reflect))
        .route("/echo/{*rest}", any(reflect))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found") })
        .with_state(Arc::new(app))
}

async fn locate(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let Some(client) = client_id(&uri) else { return missing_client_id() };
    let hostport = app.resolver.hostport(&client, &app.instance);
    json(&Where { client_id: &String::from_utf8_lossy(&client), hostport })
}

async fn join(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    // Read the body to its end whatever the response, so that the connection can be used again.
    if let Err(response) = drain(body).await {
        return response;
    }
    let Some(client) = client_id(&head.uri) else { return missing_client_id() };
    let client = String::from_utf8_lossy(&client);
    let instance = app.instance.to_string();
    // As a string value, which the text format quotes and escapes: a client cannot forge log lines.
    tracing::info!(client_id = &*client, instance = instance.as_str(), "/join");
    json(&Join { assigned: &instance, client_id: &client, status: "ok" })
}

/// The decoded `client_id`. Bytes, not text: a key need not be UTF-8.
fn client_id(uri: &Uri) -> Option<Cow<'_, [u8]>> {
    let raw = raw_param(uri.query()?.as_bytes(), b"client_id")?;
    Some(decode_form(raw)).filter(|client| !client.is_empty())
}

fn missing_client_id() -> Response {
    (StatusCode::BAD_REQUEST, "missing client_id").into_response()
}

/// A compact JSON response.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
