//! The metrics. Envoy shows them under the configuration's `metrics_namespace`, which should be `pinroute`: without it, the
//! names here mean nothing.

use crate::abi::{Config, Filter};
use pinroute_core::metrics::{Counter, Gauge, Recorder};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What the module's metrics share in their names under Wasm.
const PREFIX: &str = "pinroute_";

/// The metrics of a configuration.
#[derive(Debug)]
pub struct Metrics {
    counters: [Option<usize>; Counter::COUNT],
    gauges: BTreeMap<String, usize>,
    /// What happened outside of requests in an Envoy that shows it only within one.
    later: Mutex<Vec<Change>>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Count(usize),
    Set(usize, u64),
}

impl Metrics {
    /// Defines all counters, and the gauges for these sources. Envoy allows that only while it makes the configuration.
    pub fn new(config: Config, sources: &[String]) -> Self {
        let mut counters = [None; Counter::COUNT];
        for counter in Counter::all() {
            if let Some(id) = counters.get_mut(counter.index()) {
                *id = config.define_counter(short(&counter.name()));
            }
        }
        let of_sources: Vec<String> =
            sources.iter().flat_map(|source| Gauge::ALL.map(|gauge| gauge.name_of(source))).collect();
        let names = Gauge::ALL.into_iter().map(|gauge| gauge.name().to_owned()).chain(of_sources);
        let gauges =
            names.filter_map(|name| config.define_gauge(short(&name)).map(|id| (name, id))).collect();
        Self { counters, gauges, later: Mutex::default() }
    }

    /// Increments a counter by one.
    pub fn count(&self, filter: Filter, counter: Counter) {
        if let Some(id) = self.counter(counter) {
            filter.count(id);
        }
    }

    fn counter(&self, counter: Counter) -> Option<usize> {
        self.counters.get(counter.index()).copied().flatten()
    }

    /// Shows what the core recorded during a request.
    pub fn flush(&self, filter: Filter, recorder: &mut Recorder) {
        recorder.counted().for_each(|counter| self.count(filter, counter));
    }

    /// Shows what the core recorded in the main thread.
    pub fn flush_outside(&self, config: Config, recorder: &mut Recorder) {
        let counted = recorder.counted().filter_map(|counter| self.counter(counter)).map(Change::Count);
        let mut changes: Vec<Change> = counted.collect();
        for (gauge, name_of_source, value) in recorder.gauges() {
            let ids = [gauge.name(), &name_of_source].into_iter().filter_map(|name| self.gauges.get(name));
            changes.extend(ids.map(|id| Change::Set(*id, value)));
        }
        self.change(config, changes);
    }

    /// Increments counters in the main thread.
    pub fn count_outside(&self, config: Config, counters: impl Iterator<Item = Counter>) {
        self.change(
            config,
            counters.filter_map(|counter| self.counter(counter)).map(Change::Count).collect(),
        );
    }

    fn change(&self, config: Config, mut changes: Vec<Change>) {
        changes.retain(|change| match *change {
            Change::Count(id) => !config.count(id),
            Change::Set(id, value) => !config.set_gauge(id, value),
        });
        if !changes.is_empty() {
            self.later.lock().unwrap_or_else(PoisonError::into_inner).append(&mut changes);
        }
    }

    /// Whether something waits for [`Self::flush_later`].
    pub fn has_later(&self) -> bool {
        !self.later.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Shows what could not be shown outside of a request. To be called now and then.
    pub fn flush_later(&self, filter: Filter) {
        let changes = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        for change in changes {
            match change {
                Change::Count(id) => filter.count(id),
                Change::Set(id, value) => filter.set_gauge(id, value),
            }
        }
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}
