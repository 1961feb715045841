//! Validates the sources of live values.

use super::error::ConfigError;
use super::rules::{self, Result, exactly_one};
use super::validated::{
    AdminConfig, Config, Fallback, Hosts, MembershipConfig, MembershipSource, RuntimeConfig, RuntimeSource,
    Strategy, XdsConfig,
};
use super::wire;
use std::time::Duration;

/// The cluster whose endpoints are the hosts, with the path of the field that names it.
pub fn live_hosts(config: &Config) -> Option<(&'static str, &String)> {
    let (path, hosts) = match &config.strategy {
        Strategy::Index(index) => ("index.hosts_from", &index.hosts),
        Strategy::ShuffleShard(shuffle) => ("shuffle_shard.hosts_from", &shuffle.hosts),
        Strategy::Resolve(_, Some(Fallback::Index(index, _))) => ("fallback.index.hosts_from", &index.hosts),
        Strategy::Resolve(..) | Strategy::Template => return None,
    };
    match hosts {
        Hosts::Live { cluster } => Some((path, cluster)),
        Hosts::Numbered { .. } | Hosts::Listed { .. } => None,
    }
}

pub fn runtime(runtime: wire::Runtime) -> Result<RuntimeConfig> {
    let wire::Runtime { prefix, rtds, admin, envoy } = runtime;
    let sources = [("rtds", rtds.is_some()), ("admin", admin.is_some()), ("envoy", envoy.is_some())];
    exactly_one("runtime", &sources)?;
    let source = match (rtds, admin) {
        (Some(wire::Rtds { cluster, authority, resource }), _) => {
            let cluster = cluster.map_or_else(|| "xds_cluster".to_owned(), |cluster| cluster.0);
            RuntimeSource::Rtds(XdsConfig {
                authority: rules::authority(authority, &cluster),
                cluster,
                resource: resource.map_or_else(|| "runtime".to_owned(), |resource| resource.0),
            })
        }
        (None, Some(wire::Admin { cluster, refresh })) => {
            RuntimeSource::Admin(self::admin(cluster, refresh.map(|refresh| refresh.0)))
        }
        (None, None) => RuntimeSource::Envoy,
    };
    Ok(RuntimeConfig {
        prefix: prefix.map_or_else(|| "shuffle_sharding".to_owned(), |prefix| prefix.0),
        source,
    })
}

/// `is_live` says that the endpoints themselves are wanted, not only their number.
pub fn membership(membership: wire::Membership, is_live: bool) -> Result<MembershipConfig> {
    let wire::Membership { cluster, admin, refresh, eds } = membership;
    let Some(cluster) = cluster else {
        return Err(ConfigError::new(
            "membership",
            "`cluster` is missing",
            "the cluster whose endpoints are wanted",
        ));
    };
    if let Some(wire::Eds { cluster: server, authority, service }) = eds {
        let polls = [("admin", admin.is_some()), ("refresh", refresh.is_some())];
        if let Some((field, _)) = polls.into_iter().find(|(_, is_set)| *is_set) {
            let problem = "cannot be combined with `eds`, which pushes the endpoints";
            return Err(ConfigError::new(format!("membership.{field}"), problem, "without `eds` only"));
        }
        let server = server.map_or_else(|| "xds_cluster".to_owned(), |server| server.0);
        let source = MembershipSource::Eds(XdsConfig {
            authority: rules::authority(authority, &server),
            cluster: server,
            resource: service.map_or_else(|| cluster.0.clone(), |service| service.0),
        });
        return Ok(MembershipConfig { cluster: cluster.0, source });
    }
    let admin = self::admin(admin, refresh.map(|refresh| refresh.0));
    let source = if is_live { MembershipSource::Endpoints(admin) } else { MembershipSource::Count(admin) };
    Ok(MembershipConfig { cluster: cluster.0, source })
}

fn admin(cluster: Option<super::scalar::Cluster>, refresh: Option<Duration>) -> AdminConfig {
    AdminConfig {
        cluster: cluster.map_or_else(|| "admin".to_owned(), |cluster| cluster.0),
        refresh: refresh.unwrap_or(Duration::from_secs(1)),
    }
}
