//! Live values: fetched by one VM of the process, used by all.
//!
//! A subscription is one source of values. Each VM has it at most once, whichever and however many plugins use it
//! there. Of all VMs (the main thread's and each worker's) one holds the subscription's lease, talks to the server,
//! compiles its updates and publishes the snapshot as shared data. The others look at every tick whether there is a
//! new one. The main thread's VM ticks first and so usually holds the lease: no worker compiles anything, and a worker
//! that adopts new values makes one copy.

use super::action::{Action, SubscriptionId};
use super::admin::{Admin, Query};
use super::compile::Compiled;
use super::lease::Lease;
use super::snapshot::Snapshot;
use super::value::Skipped;
use super::vm::Vm;
use super::xds::{Wanted, Xds};
use crate::config::{
    AdminConfig, MembershipConfig, MembershipSource, RuntimeConfig, RuntimeSource, XdsConfig,
};
use crate::hash::Random;
use crate::metrics::{Counter, Gauge, Recorder};
use crate::time::Time;
use std::sync::Arc;

/// The subscriptions of one VM.
#[derive(Debug)]
pub struct Subscriptions {
    list: Vec<Subscription>,
    random: Random,
    next_id: u32,
    recorder: Recorder,
}

#[derive(Debug)]
struct Subscription {
    id: SubscriptionId,
    /// The same in every VM.
    name: String,
    /// The source in the names of gauges.
    gauge: String,
    /// How many plugins of this VM use it.
    users: usize,
    /// The plugin that drives it in this VM. Calls and streams belong to it.
    driver: Option<u32>,
    lease: Lease,
    snapshot: Arc<Snapshot>,
    source: Source,
    /// The unusable entries that were reported last.
    reported: Vec<Skipped>,
    kind: Kind,
}

/// What the values are, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Runtime,
    Count,
    Endpoints,
}

impl Kind {
    fn updates(self) -> Counter {
        match self {
            Self::Runtime | Self::Count => Counter::RuntimeUpdates,
            Self::Endpoints => Counter::EndpointUpdates,
        }
    }

    fn failures(self) -> Counter {
        match self {
            Self::Runtime | Self::Count => Counter::RuntimeInvalid,
            Self::Endpoints => Counter::EndpointFailures,
        }
    }
}

#[derive(Debug)]
enum Source {
    Xds(Xds),
    Admin(Admin),
}

impl Subscriptions {
    /// No subscriptions yet. `seed`, drawn at random, tells the VM from others and spreads attempts to connect.
    pub fn new(seed: u64) -> Self {
        Self { list: Vec::new(), random: Random::new(seed), next_id: 1, recorder: Recorder::default() }
    }

    /// What happened since this was last called.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// A plugin uses this source of runtime values. `None` for Envoy's own runtime, which is read and not subscribed to.
    pub fn join_runtime(&mut self, config: &RuntimeConfig, vm: &impl Vm) -> Option<SubscriptionId> {
        let prefix = &config.prefix;
        match &config.source {
            RuntimeSource::Rtds(server) => {
                let XdsConfig { cluster, authority, resource } = server;
                let name = format!("rtds {cluster:?} {authority:?} {resource:?} {prefix:?}");
                let gauge = format!("rtds.{cluster}.{resource}");
                let wanted = Wanted::Runtime { prefix: prefix.clone() };
                let source = |random| Source::Xds(Xds::new(server, wanted, random));
                Some(self.join(name, gauge, Kind::Runtime, source, vm))
            }
            RuntimeSource::Admin(config) => {
                let AdminConfig { cluster, .. } = config;
                let name = format!("admin {cluster:?} {prefix:?}");
                let query = Query::Runtime { prefix: prefix.clone() };
                Some(self.join_admin(name, format!("admin.{cluster}"), Kind::Runtime, config, query, vm))
            }
            RuntimeSource::Envoy => None,
        }
    }

    /// A plugin uses the endpoints of a cluster, or their number.
    pub fn join_membership(&mut self, config: &MembershipConfig, vm: &impl Vm) -> SubscriptionId {
        let MembershipConfig { cluster, source } = config;
        match source {
            MembershipSource::Count(admin) => {
                let name = format!("membership {:?} {cluster:?}", admin.cluster);
                let query = Query::Membership { cluster: cluster.clone() };
                self.join_admin(name, String::new(), Kind::Count, admin, query, vm)
            }
            MembershipSource::Endpoints(admin) => {
                let name = format!("endpoints {:?} {cluster:?}", admin.cluster);
                let query = Query::Endpoints { cluster: cluster.clone() };
                self.join_admin(name, String::new(), Kind::Endpoints, admin, query, vm)
            }
            MembershipSource::Eds(server) => {
                let XdsConfig { cluster: xds, authority, resource } = server;
                let name = format!("eds {xds:?} {authority:?} {resource:?} {cluster:?}");
                let wanted = Wanted::Endpoints { cluster: cluster.clone() };
                let source = |random| Source::Xds(Xds::new(server, wanted, random));
                self.join(name, String::new(), Kind::Endpoints, source, vm)
            }
        }
    }

    fn join_admin(
        &mut self,
        name: String,
        gauge: String,
        kind: Kind,
        config: &AdminConfig,
        query: Query,
        vm: &impl Vm,
    ) -> SubscriptionId {
        let AdminConfig { cluster, refresh } = config;
        let source = |_| Source::Admin(Admin::new(cluster, query, *refresh));
        let id = self.join(name, gauge, kind, source, vm);
        if let Some(Source::Admin(admin)) = self.get_mut(id).map(|known| &mut known.source) {
            admin.refresh_within(*refresh);
        }
        id
    }

    fn join(
        &mut self,
        name: String,
        gauge: String,
        kind: Kind,
        source: impl FnOnce(Random) -> Source,
        vm: &impl Vm,
    ) -> SubscriptionId {
        if let Some(known) = self.list.iter_mut().find(|known| known.name == name) {
            known.users += 1;
            return known.id;
        }
        let id = SubscriptionId::new(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let mut fresh = Subscription {
            id,
            users: 1,
            driver: None,
            lease: Lease::new(&name, self.random.number(), vm),
            snapshot: Arc::default(),
            source: source(Random::new(self.random.number())),
            reported: Vec::new(),
            kind,
            gauge,
            name,
        };
        // Envoy does not check a compare-and-set on an absent key.
        if vm.shared(&fresh.version_key()).is_none() {
            vm.set_shared(&fresh.version_key(), &Snapshot::default().version().to_le_bytes(), None);
        }
        // What another VM, or a VM before this one, has published counts from the first request on.
        fresh.follow(vm);
        self.list.push(fresh);
        id
    }

    /// The sources in the names of gauges, see [`Gauge::name_of`].
    pub fn gauge_sources(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter(|known| known.kind == Kind::Runtime).map(|known| known.gauge.as_str())
    }

    fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|known| known.id == id)
    }

    /// The values as they are now; empty if there is no such subscription.
    pub fn snapshot(&self, id: SubscriptionId) -> Arc<Snapshot> {
        self.list
            .iter()
            .find(|known| known.id == id)
            .map_or_else(Arc::default, |known| Arc::clone(&known.snapshot))
    }

    /// A plugin that uses the subscription ticks.
    pub fn tick(&mut self, id: SubscriptionId, plugin: u32, now: Time, vm: &impl Vm) -> Option<Action> {
        let known = self.get_mut(id)?;
        known.follow(vm);
        if *known.driver.get_or_insert(plugin) != plugin {
            return None;
        }
        if !known.lease.hold(now, vm) {
            return known.stop();
        }
        match &mut known.source {
            Source::Xds(xds) => xds.drive(id, now, || vm.node()),
            Source::Admin(admin) => admin.drive(id, now),
        }
    }

    /// The stream or call of an action was started; `None` if Envoy refused that.
    pub fn on_started(&mut self, id: SubscriptionId, token: Option<u32>) {
        let Some(known) = self.list.iter_mut().find(|known| known.id == id) else { return };
        match &mut known.source {
            Source::Xds(xds) => xds.on_opened(token),
            Source::Admin(admin) => admin.on_called(token),
        }
        if token.is_none() && known.kind == Kind::Runtime {
            self.recorder.set(Gauge::RuntimeConnected, &known.gauge, 0);
        }
    }

    /// The server accepted a stream.
    pub fn on_accepted(&mut self, token: u32) {
        let Some(known) = self.stream(token) else { return };
        let Source::Xds(xds) = &mut known.source else { return };
        xds.on_accepted();
        self.connected(token, 1);
    }

    /// A message was received on a stream.
    pub fn on_message(&mut self, token: u32, message: &[u8], vm: &impl Vm) -> Option<Action> {
        let known = self.list.iter_mut().find(|known| known.has_stream(token))?;
        // Another VM may have held the lease meanwhile.
        let claim = known.claim(vm);
        let version = known.snapshot.version() + 1;
        let Source::Xds(xds) = &mut known.source else { return None };
        let update = xds.on_message(token, message, version, &known.snapshot, vm.node());
        match update.outcome {
            Ok(None) => {}
            Ok(Some(compiled)) => {
                let publication = known.publish(compiled, claim, &mut self.recorder, vm);
                if publication == Publication::Lost {
                    if let Source::Xds(xds) = &mut known.source {
                        xds.ask_again();
                    }
                    return Some(update.reply);
                }
                if publication == Publication::New || known.kind == Kind::Runtime {
                    self.recorder.count(known.kind.updates());
                }
                if known.kind == Kind::Runtime {
                    // The control plane's begin with the number of a commit.
                    let number = update.version.split('-').next().and_then(|number| number.parse().ok());
                    let version = number.unwrap_or(known.snapshot.version());
                    self.recorder.set(Gauge::RuntimeVersion, &known.gauge, version);
                }
            }
            Err(reason) => {
                log::warn!("pinroute: update of {} refused: {reason}", known.name);
                self.recorder.count(known.kind.failures());
            }
        }
        Some(update.reply)
    }

    /// A stream ended. The host keeps its side until that is cancelled.
    pub fn on_closed(&mut self, token: u32, status: u32, now: Time) -> Option<Action> {
        self.connected(token, 0);
        let known = self.stream(token)?;
        let is_endpoints = known.kind == Kind::Endpoints;
        let Source::Xds(xds) = &mut known.source else { return None };
        xds.on_closed(status, now);
        if is_endpoints {
            self.recorder.count(Counter::EndpointFailures);
        }
        Some(Action::Cancel { token })
    }

    fn stream(&mut self, token: u32) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|known| known.has_stream(token))
    }

    /// Shows whether the stream of a runtime is there.
    fn connected(&mut self, token: u32, value: u64) {
        let known = self.list.iter().find(|known| known.has_stream(token));
        if let Some(known) = known.filter(|known| known.kind == Kind::Runtime) {
            self.recorder.set(Gauge::RuntimeConnected, &known.gauge, value);
        }
    }

    /// Whether a call with this token is one of these subscriptions'.
    pub fn has_call(&self, token: u32) -> bool {
        self.list.iter().any(|known| known.has_call(token))
    }

    /// A call of these subscriptions has ended; without a body if it failed.
    pub fn on_response(&mut self, token: u32, body: Option<&[u8]>, vm: &impl Vm) {
        let Some(known) = self.list.iter_mut().find(|known| known.has_call(token)) else { return };
        let claim = known.claim(vm);
        let version = known.snapshot.version() + 1;
        let Source::Admin(admin) = &mut known.source else { return };
        let response = admin.on_response(body, version, &known.snapshot);
        if known.kind == Kind::Runtime {
            self.recorder.set(Gauge::RuntimeConnected, &known.gauge, u64::from(response.is_ok()));
        }
        match response {
            Ok(Some(compiled)) => {
                let is_new = known.publish(compiled, claim, &mut self.recorder, vm) == Publication::New;
                if is_new && known.kind != Kind::Count {
                    self.recorder.count(known.kind.updates());
                }
                if is_new && known.kind == Kind::Runtime {
                    self.recorder.set(Gauge::RuntimeVersion, &known.gauge, known.snapshot.version());
                }
            }
            Ok(None) => {}
            Err(_) => {
                log::debug!("pinroute: no usable response for {}; the last values stay in use", known.name);
                if known.kind == Kind::Endpoints {
                    self.recorder.count(Counter::EndpointFailures);
                }
            }
        }
    }

    /// A plugin no longer uses the subscription.
    pub fn leave(&mut self, id: SubscriptionId, plugin: u32, vm: &impl Vm) -> Option<Action> {
        let known = self.get_mut(id)?;
        known.users = known.users.saturating_sub(1);
        let mut action = None;
        if known.driver == Some(plugin) {
            // Its streams and calls end with it. The next of this VM's plugins to tick becomes the driver.
            action = known.stop();
            known.driver = None;
        }
        if known.users == 0 {
            known.lease.give_up(vm);
            self.list.retain(|known| known.id != id);
        }
        action
    }
}

/// What a VM may publish.
struct Claim {
    /// Whether it held the lease.
    is_holder: bool,
    /// What the published version has to be still.
    published: Option<u32>,
}

/// What came of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publication {
    /// All VMs have new values.
    New,
    /// The values are the last ones.
    Same,
    /// This VM had lost the lease, or another VM has published meanwhile.
    Lost,
}

impl Subscription {
    fn stop(&mut self) -> Option<Action> {
        match &mut self.source {
            Source::Xds(xds) => xds.stop(),
            Source::Admin(admin) => {
                admin.stop();
                None
            }
        }
    }

    fn has_stream(&self, token: u32) -> bool {
        matches!(&self.source, Source::Xds(xds) if xds.is(token))
    }

    fn has_call(&self, token: u32) -> bool {
        matches!(&self.source, Source::Admin(admin) if admin.is(token))
    }

    /// Adopts a newer snapshot that another VM has published. Returns what replaces the published version.
    fn follow(&mut self, vm: &impl Vm) -> Option<u32> {
        let (bytes, cas) = vm.shared(&self.version_key())?;
        let published = bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let own = self.snapshot.version();
        if published > own {
            let snapshot = vm.shared(&self.values_key()).and_then(|(bytes, _)| Snapshot::open(bytes));
            if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.version() > own) {
                self.snapshot = Arc::new(snapshot);
            }
        }
        cas
    }

    /// To be asked before an update is compiled: that may take longer than the lease lasts, and then another VM takes the
    /// lease. So it counts who had it before.
    fn claim(&mut self, vm: &impl Vm) -> Claim {
        Claim { is_holder: self.lease.is_own(vm), published: self.follow(vm) }
    }

    /// Shares new values with all VMs, unless they are the last ones.
    fn publish(
        &mut self,
        compiled: Compiled,
        claim: Claim,
        recorder: &mut Recorder,
        vm: &impl Vm,
    ) -> Publication {
        self.report(compiled.skipped, recorder);
        let snapshot = compiled.snapshot;
        if snapshot.has_same_values(&self.snapshot) {
            return Publication::Same;
        }
        // The version is claimed first: of two VMs, one gets it. A VM that sees it before the values looks again.
        let version = snapshot.version().to_le_bytes();
        if !claim.is_holder || !vm.set_shared(&self.version_key(), &version, claim.published) {
            return Publication::Lost;
        }
        vm.set_shared(&self.values_key(), snapshot.bytes(), None);
        self.snapshot = Arc::new(snapshot);
        Publication::New
    }

    /// Logs and counts unusable entries, each of them once.
    fn report(&mut self, skipped: Vec<Skipped>, recorder: &mut Recorder) {
        for entry in skipped.iter().filter(|entry| !self.reported.contains(entry)) {
            let name = entry.name.escape_default();
            log::warn!("pinroute: runtime value {name} = {} is invalid and ignored", entry.value);
            recorder.count(Counter::RuntimeInvalid);
        }
        self.reported = skipped;
    }

    fn version_key(&self) -> String {
        format!("pinroute version {}", self.name)
    }

    fn values_key(&self) -> String {
        format!("pinroute values {}", self.name)
    }
}

#[cfg(test)]
mod tests;
