//! The `index` strategy: the formula of the demo's resolver, `number mod count + base`.

use super::hosts::{HostCache, HostTable};
use super::mode::IndexMode;
use crate::config::ShardDown;
use crate::decision::Route;
use crate::key::Key;
use crate::live::endpoints::Endpoints;
use crate::live::value::{Number, Source, Sourced};
use crate::live::values::{LiveValues, RequestValues};
use crate::request::Request;
use crate::target::Refused;
use std::sync::Arc;

/// The compiled strategy.
#[derive(Debug)]
pub struct Index {
    /// How a key becomes a number.
    pub mode: IndexMode,
    /// The hosts.
    pub hosts: HostTable,
    /// What happens if the host is not healthy.
    pub on_shard_down: ShardDown,
    /// Tells the hosts apart from those of other strategies in the worker's table.
    pub id: u64,
}

impl Index {
    /// The route of a key.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn route(
        &self,
        hosts: &mut HostCache,
        key: &Key<'_>,
        count: Sourced,
        live: &LiveValues,
    ) -> Result<Route, Refused> {
        let place = self.mode.slot(key.bytes(), count.value);
        let host = if self.hosts.is_live() {
            Arc::new(self.hosts.list(
                std::iter::once(place),
                live.endpoints.as_deref(),
                self.on_shard_down,
            )?)
        } else {
            hosts.get(self.id, &self.hosts, place, key)?
        };
        Ok(Route { total: Some(count), ..Route::to(host) })
    }

    /// The number of hosts for a key.
    pub fn count(&self, values: &mut RequestValues<'_, impl Request>, key: &[u8]) -> Sourced {
        count_of(&self.hosts, Number::Replicas, values, key)
    }
}

/// The number of hosts: the length of a list, the number of named endpoints, or the live value of a configured number. If
/// endpoints are numbered, a live value counts those that are down, too.
pub fn count_of(
    hosts: &HostTable,
    number: Number,
    values: &mut RequestValues<'_, impl Request>,
    key: &[u8],
) -> Sourced {
    if hosts.is_live() {
        let endpoints = values.endpoints();
        let value = endpoints.map_or(0, Endpoints::count);
        return match endpoints.and_then(Endpoints::parts) {
            Some(_) => Sourced { value, source: Source::Membership },
            None => values.number(number, key, value),
        };
    }
    match (hosts.configured_count(), hosts.names()) {
        (Some(configured), _) => values.number(number, key, configured),
        (None, names) => {
            let value = names.and_then(|names| u32::try_from(names.len()).ok()).unwrap_or(u32::MAX);
            Sourced { value, source: Source::Plugin }
        }
    }
}
