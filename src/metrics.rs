//! The metrics that Envoy shows under `/stats` with the prefix `wasmcustom.`.

use pinroute_core::metrics::{Counter, Gauge, Recorder};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    // The host returns new ids at every call, so metrics are defined once per VM, which has one thread.
    static COUNTERS: [Option<u32>; Counter::COUNT] = define_all();
    static GAUGES: RefCell<BTreeMap<String, Option<u32>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Defines all counters, and the gauges that sources share; `None` where the host refuses.
fn define_all() -> [Option<u32>; Counter::COUNT] {
    Gauge::ALL.iter().for_each(|gauge| _ = gauge_id(gauge.name()));
    let mut ids = [None; Counter::COUNT];
    for counter in Counter::all() {
        if let Some(id) = ids.get_mut(counter.index()) {
            *id = hostcalls::define_metric(MetricType::Counter, &counter.name()).ok();
        }
    }
    ids
}

/// The id of a gauge, which is defined when it is first asked for.
fn gauge_id(name: &str) -> Option<u32> {
    let define = || hostcalls::define_metric(MetricType::Gauge, name).ok();
    GAUGES.with_borrow_mut(|ids| *ids.entry(name.to_owned()).or_insert_with(define))
}

/// Increments a counter by one.
pub fn count(counter: Counter) {
    if let Some(id) = COUNTERS.with(|ids| ids.get(counter.index()).copied().flatten()) {
        let _ = hostcalls::increment_metric(id, 1);
    }
}

/// Shows what the core recorded.
pub fn flush(recorder: &mut Recorder) {
    recorder.counted().for_each(count);
    for (gauge, name_of_source, value) in recorder.gauges() {
        for id in [gauge.name(), &name_of_source].into_iter().filter_map(gauge_id) {
            let _ = hostcalls::record_metric(id, value);
        }
    }
}
