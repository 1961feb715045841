//! The contract's endpoints.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use pinroute_core::key::percent::decode_form;
use pinroute_core::key::query::raw_param;
use serde::Serialize;

use crate::identity::Identity;
use crate::reflect::{self, drain, json};
use crate::resolver::{Instance, Resolver};

/// The response header that names the server.
const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// What all requests share.
#[derive(Debug)]
pub struct App {
    /// The host's name.
    pub hostname: String,
    /// The port really listened on.
    pub port: u16,
    /// How `/where` answers.
    pub resolver: Resolver,
    /// Empty while the server finds out which host it is; `/health` and `/join` fail as long.
    pub identity: OnceLock<Identity>,
}

async fn reflected(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    reflect::reflect(app.instance().to_string(), request).await
}

impl App {
    /// Makes the server's identity known. The first one stays.
    pub fn identify(&self, identity: Identity) {
        if let Some(message) = identity.excess(&self.resolver) {
            tracing::error!("{message}");
        }
        let _ = self.identity.set(identity);
    }

    /// This server as others reach it.
    pub fn instance(&self) -> Instance {
        let name = self.identity.get().map_or(&self.hostname, |identity| &identity.name);
        Instance { host: name.clone(), port: self.port }
    }
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
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/where", get(locate))
        .route("/join", any(join))
        .route("/health", get(health))
        .route("/", any(reflected))
        .route("/headers", any(reflected))
        .route("/echo", any(reflected))
        .route("/echo/", any(reflected))
        .route("/echo/{*rest}", any(reflected))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found") })
        .layer(map_response_with_state(Arc::clone(&app), name_the_server))
        .with_state(app)
}

/// Says on every response which host sent it, so that a proxy can compare.
async fn name_the_server(State(app): State<Arc<App>>, mut response: Response) -> Response {
    let name = app.identity.get().and_then(|identity| HeaderValue::from_str(&identity.name).ok());
    name.map(|name| response.headers_mut().insert(SERVED_BY, name));
    response
}

async fn locate(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let Some(client) = client_id(&uri) else { return missing_client_id() };
    let hostport = app.resolver.hostport(&client, &app.instance());
    json(&Where { client_id: &String::from_utf8_lossy(&client), hostport })
}

async fn join(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    // Read the body to its end whatever the response, so that the connection can be used again.
    if let Err(response) = drain(body).await {
        return response;
    }
    let Some(identity) = app.identity.get() else { return name_unknown() };
    let instance = app.instance().to_string();
    if let Some(host) = hosts(&head).find(|host| identity.is_other(host, &app.resolver)) {
        tracing::warn!(host, instance, "/join refused: the request is for another host");
        return (StatusCode::MISDIRECTED_REQUEST, format!("misdirected request: this is {instance}"))
            .into_response();
    }
    let Some(client) = client_id(&head.uri) else { return missing_client_id() };
    let client = String::from_utf8_lossy(&client);
    // As a string value, which the text format quotes and escapes: a client cannot forge log lines.
    tracing::info!(client_id = &*client, instance = instance.as_str(), "/join");
    json(&Join { assigned: &instance, client_id: &client, status: "ok" })
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let Some(identity) = app.identity.get() else { return name_unknown() };
    match identity.excess(&app.resolver) {
        None => "ok".into_response(),
        Some(message) => (StatusCode::SERVICE_UNAVAILABLE, message).into_response(),
    }
}

/// The hosts that a request names: that of an absolute URI and the `Host` headers. There should be one.
fn hosts(head: &Parts) -> impl Iterator<Item = &str> {
    let headers = head.headers.get_all(header::HOST).iter().filter_map(|host| host.to_str().ok());
    head.uri.authority().map(Authority::as_str).into_iter().chain(headers)
}

fn name_unknown() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the server does not know its name yet").into_response()
}

/// The decoded `client_id`. Bytes, not text: a key need not be UTF-8.
fn client_id(uri: &Uri) -> Option<Cow<'_, [u8]>> {
    let raw = raw_param(uri.query()?.as_bytes(), b"client_id")?;
    Some(decode_form(raw)).filter(|client| !client.is_empty())
}

fn missing_client_id() -> Response {
    (StatusCode::BAD_REQUEST, "missing client_id").into_response()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::resolver::Numbered;

    fn app() -> Arc<App> {
        let numbered = Numbered {
            prefix: "server".to_owned(),
            suffix: ".svc".to_owned(),
            replicas: 2,
            mode: Default::default(),
            base: 1,
        };
        Arc::new(App {
            hostname: "4d1f0c2b9a55".to_owned(),
            port: 8081,
            resolver: Resolver::Numbered(numbered),
            identity: OnceLock::new(),
        })
    }

    async fn get(app: &Arc<App>, uri: &str, hosts: &[&str]) -> (u16, String) {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let response = router(Arc::clone(app)).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_and_join_fail_until_the_name_is_known() {
        let app = app();
        let unknown = (503, "the server does not know its name yet".to_owned());
        assert_eq!(get(&app, "/health", &[]).await, unknown);
        assert_eq!(get(&app, "/join?client_id=1", &["server-1.svc"]).await, unknown);
        assert_eq!(get(&app, "/where?client_id=123", &[]).await.0, 200);

        app.identify(Identity { name: "server-1".to_owned(), number: Some(1) });
        assert_eq!(get(&app, "/health", &[]).await, (200, "ok".to_owned()));
        let joined = r#"{"assigned":"server-1:8081","client_id":"1","status":"ok"}"#;
        assert_eq!(get(&app, "/join?client_id=1", &["server-1.svc"]).await, (200, joined.to_owned()));
    }

    #[tokio::test]
    async fn join_refuses_a_request_for_another_host() {
        let app = app();
        app.identify(Identity { name: "server-1".to_owned(), number: Some(1) });
        let refused = (421, "misdirected request: this is server-1:8081".to_owned());
        for (uri, hosts) in [
            ("/join?client_id=1", &["server-2.svc"][..]),
            ("/join?client_id=1", &["SERVER-2.SVC:8081"]),
            ("/join", &["server-2.svc"]),
            ("/join?client_id=1", &["server-1.svc", "server-2.svc"]),
            ("http://server-2.svc/join?client_id=1", &["server-1.svc"]),
        ] {
            assert_eq!(get(&app, uri, hosts).await, refused, "{uri} {hosts:?}");
        }
        for host in ["server-1.svc:8081", "server-2", "server-2.svc.local", "localhost", "10.0.0.1:8081"] {
            assert_eq!(get(&app, "/join?client_id=1", &[host]).await.0, 200, "{host}");
        }
        assert_eq!(get(&app, "/where?client_id=123", &["server-2.svc"]).await.0, 200);
    }

    #[tokio::test]
    async fn a_host_that_owns_no_client_is_not_healthy() {
        let app = app();
        app.identify(Identity { name: "server-3".to_owned(), number: Some(3) });
        let (status, body) = get(&app, "/health", &[]).await;
        assert_eq!(status, 503);
        assert!(body.starts_with("server-3 owns no client: REPLICAS is 2"), "{body}");
        assert_eq!(get(&app, "/where?client_id=123", &[]).await.0, 200);
    }

    #[tokio::test]
    async fn a_server_without_a_number_accepts_any_host() {
        let app = app();
        app.identify(Identity { name: "4d1f0c2b9a55".to_owned(), number: None });
        let (status, body) = get(&app, "/join?client_id=1", &["server-2.svc"]).await;
        assert_eq!(status, 200);
        assert!(body.starts_with(r#"{"assigned":"4d1f0c2b9a55:8081","#), "{body}");
    }
}
