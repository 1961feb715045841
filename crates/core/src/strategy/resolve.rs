//! The `resolve` strategy: call a resolver, and fall back to a formula or a template if that fails.

use super::index::Index;
use crate::config::{CacheConfig, CallConfig, ResolveConfig};
use crate::hash::{Digest, Digester};
use crate::key::Key;
use crate::key::query::has_dot_segment;
use crate::rejection::Rejection;
use crate::request::Request;
use crate::resolve::answer::{AnswerConfig, Found, Wanted};
use crate::resolve::cache::Answer;
use crate::resolve::response::Response;
use crate::target::host_port::HostPort;
use crate::target::{Host, Refused, TargetRules};
use crate::template::{Fit, Unfit, Values};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

/// The compiled strategy.
#[derive(Debug)]
pub struct Resolve {
    /// The Envoy cluster.
    pub cluster: String,
    /// The `:authority` of the call.
    pub authority: String,
    /// How long a response may take.
    pub timeout: Duration,
    /// How many calls one worker may have in flight.
    pub max_in_flight: usize,
    /// How answers are cached, if they are.
    pub cache: Option<CacheConfig>,
    /// What happens if the resolver fails, if that is configured.
    pub fallback: Option<Fallback>,
    /// What is wanted of a response, and its place there.
    pub answer: AnswerConfig,
    call: CallConfig,
    not_found: Vec<u16>,
    rules: TargetRules,
    is_plain: bool,
}

/// What happens if the resolver fails.
#[derive(Debug)]
pub enum Fallback {
    /// A formula.
    Index(Index),
    /// A target of the key alone.
    Template(TargetRules),
}

/// What is sent to the resolver.
#[derive(Debug)]
pub struct Rendered {
    /// The path with its query.
    pub path: String,
    /// The body of a POST request.
    pub body: Option<String>,
    /// More headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Resolve {
    /// Compiles the strategy.
    pub fn new(config: ResolveConfig, rules: TargetRules, fallback: Option<Fallback>) -> Self {
        let ResolveConfig { cluster, authority, call, answer, not_found, timeout, cache, max_in_flight } =
            config;
        let is_plain = call.params.len() == 1
            && call.forward_headers.is_empty()
            && !call.headers.iter().any(|(_, value)| value.has_part())
            && !rules.uses_key();
        Self {
            cluster,
            authority,
            timeout,
            max_in_flight,
            cache,
            fallback,
            answer,
            call,
            not_found,
            rules,
            is_plain,
        }
    }

    /// Whether the key is wanted when the response is there.
    pub fn keeps_key(&self) -> bool {
        self.rules.uses_key()
    }

    /// Whether the key fits into the target.
    pub fn fits(&self, key: &Key<'_>) -> bool {
        self.rules.fits(key)
    }

    /// A status that says that nobody owns the key, if there is one.
    pub fn not_found_status(&self) -> Option<u16> {
        self.not_found.first().copied()
    }

    /// What is sent for a key, unless that is plain: then it is rendered when it is sent.
    ///
    /// # Errors
    /// [`Unfit`]
    pub fn render_early(&self, key: &Key<'_>, request: &impl Request) -> Result<Option<Rendered>, Unfit> {
        if self.is_plain { Ok(None) } else { self.render(key, request).map(Some) }
    }

    /// What is sent for a key.
    ///
    /// # Errors
    /// [`Unfit`]
    pub fn render(&self, key: &Key<'_>, request: &impl Request) -> Result<Rendered, Unfit> {
        let CallConfig { path, params, body, headers, forward_headers } = &self.call;
        let values = Values { key: Some(key), ..Values::default() };
        let mut path = path.render(&values)?;
        if has_dot_segment(&path) {
            return Err(Unfit);
        }
        for (place, start) in params.iter().enumerate() {
            path.push_str(start);
            match params.len() {
                1 => path.push_str(&key.as_parameter()),
                _ => path.push_str(&Fit::Encoded.write(key.part(place)).ok_or(Unfit)?),
            }
        }
        let body = body.as_ref().map(|body| body.render(&values)).transpose()?;
        let mut sent = Vec::with_capacity(headers.len() + forward_headers.len());
        for (name, value) in headers {
            sent.push((name.clone(), value.render(&values)?.into_bytes()));
        }
        for name in forward_headers {
            sent.extend(request.header(name).map(|value| (name.clone(), value.into_owned())));
        }
        Ok(Rendered { path, body, headers: sent })
    }

    /// Identifies what is sent. `number` stands for all that is the same for every request at a time.
    pub fn digest(
        &self,
        digester: &Digester,
        number: u64,
        key: &Key<'_>,
        rendered: Option<&Rendered>,
    ) -> Digest {
        let Some(Rendered { path, body, headers }) = rendered else {
            return digester.digest(number, key.as_parameter().as_bytes());
        };
        let mut parts: Vec<&[u8]> = vec![path.as_bytes()];
        parts.extend(body.iter().map(String::as_bytes));
        parts.extend(headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_slice()]));
        if self.rules.uses_key() {
            parts.push(key.bytes());
        }
        digester.digest_parts(number, &parts)
    }

    /// What a response decides.
    pub fn answer(&self, response: Response<'_>, key: Option<&Key<'_>>) -> Answer {
        match response {
            Response::Failed => Err(Rejection::CalloutFailed),
            Response::Complete { status: 200, body, headers } => {
                let found = self.answer.read(body, headers).map_err(Rejection::NoHostport)?;
                match self.host(found, key) {
                    Ok(host) => Ok(Arc::new(host)),
                    Err(refused) => {
                        refused.log();
                        Err(Rejection::TargetNotAllowed)
                    }
                }
            }
            Response::Complete { status, .. } if self.not_found.contains(&status) => {
                Err(Rejection::NotFound(status))
            }
            Response::Complete { status, .. } => Err(Rejection::ResolverStatus(status)),
        }
    }

    fn host(&self, found: Found<'_>, key: Option<&Key<'_>>) -> Result<Host, Refused> {
        let Found { target, others, port, headers } = found;
        if self.rules.wants_list() && matches!(self.answer.target, Wanted::HostPorts(_)) {
            let all = std::iter::once(&target).chain(&others).map(AsRef::as_ref);
            return Ok(Host { headers, ..self.rules.list(&target, all, true)? });
        }
        let hostport = match (&self.answer.target, port) {
            (Wanted::Name(_), _) => {
                let Some(name) = Fit::Name.write(target.as_bytes()) else {
                    return Err(Refused::NotAllowed(target.into_owned()));
                };
                let values = Values { key, name: Some(&name), ..Values::default() };
                return Ok(Host { headers, ..self.rules.host(&name, &values, true)? });
            }
            (Wanted::HostPort(_) | Wanted::HostPorts(_), _) => target.into_owned(),
            // Only the host counts then.
            (Wanted::Host(..), None) => format!("{}:1", bracketed(&target)),
            (Wanted::Host(..), Some(port)) => format!("{}:{port}", bracketed(&target)),
        };
        let Some(parsed) = HostPort::parse(&hostport) else {
            return Err(Refused::NotAllowed(hostport));
        };
        let port = parsed.port().to_string();
        let name =
            if matches!(self.answer.target, Wanted::Host(_, None)) { parsed.host() } else { parsed.as_str() };
        let values = Values {
            key,
            hostport: Some(parsed.as_str()),
            host: Some(parsed.host()),
            port: Some(&port),
            ..Values::default()
        };
        Ok(Host { headers, ..self.rules.host(name, &values, true)? })
    }
}

/// A host as it stands before a port.
fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}
