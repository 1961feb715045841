//! The demo's time line: changes that an operator could make.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::model::DEFAULT_CLUSTER;
use crate::plane::{Author, ChangeError, Plane};

/// A step: the second at which it is made, the number of hosts, and the shard sizes of customers.
type Step = (u64, u16, Option<u32>, &'static [(&'static str, u32)]);

/// The steps. Each later one changes only what it names.
const STEPS: [Step; 3] = [
    (0, 8, Some(2), &[("customer-A", 2), ("customer-B", 2), ("customer-C", 2)]),
    (30, 12, None, &[("customer-A", 3)]),
    (60, 12, None, &[("customer-B", 4)]),
];

/// The port of the first host of the demo; the others follow.
const FIRST_PORT: u16 = 9001;

/// Makes the first step, which also takes back what an earlier demo has changed.
pub async fn begin(plane: &Plane, total_hosts: Option<&str>) -> Result<(), ChangeError> {
    for step in STEPS.iter().take(1) {
        make(plane, total_hosts, step).await?;
    }
    Ok(())
}

/// Makes the other steps when they are due.
pub async fn go_on(plane: &Plane, total_hosts: Option<&str>, speed: f64) {
    let start = tokio::time::Instant::now();
    for step in STEPS.iter().skip(1) {
        let (seconds, ..) = step;
        tokio::time::sleep_until(start + Duration::from_secs(*seconds).div_f64(speed)).await;
        if let Err(error) = make(plane, total_hosts, step).await {
            tracing::error!(%error, seconds, "a step of the demo failed");
        }
    }
}

async fn make(plane: &Plane, total_hosts: Option<&str>, step: &Step) -> Result<(), ChangeError> {
    let (seconds, hosts, default_size, customers) = step;
    let addresses: Vec<_> = (0..*hosts).map(|host| format!("127.0.0.1:{}", FIRST_PORT + host)).collect();
    let key = |name: &str| format!("{}.{name}", plane.prefix);
    let mut values: Map<String, Value> = customers
        .iter()
        .map(|(customer, size)| (key(&format!("customer.{customer}.shard_size")), json!(size)))
        .collect();
    values.extend(default_size.map(|size| (key("default_shard_size"), json!(size))));
    let author = Author { actor: Some("demo".to_owned()), what: format!("the demo's step at {seconds} s") };
    plane
        .change(author, |state| {
            let mut edits = state.set_hosts(DEFAULT_CLUSTER, &addresses, total_hosts)?;
            edits.extend(state.merge_runtime(&plane.prefix, &values)?);
            Ok(edits)
        })
        .await?;
    tracing::info!(seconds, total_hosts = hosts, ?customers, "the demo made a step");
    Ok(())
}
