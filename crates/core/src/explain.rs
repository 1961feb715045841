//! What a router decides for a key, and why: for people who ask where a tenant goes. A filter does not need it.

use crate::decision::{Call, Decision, Verdict};
use crate::key::Key;
use crate::live::value::Sourced;
use crate::live::values::LiveValues;
use crate::rejection::Rejection;
use crate::request::Request;
use crate::router::{Compiled, Router, Worker};
use crate::target::Host;
use crate::time::Time;
use std::sync::Arc;

/// Where the requests of a key go, and why.
#[derive(Debug)]
pub struct Explanation {
    /// What happens to the request.
    pub decision: Explained,
    /// The hosts that requests of this key may be sent to: the shard, best first, or the only host. Of a host whose target is
    /// not allowed, its number or name. Empty if a resolver knows the host.
    pub hosts: Vec<Result<Arc<Host>, String>>,
    /// The number of hosts that the decision used.
    pub total_hosts: Option<Sourced>,
    /// The shard size that the decision used.
    pub shard_size: Option<Sourced>,
}

/// What happens to a request.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // There is one at a time.
pub enum Explained {
    /// This, each time.
    Verdict(Verdict),
    /// It is sent to one of the hosts, each time perhaps to another.
    AnyHost,
    /// The resolver is called.
    Call {
        /// The call.
        call: Call<()>,
        /// What happens if the resolver fails.
        on_error: Verdict,
        /// What happens if the resolver says that nobody owns the key; `None` if it has no way to say so.
        on_not_found: Option<Verdict>,
    },
}

impl Router {
    /// What this router decides for a request with this key and path, as the only one in flight, and without a cache.
    pub fn explain(
        self: &Arc<Self>,
        worker: &mut Worker<()>,
        key: &Key<'_>,
        path: &[u8],
        request: &impl Request,
        live: &LiveValues,
    ) -> Explanation {
        let decided =
            |decision| Explanation { decision, hosts: Vec::new(), total_hosts: None, shard_size: None };
        if let Some(verdict) = self.verdict_without_key(path, live) {
            return decided(Explained::Verdict(verdict));
        }
        let verdict = match self.decide(worker, key, path, request, live, Time::default(), || ()) {
            Decision::Verdict(verdict) => verdict,
            Decision::Call(call) => {
                let failed = Err(Rejection::CalloutFailed);
                let on_error = self.conclude(worker, failed, None, Some(key), request, live);
                let on_not_found =
                    self.not_found_status().map(|status| self.refuse(Rejection::NotFound(status)));
                return decided(Explained::Call { call, on_error, on_not_found });
            }
            // Nothing is in flight that a request could wait for.
            Decision::Wait => self.refuse(Rejection::CalloutFailed),
        };
        match (&self.strategy, verdict) {
            (Compiled::Shuffle(shuffle), verdict) => {
                let numbers = shuffle.numbers(&mut self.values(live, request, worker), key.bytes());
                let hosts = shuffle.members(&mut worker.shards, &mut worker.hosts, key, numbers, live);
                let decision = match verdict {
                    Verdict::Route(_) if shuffle.varies() => Explained::AnyHost,
                    verdict => Explained::Verdict(verdict),
                };
                Explanation {
                    decision,
                    hosts,
                    total_hosts: Some(numbers.total),
                    shard_size: Some(numbers.size),
                }
            }
            (_, Verdict::Route(route)) => Explanation {
                hosts: vec![Ok(Arc::clone(&route.host))],
                total_hosts: route.total,
                ..decided(Explained::Verdict(Verdict::Route(route)))
            },
            (_, verdict) => decided(Explained::Verdict(verdict)),
        }
    }

    fn not_found_status(&self) -> Option<u16> {
        match &self.strategy {
            Compiled::Resolve(resolve) => resolve.not_found_status(),
            Compiled::Index(_) | Compiled::Shuffle(_) | Compiled::Template(_) => None,
        }
    }
}
