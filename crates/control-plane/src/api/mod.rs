//! The operators' API. Each call is checked in `request`, becomes edits in the model, and is answered when they are durable.

mod configs;
mod host;
mod hosts;
mod openapi;
mod preview;
mod problem;
mod request;
mod runtime;
mod status;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::model;
use crate::model::Edit;
use crate::plane::{Author, ChangeError, Plane};
use crate::xds::Nodes;
use problem::Problem;

pub use token::Token;

/// How much of a body the history repeats, in characters.
const MAX_SHOWN: usize = 200;

/// What the calls share.
#[derive(Debug)]
pub struct App {
    /// What is set.
    pub plane: Arc<Plane>,
    /// The connected Envoys.
    pub nodes: Arc<Nodes>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The token that changes need, if they need one.
    pub token: Option<Token>,
    /// The runtime key that gets the number of hosts; `None` if metadata carries it.
    pub total_hosts: Option<String>,
    /// One at a time: a preview keeps a processor busy.
    previews: Semaphore,
}

/// All calls.
pub fn router(app: Arc<App>) -> Router {
    let customer = || get(runtime::get_customer).put(runtime::put_customer).delete(runtime::delete_customer);
    let config = || get(configs::get).put(configs::put).delete(configs::delete);
    Router::new()
        .route("/v1/runtime", get(runtime::get).put(runtime::put).patch(runtime::patch))
        .route("/v1/customers/{KEY}", customer())
        // An empty key gets a message about the key.
        .route("/v1/customers/", customer())
        .route("/v1/hosts", get(hosts::get).put(hosts::put))
        .route("/v1/configs/{NAME}", config())
        .route("/v1/configs/", config())
        .route("/v1/nodes", get(status::nodes))
        .route("/v1/history", get(status::history))
        .route("/v1/preview", get(preview::get))
        .route("/healthz", get(status::healthy))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(openapi::get))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Counts a call, and refuses one that changes something without the token, or that a foreign page may have made where there is none.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = request::whole(body).await;
    let response = match allowed(&app, &parts).and(body) {
        Ok(body) => next.run(Request::from_parts(parts, body.into())).await,
        Err(problem) => problem.into_response(),
    };
    app.metrics.answered(response.status().as_u16());
    response
}

fn allowed(app: &App, parts: &Parts) -> Result<(), Problem> {
    let is_reading = matches!(parts.method, Method::GET | Method::HEAD);
    match &app.token {
        Some(token) if !is_reading && !token.is_in(&parts.headers) => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "authorization",
            "a change needs the token of PINROUTE_API_TOKEN, as `authorization: Bearer TOKEN`",
        )),
        None if let Some(host) = host::foreign(&parts.uri, &parts.headers) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "host",
            format!(
                "got {host:?}; without PINROUTE_API_TOKEN, allowed: an address, localhost, or a name without a dot"
            ),
        )),
        _ => Ok(()),
    }
}

async fn wrong_method(request: Request) -> Problem {
    let problem = format!("{} does not have {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", problem)
}

async fn unknown_path(request: Request) -> Problem {
    Problem::missing("path", format!("there is no {}; see /openapi.json", request.uri().path()))
}

impl App {
    /// What the calls of this control plane share.
    pub fn new(
        plane: Arc<Plane>,
        nodes: Arc<Nodes>,
        metrics: Arc<Metrics>,
        token: Option<Token>,
        total_hosts: Option<String>,
    ) -> Self {
        Self { plane, nodes, metrics, token, total_hosts, previews: Semaphore::new(1) }
    }

    /// Makes a change. It is made as a whole even if the client leaves meanwhile: what is durable has to be served.
    async fn change(
        &self,
        author: Author,
        plan: impl FnOnce(&model::State) -> Result<Vec<Edit>, ChangeError> + Send + 'static,
    ) -> Result<(), Problem> {
        let plane = Arc::clone(&self.plane);
        let change = tokio::spawn(async move { plane.change(author, plan).await });
        Ok(change.await.map_err(Problem::failed)??)
    }
}

/// Who makes a change, and what it is. `shown` is the part of the body that the history repeats.
fn author(parts: &Parts, shown: &str) -> Result<Author, Problem> {
    let mut what = format!("{} {} {shown}", parts.method, parts.uri.path()).trim_end().to_owned();
    if let Some((cut, _)) = what.char_indices().nth(MAX_SHOWN) {
        what.truncate(cut);
        what.push('…');
    }
    Ok(Author { actor: request::actor(&parts.headers)?, what })
}

/// Checks that nobody changed it since the caller read it.
fn unchanged(expected: Option<u64>, current: u64) -> Result<(), ChangeError> {
    match expected {
        Some(expected) if expected != current => Err(ChangeError::Outdated { expected, current }),
        _ => Ok(()),
    }
}

/// What there is, with its version, which is also the entity tag.
fn found(version: u64, document: &impl Serialize) -> Response {
    let mut response = problem::json(StatusCode::OK, document);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
