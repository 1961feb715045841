//! Validates targets, and what a host is compared with.

use super::error::ConfigError;
use super::rules::{Result, exactly_one, read_template, well_formed};
use super::scalar::Text;
use super::validated::{Hosts, Listed, Outcome};
use super::wire;
use crate::key::KeySource;
use crate::target::allowed::AllowedTargets;
use crate::target::host_port::HostPort;
use crate::target::{TargetKind, TargetRules};
use crate::template::{Fit, Slot, Template, Values};
use crate::verify::Verify;
use serde_json::Value;
use std::sync::Arc;

const TARGETS: &str = "authority, dynamic_host, header, endpoints";

/// What a strategy gives to a target, beside the parts of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// `{index}`
    Index,
    /// `{hostport}`, `{host}` and `{port}`
    HostPort,
    /// `{host}`
    Host,
    /// `{name}`
    Name,
    /// Addresses for `endpoints`, and nothing for placeholders.
    Addresses,
    /// Nothing.
    Nothing,
}

impl Gives {
    /// What a strategy with these hosts gives.
    pub fn of(hosts: &Hosts) -> Self {
        match hosts {
            Hosts::Numbered { .. } => Self::Index,
            Hosts::Listed { kind: Listed::HostPorts, .. } => Self::HostPort,
            Hosts::Listed { kind: Listed::Names, .. } => Self::Name,
            Hosts::Live { .. } => Self::Addresses,
        }
    }

    fn slot(self, name: &str) -> Option<Slot> {
        match (self, name) {
            (Self::Index, "index") => Some(Slot::Index),
            (Self::HostPort, "hostport") => Some(Slot::HostPort),
            (Self::HostPort | Self::Host, "host") => Some(Slot::Host),
            (Self::HostPort, "port") => Some(Slot::Port),
            (Self::Name, "name") => Some(Slot::Name),
            _ => None,
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Index => &["index"],
            Self::HostPort => &["hostport", "host", "port"],
            Self::Host => &["host"],
            Self::Name => &["name"],
            Self::Addresses | Self::Nothing => &[],
        }
    }
}

/// The target. Without one, a host that is a `host:port` itself becomes the authority.
pub fn target(
    path: &str,
    target: Option<&wire::Target>,
    gives: Gives,
    is_list: bool,
    key: &KeySource,
    allowed: Option<&AllowedTargets>,
) -> Result<Option<TargetKind>> {
    let Some(target) = target else {
        let whole = || TargetKind::Authority(Template::only(Slot::HostPort));
        return Ok((gives == Gives::HostPort).then(whole));
    };
    let read = |path: &str, text: &str, is_address: bool| {
        let mut template = template(path, text, gives, key)?;
        if !is_address {
            template.fit_parts(|_, _| Fit::Name);
            return well_formed(path, text, template, |text| !text.chars().any(char::is_control));
        }
        if template.slots().any(|slot| slot == Slot::Name) {
            let problem = format!("got {} with the placeholder {{name}}", Value::from(text));
            return Err(ConfigError::new(path, problem, "{name} only in `header`"));
        }
        template.fit_parts(|before, is_alone| match before.rsplit_once(':') {
            _ if is_alone => Fit::Address,
            Some(_) => Fit::Port,
            None => Fit::Label,
        });
        let has = |slot| template.slots().any(|known| known == slot);
        if is_list && has(Slot::Host) && !has(Slot::Port) {
            let problem = format!("got {} with {{host}} and without {{port}}", Value::from(text));
            return Err(ConfigError::new(path, problem, "both, or {hostport}"));
        }
        let ends_with_hostport = !has(Slot::HostPort) || text.ends_with("{hostport}");
        well_formed(path, text, template, |text| {
            // A port is the end of an address: even a digit after it would change it.
            ends_with_hostport
                && (HostPort::parse(text).is_some() || HostPort::parse(&format!("{text}:80")).is_some())
        })
    };
    let kind = exactly_one_target(path, target, |path, text, is_address| {
        if gives == Gives::Addresses {
            let problem = format!("got {} where the hosts are addresses", Value::from(text));
            return Err(ConfigError::new(path, problem, "only `endpoints` as a target"));
        }
        let template = read(path, text, is_address)?;
        allowed.map_or(Ok(()), |allowed| allowable(path, text, &template, is_address, allowed))?;
        Ok(template)
    })?;
    if matches!(kind, TargetKind::Endpoints(_)) && !matches!(gives, Gives::Addresses | Gives::HostPort) {
        let problem = "has no source of addresses";
        let allowed =
            "only with `hosts_from`, `hosts`, or `resolve` with the answer `hostports` or `hostport`";
        return Err(ConfigError::new(format!("{path}.endpoints"), problem, allowed));
    }
    Ok(Some(kind))
}

/// Refuses a target that `allowed_targets` can never allow, as far as its port shows.
fn allowable(
    path: &str,
    text: &str,
    template: &Template,
    is_address: bool,
    list: &AllowedTargets,
) -> Result<()> {
    let has_port = HostPort::parse(&template.example()).is_some();
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let (problem, allowed) = if is_address && !has_port {
        ("without a port", "with a port, because allowed_targets matches no address without one")
    } else if port.is_some_and(|port| !list.allow_port(port)) {
        ("with a port that no entry of allowed_targets allows", "a port that an entry allows")
    } else if !is_address && !has_port && !text.contains(':') && !list.allow_names() {
        ("beside allowed_targets with ports only", "with an entry without a port: a name has none")
    } else {
        return Ok(());
    };
    Err(ConfigError::new(path, format!("got {} {problem}", Value::from(text)), allowed))
}

/// Reads a target with exactly one field. `read` gets the path of a text, the text, and whether it is an address.
fn exactly_one_target(
    path: &str,
    target: &wire::Target,
    read: impl Fn(&str, &str, bool) -> Result<Template>,
) -> Result<TargetKind> {
    let wire::Target { authority, dynamic_host, header, endpoints } = target;
    let fields = [
        ("authority", authority.is_some()),
        ("dynamic_host", dynamic_host.is_some()),
        ("header", header.is_some()),
        ("endpoints", endpoints.is_some()),
    ];
    exactly_one(path, &fields)?;
    if let Some(Text(text)) = authority {
        return read(&format!("{path}.authority"), text, true).map(TargetKind::Authority);
    }
    if let Some(Text(text)) = dynamic_host {
        return read(&format!("{path}.dynamic_host"), text, true).map(TargetKind::DynamicHost);
    }
    if let Some(wire::TargetEndpoints { header }) = endpoints {
        let Some(name) = header else {
            let problem = "`header` is missing";
            return Err(ConfigError::new(format!("{path}.endpoints"), problem, "a request header's name"));
        };
        return Ok(TargetKind::Endpoints(name.0.to_ascii_lowercase().into()));
    }
    let both = header.as_ref().and_then(|header| Some((header.name.as_ref()?, header.value.as_ref()?)));
    let Some((name, Text(value))) = both else {
        let problem = "`name` or `value` is missing";
        let allowed = "an object with both name and value";
        return Err(ConfigError::new(format!("{path}.header"), problem, allowed));
    };
    let value = read(&format!("{path}.header.value"), value, false)?;
    Ok(TargetKind::Header { name: name.0.to_ascii_lowercase().into(), value })
}

pub fn missing_target(path: &str) -> ConfigError {
    ConfigError::new(path, "the field is missing", format!("a target with exactly one of {TARGETS}"))
}

/// A text that must have a placeholder: without one, every request would go to the same place.
fn template(path: &str, text: &str, gives: Gives, key: &KeySource) -> Result<Template> {
    let parts: Vec<&str> = key.names().collect();
    if let Some(both) =
        gives.names().iter().find(|name| parts.contains(name) && text.contains(&format!("{{{name}}}")))
    {
        let problem = format!("got {} with {{{both}}}, which is a part of the key too", Value::from(text));
        return Err(ConfigError::new(path, problem, "another name for the part of the key"));
    }
    let names: Vec<String> = gives
        .names()
        .iter()
        .copied()
        .chain(parts.iter().copied())
        .map(|name| format!("{{{name}}}"))
        .collect();
    let allowed = match names.as_slice() {
        [only] => format!("a text with {only}"),
        names => format!("a text with one of {}", names.join(", ")),
    };
    let slot = |name: &str| {
        let part = || parts.iter().position(|part| *part == name).map(|at| Slot::Part(at, Fit::Name));
        gives.slot(name).or_else(part)
    };
    let template = read_template(path, text, &allowed, slot)?;
    if template.slots().next().is_none() {
        return Err(ConfigError::value(path, &Value::from(text), allowed));
    }
    Ok(template)
}

pub fn outcome(path: &str, outcome: Option<wire::Outcome>) -> Result<Outcome> {
    let target = match outcome {
        None => return Ok(Outcome::Reject(None)),
        Some(wire::Outcome::Reject(status)) => return Ok(Outcome::Reject(status)),
        Some(wire::Outcome::Continue) => return Ok(Outcome::Continue),
        Some(wire::Outcome::Target(target)) => target,
    };
    let path = format!("{path}.target");
    let kind = exactly_one_target(&path, &target, |path, text, is_address| {
        let value = Value::from(text);
        let is_host = HostPort::parse(text).is_some() || HostPort::parse(&format!("{text}:80")).is_some();
        match is_address {
            _ if text.contains(['{', '}']) => {
                Err(ConfigError::value(path, &value, "a text without placeholders"))
            }
            true if !is_host => Err(ConfigError::value(path, &value, "a host, with or without a port")),
            false if text.is_empty() || text.chars().any(char::is_control) => {
                Err(ConfigError::value(path, &value, "a text without control characters"))
            }
            _ => Ok(Template::literal(text)),
        }
    })?;
    if matches!(kind, TargetKind::Endpoints(_)) {
        let problem = "has no source of addresses";
        return Err(ConfigError::new(
            format!("{path}.endpoints"),
            problem,
            "authority, dynamic_host or header",
        ));
    }
    match TargetRules::fixed(kind.clone()).host("", &Values::default(), false) {
        Ok(host) => Ok(Outcome::Target(kind, Arc::new(host))),
        Err(_) => Err(ConfigError::new(path, "is malformed", "a host, with or without a port")),
    }
}

pub fn verify(verify: wire::Verify, gives: Gives, key: &KeySource) -> Result<Verify> {
    let Some(header) = verify.response_header else {
        let problem = "`response_header` is missing";
        return Err(ConfigError::new("verify", problem, "the header by which a host says who it is"));
    };
    let value = verify.value.map(|Text(text)| {
        let mut template = template("verify.value", &text, gives, key)?;
        template.fit_parts(|_, _| Fit::Ascii);
        well_formed("verify.value", &text, template, |text| !text.chars().any(char::is_control))
    });
    Ok(Verify { response_header: header.0.to_ascii_lowercase(), value: value.transpose()? })
}
