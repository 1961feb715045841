//! A strict HTTP/2 server: it resets a request whose `:authority` is invalid, as most servers but Envoy's do.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::{Context, Poll, Service, http};
use tonic::transport::Server;

use crate::sync::locked;

/// A server on a free port of 127.0.0.1, without TLS, until it is dropped.
#[derive(Debug)]
pub struct Http2Server {
    addr: SocketAddr,
    authorities: Arc<Mutex<Vec<String>>>,
    /// Serves as long as it lives.
    _runtime: Runtime,
}

impl Http2Server {
    /// Starts a server that responds to each request with 200 and this body.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(body: impl Into<String>) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let authorities = Arc::default();
        let responder = Responder { body: body.into(), authorities: Arc::clone(&authorities) };
        let connections = TcpListenerStream::new(listener);
        drop(runtime.spawn(Server::builder().serve_with_incoming(responder, connections)));
        Ok(Self { addr, authorities, _runtime: runtime })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `:authority` of each request so far, in order; empty where there was none.
    #[must_use]
    pub fn authorities(&self) -> Vec<String> {
        locked(&self.authorities).clone()
    }
}

#[derive(Clone)]
struct Responder {
    body: String,
    authorities: Arc<Mutex<Vec<String>>>,
}

impl Service<http::Request<Body>> for Responder {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        locked(&self.authorities).push(authority(&request));
        ready(Ok(http::Response::new(Body::new(self.body.clone()))))
    }
}

/// The `:authority` of a request; empty if there is none.
pub(crate) fn authority(request: &http::Request<Body>) -> String {
    request.uri().authority().map(ToString::to_string).unwrap_or_default()
}

/// An Envoy cluster that speaks HTTP/2 to this address.
#[must_use]
pub fn cluster(name: &str, addr: SocketAddr) -> Value {
    let address = json!({"address": addr.ip().to_string(), "port_value": addr.port()});
    let endpoint = json!({"endpoint": {"address": {"socket_address": address}}});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }},
    })
}
