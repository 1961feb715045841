//! What is measured, by time (`core.rs`) and by instructions (`instructions.rs`).

use pinroute_core::config;
use pinroute_core::live::{compile, Compiled, Live, Scalar, Snapshot};
use pinroute_core::plan::{Memory, Plan, RequestHead};
use pinroute_core::shuffle::{Algorithm, Assigner, Hosts};
use pinroute_core::step::{Answer, Step};
use pinroute_core::where_answer::hostport;
use std::hint::black_box;

const OVERRIDES: u32 = 100_000;

const RENDEZVOUS: &str = r#"{"key":{"header":"x-customer-id"},"shuffle_shard":{"total_hosts":8,"shard_size":2},
    "target":{"header":{"name":"x-target-cluster","value":"backend_{index}"}}}"#;
const DJB2: &str = r#"{"key":{"header":"x-customer-id"},
    "shuffle_shard":{"total_hosts":8,"shard_size":2,"algorithm":"lua_djb2"},
    "target":{"header":{"name":"x-target-cluster","value":"backend_{index}"}}}"#;
const INDEX: &str =
    r#"{"key":{"query":"client_id"},"index":{"replicas":8},"target":{"authority":"server-{index}:8081"}}"#;
const RESOLVE: &str = r#"{"key":{"query":"client_id"},"resolve":{"cache":{"ttl":"60s","max_entries":10000}},
    "target":{"authority":"{hostport}"},"allowed_targets":["poc-routing-server-*:8081"]}"#;
const ANSWER: &[u8] = br#"{"client_id":"customer-000000007","hostport":"poc-routing-server-2:8081"}"#;

/// One thing that is done over and over.
pub type Work = Box<dyn FnMut()>;

/// What is measured.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// How often it has to be done to be measured by its instructions.
    pub times: u64,
    /// Prepares it.
    pub prepare: fn() -> Work,
}

/// All cases.
pub const CASES: [Case; 16] = [
    Case { name: "cold assignment/rendezvous/8", times: 1_000, prepare: || assign(Algorithm::Rendezvous, 8) },
    Case {
        name: "cold assignment/rendezvous/100",
        times: 1_000,
        prepare: || assign(Algorithm::Rendezvous, 100),
    },
    Case {
        name: "cold assignment/rendezvous/1000",
        times: 200,
        prepare: || assign(Algorithm::Rendezvous, 1_000),
    },
    Case {
        name: "cold assignment/rendezvous/10000",
        times: 20,
        prepare: || assign(Algorithm::Rendezvous, 10_000),
    },
    Case { name: "cold assignment/lua_djb2/8", times: 1_000, prepare: || assign(Algorithm::LuaDjb2, 8) },
    Case { name: "cold assignment/lua_djb2/100", times: 1_000, prepare: || assign(Algorithm::LuaDjb2, 100) },
    Case { name: "cold assignment/lua_djb2/1000", times: 200, prepare: || assign(Algorithm::LuaDjb2, 1_000) },
    Case {
        name: "cold assignment/lua_djb2/10000",
        times: 20,
        prepare: || assign(Algorithm::LuaDjb2, 10_000),
    },
    Case { name: "warm decision/rendezvous", times: 1_000, prepare: || decide(RENDEZVOUS) },
    Case { name: "warm decision/lua_djb2", times: 1_000, prepare: || decide(DJB2) },
    Case { name: "warm decision/index", times: 1_000, prepare: || decide(INDEX) },
    Case { name: "warm decision/resolve", times: 1_000, prepare: || decide(RESOLVE) },
    Case { name: "cold decision/resolve", times: 20_000, prepare: resolve_new },
    Case { name: "/where", times: 1_000, prepare: answer },
    Case { name: "snapshot of 100,000 overrides/compile", times: 1, prepare: compiling },
    Case { name: "snapshot of 100,000 overrides/look up", times: 1_000, prepare: look_up },
];

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

fn head(number: u32) -> Head {
    let customer = customer(number);
    Head { path: format!("/join?client_id={customer}").into_bytes(), customer: customer.into_bytes() }
}

/// The shard of a key that nothing is remembered about.
fn assign(algorithm: Algorithm, hosts: u32) -> Work {
    let mut assigner = Assigner::new(algorithm, &Hosts::Numbered, None);
    let (mut shard, key) = (Vec::new(), customer(7));
    Box::new(move || assigner.assign(black_box(key.as_bytes()), hosts, 2, &mut shard))
}

fn plan(config: &str) -> Plan {
    Plan::new(config::parse(config.as_bytes()).unwrap())
}

/// A request's whole decision, once its key is known.
fn decide(config: &str) -> Work {
    let (plan, mut memory, head) = (plan(config), Memory::new(1), head(7));
    let answer = Answer::Response { status: 200, body: ANSWER };
    plan.on_answer(&mut memory, Some(&head.customer), answer, &Live::default(), 0);
    Box::new(move || drop(black_box(plan.on_request(&mut memory, black_box(&head), &Live::default(), 0))))
}

/// A request with a key that no request had before: what is asked, and what becomes of the answer.
fn resolve_new() -> Work {
    let (plan, mut memory, mut number) = (plan(RESOLVE), Memory::new(1), 0);
    let answer = Answer::Response { status: 200, body: ANSWER };
    Box::new(move || {
        number += 1;
        if let Step::Ask(question) = plan.on_request(&mut memory, &head(number), &Live::default(), 0) {
            plan.on_answer(&mut memory, question.key.as_deref(), answer, &Live::default(), 0);
        }
    })
}

/// The resolver's answer.
fn answer() -> Work {
    Box::new(|| drop(black_box(hostport(black_box(ANSWER)))))
}

fn compiler() -> impl FnMut() -> Compiled {
    let names: Vec<String> = (0..OVERRIDES)
        .map(|number| format!("shuffle_sharding.customer.{}.shard_size", customer(number)))
        .collect();
    move || {
        compile("shuffle_sharding", 1, &Snapshot::default(), &mut |visit| {
            names.iter().for_each(|name| visit(name, Scalar::Number(3.0)));
        })
    }
}

/// Live values with an override for each of many customers.
fn compiling() -> Work {
    let mut compile = compiler();
    Box::new(move || drop(black_box(compile())))
}

/// A customer among them.
fn look_up() -> Work {
    let snapshot = Snapshot::open(compiler()().bytes).unwrap();
    let keys: Vec<String> = (0..10_000).map(|number| customer(number * 10)).collect();
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % keys.len();
        black_box(snapshot.shard_size_of(black_box(keys[next].as_bytes())));
    })
}
