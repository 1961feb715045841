//! The golden vectors of the resolver's formula, asked through `/where`.

use std::collections::BTreeMap;

use crate::support::Server;
use serde_json::Value;

#[test]
fn where_agrees_with_every_golden_vector() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../../core/tests/vectors/where.json")).unwrap();
    assert_eq!(vectors.len(), 88);

    // One server for each configuration.
    let mut servers = BTreeMap::new();
    for vector in &vectors {
        let setting = |name: &str| vector[name].to_string().replace('"', "");
        let (mode, replicas, base) = (setting("index_mode"), setting("replicas"), setting("index_base"));
        let server = servers.entry((mode.clone(), replicas.clone(), base.clone())).or_insert_with(|| {
            Server::start(&[
                ("SERVICE_PREFIX", "server"),
                ("INDEX_MODE", &mode),
                ("REPLICAS", &replicas),
                ("INDEX_BASE", &base),
            ])
        });
        let answer = server.get(&format!("/where?{}", setting("query")));
        let expected = format!("server-{}:{}", vector["index"], server.address.port());
        assert_eq!(answer.json()["hostport"], expected.as_str(), "{vector}");
    }
}
