//! The server's own addresses, and the names that the DNS has for them.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::proto::rr::RData;

/// Why a look-up failed; only shown.
pub type LookupError = Box<dyn std::error::Error + Send + Sync>;

/// For one query. Short, as a failed look-up is repeated anyway.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);

/// Addresses at which others may reach a server that listens on `bind`; none if it is loopback.
///
/// # Errors
/// If the system does not list its interfaces.
pub fn own_addresses(bind: IpAddr) -> io::Result<Vec<IpAddr>> {
    let mut addresses = vec![bind];
    if bind.is_unspecified() {
        addresses = if_addrs::get_if_addrs()?
            .iter()
            .filter(|interface| !interface.is_link_local())
            .map(if_addrs::Interface::ip)
            .collect();
    }
    addresses.retain(|address| !address.is_loopback());
    Ok(addresses)
}

/// The DNS servers of `/etc/resolv.conf`.
///
/// Not `getnameinfo`, which looks in `/etc/hosts` first: there Docker lists a container's address with its id,
/// while its DNS server has the name that Compose gave the container.
pub struct Dns(TokioResolver);

impl Dns {
    /// Reads the system's configuration.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn from_system() -> Result<Self, LookupError> {
        let mut builder = TokioResolver::builder_tokio()?;
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = QUERY_TIMEOUT;
        options.attempts = 1;
        options.cache_size = 0;
        Ok(Self(builder.build()?))
    }

    /// The names of an address; none if it has none.
    ///
    /// # Errors
    /// If no DNS server gives a definite response.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, LookupError> {
        let lookup = match self.0.reverse_lookup(address).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let name = |data: &RData| match data {
            RData::PTR(name) => Some(name.to_ascii()),
            _ => None,
        };
        Ok(lookup.answers().iter().filter_map(|record| name(&record.data)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_one_address_has_only_that() {
        let addresses = |bind: &str| own_addresses(bind.parse().unwrap()).unwrap();
        assert_eq!(addresses("192.0.2.7"), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(addresses("127.64.0.1").is_empty() && addresses("::1").is_empty());
        assert!(addresses("0.0.0.0").iter().all(|address| !address.is_loopback()));
    }
}
