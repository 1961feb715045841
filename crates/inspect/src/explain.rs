//! Says where a key goes and why, and who shares its hosts.

mod outcome;
mod render;

use std::io::{self, BufRead, Write};

use pinroute_core::config::{Config, Pick, Strategy};
use pinroute_core::explain::{Explained, Explanation};
use pinroute_core::key::{Key, KeyError};
use pinroute_core::live::value::{Source, Sourced};
use pinroute_core::rejection::Rejection;
use pinroute_core::shard::Algorithm;
use pinroute_core::target::Host;
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::keys;
use crate::overlap::{Sharing, compare, identity, sharing};
use crate::subject::Subject;

pub use outcome::{CacheReport, CallReport, Outcome};

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
    /// There is no key to compare the others with.
    #[error(
        "no key to compare the others with; give --key, --part, or a request with `{0}`: --path, --header"
    )]
    NoKey(String),
    /// The key to compare the others with cannot be one.
    #[error(
        "`{0}` is no valid key: it is too long, has control characters, or does not fit the configuration"
    )]
    InvalidKey(String),
    /// The other keys cannot be read.
    #[error("cannot read the keys: {0}")]
    Keys(#[from] io::Error),
    /// The list cannot be written.
    #[error("cannot write the list: {0}")]
    Write(io::Error),
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
    /// Where requests may be sent, if there is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_targets: Option<Vec<String>>,
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

/// Answers a question about a configuration; `others` are keys, one on each line, that are compared.
///
/// # Errors
/// [`ExplainError`]
pub fn explain(
    subject: &mut Subject,
    question: &Question,
    others: Option<impl BufRead>,
) -> Result<Report, ExplainError> {
    let (path, key) = prepare(subject, question)?;
    let key = match (key, &others) {
        (Ok(key), _) => key,
        (Err(error), None) => return Ok(without_key(subject, question, &error)),
        (Err(error), Some(_)) => return Err(no_key(subject, error)),
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

/// Writes each key that is compared, and whether it shares `all`, `some` or `none` of the hosts, separated by a tab. Returns the
/// number of lines that are no key or not routed.
///
/// # Errors
/// [`ExplainError`]
pub fn list(
    subject: &mut Subject,
    question: &Question,
    others: impl BufRead,
    out: &mut impl Write,
) -> Result<u64, ExplainError> {
    let (_, key) = prepare(subject, question)?;
    let key = key.map_err(|error| no_key(subject, error))?;
    if matches!(subject.config.strategy, Strategy::Resolve(..)) {
        return Err(ExplainError::Resolver);
    }
    let mut refused = 0;
    compare(subject, &key, others, |line, other| {
        let Some((shared, _)) = other else {
            refused += 1;
            return Ok(());
        };
        let rest = format!("\t{}\n", shared.name());
        out.write_all(line).and_then(|()| out.write_all(rest.as_bytes())).map_err(ExplainError::Write)
    })?;
    Ok(refused)
}

/// Makes up the request of a question, and returns its path and its key.
fn prepare<'q>(
    subject: &mut Subject,
    question: &'q Question,
) -> Result<(String, Result<Key<'q>, KeyError>), ExplainError> {
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
    Ok((path, key))
}

/// Why other keys cannot be compared with the key of a question.
fn no_key(subject: &Subject, error: KeyError) -> ExplainError {
    match (&subject.config.strategy, error) {
        (Strategy::Resolve(..), _) => ExplainError::Resolver,
        (_, KeyError::Missing(name)) => ExplainError::NoKey(name),
        (_, KeyError::Invalid(name)) => ExplainError::InvalidKey(name),
    }
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
            Some(CallReport::of(call, &subject.config)),
            Some(Outcome::of(&on_error).of_failure(&subject.config)),
            on_not_found.as_ref().map(Outcome::of),
        ),
    };
    let allowed = subject.config.allowed_targets.as_ref();
    let mut warnings = subject.warnings.clone();
    if let (Some(total), Some(size)) = (total_hosts, shard_size)
        && size.value >= total.value
        && total.value > 0
    {
        warnings.push(format!("not isolated: shards of {} out of {} hosts", size.value, total.value));
    }
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
        allowed_targets: allowed.map(|allowed| allowed.0.iter().map(ToString::to_string).collect()),
        on_error,
        on_not_found,
        sharing: None,
        warnings,
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
    let is_assumed = if question.path.is_none() { " (no --path given)" } else { "" };
    Some(match &shuffle.pick {
        Pick::Path => format!("for the path {path}{is_assumed}"),
        Pick::Random => "at random".to_owned(),
        Pick::RoundRobin => "in turn".to_owned(),
        Pick::Header(name) if question.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) => {
            format!("for the header {name}")
        }
        Pick::Header(name) => format!("for the path {path}{is_assumed}, without the header {name}"),
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
