//! A request that is made up, to ask the filter's own code about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pinroute_core::protobuf::Metadata;
use pinroute_core::request::{Property, Request};
use prost::Message;
use prost_types::Struct;
use prost_types::value::Kind;

/// A request with what Envoy would know about it.
#[derive(Clone, Debug, Default)]
pub struct MadeUp {
    /// The path with its query.
    pub path: Vec<u8>,
    /// The headers, by names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Metadata of its route, serialized.
    pub route_metadata: Option<Vec<u8>>,
    /// Metadata of the cluster that its route selects, serialized.
    pub cluster_metadata: Option<Vec<u8>>,
}

impl Request for MadeUp {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(&self.path))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| Cow::Borrowed(value.as_slice()))
    }

    fn property(&self, property: Property) -> Option<Cow<'_, [u8]>> {
        let metadata = match property {
            Property::RouteMetadata => &self.route_metadata,
            Property::ClusterMetadata => &self.cluster_metadata,
            Property::RouteName | Property::VirtualHostMetadata | Property::ClusterName => &None,
        };
        metadata.as_deref().map(Cow::Borrowed)
    }
}

/// Metadata with these numbers in one namespace, serialized.
pub fn metadata(namespace: &str, numbers: &BTreeMap<&'static str, u32>) -> Option<Vec<u8>> {
    if numbers.is_empty() {
        return None;
    }
    let value = |number: u32| prost_types::Value { kind: Some(Kind::NumberValue(number.into())) };
    let fields = numbers.iter().map(|(name, number)| ((*name).to_owned(), value(*number))).collect();
    let filter_metadata = [(namespace.to_owned(), Struct { fields })].into();
    Some(Metadata { filter_metadata }.encode_to_vec())
}
