//! Listening, and stopping without dropping requests in flight.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::dns::{Dns, own_addresses};
use crate::error::Error;
use crate::identity::Identity;
use crate::options::Options;
use crate::resolver::Numbered;
use crate::routes::{App, router};

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

    let asked = options.address;
    let bind_error = |source| Error::Bind { address: asked, source };
    let listener = TcpListener::bind(asked).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let app = Arc::new(App {
        hostname: options.hostname(),
        port: address.port(),
        resolver: options.resolver.clone(),
        identity: OnceLock::new(),
    });
    let mut identifying = Box::pin(identify(options));
    // One look at what needs no look-up, so that such a server is healthy from the start.
    match timeout(Duration::ZERO, &mut identifying).await {
        Ok(identity) => app.identify(identity),
        Err(_) => {
            let app = Arc::clone(&app);
            tokio::spawn(async move { app.identify(identifying.await) });
        }
    }
    tracing::info!(
        %address,
        instance = app.instance().to_string(),
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

/// Finds out which host this server is. Ready at once if nothing must be looked up.
async fn identify(options: Options) -> Identity {
    let (identity, reason) = match Identity::from_options(&options) {
        Ok(identity) if identity.number.is_some() || options.resolver.is_unnumbered() => return identity,
        Ok(identity) => (identity, "SERVER_NAME is not PREFIX-<n>".to_owned()),
        Err(numbered) => match look_up(numbered, options.address.ip()).await {
            Ok(identity) => {
                tracing::info!(name = identity.name.as_str(), "found the server's name by reverse look-up");
                return identity;
            }
            Err(reason) => (Identity { name: options.hostname(), number: None }, reason),
        },
    };
    tracing::warn!(
        name = identity.name.as_str(),
        reason,
        "the server's number is unknown: /join accepts requests for any host"
    );
    identity
}

async fn look_up(numbered: &Numbered, bind: IpAddr) -> Result<Identity, String> {
    let addresses =
        own_addresses(bind).map_err(|error| format!("cannot list the network interfaces: {error}"))?;
    if addresses.is_empty() {
        return Err("HOSTNAME is not PREFIX-<n>, and there is no address but loopback".to_owned());
    }
    let dns = Dns::from_system().map_err(|error| format!("no DNS server: {error}"))?;
    Identity::look_up(numbered, &addresses, |address| dns.names(address)).await
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
