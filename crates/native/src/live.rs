//! Live values. The main thread gets them, and hands them to the workers.
//!
//! It needs no help for that from Envoy's xDS: an HTTP stream carries the gRPC messages of an RTDS server. Envoy has no timer for
//! a module, so a thread wakes the main thread. What Wasm modules share as Envoy's shared data, the configurations in this
//! process share as [`SHARED`]: one of them talks to a server, and a new one begins with the values of the old one.

use crate::abi::{Config, Waker};
use crate::grpc::{Decoder, frame};
use crate::own_runtime::OwnRuntime;
use crate::plugin::Shared;
use pinroute_core::config::{MembershipConfig, RuntimeConfig, RuntimeSource};
use pinroute_core::live::action::{Action, SubscriptionId};
use pinroute_core::live::subscriptions::Subscriptions;
use pinroute_core::live::value::Number;
use pinroute_core::live::values::LiveValues;
use pinroute_core::live::vm::{Node, Vm};
use pinroute_core::metrics::Counter;
use pinroute_core::protobuf::GrpcService;
use pinroute_core::time::Time;
use prost::Message;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the main thread looks whether something is due.
const TICK: Duration = Duration::from_millis(25);

/// The plugin that drives the subscriptions: each configuration has its own.
const PLUGIN: u32 = 0;

/// The status of a stream that broke off: UNAVAILABLE.
const BROKEN: u32 = 14;

/// What the configurations of this process share.
static SHARED: Mutex<Option<HashMap<String, Changed>>> = Mutex::new(None);

/// A value and the number of its changes.
type Changed = (Vec<u8>, u32);

/// The live values of a configuration.
#[derive(Debug)]
pub struct Live {
    main: Mutex<Main>,
    ticker: Mutex<Option<Ticker>>,
}

#[derive(Debug)]
struct Main {
    subscriptions: Subscriptions,
    own: Option<OwnRuntime>,
    runtime: Option<SubscriptionId>,
    membership: Option<SubscriptionId>,
    /// The streams that are open.
    decoders: HashMap<u64, Decoder>,
    /// Streams that ended while they were being opened.
    ended: Vec<u64>,
    /// What was handed over last.
    published: LiveValues,
}

/// Something that happened on a stream.
#[derive(Clone, Copy, Debug)]
pub enum StreamEvent<'e> {
    /// Headers, or trailers, and whether nothing follows.
    Headers(&'e [(String, Vec<u8>)], bool),
    /// Data, and whether nothing follows.
    Data(&'e [u8], bool),
    /// It is over.
    Gone,
}

impl Live {
    /// The live values that a configuration asks for; `None` if it asks for none.
    ///
    /// # Errors
    /// If this Envoy cannot give them.
    pub fn new(
        runtime: Option<&RuntimeConfig>,
        membership: Option<&MembershipConfig>,
        [seed]: [u64; 1],
    ) -> Result<Option<Self>, String> {
        if runtime.is_none() && membership.is_none() {
            return Ok(None);
        }
        let own = match runtime {
            Some(RuntimeConfig { prefix, source: RuntimeSource::Envoy }) => Some(OwnRuntime::new(prefix)?),
            _ => None,
        };
        let mut subscriptions = Subscriptions::new(seed);
        let main = Main {
            own,
            runtime: runtime.and_then(|config| subscriptions.join_runtime(config, &Process)),
            membership: membership.map(|config| subscriptions.join_membership(config, &Process)),
            subscriptions,
            decoders: HashMap::new(),
            ended: Vec::new(),
            published: LiveValues::default(),
        };
        Ok(Some(Self { main: Mutex::new(main), ticker: Mutex::default() }))
    }

    /// The sources in the names of gauges.
    pub fn gauge_sources(&self) -> Vec<String> {
        self.main().subscriptions.gauge_sources().map(str::to_owned).collect()
    }

    /// The values as they are now.
    pub fn values(&self) -> LiveValues {
        self.main().values()
    }

    /// Begins to wake the main thread.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(&self, waker: Waker) -> Result<(), String> {
        let ticker = Ticker::new(waker).map_err(|error| format!("cannot start a thread: {error}"))?;
        *self.ticker.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticker);
        Ok(())
    }

    fn main(&self) -> MutexGuard<'_, Main> {
        self.main.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The main thread was woken.
    pub fn on_tick(&self, envoy: Config, now: Time, shared: &Shared) {
        let mut main = self.main();
        let ids: Vec<_> = main.runtime.into_iter().chain(main.membership).collect();
        let read = main.own.as_mut().map(OwnRuntime::read);
        drop(main);
        if let Some((invalid, has_changed)) = read {
            self.handle(envoy, shared, |_| None);
            let updates = std::iter::repeat_n(Counter::RuntimeInvalid, invalid)
                .chain(has_changed.then_some(Counter::RuntimeUpdates));
            shared.metrics.count_outside(envoy, updates);
        }
        for id in ids {
            self.handle(envoy, shared, |main| main.subscriptions.tick(id, PLUGIN, now, &Process));
        }
    }

    /// A call has ended; without a body if it failed.
    pub fn on_called(&self, envoy: Config, id: u64, body: Option<&[u8]>, shared: &Shared) {
        self.handle(envoy, shared, |main| {
            main.subscriptions.on_response(token(id), body, &Process);
            None
        });
    }

    /// Something happened on a stream.
    pub fn on_stream(&self, envoy: Config, id: u64, event: StreamEvent<'_>, now: Time, shared: &Shared) {
        if let StreamEvent::Headers(_, false) = event {
            self.handle(envoy, shared, |main| {
                main.subscriptions.on_accepted(token(id));
                None
            });
        }
        if let StreamEvent::Data(data, _) = event {
            let messages = self.main().decoders.get_mut(&id).map(|decoder| decoder.add(data));
            match messages {
                Some(Ok(messages)) => messages.iter().for_each(|message| {
                    self.handle(envoy, shared, |main| {
                        main.subscriptions.on_message(token(id), message, &Process)
                    });
                }),
                Some(Err(_)) => self.handle(envoy, shared, |main| main.on_ended(id, BROKEN, now)),
                None => {}
            }
        }
        if event.is_last() {
            self.handle(envoy, shared, |main| main.on_ended(id, event.status(), now));
        }
    }

    /// Lets the subscriptions handle an event, shows what they recorded, does what they ask for, and hands over new values.
    fn handle(&self, envoy: Config, shared: &Shared, event: impl FnOnce(&mut Main) -> Option<Action>) {
        let action = {
            let mut main = self.main();
            let action = event(&mut main);
            shared.metrics.flush_outside(envoy, main.subscriptions.recorder());
            action
        };
        if let Some(action) = action {
            self.carry_out(envoy, action);
        }
        let mut main = self.main();
        shared.metrics.flush_outside(envoy, main.subscriptions.recorder());
        let values = main.values();
        if !is_same(&values, &main.published) || shared.metrics.has_later() {
            main.published = values.clone();
            shared.live.set(values);
        }
    }

    /// Hooks may run meanwhile.
    fn carry_out(&self, envoy: Config, action: Action) {
        match action {
            Action::OpenStream { id, service, name, method, first } => {
                self.main().ended.clear();
                let stream = open(envoy, &service, name, method, &first);
                let mut main = self.main();
                let stream = stream.filter(|stream| !main.ended.contains(stream));
                if let Some(stream) = stream {
                    main.decoders.insert(stream, Decoder::default());
                }
                main.subscriptions.on_started(id, stream.map(token));
            }
            Action::Get { id, cluster, authority, path, timeout } => {
                let headers: [(&str, &[u8]); 3] =
                    [(":method", b"GET"), (":path", path.as_bytes()), (":authority", authority.as_bytes())];
                let call = envoy.call(&cluster, &headers, timeout).ok();
                self.main().subscriptions.on_started(id, call.map(token));
            }
            Action::Send { token, message } => envoy.send(u64::from(token), &frame(&message)),
            Action::Cancel { token } => {
                self.main().decoders.remove(&u64::from(token));
                envoy.reset_stream(u64::from(token));
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut main = self.main();
        let ids: Vec<_> = main.runtime.into_iter().chain(main.membership).collect();
        for id in ids {
            // Envoy ends the streams of a configuration with it.
            main.subscriptions.leave(id, PLUGIN, &Process);
        }
    }
}

/// Ids of calls and streams count up from 1.
fn token(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}

fn open(envoy: Config, service: &[u8], name: &str, method: &str, first: &[u8]) -> Option<u64> {
    let service = GrpcService::decode(service).ok()?.envoy_grpc?;
    let path = format!("/{name}/{method}");
    let headers: [(&str, &[u8]); 5] = [
        (":method", b"POST"),
        (":path", path.as_bytes()),
        (":authority", service.authority.as_bytes()),
        ("content-type", b"application/grpc"),
        ("te", b"trailers"),
    ];
    envoy.open_stream(&service.cluster_name, &headers, &frame(first)).ok()
}

fn is_same(one: &LiveValues, other: &LiveValues) -> bool {
    is_same_arc(one.runtime.as_ref(), other.runtime.as_ref())
        && is_same_arc(one.endpoints.as_ref(), other.endpoints.as_ref())
        && one.membership == other.membership
}

fn is_same_arc<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

impl Main {
    fn values(&self) -> LiveValues {
        let snapshot = |id: Option<SubscriptionId>| id.map(|id| self.subscriptions.snapshot(id));
        let cluster = snapshot(self.membership);
        let membership = cluster.as_ref().and_then(|cluster| cluster.number(Number::TotalHosts));
        let endpoints = cluster.as_ref().and_then(|cluster| cluster.endpoints().cloned());
        let runtime = self.own.as_ref().map(OwnRuntime::snapshot).or_else(|| snapshot(self.runtime));
        LiveValues { runtime, membership, endpoints }
    }

    fn on_ended(&mut self, id: u64, status: u32, now: Time) -> Option<Action> {
        self.ended.push(id);
        self.decoders.remove(&id)?;
        self.subscriptions.on_closed(token(id), status, now)
    }
}

impl StreamEvent<'_> {
    fn is_last(self) -> bool {
        match self {
            Self::Headers(_, end) | Self::Data(_, end) => end,
            Self::Gone => true,
        }
    }

    /// The status of the stream, if this is its end.
    fn status(self) -> u32 {
        let Self::Headers(headers, _) = self else { return BROKEN };
        let status = headers.iter().find(|(name, _)| name == "grpc-status");
        status.and_then(|(_, status)| std::str::from_utf8(status).ok()?.parse().ok()).unwrap_or(BROKEN)
    }
}

/// A thread that wakes the main thread. It ends when this is dropped.
#[derive(Debug)]
struct Ticker {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn new(waker: Waker) -> std::io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let tick = move || {
            while !stop.load(Ordering::Acquire) {
                waker.wake();
                thread::park_timeout(TICK);
            }
        };
        let thread = thread::Builder::new().name("pinroute".to_owned()).spawn(tick)?;
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// This process.
struct Process;

impl Vm for Process {
    /// Envoy tells a module nothing of this, so only what stands on its command line is known.
    fn node(&self) -> Node {
        let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let after = |option: &str| {
            let pairs = words.iter().zip(words.iter().skip(1));
            let next = pairs.filter(|(word, _)| *word == option).map(|(_, next)| next.to_string()).next();
            let same =
                || Some(words.iter().find_map(|word| word.strip_prefix(&format!("{option}=")))?.to_owned());
            next.or_else(same).unwrap_or_default()
        };
        Node { id: after("--service-node"), cluster: after("--service-cluster") }
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)> {
        let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.as_ref()?.get(key).map(|(value, changes)| (value.clone(), Some(*changes)))
    }

    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, changes) = shared.get_or_insert_default().entry(key.to_owned()).or_default();
        if *changes != 0 && cas.is_some_and(|cas| cas != *changes) {
            return false;
        }
        *known = value.to_vec();
        *changes += 1;
        true
    }
}
