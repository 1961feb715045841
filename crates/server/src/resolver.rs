//! Which host owns a client: the response of `/where`.

use std::fmt;

use pinroute_core::mode::IndexMode;

/// This server's own name, as others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The host's name.
    pub host: String,
    /// The port really listened on.
    pub port: u16,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The hosts to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// Hosts named by number.
    Numbered(Numbered),
    /// Hosts given one by one, as `host:port`; never empty.
    Peers(Vec<String>),
    /// This server alone.
    Itself,
}

/// Hosts called `PREFIX-<index>SUFFIX:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// What stands before the index, without the hyphen.
    pub prefix: String,
    /// What follows the index.
    pub suffix: String,
    /// How many there are.
    pub replicas: u32,
    /// How a client becomes a number.
    pub mode: IndexMode,
    /// The number of the first.
    pub base: u32,
}

impl Resolver {
    /// The `host:port` of the host that owns `key`.
    pub(crate) fn hostport(&self, key: &[u8], own: &Instance) -> String {
        match self {
            Self::Numbered(Numbered { prefix, suffix, replicas, mode, base }) => {
                let index = u64::from(*base) + u64::from(mode.slot(key, *replicas));
                format!("{prefix}-{index}{suffix}:{}", own.port)
            }
            Self::Peers(peers) => {
                // The contract has peers chosen by hash in every mode.
                let slot = usize::try_from(IndexMode::Hash.slot(key, self.replicas())).ok();
                slot.and_then(|slot| peers.get(slot)).cloned().unwrap_or_else(|| own.to_string())
            }
            Self::Itself => own.to_string(),
        }
    }

    /// If hosts have no numbers, so this server has none either.
    pub(crate) fn is_unnumbered(&self) -> bool {
        !matches!(self, Self::Numbered(_))
    }

    /// The number of hosts.
    pub(crate) fn replicas(&self) -> u32 {
        match self {
            Self::Numbered(numbered) => numbered.replicas,
            Self::Peers(peers) => u32::try_from(peers.len()).unwrap_or(u32::MAX),
            Self::Itself => 1,
        }
    }

    /// How a host is chosen, in one word for the log.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self::Numbered(Numbered { mode: IndexMode::Hash, .. }) => "hash",
            Self::Numbered(Numbered { mode: IndexMode::Numeric, .. }) => "numeric",
            Self::Peers(_) => "peers",
            Self::Itself => "itself",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Instance {
        Instance { host: "box".to_owned(), port: 8081 }
    }

    #[test]
    fn a_numbered_name_has_prefix_index_suffix_and_port() {
        let mut numbered = Numbered {
            prefix: "server".to_owned(),
            suffix: ".svc".to_owned(),
            replicas: 2,
            mode: IndexMode::Hash,
            base: 1,
        };
        assert_eq!(Resolver::Numbered(numbered.clone()).hostport(b"123", &own()), "server-2.svc:8081");
        numbered.base = u32::MAX;
        assert_eq!(Resolver::Numbered(numbered).hostport(b"123", &own()), "server-4294967296.svc:8081");
    }

    #[test]
    fn peers_are_indexed_by_the_hash_alone() {
        let peers = Resolver::Peers(["a:1", "b:2", "c:3"].map(str::to_owned).to_vec());
        // 0x7238631b modulo 3 is 2; the number 123 itself would give 0.
        assert_eq!(peers.hostport(b"123", &own()), "c:3");
    }

    #[test]
    fn without_others_the_server_names_itself() {
        assert_eq!(Resolver::Itself.hostport(b"123", &own()), "box:8081");
    }
}
