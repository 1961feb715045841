//! What is measured, by time (`core.rs`) and by instructions (`instructions.rs`).

use pinroute_core::answer::AnswerConfig;
use pinroute_core::config;
use pinroute_core::decision::Decision;
use pinroute_core::live::compile::{Compiled, Compiler};
use pinroute_core::live::endpoints::{Identity, Reported};
use pinroute_core::live::snapshot::Snapshot;
use pinroute_core::live::value::Scalar;
use pinroute_core::live::values::LiveValues;
use pinroute_core::request::{Property, Request};
use pinroute_core::response::{Headers, Response};
use pinroute_core::router::{Router, Worker};
use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};
use pinroute_core::time::Time;
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;

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
const FAILOVER: &str = r#"{"key":{"header":"x-customer-id"},"shuffle_shard":{"hosts_from":"fleet","shard_size":2},
    "target":{"endpoints":{"header":"x-shard-endpoints"}},"membership":{"cluster":"fleet"}}"#;
const ANSWER: &[u8] = br#"{"client_id":"customer-000000007","hostport":"poc-routing-server-2:8081"}"#;

/// The work that is measured, repeated.
pub type Work = Box<dyn FnMut()>;

/// A case.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// How many repetitions count its instructions.
    pub times: u64,
    /// Prepares the work.
    pub prepare: fn() -> Work,
}

/// All cases.
pub const CASES: [Case; 19] = [
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
    Case { name: "warm decision/failover", times: 1_000, prepare: failover },
    Case { name: "cold decision/resolve", times: 20_000, prepare: resolve_new },
    Case { name: "/where", times: 1_000, prepare: answer },
    Case { name: "snapshot of 100,000 overrides/compile", times: 1, prepare: compiling },
    Case { name: "snapshot of 100,000 overrides/look up", times: 1_000, prepare: look_up },
    Case { name: "snapshot of 1,000 endpoints/compile", times: 10, prepare: compiling_endpoints },
    Case { name: "snapshot of 1,000 endpoints/adopt", times: 10, prepare: adopting_endpoints },
];

struct Head {
    path: Vec<u8>,
    customer: Vec<u8>,
}

impl Request for Head {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        // As a host call returns it.
        Some(Cow::Owned(self.path.clone()))
    }

    fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Owned(self.customer.clone()))
    }

    fn property(&self, _property: Property) -> Option<Cow<'_, [u8]>> {
        None
    }
}

fn customer(number: u32) -> String {
    format!("customer-{number:09}")
}

fn head(number: u32) -> Head {
    let customer = customer(number);
    Head { path: format!("/join?client_id={customer}").into_bytes(), customer: customer.into_bytes() }
}

/// The shard of a key that is not in the cache.
fn assign(algorithm: Algorithm, hosts: u32) -> Work {
    let assigner = Assigner::new(algorithm, &Hosts::Numbered, None);
    let (mut scratch, mut shard, key) = (Scratch::default(), Vec::new(), customer(7));
    Box::new(move || assigner.assign(black_box(key.as_bytes()), hosts, 2, &mut scratch, &mut shard))
}

/// A router and the state of one thread.
struct State {
    router: Arc<Router>,
    worker: Worker<()>,
    live: LiveValues,
}

impl State {
    fn new(config: &str) -> Self {
        let config = config::parse(config.as_bytes()).unwrap().config;
        Self { router: Router::new(config, 1), worker: Worker::new([1, 2, 3]), live: LiveValues::default() }
    }

    /// The whole decision on a request, with the resolver's response if it is called.
    fn decide(&mut self, head: &Head) {
        let Self { router, worker, live } = self;
        if let Decision::Call(call) = router.on_request(worker, head, live, Time::default(), || ()) {
            worker.on_sent(router, call, 1);
            let response = Response::Complete { status: 200, body: ANSWER, headers: Headers::default() };
            let resolved = worker.on_response(1, response, Time::default()).unwrap();
            black_box(resolved.router.on_resolved(worker, &resolved.answer, head, live));
        }
        worker.recorder().counted().for_each(drop);
    }
}

/// The decision on a request whose key is known.
fn decide(config: &str) -> Work {
    let (mut state, head) = (State::new(config), head(7));
    state.decide(&head);
    Box::new(move || state.decide(black_box(&head)))
}

/// A snapshot of 1,000 endpoints.
fn endpoints() -> Snapshot {
    let endpoint = |number: u32| {
        let identity = Some(Identity::Hostname(format!("host-{number}")));
        Reported::new(identity, &format!("10.0.{}.{}", number / 250, number % 250), 8081, true).unwrap()
    };
    let reported: Vec<Reported> = (0..1_000).map(endpoint).collect();
    let last = Snapshot::default();
    let mut compiler = Compiler::new("fleet", &last);
    compiler.add_endpoints(black_box(&reported)).unwrap();
    compiler.finish(1).snapshot
}

/// What the VM that receives endpoints does.
fn compiling_endpoints() -> Work {
    Box::new(|| drop(black_box(endpoints())))
}

/// What each other VM does.
fn adopting_endpoints() -> Work {
    let bytes = endpoints().bytes().to_vec();
    Box::new(move || drop(black_box(Snapshot::open(black_box(bytes.clone())))))
}

/// The decision on a request whose shard is known, out of 1,000 endpoints.
fn failover() -> Work {
    let (mut state, head) = (State::new(FAILOVER), head(7));
    state.live.endpoints = endpoints().endpoints().cloned();
    state.decide(&head);
    Box::new(move || state.decide(black_box(&head)))
}

/// The decision on a request whose key is new: the call, and the verdict that follows from the response.
fn resolve_new() -> Work {
    let (mut state, mut number) = (State::new(RESOLVE), 0);
    Box::new(move || {
        number += 1;
        state.decide(&head(number));
    })
}

/// The resolver's response.
fn answer() -> Work {
    let config = AnswerConfig::default();
    Box::new(move || drop(black_box(config.read(black_box(ANSWER), Headers::default()))))
}

fn compiler() -> impl FnMut() -> Compiled {
    let names: Vec<String> = (0..OVERRIDES)
        .map(|number| format!("shuffle_sharding.customer.{}.shard_size", customer(number)))
        .collect();
    move || {
        let last = Snapshot::default();
        let mut compiler = Compiler::new("shuffle_sharding", &last);
        names.iter().for_each(|name| compiler.add(name, Scalar::Number(3.0)));
        compiler.finish(1)
    }
}

/// Live values with an override for each of many customers.
fn compiling() -> Work {
    let mut compile = compiler();
    Box::new(move || drop(black_box(compile())))
}

/// A customer among them.
fn look_up() -> Work {
    let snapshot = compiler()().snapshot;
    let keys: Vec<String> = (0..10_000).map(|number| customer(number * 10)).collect();
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % keys.len();
        black_box(snapshot.shard_size_of(black_box(keys[next].as_bytes())));
    })
}
