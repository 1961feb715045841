//! The metrics that Envoy shows under `/stats` with the prefix `wasmcustom.`.

use pinroute_core::metrics::{Counter, Gauge, Recorder};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The ids of all metrics; `None` where the host refused to define one.
struct Ids {
    counters: [Option<u32>; Counter::COUNT],
    gauges: [Option<u32>; Gauge::ALL.len()],
}

impl Ids {
    /// The host returns new ids at every call, so this is done once per VM.
    fn define() -> Self {
        let mut counters = [None; Counter::COUNT];
        for counter in Counter::all() {
            if let Some(id) = counters.get_mut(counter.index()) {
                *id = hostcalls::define_metric(MetricType::Counter, &counter.name()).ok();
            }
        }
        let gauges = Gauge::ALL.map(|gauge| hostcalls::define_metric(MetricType::Gauge, gauge.name()).ok());
        Self { counters, gauges }
    }
}

thread_local! {
    // A VM has one thread, and several plugins may share the VM.
    static IDS: Ids = Ids::define();
    static OF_SOURCES: RefCell<BTreeMap<String, Option<u32>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The id of a source's own gauge, which is defined when it is first set.
fn gauge_of_source(name: String) -> Option<u32> {
    OF_SOURCES.with_borrow_mut(|ids| match ids.get(&name) {
        Some(id) => *id,
        None => {
            let id = hostcalls::define_metric(MetricType::Gauge, &name).ok();
            ids.insert(name, id);
            id
        }
    })
}

/// Increments a counter by one.
pub fn count(counter: Counter) {
    if let Some(id) = IDS.with(|ids| ids.counters.get(counter.index()).copied().flatten()) {
        let _ = hostcalls::increment_metric(id, 1);
    }
}

/// Shows what the core recorded.
pub fn flush(recorder: &mut Recorder) {
    recorder.counted().for_each(count);
    for (gauge, own_name, value) in recorder.gauges() {
        let id = IDS.with(|ids| ids.gauges.get(gauge as usize).copied().flatten());
        for id in [id, gauge_of_source(own_name)].into_iter().flatten() {
            let _ = hostcalls::record_metric(id, value);
        }
    }
}
