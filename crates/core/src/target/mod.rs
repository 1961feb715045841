//! Targets: the change to a request that makes Envoy select its host.

pub mod allowed;
pub mod host_port;
pub mod template;

use crate::rejection::Rejection;
use allowed::AllowedTargets;
use host_port::HostPort;
use std::sync::Arc;
use template::Template;

/// A host with all that a request needs to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The number or name that `x-target-host` shows.
    pub name: String,
    /// The change to the request; `None` if the shard's headers are all that is wanted.
    pub target: Option<Target>,
}

impl Host {
    /// What it takes, about.
    pub fn bytes(&self) -> usize {
        let target = match &self.target {
            None => 0,
            Some(Target::Authority(text) | Target::Header { value: text, .. }) => text.len(),
            Some(Target::DynamicHost { host, port }) => host.len() + port.as_ref().map_or(0, String::len),
        };
        size_of::<Self>() + self.name.len() + target
    }
}

/// The change to a request that makes Envoy select a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A new `:authority`.
    Authority(String),
    /// Envoy's filter state for the dynamic forward proxy. The `:authority` is not changed.
    DynamicHost {
        /// The host; an IPv6 literal in brackets.
        host: String,
        /// The port in decimal. Without one Envoy takes the scheme's.
        port: Option<String>,
    },
    /// A request header by which the route selects the cluster.
    Header {
        /// The name in lower case.
        name: Arc<str>,
        /// The value.
        value: String,
    },
}

/// The kind of target that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// [`Target::Authority`]
    Authority(Template),
    /// [`Target::DynamicHost`]
    DynamicHost(Template),
    /// [`Target::Header`]
    Header {
        /// The name in lower case.
        name: Arc<str>,
        /// The value.
        value: Template,
    },
}

impl TargetKind {
    /// The header that is set, if one is.
    pub fn header(&self) -> Option<&Arc<str>> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Authority(_) | Self::DynamicHost(_) => None,
        }
    }
}

/// How hosts become targets, and which targets are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetRules {
    /// The kind of target; `None` if the shard's headers are all that is wanted.
    pub kind: Option<TargetKind>,
    /// The list, if there is one.
    pub allowed: Option<Arc<AllowedTargets>>,
}

impl TargetRules {
    /// The host of this name, if requests may be sent there. `named` is the name where it is a `host:port`.
    ///
    /// The list is matched against the finished target, and against the name where the target is a header.
    ///
    /// # Errors
    /// [`Rejection::TargetNotAllowed`]
    pub fn host(&self, name: &str, named: Option<&HostPort<'_>>) -> Result<Host, Rejection> {
        let name_allowed = || named.is_none() || self.allow(named);
        let (target, allowed) = match &self.kind {
            None => (None, name_allowed()),
            Some(TargetKind::Header { name: header, value }) => {
                let target = Target::Header { name: Arc::clone(header), value: value.render(name) };
                (Some(target), name_allowed())
            }
            Some(TargetKind::Authority(template)) => {
                let authority = template.render(name);
                let allowed = self.allow_address(&authority, named);
                (Some(Target::Authority(authority)), allowed)
            }
            Some(TargetKind::DynamicHost(template)) => {
                let address = template.render(name);
                (Some(dynamic_host(&address)), self.allow_address(&address, named))
            }
        };
        if allowed { Ok(Host { name: name.to_owned(), target }) } else { Err(Rejection::TargetNotAllowed) }
    }

    /// The host that a resolver names, if requests may be sent there.
    ///
    /// # Errors
    /// [`Rejection::TargetNotAllowed`], also for a text that is not a `host:port`.
    pub fn resolved_host(&self, hostport: &str) -> Result<Host, Rejection> {
        let named = HostPort::parse(hostport).ok_or(Rejection::TargetNotAllowed)?;
        // A resolver must not lead Envoy to its own machine unless a list allows it.
        if self.allowed.is_none() && named.is_dangerous_literal() {
            return Err(Rejection::TargetNotAllowed);
        }
        self.host(hostport, Some(&named))
    }

    /// Whether a finished address is allowed. Mostly it equals the name, which has been parsed already.
    fn allow_address(&self, address: &str, named: Option<&HostPort<'_>>) -> bool {
        match named {
            Some(named) if named.as_str() == address => self.allow(Some(named)),
            _ => self.allowed.is_none() || self.allow(HostPort::parse(address).as_ref()),
        }
    }

    fn allow(&self, target: Option<&HostPort<'_>>) -> bool {
        match (&self.allowed, target) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(allowed), Some(target)) => allowed.allow(target),
        }
    }
}

fn dynamic_host(address: &str) -> Target {
    match HostPort::parse(address) {
        // Envoy dials an IPv6 literal only in its brackets.
        Some(parsed) => {
            Target::DynamicHost { host: parsed.host().to_owned(), port: Some(parsed.port().to_string()) }
        }
        None => Target::DynamicHost { host: address.to_owned(), port: None },
    }
}

#[cfg(test)]
mod tests {
    use super::allowed::TargetPattern;
    use super::template::Placeholder;
    use super::*;

    fn rules(kind: Option<TargetKind>, allowed: &[&str]) -> TargetRules {
        let patterns = allowed.iter().map(|text| TargetPattern::parse(text).unwrap()).collect();
        let allowed = (!allowed.is_empty()).then(|| Arc::new(AllowedTargets(patterns)));
        TargetRules { kind, allowed }
    }

    fn authority(text: &str, placeholder: Placeholder) -> Option<TargetKind> {
        Some(TargetKind::Authority(Template::parse(text, placeholder).unwrap()))
    }

    #[test]
    fn the_list_is_matched_against_the_finished_target() {
        let rules = rules(authority("owner-{hostport}", Placeholder::HostPort), &["owner-a:1"]);
        let host = rules.resolved_host("a:1").unwrap();
        assert_eq!(host.target, Some(Target::Authority("owner-a:1".into())));
        assert_eq!(rules.resolved_host("b:1"), Err(Rejection::TargetNotAllowed));
    }

    #[test]
    fn an_address_without_a_port_matches_no_entry() {
        let kind = authority("server-{index}", Placeholder::Index);
        assert!(rules(kind.clone(), &[]).host("1", None).is_ok());
        assert_eq!(rules(kind, &["server-1"]).host("1", None), Err(Rejection::TargetNotAllowed));
    }

    #[test]
    fn dangerous_literals_need_a_list() {
        let kind = authority("{hostport}", Placeholder::HostPort);
        assert_eq!(rules(kind.clone(), &[]).resolved_host("127.0.0.1:80"), Err(Rejection::TargetNotAllowed));
        assert!(rules(kind.clone(), &["127.0.0.1:80"]).resolved_host("127.0.0.1:80").is_ok());
        assert_eq!(rules(kind, &[]).resolved_host("no port"), Err(Rejection::TargetNotAllowed));
    }

    #[test]
    fn a_dynamic_host_is_split_into_host_and_port() {
        let kind = |text| Some(TargetKind::DynamicHost(Template::parse(text, Placeholder::Index).unwrap()));
        let target = |text| rules(kind(text), &[]).host("7", None).unwrap().target;
        let dynamic = |host: &str, port: Option<&str>| {
            Some(Target::DynamicHost { host: host.into(), port: port.map(Into::into) })
        };
        assert_eq!(target("s-{index}:81"), dynamic("s-7", Some("81")));
        assert_eq!(target("s-{index}"), dynamic("s-7", None));
        let hostport = Template::parse("{hostport}", Placeholder::HostPort).unwrap();
        let rules = rules(Some(TargetKind::DynamicHost(hostport)), &[]);
        let host = rules.resolved_host("[2001:db8::1]:80").unwrap();
        assert_eq!(host.target, dynamic("[2001:db8::1]", Some("80")), "the brackets stay");
    }
}
