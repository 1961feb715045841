//! The gRPC service: one for all discovery services, distinguished by their paths.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use prost::Message;
use prost::bytes::BufMut;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{BoxFuture, Context, Pin, Poll, Service};
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};

use super::state::{Outgoing, State};
use super::types::{CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTE, RUNTIME};
use crate::http2::authority;
use crate::sync::locked;

/// For one message, either way.
const MAX_MESSAGE: usize = 64 << 20;

/// The methods, each with its type. The aggregated service has all types.
const METHODS: [(&str, Option<&str>); 7] = [
    ("/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters", Some(CLUSTER)),
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", None),
    ("/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints", Some(ENDPOINTS)),
    (
        "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
        Some(EXTENSION_CONFIG),
    ),
    ("/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners", Some(LISTENER)),
    ("/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes", Some(ROUTE)),
    ("/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime", Some(RUNTIME)),
];

/// Answers every HTTP/2 request of a connection.
#[derive(Clone)]
pub(super) struct Discovery {
    pub(super) state: Arc<Mutex<State>>,
}

impl Service<http::Request<Body>> for Discovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.state);
        locked(&state).authorities.push(authority(&request));
        Box::pin(async move {
            let path = request.uri().path();
            let Some(&(_, service)) = METHODS.iter().find(|(method, _)| *method == path) else {
                return Ok(Status::unimplemented(format!("there is no {path}")).into_http());
            };
            let mut grpc = Grpc::new(RawResponses)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            Ok(grpc.streaming(Method { state, service }, request).await)
        })
    }
}

/// One call of a method.
struct Method {
    state: Arc<Mutex<State>>,
    service: Option<&'static str>,
}

impl Service<Request<Streaming<DiscoveryRequest>>> for Method {
    type Response = Response<Responses>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let (out, responses) = unbounded_channel();
        let number = locked(&self.state).open(self.service, out);
        let open = Open { state: Arc::clone(&self.state), number };
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            // Until the client disconnects, or the client or the test ends the stream.
            while let Ok(Some(request)) = requests.message().await {
                if !locked(&open.state).receive(open.number, request) {
                    break;
                }
            }
        });
        ready(Ok(Response::new(Responses(responses))))
    }
}

/// The stream counts as open until this is dropped, at the latest with the server's runtime.
struct Open {
    state: Arc<Mutex<State>>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        locked(&self.state).close(self.number);
    }
}

/// Ends when the stream is no longer among the state's.
struct Responses(UnboundedReceiver<Outgoing>);

impl Stream for Responses {
    type Item = Outgoing;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        self.0.poll_recv(context)
    }
}

/// Requests are messages; responses are bytes, so that a test can send any fault.
struct RawResponses;

impl Codec for RawResponses {
    type Encode = Vec<u8>;
    type Decode = DiscoveryRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawResponses {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for RawResponses {
    type Item = DiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DiscoveryRequest>, Status> {
        DiscoveryRequest::decode(from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
