//! What the store keeps: records with names, in one flat space, as a key-value store has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Config, Edit, Hosts, RuntimeValue, State};

/// A record. `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name.
    pub name: String,
    /// The content, in JSON.
    pub content: Option<Vec<u8>>,
}

/// A stored record that cannot be read.
#[derive(Debug, Error)]
#[error("the record {name:?} in the store is corrupt: {problem}")]
pub struct Corrupt {
    name: String,
    problem: String,
}

const RUNTIME: &str = "runtime/";
const HOSTS: &str = "hosts/";
const CONFIG: &str = "config/";
const CHANGED: &str = "changed/";

#[derive(Deserialize, Serialize)]
struct StoredHosts {
    revision: u64,
    hosts: BTreeMap<u32, SocketAddr>,
}

#[derive(Deserialize, Serialize)]
struct StoredConfig {
    revision: u64,
    config: Value,
}

/// The records that these edits change, in the commit of this number.
///
/// # Errors
/// If a value cannot be serialized.
pub fn of_edits(edits: &[Edit], revision: u64) -> Result<Vec<Record>, serde_json::Error> {
    let mut records = BTreeMap::new();
    for edit in edits {
        let (kind, name, content) = match edit {
            Edit::Runtime(key, value) => {
                (RUNTIME, key, value.as_ref().map(|value| serde_json::to_vec(value.json())).transpose()?)
            }
            Edit::Hosts(cluster, hosts) => {
                let stored = hosts.as_ref().map(|hosts| StoredHosts { revision, hosts: hosts.by_id.clone() });
                (HOSTS, cluster, stored.map(|stored| serde_json::to_vec(&stored)).transpose()?)
            }
            Edit::Config(name, value) => {
                let stored = value.as_ref().map(|config| StoredConfig { revision, config: config.clone() });
                (CONFIG, name, stored.map(|stored| serde_json::to_vec(&stored)).transpose()?)
            }
        };
        records.insert(format!("{kind}{name}"), content);
        // A removal leaves no record that could say when it was.
        records.insert(format!("{CHANGED}{kind}"), Some(serde_json::to_vec(&revision)?));
    }
    Ok(records.into_iter().map(|(name, content)| Record { name, content }).collect())
}

impl State {
    /// The state that these records hold.
    ///
    /// # Errors
    /// [`Corrupt`]
    pub fn from_records(
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
        revision: u64,
    ) -> Result<Self, Corrupt> {
        let mut state = Self { revision, ..Self::default() };
        for (name, content) in records {
            let corrupt = |problem: String| Corrupt { name: name.clone(), problem };
            let wrong = |error: serde_json::Error| corrupt(error.to_string());
            if let Some(key) = name.strip_prefix(RUNTIME) {
                let value = serde_json::from_slice(&content).map_err(wrong)?;
                state.runtime.insert(key.to_owned(), RuntimeValue::stored(value));
            } else if let Some(cluster) = name.strip_prefix(HOSTS) {
                let StoredHosts { revision, hosts } = serde_json::from_slice(&content).map_err(wrong)?;
                state.clusters.insert(cluster.to_owned(), Hosts { revision, by_id: hosts });
            } else if let Some(config) = name.strip_prefix(CONFIG) {
                let StoredConfig { revision, config: value } =
                    serde_json::from_slice(&content).map_err(wrong)?;
                state.configs.insert(config.to_owned(), Config { revision, value });
            } else if let Some(kind) = name.strip_prefix(CHANGED) {
                let revision = serde_json::from_slice(&content).map_err(wrong)?;
                match kind {
                    RUNTIME => state.changed.runtime = revision,
                    HOSTS => state.changed.clusters = revision,
                    CONFIG => state.changed.configs = revision,
                    _ => return Err(corrupt("of an unknown kind".to_owned())),
                }
            } else {
                return Err(corrupt("of an unknown kind".to_owned()));
            }
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_stored_is_what_was_set() {
        let mut state = State::default();
        let mut stored = BTreeMap::new();
        let object = |value: Value| value.as_object().unwrap().clone();
        let mut commit = |state: &mut State, edits: Vec<Edit>| {
            let revision = state.revision + 1;
            for Record { name, content } in of_edits(&edits, revision).unwrap() {
                match content {
                    Some(content) => drop(stored.insert(name, content)),
                    None => drop(stored.remove(&name)),
                }
            }
            state.apply(edits, revision);
            let loaded = State::from_records(stored.clone(), revision).unwrap();
            assert_eq!(&loaded, state);
        };
        let values = object(json!({ "p.total_hosts": 8.0, "t": "x", "b": true, "n": 0.1 }));
        let edits = state.replace_runtime("p", &values).unwrap();
        commit(&mut state, edits);
        let edits = state.set_hosts("c", &["10.0.0.1:80".to_owned()], Some("p.total_hosts")).unwrap();
        commit(&mut state, edits);
        let edits = state.set_config("n", Some(&json!({ "index": { "hosts": ["a:1"] } }))).unwrap();
        commit(&mut state, edits);
        let edits = state.set_config("n", None).unwrap();
        commit(&mut state, edits);
        let edits = state.replace_runtime("p", &object(json!({}))).unwrap();
        commit(&mut state, edits);
        assert_eq!((state.changed.runtime, state.changed.clusters, state.changed.configs), (5, 2, 4));
    }

    #[test]
    fn a_corrupt_record_is_named() {
        for name in ["runtime/a", "hosts/c", "config/n", "changed/runtime/", "changed/x", "other"] {
            let error = State::from_records([(name.to_owned(), b"{".to_vec())], 1).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
