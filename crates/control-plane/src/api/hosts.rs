//! The hosts of clusters.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{App, author, found, request, unchanged};
use crate::model::DEFAULT_CLUSTER;

/// The hosts of a cluster.
#[derive(Serialize, ToSchema)]
pub struct HostsAnswer {
    /// The cluster.
    cluster: String,
    /// The addresses, by the order of their numbers.
    #[schema(value_type = Vec<String>)]
    hosts: Vec<SocketAddr>,
    /// Their numbers. A number that is missing belongs to a host that is down.
    ids: Vec<u32>,
    /// The highest number + 1.
    total_hosts: u32,
    /// The number of the last commit that changed them.
    version: u64,
}

/// The hosts that a cluster shall have.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what is read member by member")]
pub struct HostsChange {
    /// The cluster; `service_backend` if it is left out.
    #[schema(nullable = false, min_length = 1, max_length = 256)]
    cluster: Option<String>,
    /// Their addresses, as `IP:port`, an IPv6 address in brackets. Each once.
    hosts: Vec<String>,
}

/// The hosts of a cluster, with their numbers.
#[utoipa::path(get, path = "/v1/hosts",
    params(("cluster" = Option<String>, Query, nullable = false, description = "`service_backend` if it is left out")),
    responses(
        (status = 200, body = HostsAnswer),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "no cluster of this name"),
    ))]
pub async fn get(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let parameters = request::query(request.uri(), &["cluster"])?;
    hosts(&app, parameters.get("cluster").map_or(DEFAULT_CLUSTER, String::as_str))
}

/// Replaces the hosts of a cluster. A number stays with its host; a new host gets the lowest free one.
#[utoipa::path(put, path = "/v1/hosts", request_body = HostsChange, security(("token" = [])),
    params(("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version of the cluster's hosts; 0 if it has none yet")),
    responses(
        (status = 200, body = HostsAnswer),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 412, body = Problem, description = "somebody changed them since"),
        (status = 413, body = Problem),
    ))]
pub async fn put(State(app): State<Arc<App>>, parts: Parts, body: Bytes) -> Result<Response, Problem> {
    request::query(&parts.uri, &[])?;
    let expected = request::expected_version(&parts.headers)?;
    let members = request::members(request::document(&body)?, &["cluster", "hosts"])?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let cluster = match members.get("cluster") {
        None => DEFAULT_CLUSTER.to_owned(),
        Some(_) => request::member(&members, "cluster", "a text", text)?,
    };
    let list = request::member(&members, "hosts", "an array of texts", |value| value.as_array().cloned())?;
    let addresses = list.iter().enumerate().map(|(place, value)| {
        let wrong = || format!("got {}; allowed: a text, IP:port", request::kind(value));
        text(value).ok_or_else(|| Problem::bad(format!("hosts[{place}]"), wrong()))
    });
    let addresses: Vec<String> = addresses.collect::<Result<_, _>>()?;
    let author = author(&parts, &format!("{cluster}: {}", addresses.join(", ")))?;
    let (name, total_hosts) = (cluster.clone(), app.total_hosts.clone());
    app.change(author, move |state| {
        let edits = state.set_hosts(&name, &addresses, total_hosts.as_deref())?;
        unchanged(expected, state.clusters.get(&name).map_or(0, |hosts| hosts.revision))?;
        Ok(edits)
    })
    .await?;
    hosts(&app, &cluster)
}

fn hosts(app: &App, cluster: &str) -> Result<Response, Problem> {
    let state = app.plane.state();
    let none = crate::model::Hosts::default();
    let hosts = match state.clusters.get(cluster) {
        Some(hosts) => hosts,
        // Who asks for no cluster by name gets an answer, before there are hosts too.
        None if cluster == DEFAULT_CLUSTER => &none,
        None => return Err(Problem::missing("cluster", format!("there is no cluster {cluster:?}"))),
    };
    let answer = HostsAnswer {
        cluster: cluster.to_owned(),
        hosts: hosts.by_id.values().copied().collect(),
        ids: hosts.by_id.keys().copied().collect(),
        total_hosts: hosts.total(),
        version: hosts.revision,
    };
    Ok(found(hosts.revision, &answer))
}
