//! The hosts of a cluster, each with a number of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pinroute_core::shard::MAX_HOSTS;

use super::runtime::RuntimeValue;
use super::{Edit, Invalid, State, name};

/// The cluster if none is named.
pub const DEFAULT_CLUSTER: &str = "service_backend";

/// The hosts of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// The commit that changed them last.
    pub revision: u64,
    /// Addresses by ids. An id without an address is a host that is down, if a higher one has one.
    pub by_id: BTreeMap<u32, SocketAddr>,
}

impl Hosts {
    /// The number of hosts: the highest id + 1, those included that are down.
    pub fn total(&self) -> u32 {
        self.by_id.last_key_value().map_or(0, |(id, _)| id + 1)
    }

    /// The same hosts as in this list: an id stays with its host, and a new host gets the lowest id that is free.
    fn with(&self, addresses: &[SocketAddr]) -> Self {
        let wanted: BTreeSet<_> = addresses.iter().collect();
        let mut by_id = self.by_id.clone();
        by_id.retain(|_, address| wanted.contains(address));
        let known: BTreeSet<SocketAddr> = by_id.values().copied().collect();
        let free = (0..).filter(|id| !by_id.contains_key(id));
        let new = addresses.iter().filter(|address| !known.contains(address)).copied();
        let numbered: Vec<_> = new.zip(free).map(|(address, id)| (id, address)).collect();
        by_id.extend(numbered);
        Self { revision: self.revision, by_id }
    }
}

impl State {
    /// Sets the hosts of a cluster, as `IP:port`. `total` is the runtime key that gets their number, if one does.
    ///
    /// # Errors
    /// A name, an address or a number of hosts that is not allowed.
    pub fn set_hosts(
        &self,
        cluster: &str,
        addresses: &[String],
        total: Option<&str>,
    ) -> Result<Vec<Edit>, Invalid> {
        name("cluster", cluster)?;
        if addresses.len() > MAX_HOSTS as usize {
            let problem = format!("got {} hosts; allowed: at most {MAX_HOSTS}", addresses.len());
            return Err(Invalid::new("hosts", problem));
        }
        let (mut parsed, mut seen) = (Vec::new(), BTreeSet::new());
        for (place, text) in addresses.iter().enumerate() {
            let field = || format!("hosts[{place}]");
            let address = text.parse().ok().filter(|address: &SocketAddr| address.port() > 0);
            let address = address.ok_or_else(|| {
                Invalid::new(field(), format!("got {text:?}; allowed: IP:port, an IPv6 address in brackets"))
            })?;
            if !seen.insert(address) {
                return Err(Invalid::new(
                    field(),
                    format!("got {text:?}, which was listed before; allowed: each host once"),
                ));
            }
            parsed.push(address);
        }
        let known = self.clusters.get(cluster).cloned().unwrap_or_default();
        let hosts = known.with(&parsed);
        let number = hosts.total();
        let is_same = self.clusters.contains_key(cluster) && hosts == known;
        let mut edits: Vec<_> =
            (!is_same).then(|| Edit::Hosts(cluster.to_owned(), Some(hosts))).into_iter().collect();
        // No hosts are no number that a filter could use: the last one stays.
        edits.extend(total.filter(|_| number > 0).and_then(|key| self.set(key, RuntimeValue::count(number))));
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(addresses: &[&str], before: &State) -> Result<State, Invalid> {
        let addresses: Vec<_> = addresses.iter().map(|text| (*text).to_owned()).collect();
        let edits = before.set_hosts("c", &addresses, Some("p.total_hosts"))?;
        let mut state = before.clone();
        if !edits.is_empty() {
            state.apply(edits, before.revision + 1);
        }
        Ok(state)
    }

    fn shown(state: &State) -> Vec<String> {
        state.clusters["c"].by_id.iter().map(|(id, address)| format!("{id}={}", address.port())).collect()
    }

    #[test]
    fn an_id_stays_with_its_host_and_a_new_host_gets_the_lowest_free_one() {
        let first = hosts(&["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"], &State::default()).unwrap();
        assert_eq!(shown(&first), ["0=1", "1=2", "2=3"]);
        let gone = hosts(&["10.0.0.1:3", "10.0.0.1:1"], &first).unwrap();
        assert_eq!((shown(&gone), gone.clusters["c"].total()), (vec!["0=1".to_owned(), "2=3".to_owned()], 3));
        let new = hosts(&["10.0.0.1:5", "10.0.0.1:4", "10.0.0.1:3", "10.0.0.1:1"], &gone).unwrap();
        assert_eq!(shown(&new), ["0=1", "1=5", "2=3", "3=4"]);
        assert_eq!(new.runtime["p.total_hosts"], RuntimeValue::count(4));
        let swapped = hosts(&["10.0.0.1:9", "10.0.0.1:5", "10.0.0.1:4", "10.0.0.1:3"], &new).unwrap();
        assert_eq!(shown(&swapped), ["0=9", "1=5", "2=3", "3=4"], "one goes and one comes");
        assert_eq!(
            hosts(&["10.0.0.1:3", "10.0.0.1:4", "10.0.0.1:5", "10.0.0.1:9"], &swapped).unwrap(),
            swapped
        );
        let none = hosts(&[], &swapped).unwrap();
        assert_eq!((shown(&none).len(), &none.runtime["p.total_hosts"]), (0, &RuntimeValue::count(4)));
    }

    #[test]
    fn a_host_is_an_address_listed_once() {
        for (bad, field) in [
            (&["10.0.0.1"][..], "hosts[0]"),
            (&["10.0.0.1:1", "name:80"], "hosts[1]"),
            (&["10.0.0.1:0"], "hosts[0]"),
            (&["::1:80"], "hosts[0]"),
            (&["10.0.0.1:1", "10.0.0.1:1"], "hosts[1]"),
        ] {
            assert_eq!(hosts(bad, &State::default()).unwrap_err().field, field, "{bad:?}");
        }
        assert!(hosts(&["[::1]:80"], &State::default()).is_ok());
        let error = State::default().set_hosts("", &[], None).unwrap_err();
        assert_eq!(error.field, "cluster");
    }
}
