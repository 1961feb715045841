//! What operators set, and what changes are allowed. No I/O.
//!
//! An operator's call becomes a list of [`Edit`]s, or an [`Invalid`]. Edits become [`Record`]s, which the store keeps, and change the
//! [`State`]. So what is stored is what is served.

mod config;
mod hosts;
pub mod record;
mod runtime;

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

pub use config::Config;
pub use hosts::{DEFAULT_CLUSTER, Hosts};
pub use record::{Corrupt, Record};
pub use runtime::RuntimeValue;

/// All that operators have set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The number of the last commit.
    pub revision: u64,
    /// The runtime layer, by full names.
    pub runtime: BTreeMap<String, RuntimeValue>,
    /// The hosts of each cluster.
    pub clusters: BTreeMap<String, Hosts>,
    /// The plugin configurations that are pushed, by the names of extension configurations.
    pub configs: BTreeMap<String, Config>,
    /// The last commit that changed each kind, removals too.
    pub changed: Changed,
}

/// For each kind, the last commit that changed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The runtime layer.
    pub runtime: u64,
    /// Clusters and their hosts.
    pub clusters: u64,
    /// Plugin configurations.
    pub configs: u64,
}

/// One change of one thing. `None` removes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A runtime value.
    Runtime(String, Option<RuntimeValue>),
    /// The hosts of a cluster.
    Hosts(String, Option<Hosts>),
    /// A plugin configuration.
    Config(String, Option<Value>),
}

/// A change that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field.
    pub field: String,
    /// What is wrong with it, with the offending value, and what is allowed.
    pub problem: String,
    /// Whether the request is well-formed, and only its content is refused.
    pub is_semantic: bool,
}

impl Invalid {
    /// A mistake in a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), is_semantic: false }
    }

    /// A mistake that the filter found in a plugin configuration.
    pub fn semantic(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { is_semantic: true, ..Self::new(field, problem) }
    }
}

impl State {
    /// Makes the edits of a commit.
    pub fn apply(&mut self, edits: Vec<Edit>, revision: u64) {
        self.revision = revision;
        for edit in edits {
            match edit {
                Edit::Runtime(key, value) => {
                    self.changed.runtime = revision;
                    match value {
                        Some(value) => drop(self.runtime.insert(key, value)),
                        None => drop(self.runtime.remove(&key)),
                    }
                }
                Edit::Hosts(cluster, hosts) => {
                    self.changed.clusters = revision;
                    match hosts {
                        Some(hosts) => drop(self.clusters.insert(cluster, Hosts { revision, ..hosts })),
                        None => drop(self.clusters.remove(&cluster)),
                    }
                }
                Edit::Config(name, value) => {
                    self.changed.configs = revision;
                    match value {
                        Some(value) => drop(self.configs.insert(name, Config { revision, value })),
                        None => drop(self.configs.remove(&name)),
                    }
                }
            }
        }
    }
}

/// The longest name of a cluster or of an extension configuration, in bytes.
const MAX_NAME: usize = 256;

/// Whether a text has 1 to `most` bytes and no control characters.
fn fits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether this may be the name of a cluster or of an extension configuration. In xDS, `*` means all resources.
pub fn is_name(name: &str) -> bool {
    fits(name, MAX_NAME) && name != "*"
}

/// Checks the name of a cluster or of an extension configuration.
fn name(field: &str, name: &str) -> Result<(), Invalid> {
    if !is_name(name) {
        let problem =
            format!("got {name:?}; allowed: 1 to {MAX_NAME} bytes without control characters, and not *");
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}
