//! Several VMs of a process as a table of events: ticks, messages and responses in, actions and snapshots out.

use super::super::value::Number;
use super::super::vm::fake::FakeProcess;
use super::*;
use crate::live::vm::Node;
use crate::protobuf::{DiscoveryRequest, DiscoveryResponse, Runtime};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};
use std::cell::RefCell;
use std::time::Duration;

const PLUGIN: u32 = 1;

fn at(millis: u64) -> Time {
    Time::from_millis(1_000_000 + millis)
}

fn rtds_config() -> RuntimeConfig {
    let [cluster, authority, resource] = ["xds", "xds", "runtime"].map(str::to_owned);
    let source = RuntimeSource::Rtds(XdsConfig { cluster, authority, resource });
    RuntimeConfig { prefix: "p".to_owned(), source }
}

fn admin_config(refresh_ms: u64) -> RuntimeConfig {
    let refresh = Duration::from_millis(refresh_ms);
    let source = RuntimeSource::Admin(AdminConfig { cluster: "admin".to_owned(), refresh });
    RuntimeConfig { prefix: "p".to_owned(), source }
}

/// One VM with one subscription.
struct OneVm<'p> {
    process: &'p FakeProcess,
    subscriptions: Subscriptions,
    id: SubscriptionId,
    now: Time,
}

impl<'p> OneVm<'p> {
    fn new(process: &'p FakeProcess, seed: u64, config: &RuntimeConfig) -> Self {
        let mut subscriptions = Subscriptions::new(seed);
        let id = subscriptions.join_runtime(config, process).unwrap();
        Self { process, subscriptions, id, now: at(0) }
    }

    fn tick(&mut self, millis: u64) -> Option<Action> {
        self.now = at(millis);
        self.subscriptions.tick(self.id, PLUGIN, self.now, self.process)
    }

    /// Ticks until the VM opens a stream, and gives it a token.
    fn open(&mut self, millis: u64, token: u32) {
        let action = self.tick(millis);
        assert!(matches!(action, Some(Action::OpenStream { .. })), "{action:?}");
        self.subscriptions.on_started(self.id, Some(token));
    }

    fn message(&mut self, token: u32, version: &str, total_hosts: f64) -> Option<Action> {
        self.subscriptions.on_message(token, &response(version, total_hosts), self.process)
    }

    fn total_hosts(&self) -> Option<u32> {
        self.subscriptions.snapshot(self.id).number(Number::TotalHosts)
    }

    /// The gauges that were set, by the source's own names.
    fn gauges(&mut self) -> Vec<(String, u64)> {
        self.subscriptions.recorder().gauges().map(|(_, name, value)| (name, value)).collect()
    }

    fn counted(&mut self) -> Vec<Counter> {
        self.subscriptions.recorder().counted().collect()
    }
}

fn response(version: &str, total_hosts: f64) -> Vec<u8> {
    let value = Value { kind: Some(Kind::NumberValue(total_hosts)) };
    let layer = Struct { fields: [("p.total_hosts".to_owned(), value)].into() };
    let runtime = Runtime { name: "runtime".to_owned(), layer: Some(layer) };
    let type_url = super::super::rtds::TYPE_URL.to_owned();
    let resource = Any { type_url: type_url.clone(), value: runtime.encode_to_vec() };
    let (version_info, nonce) = (version.to_owned(), "n".to_owned());
    DiscoveryResponse { version_info, resources: vec![resource], type_url, nonce }.encode_to_vec()
}

#[test]
fn one_vm_of_the_process_has_the_stream_and_all_have_its_values() {
    let process = FakeProcess::default();
    let [mut main, mut worker] = [1, 2].map(|seed| OneVm::new(&process, seed, &rtds_config()));
    main.open(0, 7);
    assert_eq!(worker.tick(10), None);
    assert!(matches!(main.message(7, "41", 12.0), Some(Action::Send { token: 7, .. })));
    assert_eq!((main.total_hosts(), worker.total_hosts()), (Some(12), None));
    assert_eq!(worker.tick(20), None);
    assert_eq!(worker.total_hosts(), Some(12));
    assert_eq!(main.counted(), [Counter::RuntimeUpdates]);
    assert_eq!(main.gauges(), [("pinroute_runtime.version.rtds.xds.runtime".to_owned(), 41)]);
}

#[test]
fn a_new_vm_adopts_what_was_published_before_its_first_request() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &rtds_config());
    main.open(0, 7);
    main.message(7, "1", 12.0);
    assert_eq!(OneVm::new(&process, 3, &rtds_config()).total_hosts(), Some(12));
}

#[test]
fn another_refresh_interval_is_the_same_source() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &admin_config(5_000));
    assert!(main.tick(0).is_some());
    main.subscriptions.on_started(main.id, Some(9));
    let body = br#"{"entries":{"p.total_hosts":{"final_value":"12"}}}"#;
    assert!(main.subscriptions.has_call(9));
    main.subscriptions.on_response(9, Some(body), &process);
    assert_eq!(OneVm::new(&process, 3, &admin_config(1_000)).total_hosts(), Some(12));
    let id = main.subscriptions.join_runtime(&admin_config(1_000), &process).unwrap();
    assert_eq!(id, main.id);
    main.tick(5_000).expect("the interval in force then");
    main.subscriptions.on_started(main.id, Some(10));
    main.subscriptions.on_response(10, Some(body), &process);
    assert!(main.tick(5_999).is_none());
    assert!(main.tick(6_000).is_some(), "the shortest interval counts");
}

#[test]
fn another_vm_continues_where_a_crashed_one_stopped() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &rtds_config());
    main.open(0, 7);
    main.message(7, "1", 12.0);
    drop(main);
    let mut worker = OneVm::new(&process, 2, &rtds_config());
    assert_eq!(worker.tick(0), None);
    worker.open(1_100, 8);
    worker.message(8, "2", 13.0);
    assert_eq!(worker.total_hosts(), Some(13));
    assert_eq!(worker.subscriptions.snapshot(worker.id).version(), 2, "versions go on");
}

#[test]
fn a_stalled_leader_does_not_overwrite_its_successor() {
    let process = FakeProcess::default();
    let [mut old, mut new] = [1, 2].map(|seed| OneVm::new(&process, seed, &rtds_config()));
    old.open(0, 7);
    old.message(7, "1", 10.0);
    new.tick(0);
    new.open(1_100, 8);
    new.message(8, "2", 20.0);
    // The old leader's clock has not moved, so it still believes that it holds the lease.
    old.message(7, "1", 15.0);
    let mut third = OneVm::new(&process, 3, &rtds_config());
    assert_eq!(third.total_hosts(), Some(20));
    assert_eq!(old.total_hosts(), Some(20), "it adopts the successor's values");
    assert_eq!(third.tick(0), None);
    let action = old.tick(1_200);
    assert_eq!(action, Some(Action::Cancel { token: 7 }), "and ends its stream");
}

/// An update may take longer to compile than the lease lasts.
#[test]
fn an_update_counts_although_the_lease_went_to_another_vm_meanwhile() {
    let process = FakeProcess::default();
    let (mut slow, next) = a_holder_and_the_next(&process);
    // The node is asked for while an update is handled.
    let meanwhile = Meanwhile(&process, || {
        next.borrow_mut().open(1_100, 8);
    });
    slow.subscriptions.on_message(7, &response("1", 10.0), &meanwhile);
    assert_eq!(
        (slow.total_hosts(), OneVm::new(&process, 3, &rtds_config()).total_hosts()),
        (Some(10), Some(10))
    );
}

/// Of two VMs that compile an update at the same time, one loses it. It must not tell the server that it has it.
#[test]
fn an_update_that_a_vm_could_not_share_is_asked_for_again() {
    let process = FakeProcess::default();
    let (mut slow, next) = a_holder_and_the_next(&process);
    let meanwhile = Meanwhile(&process, || {
        let mut next = next.borrow_mut();
        next.open(1_100, 8);
        next.message(8, "1", 10.0);
    });
    slow.subscriptions.on_message(7, &response("2", 20.0), &meanwhile);
    assert_eq!(slow.total_hosts(), None);
    assert_eq!(slow.tick(1_200), Some(Action::Cancel { token: 7 }));
    assert_eq!(slow.total_hosts(), Some(10), "the other VM was faster");
    let first = (2..9).find_map(|second| slow.tick(second * 1_000));
    let Some(Action::OpenStream { first, .. }) = first else { panic!("{first:?}") };
    assert_eq!(DiscoveryRequest::decode(first.as_slice()).unwrap().version_info, "");
    slow.subscriptions.on_started(slow.id, Some(9));
    slow.message(9, "2", 20.0);
    assert_eq!(slow.total_hosts(), Some(20));
}

/// A VM with the lease and the stream 7, and one that has seen the lease.
fn a_holder_and_the_next(process: &FakeProcess) -> (OneVm<'_>, RefCell<OneVm<'_>>) {
    let [mut holder, mut next] = [1, 2].map(|seed| OneVm::new(process, seed, &rtds_config()));
    holder.open(0, 7);
    next.tick(0);
    (holder, RefCell::new(next))
}

/// Lets something happen while an update is handled.
struct Meanwhile<'p, F>(&'p FakeProcess, F);

impl<F: Fn()> Vm for Meanwhile<'_, F> {
    fn node(&self) -> Node {
        (self.1)();
        self.0.node()
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)> {
        self.0.shared(key)
    }

    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        self.0.set_shared(key, value, cas)
    }
}

#[test]
fn the_connected_gauge_follows_the_stream() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &rtds_config());
    let connected = |value| ("pinroute_runtime.connected.rtds.xds.runtime".to_owned(), value);
    main.open(0, 7);
    main.subscriptions.on_accepted(7);
    assert_eq!(main.gauges(), [connected(1)], "also if the server has nothing to send");
    assert_eq!(main.subscriptions.on_closed(7, 14, at(100)), Some(Action::Cancel { token: 7 }));
    assert_eq!(main.gauges(), [connected(0)]);
    assert_eq!(main.subscriptions.on_closed(7, 14, at(100)), None, "once");
    assert!(main.tick(5_000).is_some());
    main.subscriptions.on_started(main.id, None);
    assert_eq!(main.gauges(), [connected(0)], "a stream that cannot be opened");
}

#[test]
fn a_server_that_ends_streams_at_once_is_asked_ever_more_rarely() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &rtds_config());
    let mut streams = 0;
    for millis in (0..20_000).step_by(25) {
        if main.tick(millis).is_some() {
            streams += 1;
            main.subscriptions.on_started(main.id, Some(streams));
            main.message(streams, "1", 8.0);
            main.subscriptions.on_closed(streams, 14, at(millis));
        }
    }
    assert!((6..=12).contains(&streams), "{streams} streams in 20 s");
}

#[test]
fn an_unusable_value_is_reported_once_and_leaves_the_last_good_one() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &rtds_config());
    main.open(0, 7);
    main.message(7, "1", 12.0);
    main.message(7, "2", -1.0);
    main.message(7, "3", -1.0);
    assert_eq!(main.total_hosts(), Some(12));
    let invalid = main.counted().iter().filter(|counter| **counter == Counter::RuntimeInvalid).count();
    assert_eq!(invalid, 1);
}

#[test]
fn a_plugin_that_leaves_ends_its_stream_and_the_next_one_continues() {
    let process = FakeProcess::default();
    let mut main = OneVm::new(&process, 1, &rtds_config());
    let second = main.subscriptions.join_runtime(&rtds_config(), &process).unwrap();
    assert_eq!(second, main.id, "one subscription for both plugins");
    main.open(0, 7);
    assert_eq!(main.subscriptions.tick(main.id, PLUGIN + 1, at(10), &process), None, "one of them drives");
    assert_eq!(main.subscriptions.leave(main.id, PLUGIN, &process), Some(Action::Cancel { token: 7 }));
    let action = main.subscriptions.tick(main.id, PLUGIN + 1, at(5_000), &process);
    assert!(matches!(action, Some(Action::OpenStream { .. })), "{action:?}");
    main.subscriptions.leave(main.id, PLUGIN + 1, &process);
    let mut other = OneVm::new(&process, 2, &rtds_config());
    assert!(other.tick(0).is_some(), "the last one to leave gives the lease up");
}
