//! Makes resources out of what operators set.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pinroute_core::hash::fnv1a_64;
use serde_json::{Value as Json, json};

use super::Kind;
use super::message::{assignment, cluster, empty_layer, extension, runtime};
use super::snapshot::{Resource, Resources, Snapshot, Transport};
use crate::model::{Config, Hosts, State};

/// What Envoys have to know beside what operators set.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The name of the runtime layer's resource.
    pub resource: String,
    /// A runtime value that is left out, because metadata carries it.
    pub left_out: Option<String>,
    /// The cluster by which Envoys reach this server.
    pub xds_cluster: String,
    /// The module of the filter, as Envoys find it.
    pub module: PathBuf,
}

impl Publish {
    /// The resources of a state. Those that `previous` has in the same version are not made again. `store` is the id of the store.
    pub fn snapshot(&self, store: u64, state: &State, previous: Option<&Snapshot>) -> Snapshot {
        let known = |kind, name: &str, revision| {
            let resource = previous?.get(kind, name)?;
            (resource.revision == revision).then_some(resource)
        };
        let changed = state.changed;
        let mut clusters = Resources { changed: changed.clusters, by_name: BTreeMap::new() };
        let mut endpoints = clusters.clone();
        for (name, hosts) in &state.clusters {
            let revision = hosts.revision;
            let cluster = known(Kind::Cluster, name, revision).unwrap_or_else(|| {
                Resource::by_transport(revision, |transport| self.cluster(name, hosts, transport))
            });
            clusters.by_name.insert(name.clone(), cluster);
            let assignment = known(Kind::Endpoints, name, revision)
                .unwrap_or_else(|| Resource::new(revision, endpoints_of(name, hosts)));
            endpoints.by_name.insert(name.clone(), assignment);
        }
        let layer = known(Kind::Runtime, &self.resource, changed.runtime)
            .unwrap_or_else(|| Resource::new(changed.runtime, self.runtime(state)));
        let runtime =
            Resources { changed: changed.runtime, by_name: [(self.resource.clone(), layer)].into() };
        let extensions = state.configs.iter().map(|(name, config)| {
            let made = known(Kind::Extension, name, config.revision)
                .unwrap_or_else(|| Resource::new(config.revision, self.extension(name, config)));
            (name.clone(), made)
        });
        let extensions = Resources { changed: changed.configs, by_name: extensions.collect() };
        let kinds = [
            (Kind::Cluster, clusters),
            (Kind::Endpoints, endpoints),
            (Kind::Runtime, runtime),
            (Kind::Extension, extensions),
        ];
        Snapshot::new(kinds.into(), empty_layer).of_origin(self.origin(store))
    }

    /// A hash of all that decides about a resource beside the commit: an Envoy with the same version has the same content.
    fn origin(&self, store: u64) -> u32 {
        let text = format!("{self:?}{store}{}", env!("CARGO_PKG_VERSION"));
        let hash = fnv1a_64(text.as_bytes());
        (hash ^ (hash >> 32)) as u32
    }

    fn runtime(&self, state: &State) -> Vec<u8> {
        let values = state.runtime.iter().filter(|(key, _)| Some(*key) != self.left_out.as_ref());
        let layer = values.map(|(key, value)| (key.clone(), value.json().clone())).collect();
        runtime(&self.resource, &Json::Object(layer))
    }

    fn cluster(&self, name: &str, hosts: &Hosts, transport: Transport) -> Vec<u8> {
        let metadata = (hosts.total() > 0).then(|| json!({ "total_hosts": hosts.total() }));
        cluster(name, metadata.as_ref(), &self.xds_cluster, transport)
    }

    fn extension(&self, name: &str, config: &Config) -> Vec<u8> {
        extension(name, "pinroute", &self.module, config.value.to_string())
    }
}

fn endpoints_of(cluster: &str, hosts: &Hosts) -> Vec<u8> {
    let all = hosts.by_id.iter().map(|(id, address)| (*address, Some(json!({ "host_id": id }))));
    assignment(cluster, all)
}
