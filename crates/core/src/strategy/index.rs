//! The `index` strategy: the formula of the demo's resolver, `number mod count + base`.

use super::hosts::{HostCache, HostTable};
use super::mode::IndexMode;
use crate::decision::Route;
use crate::key::Key;
use crate::live::value::{Number, Source, Sourced};
use crate::live::values::RequestValues;
use crate::request::Request;
use crate::target::Refused;

/// The compiled strategy.
#[derive(Debug)]
pub struct Index {
    /// How a key becomes a number.
    pub mode: IndexMode,
    /// The hosts.
    pub hosts: HostTable,
    /// Tells the hosts apart from those of other strategies in the worker's table.
    pub id: u64,
}

impl Index {
    /// The route of a key.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn route(&self, hosts: &mut HostCache, key: &Key<'_>, count: Sourced) -> Result<Route, Refused> {
        let host = hosts.get(self.id, &self.hosts, self.mode.slot(key.bytes(), count.value), key)?;
        Ok(Route { total: Some(count), ..Route::to(host) })
    }

    /// The number of hosts for a key.
    pub fn count(&self, values: &mut RequestValues<'_, impl Request>, key: &[u8]) -> Sourced {
        count_of(&self.hosts, Number::Replicas, values, key)
    }
}

/// The number of hosts: the length of a list, or the live value of a configured number.
pub fn count_of(
    hosts: &HostTable,
    number: Number,
    values: &mut RequestValues<'_, impl Request>,
    key: &[u8],
) -> Sourced {
    match (hosts.configured_count(), hosts.names()) {
        (Some(configured), _) => values.number(number, key, configured),
        (None, names) => {
            let value = names.and_then(|names| u32::try_from(names.len()).ok()).unwrap_or(u32::MAX);
            Sourced { value, source: Source::Plugin }
        }
    }
}
