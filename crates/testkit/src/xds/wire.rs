//! Taps the control plane's xDS server on the wire: it records requests, and adds messages to responses.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use pinroute_control_plane::metrics::Metrics;
use pinroute_control_plane::xds::{Discovery, Nodes, Snapshot, kind_of_method};
use prost::Message;
use prost::bytes::{Buf, BytesMut};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::tokio_stream::StreamExt;
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::{BoxFuture, Bytes, Context, Poll, Service, http};

use super::record::Record;
use crate::http2::authority;
use crate::sync::locked;

/// Before each message of a gRPC stream: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The server, tapped. It answers every HTTP/2 request of a connection.
#[derive(Clone, Debug)]
pub(super) struct Tapped {
    server: Discovery,
    record: Arc<Mutex<Record>>,
    /// Never says that the server stops: a stop is a reset of all connections.
    _stop: Arc<watch::Sender<bool>>,
}

impl Tapped {
    pub(super) fn new(snapshots: watch::Receiver<Arc<Snapshot>>, record: Arc<Mutex<Record>>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (nodes, metrics) = (Arc::new(Nodes::default()), Arc::new(Metrics::default()));
        let server = Discovery::new(snapshots, nodes, metrics, stopped);
        Self { server, record, _stop: Arc::new(stop) }
    }
}

impl Service<http::Request<Body>> for Tapped {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (injected, injections) = unbounded_channel();
        let (number, ended) = {
            let mut record = locked(&self.record);
            let kind = kind_of_method(request.uri().path());
            (record.open(kind, authority(&request), injected), record.ended)
        };
        let open = Open { record: Arc::clone(&self.record), number };
        let request = request.map(|body| requests(body, Arc::clone(&self.record), number));
        let mut server = self.server.clone();
        Box::pin(async move {
            if let Some(code) = ended {
                return Ok(Status::new(code, "new streams are ended").into_http());
            }
            let injections = UnboundedReceiverStream::new(injections);
            Ok(server.call(request).await?.map(|body| responses(body, injections, open)))
        })
    }
}

/// The stream counts as open until this is dropped, at the latest with the server's runtime.
struct Open {
    record: Arc<Mutex<Record>>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        locked(&self.record).close(self.number);
    }
}

/// Records the messages of a body that passes.
fn requests(body: Body, record: Arc<Mutex<Record>>, number: u64) -> Body {
    let mut received = BytesMut::new();
    Body::new(body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            received.extend_from_slice(data);
        }
        while let Some(length) = message_length(&received)
            && received.len() >= PREFIX + length
        {
            received.advance(PREFIX);
            // What cannot be decoded ends the stream: that is the server's.
            if let Ok(request) = DiscoveryRequest::decode(received.split_to(length)) {
                locked(&record).receive(number, request);
            }
        }
        frame
    }))
}

fn message_length(received: &[u8]) -> Option<usize> {
    let (_, length) = received.split_first_chunk::<1>()?;
    let length = u32::from_be_bytes(*length.first_chunk()?);
    usize::try_from(length).ok()
}

/// A body with messages added between those that it has.
fn responses(body: Body, injected: UnboundedReceiverStream<Vec<u8>>, open: Open) -> Body {
    let injected = injected.map(|bytes| Ok(Frame::data(message(&bytes))));
    let frames = BodyStream::new(body).merge(injected).map(move |frame| {
        // The stream is open as long as its body lives.
        let _ = &open;
        frame
    });
    Body::new(StreamBody::new(frames))
}

fn message(bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), bytes].concat().into()
}
