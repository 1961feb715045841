//! The order of precedence among the sources of a live value.

use super::endpoints::Endpoints;
use super::metadata::{MetadataReader, Numbers};
use super::snapshot::Snapshot;
use super::value::{Number, Source, Sourced};
use crate::metrics::Recorder;
use crate::request::{Property, Request};
use std::sync::Arc;

/// The live values that hold for all requests at this time.
#[derive(Clone, Debug, Default)]
pub struct LiveValues {
    /// The runtime's values.
    pub runtime: Option<Arc<Snapshot>>,
    /// The endpoint count of a cluster.
    pub membership: Option<u32>,
    /// The endpoints of that cluster, if the plugin uses them.
    pub endpoints: Option<Arc<Endpoints>>,
}

impl LiveValues {
    /// Whether the filter acts at all.
    pub fn enabled(&self) -> bool {
        self.runtime.as_ref().and_then(|runtime| runtime.enabled()).unwrap_or(true)
    }

    /// Another number means that cached answers must not be used any more.
    pub fn cache_generation(&self) -> u64 {
        self.runtime.as_ref().map_or(0, |runtime| runtime.cache_generation())
    }
}

/// The live values that hold for one request: those of [`LiveValues`], and those in the metadata of its route and
/// of its cluster, which are read only if no source of higher precedence has the number.
#[derive(Debug)]
pub struct RequestValues<'a, R> {
    live: &'a LiveValues,
    namespace: Option<&'a str>,
    request: &'a R,
    reader: &'a mut MetadataReader,
    recorder: &'a mut Recorder,
    route: Option<Numbers>,
    cluster: Option<Numbers>,
}

impl<'a, R: Request> RequestValues<'a, R> {
    /// The values for a request. `namespace` is the one of metadata that holds numbers, if one does.
    pub fn new(
        live: &'a LiveValues,
        namespace: Option<&'a str>,
        request: &'a R,
        reader: &'a mut MetadataReader,
        recorder: &'a mut Recorder,
    ) -> Self {
        Self { live, namespace, request, reader, recorder, route: None, cluster: None }
    }

    /// The endpoints of a cluster.
    pub fn endpoints(&self) -> Option<&'a Endpoints> {
        self.live.endpoints.as_deref()
    }

    /// A number for a key: the first source that has it counts, `configured` last.
    pub fn number(&mut self, number: Number, key: &[u8], configured: u32) -> Sourced {
        let (value, source) = self.first(number, key).unwrap_or((configured, Source::Plugin));
        Sourced { value, source }
    }

    fn first(&mut self, number: Number, key: &[u8]) -> Option<(u32, Source)> {
        if let Some(runtime) = &self.live.runtime {
            if number == Number::ShardSize
                && let Some(size) = runtime.shard_size_of(key)
            {
                return Some((size, Source::RuntimeKey));
            }
            if let Some(value) = runtime.number(number) {
                return Some((value, Source::Runtime));
            }
        }
        if let Some(value) = self.route().get(number) {
            return Some((value, Source::RouteMetadata));
        }
        if let Some(value) = self.cluster().get(number) {
            return Some((value, Source::ClusterMetadata));
        }
        // The endpoint count of a cluster is a number of hosts, not the size of a shard.
        let membership = self.live.membership.filter(|_| number != Number::ShardSize);
        membership.map(|value| (value, Source::Membership))
    }

    fn route(&mut self) -> Numbers {
        let read =
            self.route.unwrap_or_else(|| self.read(Property::RouteMetadata, Property::RouteName, "route "));
        *self.route.insert(read)
    }

    fn cluster(&mut self) -> Numbers {
        let read = self
            .cluster
            .unwrap_or_else(|| self.read(Property::ClusterMetadata, Property::ClusterName, "cluster "));
        *self.cluster.insert(read)
    }

    fn read(&mut self, metadata: Property, name: Property, kind: &str) -> Numbers {
        let Some(namespace) = self.namespace else { return Numbers::default() };
        let Some(metadata) = self.request.property(metadata) else { return Numbers::default() };
        let request = self.request;
        let owner = || request.property(name).map(|name| [kind.as_bytes(), &name].concat());
        self.reader.numbers(namespace, &metadata, owner, self.recorder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Digester;
    use crate::live::compile::Compiler;
    use crate::live::value::Scalar;
    use std::borrow::Cow;

    /// A request whose metadata a test sets.
    #[derive(Default)]
    struct Fake {
        route: Numbers,
        cluster: Numbers,
    }

    impl Request for Fake {
        fn path(&self) -> Option<Cow<'_, [u8]>> {
            None
        }

        fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
            None
        }

        fn property(&self, property: Property) -> Option<Cow<'_, [u8]>> {
            use crate::protobuf::Metadata;
            use prost::Message;
            use prost_types::value::Kind;
            let numbers = match property {
                Property::RouteMetadata => self.route,
                Property::ClusterMetadata => self.cluster,
                _ => return None,
            };
            let value = |number: u32| prost_types::Value { kind: Some(Kind::NumberValue(number.into())) };
            let fields = [Number::TotalHosts, Number::ShardSize, Number::Replicas]
                .iter()
                .filter_map(|number| Some((number.name().to_owned(), value(numbers.get(*number)?))))
                .collect();
            let filter_metadata = [("envoy.lb".to_owned(), prost_types::Struct { fields })].into();
            Some(Cow::Owned(Metadata { filter_metadata }.encode_to_vec()))
        }
    }

    fn numbers(base: u32) -> Numbers {
        Numbers { total_hosts: Some(base), shard_size: Some(base + 1), replicas: Some(base + 2) }
    }

    fn all(live: &LiveValues, request: &Fake, key: &str) -> [(u32, Source); 3] {
        let mut reader = MetadataReader::new(Digester::new([1, 2]));
        let mut recorder = Recorder::default();
        let mut values = RequestValues::new(live, Some("envoy.lb"), request, &mut reader, &mut recorder);
        [Number::TotalHosts, Number::ShardSize, Number::Replicas].map(|number| {
            let Sourced { value, source } = values.number(number, key.as_bytes(), 1);
            (value, source)
        })
    }

    #[test]
    fn the_first_source_in_order_of_precedence_counts() {
        use Source::{ClusterMetadata, Membership, Plugin, RouteMetadata, Runtime, RuntimeKey};
        let empty = Snapshot::default();
        let mut compiler = Compiler::new("p", &empty);
        for (name, value) in [
            ("total_hosts", 10.0),
            ("default_shard_size", 3.0),
            ("replicas", 7.0),
            ("customer.a.shard_size", 4.0),
        ] {
            compiler.add(&format!("p.{name}"), Scalar::Number(value));
        }
        let runtime = Some(Arc::new(compiler.finish(1).snapshot));
        let mut live = LiveValues { runtime, membership: Some(40), endpoints: None };
        let mut request = Fake { route: numbers(20), cluster: numbers(30) };
        assert_eq!(all(&live, &request, "a"), [(10, Runtime), (4, RuntimeKey), (7, Runtime)]);
        assert_eq!(all(&live, &request, "b"), [(10, Runtime), (3, Runtime), (7, Runtime)]);
        live.runtime = None;
        assert_eq!(
            all(&live, &request, "a"),
            [(20, RouteMetadata), (21, RouteMetadata), (22, RouteMetadata)]
        );
        request.route = Numbers { shard_size: Some(9), ..Numbers::default() };
        assert_eq!(
            all(&live, &request, "a"),
            [(30, ClusterMetadata), (9, RouteMetadata), (32, ClusterMetadata)]
        );
        request.cluster = Numbers::default();
        assert_eq!(all(&live, &request, "a"), [(40, Membership), (9, RouteMetadata), (40, Membership)]);
        assert_eq!(all(&LiveValues::default(), &Fake::default(), "a"), [(1, Plugin); 3]);
    }
}
