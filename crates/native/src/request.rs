//! A request and its response in the core's terms.

use crate::abi::{self, Attribute, Filter, Headers, MetadataSource, Scalar};
use pinroute_core::live::value::Number;
use pinroute_core::protobuf::Metadata;
use pinroute_core::request::{Property, Reply, Request};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use std::borrow::Cow;

/// A request.
pub struct CurrentRequest<'r> {
    /// Envoy's side of it.
    pub filter: Filter,
    /// The namespace of metadata that matters, if one does.
    pub namespace: Option<&'r str>,
    /// What it holds.
    pub holds: Holds,
}

/// What a namespace of metadata holds.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    /// Live values.
    Numbers,
    /// The configuration of a route.
    Config,
}

/// Stands for what Envoy keeps to itself. As no member of a configuration may have this value, the message about it says so.
const HIDDEN: &str = "an object, which Envoy shows to no dynamic module; use a single member `json` with the configuration as text";

impl Request for CurrentRequest<'_> {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.header(":path")
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.filter.header(Headers::Request, name).map(Cow::Owned)
    }

    fn property(&self, property: Property) -> Option<Cow<'_, [u8]>> {
        match property {
            Property::RouteMetadata => self.metadata(MetadataSource::Route),
            Property::ClusterMetadata => self.metadata(MetadataSource::Cluster),
            Property::RouteName => self.filter.attribute(Attribute::RouteName),
            Property::ClusterName => self.filter.cluster_name(),
            // Envoy gives a module none.
            Property::VirtualHostMetadata => None,
        }
        .map(Cow::Owned)
    }
}

impl CurrentRequest<'_> {
    /// The members of the namespace, as the message that the core reads.
    fn metadata(&self, source: MetadataSource) -> Option<Vec<u8>> {
        let namespace = self.namespace?;
        let numbers = [Number::TotalHosts, Number::ShardSize, Number::Replicas];
        let is_wanted = |name: &[u8]| match self.holds {
            Holds::Numbers => numbers.iter().any(|number| number.name().as_bytes() == name),
            Holds::Config => true,
        };
        let members = self.filter.metadata(source, namespace, is_wanted);
        if members.is_empty() {
            return None;
        }
        let value = |scalar| Value {
            kind: Some(match scalar {
                Scalar::Number(number) => Kind::NumberValue(number),
                Scalar::Text(text) => Kind::StringValue(text),
                Scalar::Bool(truth) => Kind::BoolValue(truth),
                Scalar::Other => Kind::StringValue(HIDDEN.to_owned()),
            }),
        };
        let fields = members.into_iter().map(|(name, scalar)| (name, value(scalar))).collect();
        let filter_metadata = [(namespace.to_owned(), Struct { fields })].into();
        Some(Metadata { filter_metadata }.encode_to_vec())
    }
}

/// The response to a request.
pub struct CurrentReply {
    /// Envoy's side of the request.
    pub filter: Filter,
    /// Whether Envoy answered by itself.
    pub is_local: bool,
}

impl Reply for CurrentReply {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.filter.header(Headers::Response, name).map(Cow::Owned)
    }

    fn is_from_upstream(&self) -> bool {
        let details = || self.filter.attribute(Attribute::ResponseCodeDetails);
        // Another filter may answer too, such as a cache.
        !self.is_local
            && (!abi::shows_code_details() || details().is_some_and(|details| details == b"via_upstream"))
    }
}
