//! Starts the service, and stops it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use pinroute_core::live::values::LiveValues;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::decider::Decider;
use crate::limits::{LoadError, Supported};
use crate::live::Live;
use crate::metrics::{self, Metrics};
use crate::options::{Listen, Options};
use crate::resolver::Resolver;
use crate::service::Service;

/// How long requests in flight may take after a signal to stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait before accepting again, when that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// How many streams that Envoy has reset may wait to be seen. One client can make Envoy reset many, and beyond the limit all streams
/// of the connection fail, those of other clients too. Of Envoy itself the service need not be afraid.
const MAX_RESETS: usize = 100_000;

/// How long the first live values are waited for before Envoy is served: a service that starts anew must not decide by other
/// numbers than before only because it is faster than the control plane.
const FIRST_VALUES: Duration = Duration::from_secs(2);

type Served = ExternalProcessorServer<Service>;

/// Why the service did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration asks for what external processing cannot do.
    #[error("configuration refused")]
    Load(#[from] LoadError),
    /// The signal handlers could not be installed.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The system has no random numbers.
    #[error("the system has no random numbers: {0}")]
    Random(getrandom::Error),
    /// The control plane has an address that cannot be used.
    #[error("cannot connect to the control plane")]
    Xds(#[from] tonic::transport::Error),
    /// The address is taken, or does not belong to this machine.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: Listen,
        /// The system's reason.
        source: io::Error,
    },
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`enum@Error`]
pub async fn run(options: Options) -> Result<(), Error> {
    // Before listening: whoever sees a port open may already send a signal.
    let listen = |kind| signal(kind).map_err(Error::Signals);
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let drain = options.drain;
    let running = ExtProc::start(options);
    tokio::pin!(running);
    let running = tokio::select! {
        running = &mut running => running?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if let Some(time) = drain {
        tracing::info!(seconds = time.as_secs_f64(), "draining");
        tokio::select! {
            () = running.drain(time) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// A service that runs.
#[derive(Debug)]
pub struct ExtProc {
    /// Where Envoy connects to.
    pub address: Listen,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    /// The Unix socket, if it listens on one: another process may have replaced it.
    socket: Option<Inode>,
    health: HealthReporter,
    servers: Vec<JoinHandle<()>>,
    live: Option<JoinHandle<()>>,
}

impl ExtProc {
    /// Loads the configuration, waits a little for live values, and starts to serve.
    ///
    /// # Errors
    /// [`enum@Error`]
    pub async fn start(options: Options) -> Result<Self, Error> {
        let Supported { config, resolver, runtime } = Supported::new(&options)?;
        tracing::info!("configuration loaded: {config}");
        for (option, given, used) in [
            ("--resolver", options.resolver.is_some(), resolver.is_some()),
            ("--xds", options.xds.is_some(), runtime.is_some()),
        ] {
            if given && !used {
                tracing::warn!("{option} has no effect: the configuration needs no such server");
            }
        }
        let metrics = Arc::new(Metrics::default());
        let (sender, mut values) = watch::channel(LiveValues::default());
        let live = match runtime {
            None => None,
            Some((runtime, xds)) => {
                let seed = getrandom::u64().map_err(Error::Random)?;
                let live = Live::new(&runtime, &xds, options.node, seed, sender, Arc::clone(&metrics))?;
                let following = tokio::spawn(live.follow());
                let first = values
                    .wait_for(|values| values.runtime.as_ref().is_some_and(|values| values.version() > 0));
                if tokio::time::timeout(FIRST_VALUES, first).await.is_err() {
                    tracing::warn!(%xds, "no live values yet; those of the configuration are used");
                }
                Some(following)
            }
        };
        let mut random = [0; 3];
        for number in &mut random {
            *number = getrandom::u64().map_err(Error::Random)?;
        }
        let decider = Decider::new(config, resolver.map(Resolver::new), values, Arc::clone(&metrics), random);

        let (stop, stopped) = watch::channel(false);
        let (health, health_service) = health_reporter();
        report_health(&health, ServingStatus::Serving).await;
        let routes = tonic::service::Routes::new(ExternalProcessorServer::new(Service {
            decider,
            stopped: stopped.clone(),
        }))
        .add_service(health_service);
        let mut servers = Vec::new();
        let metrics_address = match options.metrics {
            None => None,
            Some(address) => {
                let (listener, address) = listen(address).await?;
                servers.push(tokio::spawn(serve_metrics(listener, metrics, stopping(stopped.clone()))));
                Some(address)
            }
        };
        let (serving, address) = serve(&options.listen, routes, stopping(stopped)).await?;
        let socket = match &address {
            Listen::Unix(path) => inode(path),
            Listen::Tcp(_) => None,
        };
        servers.push(serving);
        tracing::info!(%address, metrics = metrics_address.map(tracing::field::display), "listening");
        Ok(Self { address, metrics: metrics_address, stop, socket, health, servers, live })
    }

    /// Says that it does not serve, and serves on for this time: until Envoy has seen it and sends new requests elsewhere.
    pub async fn drain(&self, time: Duration) {
        report_health(&self.health, ServingStatus::NotServing).await;
        tokio::time::sleep(time).await;
    }

    /// Serves no new requests, and waits for those in flight, but not for long.
    pub async fn stop(self) {
        report_health(&self.health, ServingStatus::NotServing).await;
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + STOP_LIMIT;
        for mut server in self.servers {
            if tokio::time::timeout_at(deadline, &mut server).await.is_err() {
                tracing::warn!(seconds = STOP_LIMIT.as_secs(), "what is still in flight is cut off");
                server.abort();
            }
        }
        self.live.iter().for_each(JoinHandle::abort);
        if let Listen::Unix(path) = &self.address
            && self.socket.is_some()
            && inode(path) == self.socket
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Tells all who ask: Envoy's health checks name no service unless `service_name` is set.
async fn report_health(health: &HealthReporter, status: ServingStatus) {
    for service in [Served::NAME, ""] {
        health.set_service_status(service, status).await;
    }
}

/// A file, whatever its name is: its device and its number there.
type Inode = (u64, u64);

fn inode(path: &Path) -> Option<Inode> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { address: Listen::Tcp(address), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let real = listener.local_addr().map_err(failed)?;
    Ok((listener, real))
}

async fn stopping(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Starts to serve Envoy. Returns the real address.
async fn serve(
    address: &Listen,
    routes: tonic::service::Routes,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(JoinHandle<()>, Listen), Error> {
    let server = Server::builder()
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .add_routes(routes);
    Ok(match address {
        Listen::Tcp(address) => {
            let (listener, real) = listen(*address).await?;
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let serving = server.serve_with_incoming_shutdown(patient(incoming), stop);
            (tokio::spawn(async { report(serving.await) }), Listen::Tcp(real))
        }
        Listen::Unix(path) => {
            let failed = |source| Error::Bind { address: address.clone(), source };
            let listener = bind_socket(path).await.map_err(failed)?;
            let incoming = UnixListenerStream::new(listener);
            let serving = server.serve_with_incoming_shutdown(patient(incoming), stop);
            (tokio::spawn(async { report(serving.await) }), address.clone())
        }
    })
}

/// After a failure it waits before it accepts again: the next attempt may fail at once too, and use up a processor.
fn patient<S>(incoming: impl Stream<Item = io::Result<S>>) -> impl Stream<Item = io::Result<S>> {
    incoming.then(|accepted| async {
        if let Err(error) = &accepted {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(PAUSE).await;
        }
        accepted
    })
}

/// Listens on a Unix socket. One that a process left behind, which nobody serves, is replaced.
async fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Any other error may come from a process that is there and busy, or that belongs to somebody else.
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).await.is_err_and(|error| is_refused(&error)) {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

fn report(served: Result<(), tonic::transport::Error>) {
    if let Err(error) = served {
        tracing::error!(%error, "the server failed");
    }
}

async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let text = move || async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()) };
    let routes = Routes::new().route("/metrics", get(text)).route("/healthz", get(|| async { "ok" }));
    if let Err(error) = async { axum::serve(listener, routes).with_graceful_shutdown(stop).await }.await {
        tracing::error!(%error, "the metrics failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accepting_again_waits_after_a_failure() {
        let failures = (0..5).map(|_| Err::<(), _>(io::Error::from_raw_os_error(24)));
        let started = tokio::time::Instant::now();
        let seen: Vec<_> = patient(tokio_stream::iter(failures)).collect().await;
        assert!(seen.len() == 5 && seen.iter().all(Result::is_err));
        assert_eq!(started.elapsed(), 5 * PAUSE);
    }
}
