//! Says where a key goes and why, and who shares its hosts.

use std::fmt;
use std::io::{self, BufRead};

use pinroute_core::config::{Config, Pick, Strategy};
use pinroute_core::decision::{Call, Verdict};
use pinroute_core::explain::{Explained, Explanation};
use pinroute_core::key::{Key, KeyError};
use pinroute_core::live::value::{Source, Sourced};
use pinroute_core::rejection::Rejection;
use pinroute_core::shard::Algorithm;
use pinroute_core::target::{Host, Target};
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::keys;
use crate::overlap::{Sharing, identity, sharing};
use crate::subject::Subject;
use crate::text::{entry, grouped, percent};

/// What is asked about.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The key, if it has one part.
    pub key: Option<Vec<u8>>,
    /// Parts of the key, by their names. Without a key and parts, the request has the key.
    pub parts: Vec<(String, String)>,
    /// The path of the request; without one, a path that the filter applies to.
    pub path: Option<String>,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// There is no such part.
    #[error("no part `{name}`; the parts of the key are: {parts}")]
    UnknownPart {
        /// The part.
        name: String,
        /// Those that there are.
        parts: String,
    },
    /// The key has several parts, and was given as one.
    #[error("the key has several parts, give each one by its name: {parts}")]
    SeveralParts {
        /// The parts.
        parts: String,
    },
    /// A resolver has the owners.
    #[error("the resolver decides which keys share a host")]
    Resolver,
    /// The other keys cannot be read.
    #[error("cannot read the keys: {0}")]
    Keys(#[from] io::Error),
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The key, or its parts by their names.
    pub key: Value,
    /// The strategy.
    pub strategy: &'static str,
    /// The algorithm of the shards, if there are shards.
    pub algorithm: Option<&'static str>,
    /// What happens to the request.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The hosts of the shard by their numbers or names, best first.
    pub shard: Option<Vec<String>>,
    /// The number of hosts.
    pub total_hosts: Option<Number>,
    /// The shard size before it is limited by the number of hosts.
    pub shard_size: Option<Number>,
    /// How the host of the shard is picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picked: Option<String>,
    /// The call to the resolver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallReport>,
    /// What happens if the resolver fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<Outcome>,
    /// What happens if nobody owns the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_not_found: Option<Outcome>,
    /// Who shares the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// What the reader should know about the live values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(skip)]
    prefix: Option<String>,
}

/// A number and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Number {
    /// The number.
    pub value: u32,
    /// Its source.
    pub source: &'static str,
    #[serde(skip)]
    is_runtime: bool,
}

impl From<Sourced> for Number {
    fn from(Sourced { value, source }: Sourced) -> Self {
        let is_runtime = matches!(source, Source::Runtime | Source::RuntimeKey);
        Self { value, source: source.name(), is_runtime }
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `route`, `any_host` (of the shard), `call` (the resolver), `reject`, `continue` or `pass`.
    pub decision: &'static str,
    /// The number or name of the host; without one, its target.
    pub host: Option<String>,
    /// The finished target.
    pub target: Option<String>,
    /// What the filter sets to it: `authority`, `dynamic_host` or `header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kind: Option<&'static str>,
    /// The name of that header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_header: Option<String>,
    /// The status of an error response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body of an error response, or why the request continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A call to the resolver. Values of headers may be secret and are not shown.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    /// The Envoy cluster.
    pub cluster: String,
    /// `GET` or `POST`
    pub method: &'static str,
    /// The `:authority`.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: Option<String>,
    /// The names of more headers.
    pub headers: Vec<String>,
}

/// Answers a question about a configuration; `others` are keys, one on each line, that are compared.
///
/// # Errors
/// [`ExplainError`]
pub fn explain(
    subject: &mut Subject,
    question: &Question,
    others: Option<impl BufRead>,
) -> Result<Report, ExplainError> {
    let names: Vec<&str> = subject.config.key.names().collect();
    let parts = names.join(", ");
    if let Some((name, _)) = question.parts.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        return Err(ExplainError::UnknownPart { name: name.clone(), parts });
    }
    let is_given = question.key.is_some() || !question.parts.is_empty();
    if question.key.is_some() && names.len() > 1 {
        return Err(ExplainError::SeveralParts { parts });
    }
    let default_path = subject.config.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let path = question.path.clone().unwrap_or(default_path);
    subject.set_request(path.as_bytes(), &question.headers);
    let key = if is_given {
        keys::key(&subject.config, question.key.as_deref(), &question.parts)
    } else {
        subject.key_of_request()
    };
    let key = match key {
        Ok(key) => key,
        Err(error) => return Ok(without_key(subject, question, &error)),
    };
    let sharing = match (others, &subject.config.strategy) {
        (Some(_), Strategy::Resolve(..)) => return Err(ExplainError::Resolver),
        (Some(others), _) => Some(sharing(subject, &key, others)?),
        (None, _) => None,
    };
    let explanation = subject.explain(&key);
    let picked = picked(&subject.config, &explanation, question, &path);
    Ok(Report { sharing, picked, ..report(subject, shown_key(&subject.config, &key), explanation) })
}

/// The report on a request without a key that can be used.
fn without_key(subject: &Subject, question: &Question, error: &KeyError) -> Report {
    let key = question.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
    let rejection = match error {
        KeyError::Missing(name) => Rejection::MissingKey(name.clone()),
        KeyError::Invalid(name) => Rejection::InvalidKey(name.clone()),
    };
    let decision = Explained::Verdict(subject.refused(rejection));
    let explanation = Explanation { decision, hosts: Vec::new(), total_hosts: None, shard_size: None };
    report(subject, key.into(), explanation)
}

fn report(subject: &Subject, key: Value, explanation: Explanation) -> Report {
    let Explanation { decision, hosts, total_hosts, shard_size } = explanation;
    let (strategy, algorithm) = match &subject.config.strategy {
        Strategy::Resolve(..) => ("resolve", None),
        Strategy::Index(_) => ("index", None),
        Strategy::Template => ("template", None),
        Strategy::ShuffleShard(shuffle) => match shuffle.algorithm {
            Algorithm::Rendezvous => ("shuffle_shard", Some("rendezvous")),
            Algorithm::LuaDjb2 => ("shuffle_shard", Some("lua_djb2")),
        },
    };
    let shard = algorithm.filter(|_| !hosts.is_empty()).map(|_| hosts.iter().map(name).collect());
    let (outcome, call, on_error, on_not_found) = match decision {
        Explained::Verdict(verdict) => (Outcome::of(&verdict), None, None, None),
        Explained::AnyHost => (Outcome::only("any_host"), None, None, None),
        Explained::Call { call, on_error, on_not_found } => (
            Outcome::only("call"),
            Some(CallReport::of(call)),
            Some(Outcome::of(&on_error)),
            on_not_found.as_ref().map(Outcome::of),
        ),
    };
    Report {
        key,
        strategy,
        algorithm,
        outcome,
        shard,
        total_hosts: total_hosts.map(Number::from),
        shard_size: shard_size.map(Number::from),
        picked: None,
        call,
        on_error,
        on_not_found,
        sharing: None,
        warnings: subject.warnings.clone(),
        prefix: subject.prefix.clone(),
    }
}

/// The number or name of a host, allowed or not.
fn name(host: &Result<std::sync::Arc<Host>, String>) -> String {
    match host {
        Ok(named) if !named.name.is_empty() => named.name.clone(),
        other => identity(other),
    }
}

/// How the host of a shard was picked.
fn picked(config: &Config, explanation: &Explanation, question: &Question, path: &str) -> Option<String> {
    let Strategy::ShuffleShard(shuffle) = &config.strategy else { return None };
    if explanation.hosts.is_empty() {
        return None;
    }
    let is_assumed = if question.path.is_none() { " (assumed)" } else { "" };
    Some(match &shuffle.pick {
        Pick::Path => format!("by the path {path}{is_assumed}"),
        Pick::Random => "at random".to_owned(),
        Pick::RoundRobin => "in turn".to_owned(),
        Pick::Header(name) if question.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) => {
            format!("by the header {name}")
        }
        Pick::Header(name) => format!("by the path {path}{is_assumed}, without the header {name}"),
    })
}

fn shown_key(config: &Config, key: &Key<'_>) -> Value {
    let part = |place| String::from_utf8_lossy(key.part(place)).into_owned();
    if config.key.is_single() {
        return part(0).into();
    }
    let names = config.key.names().enumerate();
    Value::Object(names.map(|(place, name)| (name.to_owned(), part(place).into())).collect::<Map<_, _>>())
}

impl Outcome {
    fn only(decision: &'static str) -> Self {
        Self {
            decision,
            host: None,
            target: None,
            target_kind: None,
            target_header: None,
            status: None,
            reason: None,
        }
    }

    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::only("pass"),
            Verdict::Reject(rejection, status) => Self {
                status: Some(*status),
                reason: Some(rejection.body().into_owned()),
                ..Self::only("reject")
            },
            Verdict::Continue(rejection) => {
                Self { reason: Some(rejection.body().into_owned()), ..Self::only("continue") }
            }
            Verdict::Route(route) => Self::to(&route.host),
        }
    }

    fn to(host: &Host) -> Self {
        let (kind, header) = match &host.target {
            None => (None, None),
            Some(Target::Authority(_)) => (Some("authority"), None),
            Some(Target::DynamicHost { .. }) => (Some("dynamic_host"), None),
            Some(Target::Header { name, .. }) => (Some("header"), Some(name.to_string())),
        };
        let target = host.target.as_ref().map(|_| host.to_string());
        let name = Some(host.name.clone()).filter(|name| !name.is_empty());
        Self {
            host: name.or_else(|| target.clone()),
            target,
            target_kind: kind,
            target_header: header,
            ..Self::only("route")
        }
    }
}

/// What happens, in words.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decision, target, target_kind, target_header, status, reason, host } = self;
        let reason = reason.as_deref().unwrap_or_default();
        match (*decision, status, target) {
            ("reject", Some(status), _) => write!(f, "error response {status} `{reason}`"),
            ("continue", ..) => write!(f, "passes on untouched ({reason})"),
            ("pass", ..) => f.write_str("passes untouched: the filter does not apply"),
            ("call", ..) => f.write_str("as the resolver answers"),
            ("any_host", ..) => f.write_str("one of the shard's hosts, for each request anew"),
            (_, _, Some(target)) => match target_header {
                Some(header) => write!(f, "header {header}: {target}"),
                None => write!(f, "{} {target}", target_kind.unwrap_or_default()),
            },
            _ => write!(f, "host {}", host.as_deref().unwrap_or_default()),
        }
    }
}

impl CallReport {
    fn of(call: Call<()>) -> Self {
        Self {
            cluster: call.cluster,
            method: if call.body.is_some() { "POST" } else { "GET" },
            authority: call.authority,
            path: call.path,
            body: call.body,
            headers: call.headers.into_iter().map(|(name, _)| name).collect(),
        }
    }
}

/// For people, within 80 columns.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.key {
            Value::Object(parts) => {
                let part = |(name, value): (&String, &Value)| {
                    format!("{name}={}", value.as_str().unwrap_or_default())
                };
                parts.iter().map(part).collect::<Vec<_>>().join(" ")
            }
            Value::String(key) => key.clone(),
            _ => "none".to_owned(),
        };
        entry(f, "key", &key)?;
        let algorithm = self.algorithm.map(|algorithm| format!(", {algorithm}")).unwrap_or_default();
        entry(f, "strategy", &format!("{}{algorithm}", self.strategy))?;
        let is_index = self.strategy == "index";
        let numbers = [
            ("total hosts", self.total_hosts, if is_index { "replicas" } else { "total_hosts" }),
            ("shard size", self.shard_size, "default_shard_size"),
        ];
        for (label, number, runtime) in numbers {
            if let Some(number) = number {
                entry(f, label, &format!("{} from {}", number.value, self.source(number, runtime)))?;
            }
        }
        if let Some(shard) = &self.shard {
            entry(f, "shard", &shard.join(", "))?;
        }
        if let Some(host) = &self.outcome.host {
            let picked = self.picked.as_ref().map(|picked| format!(", picked {picked}")).unwrap_or_default();
            entry(f, "host", &format!("{host}{picked}"))?;
        }
        match &self.call {
            None => entry(f, "goes to", &self.outcome.to_string())?,
            Some(CallReport { cluster, method, path, body, headers, .. }) => {
                entry(f, "call", &format!("{method} {path} to the cluster {cluster}"))?;
                if !headers.is_empty() {
                    entry(f, "  headers", &headers.join(", "))?;
                }
                if let Some(body) = body {
                    entry(f, "  body", body)?;
                }
                entry(f, "goes to", &self.outcome.to_string())?;
            }
        }
        for (label, outcome) in [("if not found", &self.on_not_found), ("if it fails", &self.on_error)] {
            if let Some(outcome) = outcome {
                entry(f, label, &outcome.to_string())?;
            }
        }
        if let Some(sharing) = &self.sharing {
            write!(f, "\n{sharing}")?;
        }
        for warning in &self.warnings {
            entry(f, "warning", warning)?;
        }
        Ok(())
    }
}

impl Report {
    /// The source of a number, and its name there.
    fn source(&self, number: Number, runtime: &str) -> String {
        let Some(prefix) = self.prefix.as_ref().filter(|_| number.is_runtime) else {
            return number.source.to_owned();
        };
        match (number.source, self.key.as_str()) {
            ("runtime_key", Some(key)) => format!("runtime_key: {prefix}.customer.{key}.shard_size"),
            _ => format!("{}: {prefix}.{runtime}", number.source),
        }
    }
}

/// A table of how much is shared.
impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, all, part, none, refused } = self;
        writeln!(f, "Of {} other keys, so many share", grouped(*keys))?;
        for (label, group) in [("  all hosts", all), ("  some hosts", part), ("  no host", none)] {
            let share = group.keys as f64 / (*keys).max(1) as f64;
            let expected =
                group.expected.map(|expected| format!(", expected {expected:.1}")).unwrap_or_default();
            let line = format!("{} ({}{expected})", grouped(group.keys), percent(share));
            entry(f, label, &line)?;
        }
        for (label, group) in [("all: ", all), ("some: ", part)] {
            if !group.first.is_empty() {
                let more = if group.keys > group.first.len() as u64 { ", …" } else { "" };
                entry(f, label, &format!("{}{more}", group.first.join(", ")))?;
            }
        }
        if *refused > 0 {
            entry(f, "  refused", &format!("{} lines that are no key or not routed", grouped(*refused)))?;
        }
        Ok(())
    }
}
