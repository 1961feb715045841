//! Starts the control plane, and stops it without leaving streams hanging.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::api::{App, router};
use crate::connection::{Connections, of_envoys};
use crate::demo;
use crate::discovery;
use crate::metrics::Metrics;
use crate::options::{HostsFrom, Options};
use crate::plane::{ChangeError, LoadError, Plane};
use crate::store::{RedbStore, StoreError};
use crate::xds::{Discovery, Nodes};

/// How often an idle connection of an Envoy is asked whether it still lives, and how long the answer may take: an Envoy that is gone
/// without a word is not listed as connected for long.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent. An Envoy's never is, as it answers those questions.
const IDLE: Duration = Duration::from_secs(60);

/// How long streams and requests in flight may take after a signal to stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Why the control plane did not start, or stopped serving.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The signal handlers could not be installed.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// Others could change what Envoys do.
    #[error(
        "the API on {0} could be reached by others, and would need no token; set PINROUTE_API_TOKEN, or listen on loopback"
    )]
    NoToken(SocketAddr),
    /// The address is taken, or does not belong to this machine.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The first step of the demo failed.
    #[error("the demo cannot start")]
    Demo(#[from] ChangeError),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`enum@Error`]
pub async fn run(options: Options) -> Result<(), Error> {
    // Before listening: whoever sees a port open may already send a signal.
    let listen = |kind| signal(kind).map_err(Error::Signals);
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let running = ControlPlane::start(options).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// A control plane that runs.
#[derive(Debug)]
pub struct ControlPlane {
    /// Where the xDS server listens.
    pub xds: SocketAddr,
    /// Where the API listens.
    pub api: SocketAddr,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    /// What makes changes by itself: the demo, and the discovery of hosts.
    authors: Vec<JoinHandle<()>>,
}

impl ControlPlane {
    /// Loads the store, and starts both servers.
    ///
    /// # Errors
    /// [`enum@Error`]
    pub async fn start(options: Options) -> Result<Self, Error> {
        if options.token.is_none() && !options.api.ip().is_loopback() {
            return Err(Error::NoToken(options.api));
        }
        let total_hosts = options.total_hosts();
        let store = {
            let data = options.data.clone();
            // Repairing a file may take a while, and panics if the file is damaged in some ways.
            let opened = tokio::task::spawn_blocking(move || RedbStore::open(&data)).await;
            let damaged =
                |error| StoreError::Open { path: options.data.clone(), problem: format!("{error}") };
            Arc::new(opened.map_err(damaged)??)
        };
        let plane = Arc::new(Plane::load(options.prefix.clone(), store, options.publish()).await?);
        let (xds_listener, xds) = listen(options.xds).await?;
        let (api_listener, api) = listen(options.api).await?;
        if options.demo.is_some() {
            // Before the first Envoy can ask.
            demo::begin(&plane, total_hosts.as_deref()).await?;
        }

        let (nodes, metrics) = (Arc::new(Nodes::default()), Arc::new(Metrics::default()));
        let (stop, stopped) = watch::channel(false);
        let discovery =
            Discovery::new(plane.snapshots(), Arc::clone(&nodes), Arc::clone(&metrics), stopped.clone());
        let app = App::new(Arc::clone(&plane), nodes, metrics, options.token.clone(), total_hosts.clone());
        let servers = vec![
            tokio::spawn(serve_xds(xds_listener, discovery, stopping(stopped.clone()))),
            tokio::spawn(serve_api(api_listener, app, stopping(stopped))),
        ];
        let (revision, data) = (plane.state().revision, options.data.display().to_string());
        tracing::info!(%xds, %api, data, revision, "listening");
        let mut authors = Vec::new();
        if let Some(HostsFrom { source, cluster, interval }) = options.hosts_from {
            let discovery = discovery::Discovery { source, cluster, total: total_hosts.clone(), interval };
            authors.push(tokio::spawn(discovery.follow(Arc::clone(&plane))));
        }
        if let Some(speed) = options.demo {
            let demo = async move { demo::go_on(&plane, total_hosts.as_deref(), speed).await };
            authors.push(tokio::spawn(demo));
        }
        Ok(Self { xds, api, stop, servers, authors })
    }

    /// Ends all streams, and waits for requests in flight, but not for long.
    pub async fn stop(self) {
        self.authors.iter().for_each(JoinHandle::abort);
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + STOP_LIMIT;
        for mut server in self.servers {
            if tokio::time::timeout_at(deadline, &mut server).await.is_err() {
                tracing::warn!(seconds = STOP_LIMIT.as_secs(), "what is still in flight is cut off");
                server.abort();
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let real = listener.local_addr().map_err(failed)?;
    Ok((listener, real))
}

async fn stopping(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn serve_xds(listener: TcpListener, discovery: Discovery, stop: impl Future<Output = ()>) {
    // Without delay: a response is small, and an Envoy waits for it.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    if let Err(error) =
        { server }.serve_with_incoming_shutdown(discovery, of_envoys(incoming, IDLE), stop).await
    {
        tracing::error!(%error, "the xDS server failed");
    }
}

async fn serve_api(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) {
    let listener = Connections { listener, idle: IDLE };
    let serving = axum::serve(listener, router(Arc::new(app))).with_graceful_shutdown(stop);
    if let Err(error) = async { serving.await }.await {
        tracing::error!(%error, "the API failed");
    }
}
