//! Reads where live values come from.

use super::node::{Checked, Node, Object};
use super::read::cluster;
use super::{AdminConfig, MembershipConfig, RuntimeConfig, RuntimeSource};
use std::time::Duration;

/// Where runtime values may come from, of which there is exactly one.
const SOURCES: &[&str] = &["rtds", "admin"];

/// The shortest time between two polls: each costs Envoy's main thread a walk over all of its values.
const LEAST_REFRESH: Duration = Duration::from_millis(50);

/// The longest name of a cluster that is spoken to by gRPC: its length has to fit one byte of a message.
const LONGEST_CLUSTER: usize = 100;

pub fn runtime(node: &Node<'_>) -> Checked<RuntimeConfig> {
    let fields = node.object(&["prefix", "rtds", "admin"])?;
    let prefix = fields.get_or("prefix", "shuffle_sharding".to_owned(), |node| {
        node.string_where(
            "what the names of runtime values begin with, without a dot at its ends",
            |prefix| !prefix.is_empty() && !prefix.starts_with('.') && !prefix.ends_with('.'),
        )
    })?;
    let source = match fields.exactly_one_of(SOURCES)? {
        ("rtds", node) => rtds(&node)?,
        (_, node) => {
            let fields = node.object(&["cluster", "refresh"])?;
            RuntimeSource::Admin(admin(&fields, "cluster")?)
        }
    };
    Ok(RuntimeConfig { prefix, source })
}

fn rtds(node: &Node<'_>) -> Checked<RuntimeSource> {
    let fields = node.object(&["cluster", "resource"])?;
    let allowed = format!("the name of an Envoy cluster, of at most {LONGEST_CLUSTER} bytes");
    let short =
        |name: &str| !name.is_empty() && name.len() <= LONGEST_CLUSTER && !name.contains(char::is_control);
    Ok(RuntimeSource::Rtds {
        cluster: fields
            .get_or("cluster", "xds_cluster".to_owned(), |node| node.string_where(&allowed, short))?,
        resource: fields.get_or("resource", "runtime".to_owned(), |node| {
            node.string_where("the name of a runtime resource", |name| !name.is_empty())
        })?,
    })
}

pub fn membership(node: &Node<'_>) -> Checked<MembershipConfig> {
    let fields = node.object(&["cluster", "admin", "refresh"])?;
    let counted = match fields.get("cluster") {
        Some(node) => cluster(&node)?,
        None => return Err(node.error("`cluster` is missing", "the cluster whose endpoints are counted")),
    };
    Ok(MembershipConfig { cluster: counted, admin: admin(&fields, "admin")? })
}

fn admin(fields: &Object<'_>, name: &'static str) -> Checked<AdminConfig> {
    Ok(AdminConfig {
        cluster: fields.get_or(name, "admin".to_owned(), |node| cluster(&node))?,
        refresh: fields.get_or("refresh", Duration::from_secs(1), |node| node.duration(LEAST_REFRESH))?,
    })
}
