//! Listening, and stopping without dropping requests in flight.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::error::Error;
use crate::options::Options;
use crate::resolver::Instance;
use crate::routes::{router, App};

/// How long requests in flight may take after a stop signal: half of the ten seconds that
/// `docker stop` waits before it kills.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If the server cannot start, or if its socket fails.
pub async fn run(options: Options) -> Result<(), Error> {
    // Before listening: whoever sees the port open may already send a signal. Two listeners, as each
    // wakes one task.
    let (mut stop, mut stop_then_wait) = (StopSignal::new()?, StopSignal::new()?);

    let bind_error = |source| Error::Bind { address: options.address, source };
    let listener = TcpListener::bind(options.address).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let instance = Instance { host: options.hostname(), port: address.port() };
    let app = App { instance, resolver: options.resolver };
    tracing::info!(
        %address,
        instance = app.instance.to_string(),
        replicas = app.resolver.replicas(),
        mode = app.resolver.mode(),
        "listening"
    );

    // Takes no new connections, closes idle ones, and waits for those with a request in flight.
    let serving = axum::serve(listener, router(app)).with_graceful_shutdown(async move {
        stop.received().await;
        tracing::info!("stopping");
    });
    let limit = async {
        stop_then_wait.received().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        served = async { serving.await } => served.map_err(Error::Serve),
        () = limit => {
            tracing::warn!(seconds = STOP_LIMIT.as_secs(), "requests still in flight are cut off");
            Ok(())
        }
    }
}

/// Waits for either of the two signals that ask a process to stop.
struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
