//! What a subscription asks its adapter to do.

use std::time::Duration;

/// Tells subscriptions apart within a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionId(u32);

impl SubscriptionId {
    /// The id of this number.
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }
}

/// Something to be done in the name of the plugin whose tick, message or response is being handled.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a gRPC stream, send the first message, and report the stream's token by
    /// [`super::subscriptions::Subscriptions::on_started`].
    OpenStream {
        /// The subscription.
        id: SubscriptionId,
        /// A serialized `envoy.config.core.v3.GrpcService`.
        service: Vec<u8>,
        /// The full name of the gRPC service.
        name: &'static str,
        /// The method.
        method: &'static str,
        /// The first message.
        first: Vec<u8>,
    },
    /// Send a message on a stream.
    Send {
        /// The token of the stream.
        token: u32,
        /// The message.
        message: Vec<u8>,
    },
    /// End a stream.
    Cancel {
        /// The token of the stream.
        token: u32,
    },
    /// Send a GET request to a cluster, and report the call's token by
    /// [`super::subscriptions::Subscriptions::on_started`].
    Get {
        /// The subscription.
        id: SubscriptionId,
        /// The cluster.
        cluster: String,
        /// The `:authority`.
        authority: String,
        /// The path with its query.
        path: String,
        /// How long the response may take.
        timeout: Duration,
    },
}
