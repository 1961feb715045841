//! Live values: carries out what the core's subscription asks for, as the filter does: one stream to the control plane, and
//! another after a pause when it has ended. The last values stay in use meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use pinroute_core::config::{RuntimeConfig, RuntimeSource};
use pinroute_core::live::action::{Action, SubscriptionId};
use pinroute_core::live::subscriptions::Subscriptions;
use pinroute_core::live::values::LiveValues;
use pinroute_core::live::vm::{Node, Vm};
use pinroute_core::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::metrics::Metrics;
use crate::options::ServerUrl;

/// How often the subscription looks whether something is due.
const TICK: Duration = Duration::from_millis(100);
/// For a connection to the control plane.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an idle connection is asked whether it still lives, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// For one message: a runtime layer may have 100,000 values.
const MAX_MESSAGE: usize = 64 << 20;
/// How many messages of a stream may wait.
const WAITING: usize = 4;
/// The only plugin.
const PLUGIN: u32 = 0;

/// What happened on a stream.
enum Event {
    Accepted(u32),
    Message(u32, Vec<u8>),
    Closed(u32, Code),
}

/// A stream that is open or being opened.
struct Stream {
    out: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A subscription of this process, which shares its values with nobody.
pub struct Live {
    subscriptions: Subscriptions,
    /// `None` for a source that only Envoy has, which this service refuses when it is loaded.
    id: Option<SubscriptionId>,
    process: Process,
    channel: Channel,
    streams: HashMap<u32, Stream>,
    next_token: u32,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    values: watch::Sender<LiveValues>,
    metrics: Arc<Metrics>,
    start: Instant,
}

impl Live {
    /// Subscribes to the values of a configuration. `seed` must be drawn at random.
    pub fn new(
        config: &RuntimeConfig,
        server: &ServerUrl,
        node: String,
        seed: u64,
        values: watch::Sender<LiveValues>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, tonic::transport::Error> {
        let process = Process { node, shared: RefCell::default() };
        let mut subscriptions = Subscriptions::new(seed);
        let id = subscriptions.join_runtime(config, &process);
        let mut endpoint = Endpoint::new(server.to_string())?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if let RuntimeSource::Rtds(rtds) = &config.source
            && let Ok(origin) = format!("http://{}", rtds.authority).parse()
        {
            endpoint = endpoint.origin(origin);
        }
        Ok(Self {
            subscriptions,
            id,
            process,
            channel: endpoint.connect_lazy(),
            streams: HashMap::new(),
            next_token: 0,
            events: mpsc::channel(WAITING),
            values,
            metrics,
            start: Instant::now(),
        })
    }

    /// Keeps the values up to date, until it is dropped.
    pub async fn follow(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let action = tokio::select! {
                _ = ticks.tick() => self.tick(),
                event = self.events.1.recv() => match event {
                    Some(event) => self.on_event(event),
                    // This value holds a sender.
                    None => return,
                },
            };
            action.into_iter().for_each(|action| self.carry_out(action));
            self.metrics.flush(self.subscriptions.recorder());
            self.publish();
        }
    }

    fn on_event(&mut self, event: Event) -> Option<Action> {
        match event {
            Event::Accepted(token) => {
                self.subscriptions.on_accepted(token);
                None
            }
            Event::Message(token, message) => self.subscriptions.on_message(token, &message, &self.process),
            Event::Closed(token, code) => self.subscriptions.on_closed(token, code as i32 as u32, self.now()),
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::OpenStream { id, name, method, first, .. } => {
                let token = self.next_token;
                self.next_token = token.wrapping_add(1);
                let stream = Stream::open(
                    self.channel.clone(),
                    format!("/{name}/{method}"),
                    first,
                    token,
                    self.events.0.clone(),
                );
                self.streams.insert(token, stream);
                self.subscriptions.on_started(id, Some(token));
            }
            Action::Send { token, message } => {
                // A server that takes no messages gets a new stream in the end, by the keep-alive.
                if let Some(stream) = self.streams.get(&token) {
                    let _ = stream.out.try_send(message);
                }
            }
            Action::Cancel { token } => drop(self.streams.remove(&token)),
            // Only the admin interface is polled, which this service does not support.
            Action::Get { id, .. } => self.subscriptions.on_started(id, None),
        }
    }

    fn tick(&mut self) -> Option<Action> {
        let now = self.now();
        self.subscriptions.tick(self.id?, PLUGIN, now, &self.process)
    }

    fn publish(&self) {
        let Some(snapshot) = self.id.map(|id| self.subscriptions.snapshot(id)) else { return };
        self.values.send_if_modified(|values| {
            let is_new = values.runtime.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &snapshot));
            values.runtime = Some(snapshot);
            is_new
        });
    }

    fn now(&self) -> Time {
        Time::default() + self.start.elapsed()
    }
}

impl Stream {
    fn open(channel: Channel, path: String, first: Vec<u8>, token: u32, events: mpsc::Sender<Event>) -> Self {
        let (out, messages) = mpsc::channel(WAITING);
        let _ = out.try_send(first);
        let task = tokio::spawn(async move {
            let code = match serve(channel, &path, messages, token, &events).await {
                Ok(()) => Code::Ok,
                Err(status) => status.code(),
            };
            let _ = events.send(Event::Closed(token, code)).await;
        });
        Self { out, task }
    }
}

/// Until the stream ends.
async fn serve(
    channel: Channel,
    path: &str,
    messages: mpsc::Receiver<Vec<u8>>,
    token: u32,
    events: &mpsc::Sender<Event>,
) -> Result<(), Status> {
    let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(ReceiverStream::new(messages));
    let mut incoming = client.streaming(request, path, Raw).await?.into_inner();
    let gone = |_| Status::cancelled("nobody follows the stream");
    events.send(Event::Accepted(token)).await.map_err(gone)?;
    while let Some(message) = incoming.message().await? {
        events.send(Event::Message(token, message)).await.map_err(gone)?;
    }
    Ok(())
}

/// What the core may ask of this process. There is no other VM to share anything with.
struct Process {
    node: String,
    shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
}

impl Vm for Process {
    fn node(&self) -> Node {
        Node { id: self.node.clone(), cluster: "pinroute".to_owned() }
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)> {
        self.shared.borrow().get(key).map(|(value, cas)| (value.clone(), Some(*cas)))
    }

    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        let mut shared = self.shared.borrow_mut();
        let current = shared.get(key).map_or(0, |(_, current)| *current);
        if cas.is_some_and(|cas| cas != current) {
            return false;
        }
        shared.insert(key.to_owned(), (value.to_vec(), current.wrapping_add(1)));
        true
    }
}

/// Messages as bytes: the core encodes and decodes them.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
