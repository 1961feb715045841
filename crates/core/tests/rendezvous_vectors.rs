//! Golden vectors of `rendezvous`, version 1.
//!
//! **They never change.** To change one is to move every customer: their sessions, their caches, and which
//! of them suffer together. A better algorithm gets a name and vectors of its own. What may be done here is
//! to add vectors: write the line with any assignment, and the failing test prints the file as it should be.
//!
//! The assignments were computed by another implementation, in Python, of what `shuffle/rendezvous.rs` says.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "vectors/digest.rs"]
mod digest;

use digest::{DIGESTS, Digest, digest, keys};
use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};
use serde::{Deserialize, Serialize};

const VECTORS: &str = include_str!("vectors/rendezvous.json");

/// A key, the hosts (numbered from 0, or named) and the places of those that it gets.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_hosts: Option<u32>,
    shard_size: u32,
    assignment: String,
}

/// As in `x-shard-assignment`.
fn assignment(
    assigner: &Assigner,
    scratch: &mut Scratch,
    key: &str,
    total_hosts: u32,
    shard_size: u32,
) -> String {
    let mut shard = Vec::new();
    assigner.assign(key.as_bytes(), total_hosts, shard_size, scratch, &mut shard);
    shard.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn every_vector_is_reproduced() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 200);
    let mut lines = Vec::new();
    for mut vector in vectors {
        let hosts = vector.hosts.clone().map_or(Hosts::Numbered, Hosts::Named);
        assert_ne!(vector.hosts.is_some(), vector.total_hosts.is_some());
        let (assigner, mut scratch) =
            (Assigner::new(Algorithm::Rendezvous, &hosts, vector.seed.as_deref()), Scratch::default());
        let total_hosts = vector.total_hosts.unwrap_or(0);
        vector.assignment = assignment(&assigner, &mut scratch, &vector.key, total_hosts, vector.shard_size);
        lines.push(serde_json::to_string(&vector).unwrap());
    }
    let right = format!("[\n{}\n]\n", lines.join(",\n"));
    let different: Vec<_> = VECTORS.lines().zip(right.lines()).filter(|(file, now)| file != now).collect();
    assert!(
        VECTORS == right,
        "(in the file, computed now): {different:#?}\n\nIf vectors were added, rendezvous.json is:\n{right}"
    );
}

#[test]
fn the_digests_of_ten_thousand_assignments() {
    let (assigner, mut scratch) =
        (Assigner::new(Algorithm::Rendezvous, &Hosts::Numbered, None), Scratch::default());
    for Digest { total_hosts, shard_size, value } in DIGESTS {
        let assignments =
            keys().map(|key| assignment(&assigner, &mut scratch, &key, total_hosts, shard_size));
        assert_eq!(
            format!("{:#x}", digest(assignments)),
            format!("{value:#x}"),
            "{total_hosts}, {shard_size}"
        );
    }
}

/// Which member of a shard serves is frozen too.
#[test]
fn the_member_picked_for_a_path() {
    let assigner = Assigner::new(Algorithm::Rendezvous, &Hosts::Numbered, None);
    for (of, picked) in [
        ("/", [0, 1, 0, 3, 9]),
        ("/orders?page=2", [0, 0, 2, 0, 0]),
        ("", [0, 0, 0, 0, 8]),
        ("ключ", [0, 1, 2, 3, 7]),
    ] {
        assert_eq!([1, 2, 3, 4, 10].map(|size| assigner.pick(of.as_bytes(), size)), picked, "{of:?}");
    }
    assert_eq!(assigner.pick(b"/", 0), 0);
}
