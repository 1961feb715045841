//! Targets: the change to a request that makes Envoy select its host.

pub mod allowed;
pub mod host_port;

use crate::key::Key;
use crate::template::{Template, Unfit, Values};
use allowed::AllowedTargets;
use host_port::HostPort;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The most addresses in a list: Envoy and servers limit the size of a request's headers.
pub const MAX_LIST: usize = 64;

/// A host with all that a request needs to get there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// The number or name that `x-target-host` shows.
    pub name: String,
    /// The change to the request; `None` if the shard's headers are all that is wanted.
    pub target: Option<Target>,
    /// More request headers, out of a resolver's answer.
    pub headers: Vec<(Arc<str>, String)>,
    /// What the host must call itself, if that is configured.
    pub called: Option<String>,
}

/// Where requests for it go.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            None => f.write_str(&self.name),
            Some(Target::Authority(text) | Target::Header { value: text, .. }) => f.write_str(text),
            Some(Target::DynamicHost { host, port: None }) => f.write_str(host),
            Some(Target::DynamicHost { host, port: Some(port) }) => write!(f, "{host}:{port}"),
        }
    }
}

impl Host {
    /// What it takes, about.
    pub fn bytes(&self) -> usize {
        let target = match &self.target {
            None => 0,
            Some(Target::Authority(text) | Target::Header { value: text, .. }) => text.len(),
            Some(Target::DynamicHost { host, port }) => host.len() + port.as_ref().map_or(0, String::len),
        };
        let headers: usize =
            self.headers.iter().map(|(_, value)| size_of::<(Arc<str>, String)>() + value.len()).sum();
        size_of::<Self>() + self.name.len() + target + headers + self.called.as_ref().map_or(0, String::len)
    }
}

/// The change to a request that makes Envoy select a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// [`Target::Header`] with the addresses of hosts, in the order in which they are to be tried.
    Endpoints(Arc<str>),
}

impl TargetKind {
    /// The template of the target, if it has one.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Authority(template)
            | Self::DynamicHost(template)
            | Self::Header { value: template, .. } => Some(template),
            Self::Endpoints(_) => None,
        }
    }

    /// The header that is set, if one is.
    pub fn header(&self) -> Option<&Arc<str>> {
        self.header_field().map(|(_, name)| name)
    }

    /// The same, with the field of the target that names it.
    pub fn header_field(&self) -> Option<(&'static str, &Arc<str>)> {
        match self {
            Self::Header { name, .. } => Some(("header.name", name)),
            Self::Endpoints(name) => Some(("endpoints.header", name)),
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
    /// What a host must call itself, if that is configured.
    pub called: Option<Template>,
}

/// Why a host is not a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The key does not fit into the target.
    Key,
    /// The target is malformed or not allowed; holds the target, which comes from anywhere.
    NotAllowed(String),
    /// No endpoint is known.
    NoEndpoints,
    /// No host of the shard is healthy.
    ShardDown,
}

/// The longest part of a refused target that the log shows, in characters.
const MAX_LOGGED: usize = 300;

impl Refused {
    /// Shows a target that is not allowed in the log. The client gets to know nothing about it.
    pub fn log(&self) {
        if let Self::NotAllowed(target) = self {
            let shown = || target.escape_debug().take(MAX_LOGGED).collect::<String>();
            log::debug!("pinroute: target not allowed: \"{}\"", shown());
        }
    }
}

impl From<Unfit> for Refused {
    fn from(Unfit: Unfit) -> Self {
        Self::Key
    }
}

impl TargetRules {
    /// The rules of an operator's own target, whatever the list says.
    pub fn fixed(kind: TargetKind) -> Self {
        Self { kind: Some(kind), allowed: None, called: None }
    }

    /// Whether targets depend on the key, beside the host that is chosen by it.
    pub fn uses_key(&self) -> bool {
        self.templates().any(Template::has_part)
    }

    /// Whether the parts of a key fit into the target, each by itself and together. An answer that is not there yet can only
    /// make an address longer.
    pub fn fits(&self, key: &Key<'_>) -> bool {
        let is_address = |template: &Template| {
            let address = template.render(&Values { key: Some(key), ..Values::EXAMPLE });
            address.is_ok_and(|text| is_host(&text))
        };
        self.templates().all(|template| template.fits(key))
            && match &self.kind {
                Some(TargetKind::Authority(template) | TargetKind::DynamicHost(template)) => {
                    !template.has_part() || is_address(template)
                }
                Some(TargetKind::Header { .. } | TargetKind::Endpoints(_)) | None => true,
            }
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.kind.as_ref().and_then(TargetKind::template).into_iter().chain(&self.called)
    }

    /// The host that a key leads to by itself.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn host_of(&self, key: &Key<'_>) -> Result<Host, Refused> {
        self.host("", &Values { key: Some(key), ..Values::default() }, true)
    }

    /// The host that these values lead to, if requests may be sent there. `name` is what headers show.
    ///
    /// The list is matched against the finished target; without a target, against the `host:port` of the values. Without
    /// a list, `is_foreign` says that a client or a resolver had a say in the target: then the literals of the proxy's own
    /// machine are refused.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn host(&self, name: &str, values: &Values<'_>, is_foreign: bool) -> Result<Host, Refused> {
        let is_dangerous =
            |address: &HostPort<'_>| is_foreign && self.allowed.is_none() && address.is_dangerous_literal();
        let named = values.hostport.and_then(HostPort::parse);
        if let Some(named) = named.as_ref().filter(|named| is_dangerous(named)) {
            return Err(Refused::NotAllowed(named.as_str().to_owned()));
        }
        let (target, is_allowed) = match &self.kind {
            None => (None, named.is_none() || self.allow(named.as_ref())),
            Some(TargetKind::Endpoints(_)) => {
                return self.list(name, values.hostport.into_iter(), is_foreign);
            }
            Some(TargetKind::Header { name, value }) => {
                let value = value.render(values)?;
                let is_allowed = self.allowed.as_ref().is_none_or(|list| list.allow_text(&value))
                    && !HostPort::parse(&value).as_ref().is_some_and(is_dangerous);
                (Some(Target::Header { name: Arc::clone(name), value }), is_allowed)
            }
            Some(TargetKind::Authority(template) | TargetKind::DynamicHost(template)) => {
                let address = template.render(values)?;
                let parsed = HostPort::parse(&address);
                let with_port = if parsed.is_none() { format!("{address}:80") } else { String::new() };
                let whole = parsed.or_else(|| HostPort::parse(&with_port));
                if whole.is_none() && template.has_part() {
                    return Err(Refused::Key);
                }
                let is_allowed = self.allow(parsed.as_ref()) && !whole.as_ref().is_some_and(is_dangerous);
                let target = match &self.kind {
                    Some(TargetKind::DynamicHost(_)) => dynamic_host(&address, parsed.as_ref()),
                    _ => Target::Authority(address),
                };
                (Some(target), is_allowed)
            }
        };
        let host = Host { name: name.to_owned(), target, headers: Vec::new(), called: None };
        if !is_allowed {
            return Err(Refused::NotAllowed(host.to_string()));
        }
        let called = self.called.as_ref().map(|called| called.render(values)).transpose()?;
        Ok(Host { called, ..host })
    }

    /// Whether the target is a list of addresses.
    pub fn wants_list(&self) -> bool {
        matches!(self.kind, Some(TargetKind::Endpoints(_)))
    }

    /// The hosts at these addresses, in the order in which they are to be tried, if requests may be sent to each of them.
    /// `name` is what headers show.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn list<'a>(
        &self,
        name: &str,
        addresses: impl Iterator<Item = &'a str>,
        is_foreign: bool,
    ) -> Result<Host, Refused> {
        let mut value = String::new();
        for address in addresses {
            let refused = || Refused::NotAllowed(address.to_owned());
            // A host name would match no endpoint, and a comma would add one.
            let parsed = HostPort::parse(address).ok_or_else(refused)?;
            let ip = parsed.ip().ok_or_else(refused)?;
            let is_dangerous = is_foreign && self.allowed.is_none() && parsed.is_dangerous_literal();
            if is_dangerous || !self.allow(Some(&parsed)) {
                return Err(refused());
            }
            if !value.is_empty() {
                value.push(',');
            }
            value.push_str(&SocketAddr::new(ip, parsed.port()).to_string());
        }
        let target = match &self.kind {
            Some(TargetKind::Endpoints(header)) => Some(Target::Header { name: Arc::clone(header), value }),
            _ => None,
        };
        Ok(Host { name: name.to_owned(), target, headers: Vec::new(), called: None })
    }

    fn allow(&self, target: Option<&HostPort<'_>>) -> bool {
        match (&self.allowed, target) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(allowed), Some(target)) => allowed.allow(target),
        }
    }
}

/// Whether a text is a host, with or without a port.
fn is_host(text: &str) -> bool {
    HostPort::parse(text).is_some() || HostPort::parse(&format!("{text}:80")).is_some()
}

fn dynamic_host(address: &str, parsed: Option<&HostPort<'_>>) -> Target {
    // Envoy dials an IPv6 literal only in its brackets.
    let host = parsed.map_or(address, HostPort::host).to_owned();
    Target::DynamicHost { host, port: parsed.map(|parsed| parsed.port().to_string()) }
}

#[cfg(test)]
mod tests {
    use super::allowed::TargetPattern;
    use super::*;
    use crate::template::Slot;

    fn rules(kind: TargetKind, allowed: &[&str]) -> TargetRules {
        let patterns = allowed.iter().map(|text| TargetPattern::parse(text).unwrap()).collect();
        let allowed = (!allowed.is_empty()).then(|| Arc::new(AllowedTargets(patterns)));
        TargetRules { kind: Some(kind), allowed, called: None }
    }

    fn template(text: &str) -> Template {
        let slot = |name: &str| match name {
            "hostport" => Some(Slot::HostPort),
            "index" => Some(Slot::Index),
            "name" => Some(Slot::Name),
            _ => None,
        };
        Template::parse(text, slot).unwrap()
    }

    fn authority(text: &str) -> TargetKind {
        TargetKind::Authority(template(text))
    }

    fn resolved(rules: &TargetRules, hostport: &str) -> Result<Host, Refused> {
        rules.host(hostport, &Values { hostport: Some(hostport), ..Values::default() }, true)
    }

    fn refused(target: &str) -> Result<Host, Refused> {
        Err(Refused::NotAllowed(target.into()))
    }

    fn numbered(rules: &TargetRules, index: &str) -> Result<Host, Refused> {
        rules.host(index, &Values { index: Some(index), ..Values::default() }, false)
    }

    #[test]
    fn the_list_is_matched_against_the_finished_target() {
        let rules = rules(authority("owner-{hostport}"), &["owner-a:1"]);
        assert_eq!(resolved(&rules, "a:1").unwrap().target, Some(Target::Authority("owner-a:1".into())));
        assert_eq!(resolved(&rules, "b:1"), refused("owner-b:1"));
    }

    #[test]
    fn an_address_without_a_port_matches_no_entry() {
        assert!(numbered(&rules(authority("server-{index}"), &[]), "1").is_ok());
        assert_eq!(numbered(&rules(authority("server-{index}"), &["server-1"]), "1"), refused("server-1"));
    }

    #[test]
    fn a_header_is_matched_by_its_finished_value() {
        let header = |text: &str| TargetKind::Header { name: "x-a".into(), value: template(text) };
        let allowed = |text, list: &[&str], name| {
            let values = Values { name: Some(name), hostport: Some(name), ..Values::default() };
            rules(header(text), list).host(name, &values, true).is_ok()
        };
        assert!(allowed("cell-{name}", &["cell-*"], "a"));
        assert!(!allowed("cell-{name}", &["cell-*"], "a.b"), "a star does not match a dot");
        assert!(!allowed("cell-{name}", &["CELL-*"], "a"), "case matters in names");
        assert!(!allowed("cell-{name}", &["cell-*:80"], "a"), "a name has no port");
        assert!(allowed("{hostport}", &["a:*"], "a:80") && allowed("{hostport}", &["A"], "a:80"));
        assert!(!allowed("{hostport}", &["b"], "a:80"));
    }

    #[test]
    fn dangerous_literals_need_a_list() {
        assert_eq!(resolved(&rules(authority("{hostport}"), &[]), "127.0.0.1:80"), refused("127.0.0.1:80"));
        assert!(resolved(&rules(authority("{hostport}"), &["127.0.0.1:80"]), "127.0.0.1:80").is_ok());
        let rules = rules(authority("{index}.0.0.1:80"), &[]);
        assert!(numbered(&rules, "127").is_ok(), "the operator chose it");
        let values = Values { index: Some("127"), ..Values::default() };
        assert_eq!(rules.host("127", &values, true), refused("127.0.0.1:80"), "a client had a say in it");
    }

    #[test]
    fn a_dynamic_host_is_split_into_host_and_port() {
        let kind = |text: &str| TargetKind::DynamicHost(template(text));
        let target = |text| numbered(&rules(kind(text), &[]), "7").unwrap().target;
        let dynamic = |host: &str, port: Option<&str>| {
            Some(Target::DynamicHost { host: host.into(), port: port.map(Into::into) })
        };
        assert_eq!(target("s-{index}:81"), dynamic("s-7", Some("81")));
        assert_eq!(target("s-{index}"), dynamic("s-7", None));
        let host = resolved(&rules(kind("{hostport}"), &[]), "[2001:db8::1]:80").unwrap();
        assert_eq!(host.target, dynamic("[2001:db8::1]", Some("80")), "the brackets stay");
    }
}
