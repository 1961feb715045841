//! A configuration as users write it. [`super::validate`] turns these types into validated ones; nothing else uses
//! them.

use super::scalar::{
    AlgorithmName, AnyHeader, Authority, Cluster, Cookie, Count, GrpcCluster, Integer, Mode, Namespace,
    NonEmpty, OnErrorName, Parameter, Path, Pattern, Period, Prefix, Resource, ResponseHeader,
    SettableHeader, Text,
};
use super::validated::Pick;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// A plugin's configuration, or a route's.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(JsonSchema),
    schemars(title = "The configuration of a pinroute filter")
)]
#[serde(default, deny_unknown_fields)]
pub struct Document {
    /// Where the key is. Default: the query parameter `client_id`.
    #[serde(deserialize_with = "object")]
    pub key: Option<Key>,
    /// The filter does not apply to requests whose path does not begin with this.
    pub path_prefix: Option<Path>,
    /// Strategy: ask a resolver. The default strategy.
    #[serde(deserialize_with = "object")]
    pub resolve: Option<Resolve>,
    /// Strategy: compute the resolver's formula.
    #[serde(deserialize_with = "object")]
    pub index: Option<Index>,
    /// Strategy: give each key a shard of the hosts.
    #[serde(deserialize_with = "object")]
    pub shuffle_shard: Option<ShuffleShard>,
    /// How Envoy is made to select the host.
    #[serde(deserialize_with = "object")]
    pub target: Option<Target>,
    /// Globs over `host:port`: where requests may be sent.
    pub allowed_targets: Option<Vec<Pattern>>,
    /// How to handle a request that cannot be routed. Default: `reject`.
    pub on_error: Option<OnErrorName>,
    /// Whether requests may pass on untouched where Envoy then sends them to the host that the client names.
    /// Default: false.
    pub allow_untouched: Option<bool>,
    /// What to do when the resolver fails.
    #[serde(deserialize_with = "object")]
    pub fallback: Option<Fallback>,
    /// Whether a host that answers is the one that the request was sent to. Default: this is not checked.
    #[serde(deserialize_with = "object")]
    pub verify: Option<Verify>,
    /// Whether the headers that show the shard are set on the request. Default: true.
    pub request_headers: Option<bool>,
    /// Whether the headers that show the shard are set on the response too. Default: false.
    pub response_headers: Option<bool>,
    /// The namespace of route and cluster metadata that holds live values.
    pub metadata: Option<Namespace>,
    /// The source of runtime values.
    #[serde(deserialize_with = "object")]
    pub runtime: Option<Runtime>,
    /// The cluster whose endpoint count is a live value.
    #[serde(deserialize_with = "object")]
    pub membership: Option<Membership>,
    /// The namespace of route metadata that may hold a configuration for the route.
    pub per_route: Option<Namespace>,
}

impl Document {
    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        let Self { key, path_prefix, resolve, index, shuffle_shard, target, allowed_targets, .. } = self;
        let Self { on_error, allow_untouched, fallback, verify, request_headers, response_headers, .. } =
            self;
        let Self { metadata, runtime, membership, per_route, .. } = self;
        key.is_none()
            && path_prefix.is_none()
            && (resolve.is_none() && index.is_none() && shuffle_shard.is_none())
            && (target.is_none() && allowed_targets.is_none() && on_error.is_none() && fallback.is_none())
            && (allow_untouched.is_none() && verify.is_none() && request_headers.is_none())
            && (response_headers.is_none() && metadata.is_none() && runtime.is_none())
            && (membership.is_none() && per_route.is_none())
    }
}

/// Where the key is: exactly one of the fields.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minProperties" = 1, "maxProperties" = 1)))]
#[serde(default, deny_unknown_fields)]
pub struct Key {
    /// A query parameter, by its name as it stands in the URL.
    pub query: Option<Parameter>,
    /// A request header.
    pub header: Option<AnyHeader>,
    /// A cookie.
    pub cookie: Option<Cookie>,
    /// A segment of the path, counted from 0.
    pub path_segment: Option<Integer<0, 63>>,
}

/// How the resolver is called.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Resolve {
    /// The Envoy cluster. Default: `resolver`.
    pub cluster: Option<Cluster>,
    /// The `:authority` of the call. Default: the cluster's name if it is a valid authority, else `pinroute`.
    pub authority: Option<Authority>,
    /// The path; it may have a query. Default: `/where`.
    pub path: Option<Path>,
    /// The parameter that carries the key. Default: the key's own name.
    pub query: Option<Parameter>,
    /// How long the response may take. Default: `1s`.
    pub timeout: Option<Period<1>>,
    /// How answers are cached. Default: they are not.
    #[serde(deserialize_with = "object")]
    pub cache: Option<Cache>,
    /// How many calls one worker may have in flight. Default: 1024.
    pub max_in_flight: Option<Integer<1, 1_000_000>>,
}

/// How answers are cached, in each worker.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// How long an answer is cached. Default: `5s`.
    pub ttl: Option<Period<1>>,
    /// How many answers are cached. Default: 10000.
    pub max_entries: Option<Integer<1, 1_000_000>>,
    /// How long a failure is cached. Default: `1s`.
    pub negative_ttl: Option<Period<0>>,
    /// How long after `ttl` an answer is used while the resolver fails. Default: `60s`.
    pub stale_if_error: Option<Period<0>>,
}

/// The resolver's formula.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Index {
    /// How a key becomes a number. Default: `hash`.
    pub mode: Option<Mode>,
    /// The number of hosts. Default: 1.
    pub replicas: Option<Count>,
    /// The number of the first host. Default: 1.
    pub base: Option<Integer<0, 1_000_000_000>>,
    /// The hosts by `host:port`, in place of a number.
    pub hosts: Option<Vec<Text>>,
}

/// A shard of the hosts for each key.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ShuffleShard {
    /// The number of hosts. Default: 8.
    pub total_hosts: Option<Count>,
    /// The number of hosts in a shard. Default: 2.
    pub shard_size: Option<Count>,
    /// How the hosts of a shard are chosen. Default: `rendezvous`.
    pub algorithm: Option<AlgorithmName>,
    /// The number of the first host. Default: 0.
    pub base: Option<Integer<0, 1_000_000_000>>,
    /// The hosts by `host:port`, in place of a number.
    pub hosts: Option<Vec<Text>>,
    /// Which host of the shard gets a request. Default: `path`.
    pub pick: Option<Pick>,
    /// A secret that makes shards unpredictable.
    pub seed: Option<NonEmpty>,
}

/// How Envoy is made to select the host: exactly one of the fields.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minProperties" = 1, "maxProperties" = 1)))]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// `:authority` is rewritten to this.
    pub authority: Option<Text>,
    /// The dynamic forward proxy gets this by filter state.
    pub dynamic_host: Option<Text>,
    /// A request header is set.
    #[serde(deserialize_with = "object")]
    pub header: Option<TargetHeader>,
}

/// A request header to set.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["name", "value"])))]
#[serde(default, deny_unknown_fields)]
pub struct TargetHeader {
    /// The name.
    pub name: Option<SettableHeader>,
    /// The value.
    pub value: Option<Text>,
}

/// What to do when the resolver fails.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["index"])))]
#[serde(default, deny_unknown_fields)]
pub struct Fallback {
    /// The formula.
    #[serde(deserialize_with = "object")]
    pub index: Option<Index>,
    /// How Envoy is made to select the host then.
    #[serde(deserialize_with = "object")]
    pub target: Option<Target>,
}

/// How a host that answers is compared with the one that the request was sent to.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["response_header"])))]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// The response header by which a host says who it is.
    pub response_header: Option<ResponseHeader>,
    /// What it must say. Default: the host of the target, or its first label.
    pub value: Option<Text>,
}

/// The source of runtime values: a prefix, and exactly one of the other fields.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(JsonSchema),
    schemars(extend("oneOf" = [{ "required": ["rtds"] }, { "required": ["admin"] }]))
)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The start of the names of all values, before a dot. Default: `shuffle_sharding`.
    pub prefix: Option<Prefix>,
    /// The values are pushed: the filter is an RTDS client.
    #[serde(deserialize_with = "object")]
    pub rtds: Option<Rtds>,
    /// The values are polled from Envoy's admin interface.
    #[serde(deserialize_with = "object")]
    pub admin: Option<Admin>,
}

/// A server of the Runtime Discovery Service.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Rtds {
    /// The Envoy cluster. Default: `xds_cluster`.
    pub cluster: Option<GrpcCluster>,
    /// The `:authority` of the stream. Default: the cluster's name if it is a valid authority, else `pinroute`.
    pub authority: Option<Authority>,
    /// The name of the resource. Default: `runtime`.
    pub resource: Option<Resource>,
}

/// Envoy's admin interface.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The Envoy cluster that leads there. Default: `admin`.
    pub cluster: Option<Cluster>,
    /// The interval between polls. Default: `1s`.
    pub refresh: Option<Period<50>>,
}

/// The cluster whose endpoint count is a live value.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["cluster"])))]
#[serde(default, deny_unknown_fields)]
pub struct Membership {
    /// The cluster to count.
    pub cluster: Option<Cluster>,
    /// The Envoy cluster that leads to the admin interface. Default: `admin`.
    pub admin: Option<Cluster>,
    /// The interval between polls. Default: `1s`.
    pub refresh: Option<Period<50>>,
}

/// `{ header: NAME }`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["header"])))]
#[serde(default, deny_unknown_fields)]
struct PickHeader {
    header: Option<AnyHeader>,
}

impl<'de> Deserialize<'de> for Pick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrHeader;

        impl<'de> Visitor<'de> for NameOrHeader {
            type Value = Pick;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("path, random, round_robin or an object with header")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Pick, E> {
                match name {
                    "path" => Ok(Pick::Path),
                    "random" => Ok(Pick::Random),
                    "round_robin" => Ok(Pick::RoundRobin),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pick, A::Error> {
                match PickHeader::deserialize(MapAccessDeserializer::new(map))?.header {
                    Some(header) => Ok(Pick::Header(header.into_name())),
                    None => Err(A::Error::invalid_value(serde::de::Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(NameOrHeader)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Pick {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pick".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let header = PickHeader::json_schema(generator);
        schemars::json_schema!({ "oneOf": [{ "enum": ["path", "random", "round_robin"] }, header] })
    }
}

/// Reads an object. A derived struct alone would accept a list of its fields too.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Object(PhantomData)).map(Some)
}
