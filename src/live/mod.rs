//! Live values: fetched by one VM of the process, used by all.
//!
//! A [`Feed`] is one source of values. Each VM has it at most once, whichever and however many plugins use
//! it there. Of all VMs (the main thread's and each worker's) one holds the feed's lease, talks to the
//! server, compiles what comes and publishes it as shared data; the others look every tick whether there is
//! something new. The main thread's VM ticks first and so usually holds the lease: no worker compiles
//! anything, and taking over new values costs a worker one copy.

mod admin;
mod lease;
mod rtds;

use crate::metrics;
use crate::shared;
use lease::Lease;
use pinroute_core::config::{AdminConfig, MembershipConfig, RuntimeConfig, RuntimeSource};
use pinroute_core::live::{Compiled, Skipped, Snapshot};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A source of live values, as one VM sees it.
pub struct Feed {
    /// Tells it from other feeds, in every VM alike.
    id: String,
    /// How many plugins of this VM use it.
    users: Cell<usize>,
    /// The root context that drives it here; calls and streams belong to it.
    driver: Cell<Option<u32>>,
    lease: RefCell<Lease>,
    snapshot: RefCell<Rc<Snapshot>>,
    source: RefCell<Source>,
    told: RefCell<Vec<Skipped>>,
    is_runtime: bool,
}

enum Source {
    Rtds(rtds::Rtds),
    Admin(admin::Admin),
}

thread_local! {
    // A VM has one thread.
    static FEEDS: RefCell<Vec<Rc<Feed>>> = const { RefCell::new(Vec::new()) };
}

impl Feed {
    /// The feed for a plugin's runtime values.
    pub fn of_runtime(config: &RuntimeConfig) -> Rc<Self> {
        let prefix = &config.prefix;
        match &config.source {
            RuntimeSource::Rtds { cluster, resource } => {
                Self::shared(format!("rtds {cluster} {resource} {prefix}"), true, || {
                    Source::Rtds(rtds::Rtds::new(cluster, resource, prefix))
                })
            }
            RuntimeSource::Admin(AdminConfig { cluster, refresh }) => {
                Self::shared(format!("admin {cluster} {} {prefix}", refresh.as_millis()), true, || {
                    Source::Admin(admin::Admin::of_runtime(cluster, *refresh, prefix))
                })
            }
        }
    }

    /// The feed for the number of a cluster's endpoints.
    pub fn of_membership(config: &MembershipConfig) -> Rc<Self> {
        let AdminConfig { cluster, refresh } = &config.admin;
        let id = format!("membership {cluster} {} {}", refresh.as_millis(), config.cluster);
        Self::shared(id, false, || {
            Source::Admin(admin::Admin::of_membership(cluster, *refresh, &config.cluster))
        })
    }

    fn shared(id: String, is_runtime: bool, source: impl FnOnce() -> Source) -> Rc<Self> {
        FEEDS.with_borrow_mut(|feeds| {
            let feed = match feeds.iter().find(|feed| feed.id == id) {
                Some(feed) => Rc::clone(feed),
                None => {
                    let feed = Rc::new(Self {
                        users: Cell::new(0),
                        driver: Cell::new(None),
                        lease: RefCell::new(Lease::new(&id)),
                        snapshot: RefCell::default(),
                        source: RefCell::new(source()),
                        told: RefCell::default(),
                        is_runtime,
                        id,
                    });
                    feeds.push(Rc::clone(&feed));
                    feed
                }
            };
            feed.users.set(feed.users.get() + 1);
            feed
        })
    }

    /// The values as they are now.
    pub fn snapshot(&self) -> Rc<Snapshot> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// A plugin that uses it ticks; its root context is the active one.
    pub fn tick(&self, root: u32, now: u64) {
        self.follow();
        let driver = self.driver.get().unwrap_or(root);
        if driver != root {
            return;
        }
        self.driver.set(Some(root));
        if self.lease.borrow_mut().hold(now) {
            match &mut *self.source.borrow_mut() {
                Source::Rtds(rtds) => rtds.drive(now),
                Source::Admin(admin) => admin.drive(now),
            }
        } else {
            self.stop();
        }
    }

    /// A plugin that used it is gone.
    pub fn leave(&self, root: u32) {
        self.users.set(self.users.get().saturating_sub(1));
        if self.driver.get() == Some(root) {
            // What belongs to this root context ends with it. The next of this VM's plugins to tick goes on.
            self.stop();
            self.driver.set(None);
        }
        if self.users.get() == 0 {
            self.lease.borrow_mut().give_up();
            FEEDS.with_borrow_mut(|feeds| feeds.retain(|feed| feed.id != self.id));
        }
    }

    /// A message has come on a stream. Whether the stream was this feed's.
    pub fn on_message(&self, token: u32, size: usize) -> bool {
        let received = match &mut *self.source.borrow_mut() {
            Source::Rtds(rtds) if rtds.is(token) => rtds.receive(size, self.next_version(), &self.snapshot()),
            _ => return false,
        };
        match received {
            Ok(Some((compiled, version))) => {
                self.publish(compiled);
                metrics::with(|metrics| {
                    metrics.runtime_updates.add_one();
                    metrics.runtime_version.record(version.parse().unwrap_or(self.snapshot().version()));
                });
            }
            Ok(None) => {}
            Err(reason) => {
                log::warn!("pinroute: runtime update refused: {reason}");
                metrics::with(|metrics| metrics.runtime_invalid.add_one());
            }
        }
        true
    }

    /// A stream has ended. Whether it was this feed's.
    pub fn on_close(&self, token: u32, status: u32, now: u64) -> bool {
        match &mut *self.source.borrow_mut() {
            Source::Rtds(rtds) if rtds.is(token) => rtds.closed(status, now),
            _ => return false,
        }
        true
    }

    /// A call has been answered; no body means that it failed. Whether the call was this feed's.
    pub fn on_answer(&self, token: u32, body: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        let answer = match &mut *self.source.borrow_mut() {
            Source::Admin(admin) if admin.is(token) => {
                admin.receive(body(), self.next_version(), &self.snapshot())
            }
            _ => return false,
        };
        if self.is_runtime {
            metrics::with(|metrics| metrics.runtime_connected.record(u64::from(answer.is_ok())));
        }
        match answer {
            Ok(Some(compiled)) => {
                if self.publish(compiled) && self.is_runtime {
                    metrics::with(|metrics| {
                        metrics.runtime_updates.add_one();
                        metrics.runtime_version.record(self.snapshot().version());
                    });
                }
            }
            Ok(None) => {}
            Err(()) => log::debug!("pinroute: no usable answer for {}; the last values stay", self.id),
        }
        true
    }

    fn stop(&self) {
        match &mut *self.source.borrow_mut() {
            Source::Rtds(rtds) => rtds.stop(),
            Source::Admin(admin) => admin.stop(),
        }
    }

    fn next_version(&self) -> u64 {
        self.snapshot().version() + 1
    }

    /// Takes over what another VM has published since.
    fn follow(&self) {
        let own = self.snapshot().version();
        let published = shared::read_u64(&self.version_key()).unwrap_or(0);
        if published <= own {
            return;
        }
        let bytes = shared::read(&self.values_key()).map(|(bytes, _)| bytes).unwrap_or_default();
        if let Some(snapshot) = Snapshot::open(bytes).filter(|snapshot| snapshot.version() > own) {
            self.snapshot.replace(Rc::new(snapshot));
        }
    }

    /// Makes new values known to all VMs. Whether they differ from the old ones.
    fn publish(&self, compiled: Compiled) -> bool {
        self.tell(compiled.skipped);
        let Some(snapshot) = Snapshot::open(compiled.bytes) else { return false };
        if snapshot.says_the_same_as(&self.snapshot()) {
            return false;
        }
        // The version last: whoever sees it finds the values.
        shared::write(&self.values_key(), snapshot.bytes());
        shared::write(&self.version_key(), &snapshot.version().to_le_bytes());
        self.snapshot.replace(Rc::new(snapshot));
        true
    }

    /// Logs and counts unusable values, each of them once.
    fn tell(&self, skipped: Vec<Skipped>) {
        let before = self.told.replace(skipped);
        for entry in self.told.borrow().iter().filter(|entry| !before.contains(entry)) {
            log::warn!(
                "pinroute: runtime value {} = {} is not usable; what it was before stays",
                entry.key,
                entry.value
            );
            metrics::with(|metrics| metrics.runtime_invalid.add_one());
        }
    }

    fn version_key(&self) -> String {
        format!("pinroute version {}", self.id)
    }

    fn values_key(&self) -> String {
        format!("pinroute values {}", self.id)
    }
}
