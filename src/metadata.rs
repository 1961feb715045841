//! Numbers in the metadata of routes and clusters.

use crate::{host, metrics};
use pinroute_core::cache::Cache;
use pinroute_core::live::{read_numbers, Numbers};
use std::cell::RefCell;

/// How many bytes of metadata are remembered with what they say, and how many names with what was last good.
const REMEMBERED: usize = 1 << 20;

/// Reads one namespace. The same bytes are read only once.
pub struct MetadataNumbers {
    namespace: String,
    known: RefCell<Cache<Numbers>>,
    last_good: RefCell<Cache<Numbers>>,
}

impl MetadataNumbers {
    /// A reader of this namespace.
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            known: RefCell::new(Cache::new(REMEMBERED)),
            last_good: RefCell::new(Cache::new(REMEMBERED)),
        }
    }

    /// What the route of the request at hand says.
    pub fn of_route(&self) -> Numbers {
        self.read("route_metadata", "route_name")
    }

    /// What the cluster says that the route leads to.
    pub fn of_cluster(&self) -> Numbers {
        self.read("cluster_metadata", "cluster_name")
    }

    fn read(&self, metadata: &str, name: &str) -> Numbers {
        let Some(bytes) = host::property(&["xds", metadata]) else { return Numbers::default() };
        if let Some(known) = self.known.borrow_mut().get(&bytes) {
            return known;
        }
        self.learn(&bytes, metadata, name)
    }

    /// Reads bytes that have not been seen before.
    #[cold]
    fn learn(&self, bytes: &[u8], metadata: &str, name: &str) -> Numbers {
        let mut whose = name.as_bytes().to_vec();
        whose.extend(host::property(&["xds", name]).unwrap_or_default());
        // What holds beside an unusable value depends on whose it is, and on what was before.
        let bytes_of_whom = [bytes, &whose].concat();
        if let Some(known) = self.known.borrow_mut().get(&bytes_of_whom) {
            return known;
        }
        let last = self.last_good.borrow_mut().get(&whose).unwrap_or_default();
        let mut skipped = Vec::new();
        let numbers = read_numbers(bytes, &self.namespace, last, &mut skipped);
        for entry in &skipped {
            log::warn!(
                "pinroute: {} = {} in {} `{}` is not usable; what it was before stays",
                entry.key,
                entry.value,
                metadata,
                self.namespace
            );
            metrics::with(|metrics| metrics.runtime_invalid.add_one());
        }
        self.last_good.borrow_mut().insert(&whose, numbers, 0);
        let known_by = if skipped.is_empty() { bytes } else { &bytes_of_whom };
        self.known.borrow_mut().insert(known_by, numbers, 0);
        numbers
    }
}
