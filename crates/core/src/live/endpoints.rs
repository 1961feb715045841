//! The endpoints of a cluster as they are now: the hosts, their addresses, and which of these are healthy.

use crate::hash::{fnv1a_64, mix};
use crate::shard::{MAX_HOSTS, host_part};
use crate::target::host_port::HostPort;
use crate::template::Fit;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Who a host is, whatever its address is at the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its number, counted from 0.
    Number(u32),
    /// A name that the source gives to this host alone.
    Name(String),
    /// A host name, which an address look-up may give to many.
    Hostname(String),
}

/// An endpoint as a source reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Who it is; without an identity, its address identifies it.
    pub identity: Option<Identity>,
    /// Its address.
    pub address: SocketAddr,
    /// Whether it is not known to be unhealthy.
    pub is_healthy: bool,
}

impl Reported {
    /// An endpoint at an IP address; `None` if the address is anything else.
    pub fn new(identity: Option<Identity>, host: &str, port: u32, is_healthy: bool) -> Option<Self> {
        let ip: IpAddr = host.parse().ok()?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
        Some(Self { identity, address: SocketAddr::new(ip, port), is_healthy })
    }
}

/// The hosts of a cluster.
///
/// If every endpoint has a number, the numbers are the hosts', and one without an endpoint is a host that is down. Otherwise
/// each host has a name, and only hosts with an endpoint exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// In the order of their numbers or names.
    hosts: Vec<Endpoint>,
    is_numbered: bool,
    /// The hosts' parts of every score, if they are named.
    parts: Vec<u64>,
    /// Tells different sets of names apart.
    id: u64,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Its number, name or address.
    pub name: String,
    /// Its addresses as `ip:port`, the healthy ones first. More than one while it moves; none if it is down.
    pub addresses: Vec<Address>,
}

/// An address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `ip:port`
    pub text: String,
    /// Whether it is not known to be unhealthy.
    pub is_healthy: bool,
}

impl Endpoints {
    /// The hosts behind these endpoints; `None` without any.
    pub fn new(reported: &[Reported]) -> Option<Self> {
        let number = |one: &Reported| match one.identity {
            Some(Identity::Number(number)) if number < MAX_HOSTS => Some(number),
            _ => None,
        };
        let numbers: Option<Vec<u32>> = reported.iter().map(number).collect();
        // One name with many addresses is how DNS answers for a whole service.
        let names: Vec<_> = reported.iter().map(|one| one.identity.as_ref()).collect();
        let is_shared = matches!(names.as_slice(), [Some(Identity::Hostname(_)), _, ..])
            && names.windows(2).all(|pair| pair.first() == pair.last());
        let name = |one: &Reported| match &one.identity {
            Some(Identity::Number(number)) => number.to_string(),
            Some(Identity::Name(name)) if is_name(name) => name.clone(),
            Some(Identity::Hostname(name)) if is_name(name) && !is_shared => name.clone(),
            Some(Identity::Name(_) | Identity::Hostname(_)) | None => one.address.to_string(),
        };
        let mut all: Vec<(String, Address)> = reported
            .iter()
            .map(|one| (name(one), Address { text: one.address.to_string(), is_healthy: one.is_healthy }))
            .collect();
        // The order in which a source lists them does not matter.
        all.sort_by(|(name, one), (other_name, other)| {
            (name, !one.is_healthy, &one.text).cmp(&(other_name, !other.is_healthy, &other.text))
        });
        all.dedup();
        Self::of_sorted(all, numbers.is_some())
    }

    fn of_sorted(all: Vec<(String, Address)>, is_numbered: bool) -> Option<Self> {
        let mut hosts: Vec<Endpoint> = Vec::new();
        if is_numbered {
            let mut by_number: BTreeMap<u32, Vec<Address>> = BTreeMap::new();
            for (name, address) in all {
                by_number
                    .entry(name.parse().ok().filter(|number| *number < MAX_HOSTS)?)
                    .or_default()
                    .push(address);
            }
            let last = *by_number.keys().next_back()?;
            hosts.extend((0..=last).map(|number| Endpoint {
                name: number.to_string(),
                addresses: by_number.remove(&number).unwrap_or_default(),
            }));
        } else {
            for (name, address) in all {
                match hosts.last_mut().filter(|last| last.name == name) {
                    Some(last) => last.addresses.push(address),
                    None => hosts.push(Endpoint { name, addresses: vec![address] }),
                }
            }
        }
        if hosts.is_empty() || hosts.len() > MAX_HOSTS as usize {
            return None;
        }
        let names = if is_numbered { &[] } else { hosts.as_slice() };
        let parts = names.iter().map(|host| host_part(&host.name)).collect();
        let id = names.iter().fold(0, |id, host| mix(id ^ fnv1a_64(host.name.as_bytes())));
        Some(Self { hosts, is_numbered, parts, id })
    }

    /// The number of hosts.
    pub fn count(&self) -> u32 {
        u32::try_from(self.hosts.len()).unwrap_or(MAX_HOSTS)
    }

    /// The host at a place; `None` if it is not known, which is a numbered host that is down.
    pub fn host(&self, place: u32) -> Option<&Endpoint> {
        self.hosts.get(place as usize)
    }

    /// The named hosts' parts of every score; `None` if hosts are numbered.
    pub fn parts(&self) -> Option<&[u64]> {
        (!self.is_numbered).then_some(&self.parts)
    }

    /// Tells different sets of names apart; 0 for numbers.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Appends them to `bytes`, for [`Self::decode`].
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self.is_numbered));
        let each =
            self.hosts.iter().flat_map(|host| host.addresses.iter().map(move |address| (host, address)));
        for (host, address) in each {
            // Names and addresses have no control characters.
            bytes.extend_from_slice(host.name.as_bytes());
            bytes.push(b'\t');
            bytes.extend_from_slice(address.text.as_bytes());
            bytes.extend_from_slice(if address.is_healthy { b"\t\n" } else { b"\tx\n" });
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (is_numbered, lines) = bytes.split_first()?;
        let mut all = Vec::new();
        for line in std::str::from_utf8(lines).ok()?.lines() {
            let (name, rest) = line.split_once('\t')?;
            let (text, mark) = rest.split_once('\t')?;
            all.push((name.to_owned(), Address { text: text.to_owned(), is_healthy: mark.is_empty() }));
        }
        Self::of_sorted(all, *is_numbered == 1)
    }
}

fn is_name(name: &str) -> bool {
    Fit::Name.write(name.as_bytes()).is_some()
}

/// An address as Envoy writes it; `None` if it is not an IP address with a port.
pub fn canonical_address(text: &str) -> Option<String> {
    let parsed = HostPort::parse(text)?;
    Some(SocketAddr::new(parsed.ip()?, parsed.port()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reported(identity: Option<Identity>, host: &str, is_healthy: bool) -> Reported {
        Reported::new(identity, host, 80, is_healthy).unwrap()
    }

    fn hostname(name: &str) -> Option<Identity> {
        Some(Identity::Hostname(name.to_owned()))
    }

    fn shown(endpoints: &Endpoints) -> Vec<String> {
        let addresses = |host: &Endpoint| {
            let mark =
                |address: &Address| format!(" {}{}", if address.is_healthy { "" } else { "!" }, address.text);
            host.addresses.iter().map(mark).collect::<String>()
        };
        endpoints.hosts.iter().map(|host| format!("{}{}", host.name, addresses(host))).collect()
    }

    fn of(list: &[Reported]) -> Vec<String> {
        shown(&Endpoints::new(list).unwrap())
    }

    #[test]
    fn numbers_keep_their_places_and_a_missing_one_is_down() {
        let number = |number| Some(Identity::Number(number));
        let list = [reported(number(3), "10.0.0.3", true), reported(number(1), "10.0.0.1", false)];
        assert_eq!(of(&list), ["0", "1 !10.0.0.1:80", "2", "3 10.0.0.3:80"]);
        assert_eq!(Endpoints::new(&list).unwrap().parts(), None);
        let mixed = [reported(number(3), "10.0.0.3", true), reported(None, "10.0.0.1", true)];
        assert_eq!(of(&mixed), ["10.0.0.1:80 10.0.0.1:80", "3 10.0.0.3:80"], "then they are names");
        let beyond = [reported(number(MAX_HOSTS), "10.0.0.3", true)];
        assert_eq!(of(&beyond), ["65536 10.0.0.3:80"]);
    }

    #[test]
    fn a_host_is_its_name_whatever_its_address() {
        let list = [
            reported(hostname("b"), "10.0.0.9", false),
            reported(hostname("a"), "2001:0db8::1", true),
            reported(hostname("b"), "10.0.0.2", true),
            reported(hostname("not a name"), "10.0.0.4", true),
            reported(None, "10.0.0.3", true),
        ];
        assert_eq!(
            of(&list),
            [
                "10.0.0.3:80 10.0.0.3:80",
                "10.0.0.4:80 10.0.0.4:80",
                "a [2001:db8::1]:80",
                "b 10.0.0.2:80 !10.0.0.9:80"
            ]
        );
        let moved = [reported(hostname("a"), "10.0.0.7", true), reported(hostname("b"), "10.0.0.2", true)];
        let before = [reported(hostname("a"), "10.0.0.1", true), reported(hostname("b"), "10.0.0.2", false)];
        let [moved, before] = [moved, before].map(|list| Endpoints::new(&list).unwrap());
        assert_eq!((moved.id(), moved.parts()), (before.id(), before.parts()));
    }

    #[test]
    fn a_hostname_that_all_share_identifies_none() {
        let list = ["10.0.0.2", "10.0.0.1"].map(|ip| reported(hostname("service"), ip, true));
        assert_eq!(of(&list), ["10.0.0.1:80 10.0.0.1:80", "10.0.0.2:80 10.0.0.2:80"]);
        assert_eq!(of(&list[..1]), ["service 10.0.0.2:80"]);
        let ids = list.map(|one| Reported { identity: Some(Identity::Name("x".to_owned())), ..one });
        assert_eq!(of(&ids), ["x 10.0.0.1:80 10.0.0.2:80"], "an identity is the source's own word");
    }

    #[test]
    fn only_ip_addresses_with_a_port_are_endpoints() {
        assert_eq!(Endpoints::new(&[]), None);
        for (host, port) in [("name", 80), ("10.0.0.1", 0), ("10.0.0.1", 65_536), ("", 80), ("127.1", 80)] {
            assert_eq!(Reported::new(None, host, port, true), None, "{host}:{port}");
        }
        assert_eq!(canonical_address("[2001:0DB8:0::1]:80").as_deref(), Some("[2001:db8::1]:80"));
        for text in ["a:80", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:80,10.0.0.2:80", " 10.0.0.1:80"] {
            assert_eq!(canonical_address(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_hold_all_of_it_and_the_order_does_not_matter(
            list in prop::collection::vec((0_u8..3, "[a-z\t ]{0,2}", 0_u32..5, any::<u8>(), any::<bool>()), 1..20)
        ) {
            let mut list: Vec<Reported> = list.into_iter().map(|(kind, name, number, ip, is_healthy)| {
                let identity = match kind {
                    0 => Some(Identity::Number(number)),
                    1 => Some(Identity::Name(name)),
                    _ => Some(Identity::Hostname(name)),
                };
                reported(identity, &format!("10.0.0.{ip}"), is_healthy)
            }).collect();
            let endpoints = Endpoints::new(&list).unwrap();
            let mut bytes = Vec::new();
            endpoints.encode(&mut bytes);
            let decoded = Endpoints::decode(&bytes);
            prop_assert_eq!(decoded.as_ref(), Some(&endpoints));
            list.reverse();
            prop_assert_eq!(Endpoints::new(&list).unwrap(), endpoints);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Endpoints::decode(&bytes);
        }
    }
}
