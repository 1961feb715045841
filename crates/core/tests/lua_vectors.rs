//! `lua_djb2` against assignments recorded from the Lua filters in use.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};
use serde_json::Value;

#[test]
fn every_recorded_assignment_is_reproduced() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/lua-shuffle.json")).unwrap();
    assert!(vectors.len() >= 60);
    let (assigner, mut scratch) =
        (Assigner::new(Algorithm::LuaDjb2, &Hosts::Numbered, None), Scratch::default());
    let mut shard = Vec::new();
    for vector in vectors {
        let number = |name: &str| u32::try_from(vector[name].as_u64().unwrap()).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap();
        assigner.assign(
            text("key").as_bytes(),
            number("total_hosts"),
            number("shard_size"),
            &mut scratch,
            &mut shard,
        );
        let assignment = shard.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(assignment, text("assignment"), "{vector}");
        let picked = shard[assigner.pick(text("path").as_bytes(), shard.len())];
        assert_eq!(picked, number("picked"), "{vector}");
    }
}
