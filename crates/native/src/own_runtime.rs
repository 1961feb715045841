//! The values of Envoy's own runtime, which the main thread reads again and again. They cannot be listed, so the sizes of single
//! keys stay unknown; a value that Envoy cannot take for what is asked counts as absent.

use crate::abi::Runtime;
use pinroute_core::live::compile::Compiler;
use pinroute_core::live::snapshot::Snapshot;
use pinroute_core::live::value::{Scalar, Skipped};
use std::sync::Arc;

/// The numbers that may be there, behind the prefix and a dot.
const NUMBERS: [&str; 4] = ["total_hosts", "default_shard_size", "replicas", "cache_generation"];
const ENABLED: &str = "enabled";

/// Envoy's own runtime under a prefix.
#[derive(Debug)]
pub struct OwnRuntime {
    runtime: Runtime,
    prefix: String,
    snapshot: Arc<Snapshot>,
    /// The unusable values that were reported last.
    reported: Vec<Skipped>,
}

impl OwnRuntime {
    /// Reads the values for the first time.
    ///
    /// # Errors
    /// If this Envoy has no functions for it.
    pub fn new(prefix: &str) -> Result<Self, String> {
        let runtime = Runtime::find();
        let runtime = runtime.ok_or("runtime.envoy: needs Envoy 1.40; allowed: `rtds` or `admin`")?;
        let mut new =
            Self { runtime, prefix: prefix.to_owned(), snapshot: Arc::default(), reported: Vec::new() };
        new.read();
        Ok(new)
    }

    /// The values as they were read last.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Reads the values. Returns how many are unusable that were not so before, and whether anything has changed.
    pub fn read(&mut self) -> (usize, bool) {
        let mut compiler = Compiler::new(&self.prefix, &self.snapshot);
        for name in NUMBERS.map(|name| format!("{}.{name}", self.prefix)) {
            if let Some(number) = self.runtime.int(&name) {
                compiler.add(&name, Scalar::Number(number as f64));
            }
        }
        let enabled = format!("{}.{ENABLED}", self.prefix);
        if let Some(truth) = self.runtime.truth(&enabled) {
            compiler.add(&enabled, Scalar::Bool(truth));
        }
        let compiled = compiler.finish(self.snapshot.version() + 1);
        let fresh = compiled.skipped.iter().filter(|entry| !self.reported.contains(entry));
        let invalid = fresh
            .inspect(|entry| {
                log::warn!("pinroute: runtime value {} = {} is invalid and ignored", entry.name, entry.value)
            })
            .count();
        self.reported = compiled.skipped;
        let has_changed = !compiled.snapshot.has_same_values(&self.snapshot);
        if has_changed {
            self.snapshot = Arc::new(compiled.snapshot);
        }
        (invalid, has_changed)
    }
}
