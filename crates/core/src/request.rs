//! What a decision may ask of a request and of its response.

use std::borrow::Cow;

/// A request. Values are bytes: a client may send anything.
pub trait Request {
    /// The path with its query.
    fn path(&self) -> Option<Cow<'_, [u8]>>;

    /// The value of a header, by its name in lower case, as Envoy's getter gives it.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// What Envoy knows about the request beside its headers.
    fn property(&self, property: Property) -> Option<Cow<'_, [u8]>>;
}

/// What Envoy knows about a request beside its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Property {
    /// The metadata of its route, a serialized `envoy.config.core.v3.Metadata`.
    RouteMetadata,
    /// The name of its route.
    RouteName,
    /// The metadata of its virtual host.
    VirtualHostMetadata,
    /// The metadata of the cluster that its route selects.
    ClusterMetadata,
    /// The name of that cluster.
    ClusterName,
}

/// A response to a request that was routed.
pub trait Reply {
    /// The value of a header, by its name in lower case, as Envoy's getter gives it.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// Whether a host sent it, and not Envoy itself.
    fn is_from_upstream(&self) -> bool;
}
