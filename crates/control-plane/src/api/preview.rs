//! What a change of the numbers would do, before it is made.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use pinroute_core::shard::MAX_HOSTS;
use pinroute_inspect::preview::{Report, preview};
use pinroute_inspect::{Live, Subject};
use serde_json::{Map, Value, json};

use super::problem::{Problem, json as respond};
use super::{App, request};
use crate::model::{self, DEFAULT_CLUSTER};

/// How many keys are looked at.
const KEYS: usize = 10_000;
/// How many pairs of a key and a host are scored at most.
const MAX_SCORES: usize = 20_000_000;
/// How many keys a preview compares, each with each.
const COMPARED: usize = 1_000;
/// How many pairs of a host and two keys that may share it are compared at most.
const MAX_PAIRS: usize = 100_000_000;

/// What a change of the numbers would do: which share of the customers moves, and how many hosts two of them share.
///
/// The known customers are looked at, and as many made-up ones as are needed for a sample.
#[utoipa::path(get, path = "/v1/preview",
    params(
        ("total_hosts" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 65536, description = "the new number; unchanged if it is left out"),
        ("shard_size" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 65536, description = "the new default size; unchanged if it is left out"),
    ),
    responses(
        (status = 200, body = Value, description = "as `pinroute preview --json` has it: `moved_share`, `overlap` before and after"),
        (status = 400, body = Problem),
    ))]
pub async fn get(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let parameters = request::query(request.uri(), &["total_hosts", "shard_size"])?;
    let total = request::number(&parameters, "total_hosts", MAX_HOSTS)?;
    let size = request::number(&parameters, "shard_size", MAX_HOSTS)?;
    let sample = Sample::new(&app.plane.state(), &app.plane.prefix, app.total_hosts.is_some());
    let _permit = app.previews.acquire().await.map_err(Problem::failed)?;
    let report = tokio::task::spawn_blocking(move || sample.report(total, size));
    let report = report.await.map_err(Problem::failed)??;
    Ok(respond(StatusCode::OK, &report))
}

/// What a preview has to know of what is set.
struct Sample {
    prefix: String,
    /// The number of hosts that metadata carries.
    total: Option<u32>,
    /// The runtime values that count.
    values: Map<String, Value>,
    customers: BTreeSet<String>,
}

impl Sample {
    fn new(state: &model::State, prefix: &str, is_by_runtime: bool) -> Self {
        let (mut values, mut customers) = (Map::new(), BTreeSet::new());
        for (name, value) in &state.runtime {
            let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let customer = rest.strip_prefix("customer.").and_then(|rest| rest.strip_suffix(".shard_size"));
            let is_number = rest == "default_shard_size" || rest == "total_hosts" && is_by_runtime;
            if !is_number && (customer.is_none() || customers.len() == KEYS) {
                continue;
            }
            customers.extend(customer.map(str::to_owned));
            values.insert(name.clone(), value.json().clone());
        }
        let total = state.clusters.get(DEFAULT_CLUSTER).map(model::Hosts::total).filter(|total| *total > 0);
        Self { prefix: prefix.to_owned(), total, values, customers }
    }

    fn report(self, total: Option<u32>, size: Option<u32>) -> Result<Report, Problem> {
        let mut after = self.values.clone();
        for (name, number) in [("total_hosts", total), ("default_shard_size", size)] {
            if let Some(number) = number {
                after.insert(format!("{}.{name}", self.prefix), number.into());
            }
        }
        let keys = self.keys(&after);
        let (mut from, mut to) = (self.subject(&self.values)?, self.subject(&after)?);
        preview(&mut from, &mut to, Cursor::new(keys)).map_err(Problem::failed)
    }

    /// One key on each line: fewer of them, the more hosts there are to score.
    fn keys(&self, after: &Map<String, Value>) -> String {
        let most = |suffix: &str| {
            let values = self.values.iter().chain(after).filter(|(name, _)| name.ends_with(suffix));
            values.filter_map(|(_, value)| value.as_u64()).max().unwrap_or(1).max(1) as usize
        };
        let hosts = most("total_hosts").max(self.total.unwrap_or(1) as usize);
        let by_scores = MAX_SCORES / hosts;
        let by_pairs = match (MAX_PAIRS / most("shard_size")).isqrt() {
            few @ ..COMPARED => few,
            // Of more keys, no more are compared.
            _ => KEYS,
        };
        let most = KEYS.min(by_scores).min(by_pairs).max(2);
        let made_up = (1..).map(|number| format!("customer-{number}"));
        let known = self.customers.iter().cloned();
        known.chain(made_up).take(most).map(|key| key + "\n").collect()
    }

    fn subject(&self, values: &Map<String, Value>) -> Result<Subject, Problem> {
        let mut shuffle = Map::new();
        shuffle.extend(self.total.map(|total| ("total_hosts".to_owned(), total.into())));
        let plugin = json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": shuffle,
            "target": { "header": { "name": "x-target-cluster", "value": "backend_{index}" } },
            "runtime": { "prefix": self.prefix, "rtds": { "cluster": "xds_cluster" } },
        });
        let runtime = json!({ "version": 0, "values": values }).to_string().into_bytes();
        let live = Live { runtime: Some(runtime), set: Vec::new(), endpoints: None };
        Subject::load(plugin.to_string().as_bytes(), None, &live).map_err(Problem::failed)
    }
}
