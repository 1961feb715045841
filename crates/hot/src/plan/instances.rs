//! From an instance's number or name to the change that a request needs.

use super::Rules;
use crate::authority::HostPort;
use crate::config::{Instances, TargetConfig};
use crate::live::{Live, Number, Source};
use crate::step::{Instance, Rejection, Said, Target};

/// All instances of a strategy.
#[derive(Debug)]
pub struct Fleet {
    instances: Instances,
    rules: Rules,
}

impl Fleet {
    pub fn new(instances: Instances, rules: Rules) -> Self {
        Self { instances, rules }
    }

    /// How many there are. A list of names is what it is; a count may be said by somebody else.
    pub fn count(&self, number: Number, key: &[u8], live: &Live<'_>) -> Said {
        match &self.instances {
            Instances::Numbered { count, .. } => live.number(number, key, *count).into(),
            Instances::Named(names) => {
                Said { value: u32::try_from(names.len()).unwrap_or(u32::MAX), source: Source::Configuration }
            }
        }
    }

    /// Their names, if they have any.
    pub fn names(&self) -> Option<&[String]> {
        match &self.instances {
            Instances::Numbered { .. } => None,
            Instances::Named(names) => Some(names),
        }
    }

    /// What headers call the instance at `place`, counted from 0.
    pub fn label(&self, place: u32) -> String {
        match &self.instances {
            Instances::Numbered { base, .. } => (u64::from(*base) + u64::from(place)).to_string(),
            Instances::Named(names) => names.get(place as usize).cloned().unwrap_or_default(),
        }
    }

    /// The instance at `place`.
    pub fn instance(&self, place: u32) -> Result<Instance, Rejection> {
        let label = self.label(place);
        let named = self.names().and_then(|_| HostPort::parse(&label));
        self.rules.instance(&label, named.as_ref())
    }
}

impl Rules {
    /// The instance called `label`, if requests may be sent there. `named` is the label where it is a
    /// `host:port` itself.
    ///
    /// The list speaks of where Envoy will connect to, so it is held against the finished target, and
    /// against the instance where a header leaves the choice of the address to Envoy.
    pub fn instance(&self, label: &str, named: Option<&HostPort<'_>>) -> Result<Instance, Rejection> {
        let (target, allowed) = match &self.target {
            None => (None, named.is_none() || self.allow(named)),
            Some(TargetConfig::Header { name, value }) => (
                Some(Target::Header { name: name.clone(), value: value.render(label) }),
                named.is_none() || self.allow(named),
            ),
            Some(TargetConfig::Authority(template)) => {
                let authority = template.render(label);
                let allowed = self.allow_address(&authority, named);
                (Some(Target::Authority(authority)), allowed)
            }
            Some(TargetConfig::DynamicHost(template)) => {
                let address = template.render(label);
                (Some(dynamic_host(&address)), self.allow_address(&address, named))
            }
        };
        if allowed {
            Ok(Instance { label: label.to_owned(), target })
        } else {
            Err(Rejection::TargetNotAllowed)
        }
    }

    /// Whether a finished target is allowed. Mostly it is the instance's own name, which has been read before.
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
            (Some(patterns), Some(target)) => patterns.iter().any(|pattern| pattern.matches(target)),
        }
    }
}

fn dynamic_host(address: &str) -> Target {
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    match HostPort::parse(address) {
        Some(parsed) => {
            Target::DynamicHost { host: bare(parsed.host()), port: Some(parsed.port().to_string()) }
        }
        None => Target::DynamicHost { host: bare(address), port: None },
    }
}
