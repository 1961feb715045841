//! Micro-benchmarks of the decisions in native code: `make bench-core`. What a request costs in Envoy is
//! measured by `make bench`; these tell how much of it is ours.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion};
use pinroute_core::config;
use pinroute_core::live::{compile, Live, Scalar, Snapshot};
use pinroute_core::plan::{Memory, Plan, RequestHead};
use pinroute_core::shuffle::{Algorithm, Assigner, Hosts};
use pinroute_core::where_answer::hostport;
use std::hint::black_box;

const OVERRIDES: u32 = 100_000;

struct Head {
    path: Vec<u8>,
    customer: Vec<u8>,
}

impl RequestHead for Head {
    fn path(&self) -> Option<Vec<u8>> {
        Some(self.path.clone())
    }

    fn header(&self, _name: &str) -> Option<Vec<u8>> {
        Some(self.customer.clone())
    }
}

fn customer(number: u32) -> String {
    format!("customer-{number:09}")
}

/// The shard of a key that nothing is remembered about.
fn cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cold assignment");
    for (name, algorithm) in [("rendezvous", Algorithm::Rendezvous), ("lua_djb2", Algorithm::LuaDjb2)] {
        for hosts in [8, 100, 1_000, 10_000] {
            let mut assigner = Assigner::new(algorithm, &Hosts::Numbered, None);
            let mut shard = Vec::new();
            let key = customer(7);
            group.bench_function(BenchmarkId::new(name, hosts), |bencher| {
                bencher.iter(|| {
                    assigner.assign(black_box(key.as_bytes()), hosts, 2, &mut shard);
                    shard.len()
                });
            });
        }
    }
    group.finish();
}

/// All of a request's decision with a key that is known.
fn warm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("warm decision");
    let head =
        Head { path: b"/join?client_id=customer-000000007".to_vec(), customer: customer(7).into_bytes() };
    for (name, config) in [
        (
            "rendezvous",
            r#"{"key":{"header":"x-customer-id"},"shuffle_shard":{"total_hosts":8,"shard_size":2},
                "target":{"header":{"name":"x-target-cluster","value":"backend_{index}"}}}"#,
        ),
        (
            "lua_djb2",
            r#"{"key":{"header":"x-customer-id"},
                "shuffle_shard":{"total_hosts":8,"shard_size":2,"algorithm":"lua_djb2"},
                "target":{"header":{"name":"x-target-cluster","value":"backend_{index}"}}}"#,
        ),
        (
            "index",
            r#"{"key":{"query":"client_id"},"index":{"replicas":8},"target":{"authority":"server-{index}:8081"}}"#,
        ),
    ] {
        let plan = Plan::new(config::parse(config.as_bytes()).unwrap());
        let mut memory = Memory::new(1);
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan.on_request(&mut memory, black_box(&head), &Live::default(), 0));
        });
    }
    group.finish();
}

/// The resolver's answer.
fn parsing(criterion: &mut Criterion) {
    let body = br#"{"client_id":"customer-000000007","hostport":"poc-routing-server-2:8081"}"#;
    criterion.bench_function("/where", |bencher| {
        bencher.iter(|| hostport(black_box(body)).map(|text| text.len()));
    });
}

/// Live values with an override for each of many customers.
fn snapshot(criterion: &mut Criterion) {
    let names: Vec<String> = (0..OVERRIDES)
        .map(|number| format!("shuffle_sharding.customer.{}.shard_size", customer(number)))
        .collect();
    let compiled = || {
        compile("shuffle_sharding", 1, &Snapshot::default(), &mut |visit| {
            names.iter().for_each(|name| visit(name, Scalar::Number(3.0)));
        })
    };
    let mut group = criterion.benchmark_group("snapshot of 100,000 overrides");
    group.sample_size(20).bench_function("compile", |bencher| bencher.iter(compiled));
    let snapshot = Snapshot::open(compiled().bytes).unwrap();
    group.sample_size(100).bench_function("look up", |bencher| {
        let keys: Vec<String> = (0..10_000).map(|number| customer(number * 10)).collect();
        let mut keys = keys.iter().cycle();
        bencher.iter(|| snapshot.shard_size_of(black_box(keys.next().unwrap().as_bytes())));
    });
    group.bench_function("look up in vain", |bencher| {
        bencher.iter(|| snapshot.shard_size_of(black_box(b"customer-of-nobody")));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    cold(&mut criterion);
    warm(&mut criterion);
    parsing(&mut criterion);
    snapshot(&mut criterion);
    criterion.final_summary();
}
