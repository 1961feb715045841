//! The stream to a server of the Runtime Discovery Service.

use crate::host;
use crate::metrics;
use pinroute_core::live::rtds::{Client, METHOD, SERVICE};
use pinroute_core::live::{Compiled, Snapshot};
use pinroute_core::protobuf::put_bytes;
use pinroute_core::random;
use proxy_wasm::hostcalls;
use proxy_wasm::types::BufferType;

/// The wait before the first new attempt, and the longest one; in milliseconds. Each attempt doubles it.
const FIRST_WAIT: u64 = 200;
const LONGEST_WAIT: u64 = 5000;

/// A subscription, with or without a stream at the moment.
pub struct Rtds {
    /// A serialized `GrpcService`. Envoy also takes a bare name, but aborts on one that happens to parse.
    service: String,
    cluster: String,
    resource: String,
    prefix: String,
    client: Option<Client>,
    stream: Option<u32>,
    attempts: u32,
    try_again: u64,
}

impl Rtds {
    pub fn new(cluster: &str, resource: &str, prefix: &str) -> Self {
        let mut envoy_grpc = Vec::new();
        put_bytes(1, cluster.as_bytes(), &mut envoy_grpc);
        let mut service = Vec::new();
        put_bytes(1, &envoy_grpc, &mut service);
        Self {
            // Text, because the name is and lengths below 128 are: the configuration sees to both.
            service: String::from_utf8(service).unwrap_or_default(),
            cluster: cluster.to_owned(),
            resource: resource.to_owned(),
            prefix: prefix.to_owned(),
            client: None,
            stream: None,
            attempts: 0,
            try_again: 0,
        }
    }

    pub fn is(&self, token: u32) -> bool {
        self.stream == Some(token)
    }

    /// Sees to it that there is a stream.
    pub fn drive(&mut self, now: u64) {
        if self.stream.is_some() || now < self.try_again {
            return;
        }
        // Whatever comes of it, the next attempt has to wait.
        self.wait(now);
        let client = self.client.get_or_insert_with(|| {
            let node = |field| host::property(&["xds", "node", field]).unwrap_or_default();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Client::new(&self.resource, &text(node("id")), &text(node("cluster")))
        });
        let opened = hostcalls::open_grpc_stream(&self.service, SERVICE, METHOD, vec![]);
        let Ok(token) = opened else {
            log::debug!("pinroute: no stream to the cluster `{}`: {opened:?}", self.cluster);
            return;
        };
        self.stream = Some(token);
        if hostcalls::send_grpc_stream_message(token, Some(&client.subscribe()), false).is_err() {
            self.stop();
        }
    }

    /// A message: the new values with the server's version, or why it was refused.
    pub fn receive(
        &mut self,
        size: usize,
        version: u64,
        last: &Snapshot,
    ) -> Result<Option<(Compiled, String)>, String> {
        let (Some(token), Some(client)) = (self.stream, &mut self.client) else { return Ok(None) };
        let message = hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size).ok().flatten();
        let received = client.receive(&message.unwrap_or_default(), &self.prefix, version, last);
        if self.attempts > 0 {
            log::info!("pinroute: runtime values come from the cluster `{}`", self.cluster);
        }
        self.attempts = 0;
        metrics::with(|metrics| metrics.runtime_connected.record(1));
        let _ = hostcalls::send_grpc_stream_message(token, Some(&received.reply), false);
        Ok(received.outcome?.map(|compiled| (compiled, received.version)))
    }

    /// The stream has ended. The next one is opened from a tick, never from here.
    pub fn closed(&mut self, status: u32, now: u64) {
        self.stream = None;
        if self.attempts <= 1 {
            log::warn!(
                "pinroute: the runtime stream to the cluster `{}` ended with gRPC status {status}; the last values stay",
                self.cluster
            );
        }
        metrics::with(|metrics| metrics.runtime_connected.record(0));
        if self.try_again <= now {
            self.wait(now);
        }
    }

    /// Ends the stream, if there is one.
    pub fn stop(&mut self) {
        if let Some(token) = self.stream.take() {
            let _ = hostcalls::cancel_grpc_stream(token);
        }
    }

    /// Sets the time of the next attempt: twice as far away as the last, less up to half of it, so that many
    /// proxies do not come back at once.
    fn wait(&mut self, now: u64) {
        let longest = FIRST_WAIT.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_WAIT);
        let random = random::number();
        self.try_again = now + longest - random % (longest / 2);
        self.attempts += 1;
    }
}
