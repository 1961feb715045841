//! Carries the messages of streams: one gRPC service for all discovery services, told apart by their paths.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::Grpc;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::delta::Delta;
use super::nodes::Nodes;
use super::snapshot::Snapshot;
use super::sotw::Sotw;
use super::{Kind, Reaction, Sent, Verdict, Violation};
use crate::metrics::Metrics;

/// For one message, either way: a runtime layer may have 100,000 values.
const MAX_MESSAGE: usize = 64 << 20;

/// How many responses may wait for a client that is slow to read. While they do, newer snapshots replace older ones.
const WAITING: usize = 1;

/// The services, each with its kind; the aggregated one has all kinds.
const SERVICES: [(&str, &str, Option<Kind>); 5] = [
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", None),
    ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", Some(Kind::Cluster)),
    ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", Some(Kind::Endpoints)),
    ("envoy.service.runtime.v3.RuntimeDiscoveryService", "Runtime", Some(Kind::Runtime)),
    ("envoy.service.extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", Some(Kind::Extension)),
];

/// The xDS server. It answers every request of an HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct Discovery {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    nodes: Arc<Nodes>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

/// A method of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Sotw(Option<Kind>),
    Delta(Option<Kind>),
}

impl Method {
    fn of_path(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let (_, resources, kind) = SERVICES.iter().find(|(known, ..)| *known == service)?;
        match method.strip_suffix(resources)? {
            "Stream" => Some(Self::Sotw(*kind)),
            "Delta" => Some(Self::Delta(*kind)),
            _ => None,
        }
    }
}

/// The kind of a method of a service that has one kind, by its path. `None` for the aggregated service, and for an unknown path.
pub fn kind_of_method(path: &str) -> Option<Kind> {
    match Method::of_path(path)? {
        Method::Sotw(kind) | Method::Delta(kind) => kind,
    }
}

impl Discovery {
    /// A server of these snapshots, whose streams end when `stop` is true.
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        nodes: Arc<Nodes>,
        metrics: Arc<Metrics>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { snapshots, nodes, metrics, stop }
    }
}

impl Service<http::Request<Body>> for Discovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let path = request.uri().path();
            Ok(match Method::of_path(path) {
                None => Status::unimplemented(format!("there is no {path}")).into_http(),
                Some(Method::Sotw(kind)) => {
                    let codec: ProstCodec<DiscoveryResponse, DiscoveryRequest> = ProstCodec::default();
                    grpc(codec).streaming(Open { server, machine: Some(Sotw::new(kind)) }, request).await
                }
                Some(Method::Delta(kind)) => {
                    let codec: ProstCodec<DeltaDiscoveryResponse, DeltaDiscoveryRequest> =
                        ProstCodec::default();
                    grpc(codec).streaming(Open { server, machine: Some(Delta::new(kind)) }, request).await
                }
            })
        })
    }
}

fn grpc<T>(codec: T) -> Grpc<T>
where
    T: tonic::codec::Codec,
{
    Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
}

/// The state machine of a stream.
trait Machine: Send + 'static {
    type Request: Message + Default + Send + 'static;
    type Response: Message + Send + 'static;

    fn on_request(
        &mut self,
        request: &Self::Request,
        snapshot: &Snapshot,
    ) -> Result<Reaction<Self::Response>, Violation>;

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Sent<Self::Response>>;

    /// The node that a request names.
    fn node(request: &Self::Request) -> Option<&Node>;
}

impl Machine for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn on_request(
        &mut self,
        request: &DiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Reaction<DiscoveryResponse>, Violation> {
        Self::on_request(self, request, snapshot)
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Sent<DiscoveryResponse>> {
        Self::on_snapshot(self, snapshot)
    }

    fn node(request: &DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }
}

impl Machine for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn on_request(
        &mut self,
        request: &DeltaDiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Reaction<DeltaDiscoveryResponse>, Violation> {
        Self::on_request(self, request, snapshot)
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Sent<DeltaDiscoveryResponse>> {
        Self::on_snapshot(self, snapshot)
    }

    fn node(request: &DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }
}

/// A stream that is being opened.
struct Open<M> {
    server: Discovery,
    /// Taken by the only call.
    machine: Option<M>,
}

impl<M: Machine> Service<Request<Streaming<M::Request>>> for Open<M> {
    type Response = Response<ReceiverStream<Result<M::Response, Status>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<M::Request>>) -> Self::Future {
        let Some(machine) = self.machine.take() else {
            return ready(Err(Status::internal("the stream was opened before")));
        };
        let address = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let (out, responses) = mpsc::channel(WAITING);
        let stream = Stream::open(self.server.clone(), machine, address);
        tokio::spawn(stream.serve(request.into_inner(), out));
        ready(Ok(Response::new(ReceiverStream::new(responses))))
    }
}

/// An open stream.
struct Stream<M> {
    server: Discovery,
    machine: M,
    number: u64,
    /// When the last response of a kind was due: when its change was published, or when the client asked.
    due: BTreeMap<Kind, Instant>,
}

impl<M> Drop for Stream<M> {
    fn drop(&mut self) {
        self.server.nodes.close(self.number);
    }
}

type Out<M> = mpsc::Sender<Result<<M as Machine>::Response, Status>>;

impl<M: Machine> Stream<M> {
    fn open(server: Discovery, machine: M, address: Option<SocketAddr>) -> Self {
        let number = server.nodes.open(address);
        Self { server, machine, number, due: BTreeMap::new() }
    }

    /// Until the client leaves, breaks the protocol, or the server stops.
    async fn serve(mut self, mut requests: Streaming<M::Request>, out: Out<M>) {
        let (mut snapshots, mut stop) = (self.server.snapshots.clone(), self.server.stop.clone());
        // A request is answered from what the stream has seen: a newer snapshot comes in the order of the kinds.
        let mut snapshot = Arc::clone(&snapshots.borrow_and_update());
        loop {
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                    let _ = out.send(Err(Status::unavailable("the control plane stops"))).await;
                    return;
                }
                request = requests.message() => {
                    let request = match request {
                        Ok(Some(request)) => request,
                        Ok(None) => return,
                        Err(status) => {
                            let _ = out.send(Err(status)).await;
                            return;
                        }
                    };
                    if self.on_request(&request, &snapshot, &out).await.is_none() {
                        return;
                    }
                }
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    snapshot = Arc::clone(&snapshots.borrow_and_update());
                    let responses = self.machine.on_snapshot(&snapshot);
                    if self.send(responses, snapshot.at, &out).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn on_request(&mut self, request: &M::Request, snapshot: &Snapshot, out: &Out<M>) -> Option<()> {
        let nodes = Arc::clone(&self.server.nodes);
        if let Some(node) = M::node(request) {
            nodes.name(self.number, &node.id, &node.cluster);
        }
        let Reaction { responses, verdict, known } = match self.machine.on_request(request, snapshot) {
            Ok(reaction) => reaction,
            Err(Violation(problem)) => {
                let _ = out.send(Err(Status::invalid_argument(problem))).await;
                return None;
            }
        };
        if let Some((kind, version)) = known {
            nodes.has(self.number, kind, &version);
        }
        if let Some(verdict) = verdict {
            if let Verdict { kind, version, refusal: Some(reason), .. } = &verdict {
                tracing::warn!(kind = kind.name(), version, reason, "an Envoy refused an update");
            }
            nodes.judged(self.number, &verdict);
            let due = self.due.get(&verdict.kind).copied().unwrap_or(snapshot.at);
            self.server.metrics.judged(&verdict, due);
        }
        self.send(responses, Instant::now(), out).await
    }

    /// Sends responses. No lock is held while a slow client makes this wait. `None` if the client has left.
    async fn send(&mut self, responses: Vec<Sent<M::Response>>, due: Instant, out: &Out<M>) -> Option<()> {
        for Sent { kind, version, message } in responses {
            self.server.nodes.sent(self.number, kind, &version);
            self.server.metrics.pushed(kind);
            self.due.insert(kind, due);
            out.send(Ok(message)).await.ok()?;
        }
        Some(())
    }
}
