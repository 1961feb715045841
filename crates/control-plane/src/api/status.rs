//! What is going on: connected Envoys, the history, health and metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Problem, json};
use super::{App, request};
use crate::metrics::CONTENT_TYPE;
use crate::store::{Change, HISTORY};
use crate::xds::{KindStatus, NodeStatus};

/// How many changes are listed if no limit is named.
const DEFAULT_LIMIT: u32 = 100;

/// The connected Envoys.
#[derive(Serialize, ToSchema)]
pub struct NodesAnswer {
    /// By their ids.
    nodes: Vec<NodeAnswer>,
}

/// A connected Envoy.
#[derive(Serialize, ToSchema)]
pub struct NodeAnswer {
    /// The id of its node.
    id: String,
    /// The cluster of its node.
    cluster: String,
    /// The address of one of its connections.
    #[schema(value_type = Option<String>)]
    address: Option<SocketAddr>,
    /// When its first stream was opened that is still open.
    since: String,
    /// How many streams it has open.
    streams: usize,
    /// How far it is, by type: `cds`, `eds`, `rtds`, `ecds`.
    types: BTreeMap<&'static str, TypeAnswer>,
}

/// How far an Envoy is with a type.
#[derive(Serialize, ToSchema)]
pub struct TypeAnswer {
    /// The version that was sent last.
    sent: Option<String>,
    /// The version that it accepted last.
    accepted: Option<String>,
    /// The version that it refused last, and has not replaced since.
    rejected: Option<String>,
    /// Why it refused it.
    reason: Option<String>,
}

/// The last changes.
#[derive(Serialize, ToSchema)]
pub struct HistoryAnswer {
    /// The newest first.
    changes: Vec<ChangeAnswer>,
}

/// A change.
#[derive(Serialize, ToSchema)]
pub struct ChangeAnswer {
    /// The number of the commit.
    revision: u64,
    /// When it was made.
    at: String,
    /// Who made it, if the call said so by `x-pinroute-actor`.
    actor: Option<String>,
    /// The call, and what it set.
    what: String,
}

/// The connected Envoys, and how far each of them is.
#[utoipa::path(get, path = "/v1/nodes", responses((status = 200, body = NodesAnswer), (status = 400, body = Problem)))]
pub async fn nodes(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    request::query(request.uri(), &[])?;
    let nodes = app.nodes.list().into_iter().map(NodeAnswer::from).collect();
    Ok(json(StatusCode::OK, &NodesAnswer { nodes }))
}

/// The last changes, the newest first.
#[utoipa::path(get, path = "/v1/history",
    params(("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000, description = "how many; 100 if it is left out")),
    responses((status = 200, body = HistoryAnswer), (status = 400, body = Problem)))]
pub async fn history(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let parameters = request::query(request.uri(), &["limit"])?;
    let limit = request::number(&parameters, "limit", HISTORY as u32)?.unwrap_or(DEFAULT_LIMIT);
    let changes = app.plane.history(limit as usize).await?;
    let changes = changes.into_iter().map(ChangeAnswer::from).collect();
    Ok(json(StatusCode::OK, &HistoryAnswer { changes }))
}

/// Whether the process runs.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "ok")))]
pub async fn healthy() -> &'static str {
    "ok\n"
}

/// Whether the store is loaded and can be read.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "ok"), (status = 503, body = Problem)))]
pub async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    app.plane.history(1).await?;
    Ok("ok\n")
}

/// Counters, gauges and histograms as Prometheus text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let (nodes, streams) = (app.nodes.list().len(), app.nodes.streams());
    let revision = app.plane.state().revision;
    let text = app.metrics.text(nodes, streams, revision).map_err(Problem::failed)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

impl From<NodeStatus> for NodeAnswer {
    fn from(node: NodeStatus) -> Self {
        let NodeStatus { id, cluster, address, since, streams, kinds } = node;
        let types = kinds.into_iter().map(|(kind, status)| (kind.name(), status.into())).collect();
        Self { id, cluster, address, since: time(since), streams, types }
    }
}

impl From<KindStatus> for TypeAnswer {
    fn from(status: KindStatus) -> Self {
        let KindStatus { sent, accepted, rejected, reason } = status;
        Self { sent, accepted, rejected, reason }
    }
}

impl From<Change> for ChangeAnswer {
    fn from(change: Change) -> Self {
        let Change { revision, at, actor, what } = change;
        Self { revision, at: time(at), actor, what }
    }
}

/// As RFC 3339 has it.
fn time(time: SystemTime) -> String {
    Timestamp::from(time).to_string()
}
