//! Polling Envoy's own admin interface.

use pinroute_core::live::{admin, Compiled, Snapshot};
use proxy_wasm::hostcalls;
use std::hash::Hasher;
use std::time::Duration;

/// How long an answer may take. The admin interface is on this machine, but its thread may be busy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked again and again.
pub struct Admin {
    cluster: String,
    path: String,
    refresh: u64,
    what: What,
    call: Option<u32>,
    next: u64,
    /// A fingerprint of the last body: what has not changed is not read again.
    seen: Option<u64>,
}

enum What {
    Runtime { prefix: String },
    Membership { cluster: String },
}

impl Admin {
    pub fn of_runtime(cluster: &str, refresh: Duration, prefix: &str) -> Self {
        Self::new(cluster, "/runtime".to_owned(), refresh, What::Runtime { prefix: prefix.to_owned() })
    }

    pub fn of_membership(cluster: &str, refresh: Duration, counted: &str) -> Self {
        let what = What::Membership { cluster: counted.to_owned() };
        Self::new(cluster, admin::membership_path(counted), refresh, what)
    }

    fn new(cluster: &str, path: String, refresh: Duration, what: What) -> Self {
        let refresh = u64::try_from(refresh.as_millis()).unwrap_or(u64::MAX);
        Self { cluster: cluster.to_owned(), path, refresh, what, call: None, next: 0, seen: None }
    }

    pub fn is(&self, token: u32) -> bool {
        self.call == Some(token)
    }

    /// Asks if it is time to.
    pub fn drive(&mut self, now: u64) {
        if self.call.is_some() || now < self.next {
            return;
        }
        self.next = now + self.refresh;
        let headers = vec![(":method", "GET"), (":path", self.path.as_str()), (":authority", "admin")];
        match hostcalls::dispatch_http_call(&self.cluster, headers, None, vec![], TIMEOUT) {
            Ok(token) => self.call = Some(token),
            Err(status) => log::debug!("pinroute: cannot call the cluster `{}`: {status:?}", self.cluster),
        }
    }

    /// An answer: new values, nothing new, or nothing usable.
    pub fn receive(
        &mut self,
        body: Option<Vec<u8>>,
        version: u64,
        last: &Snapshot,
    ) -> Result<Option<Compiled>, ()> {
        self.call = None;
        let body = body.ok_or(())?;
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(&body);
        let fingerprint = Some(hasher.finish());
        if fingerprint == self.seen {
            return Ok(None);
        }
        let compiled = match &self.what {
            What::Runtime { prefix } => admin::runtime(&body, prefix, version, last),
            What::Membership { cluster } => admin::membership(&body, cluster, version, last),
        };
        // What cannot be read is read again next time: it may be the start of something longer.
        self.seen = compiled.as_ref().and(fingerprint);
        compiled.map(Some).ok_or(())
    }

    /// Forgets the call under way; its answer will be nobody's.
    pub fn stop(&mut self) {
        self.call = None;
    }
}
