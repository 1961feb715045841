//! Which resources of a kind a stream wants.

use std::collections::{BTreeMap, BTreeSet};

use super::Kind;
use super::snapshot::{Resource, Snapshot};

/// A name that stands for all resources.
pub const WILDCARD: &str = "*";

/// Which resources of a kind a stream wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// All of them.
    pub wildcard: bool,
    /// Those of these names.
    pub names: BTreeSet<String>,
}

impl Subscription {
    /// Whether it includes this name.
    pub fn includes(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// The resources that it includes and that exist.
    pub fn resources(&self, kind: Kind, snapshot: &Snapshot) -> BTreeMap<String, Resource> {
        let named = self.names.iter().filter_map(|name| Some((name.clone(), snapshot.get(kind, name)?)));
        let all = snapshot.all(kind).filter(|_| self.wildcard);
        named.chain(all.map(|(name, resource)| (name.clone(), resource.clone()))).collect()
    }
}
