//! A configuration as users write it. [`super::validate`] turns these types into validated ones; nothing else uses
//! them.

use super::scalar::{
    AlgorithmName, AnyHeader, Authority, Cluster, Cookie, Count, GrpcCluster, Integer, Mode, Namespace,
    NonEmpty, OnShardDown, Parameter, Path, Pattern, Period, Prefix, Resource, ResponseHeader,
    SettableHeader, Text,
};
use super::validated::Pick;
use crate::resolve::answer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
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
    /// Strategy: the target is made of the key alone.
    #[serde(deserialize_with = "object")]
    pub template: Option<Empty>,
    /// How Envoy is made to select the host.
    #[serde(deserialize_with = "object")]
    pub target: Option<Target>,
    /// Globs over `host:port`: where requests may be sent.
    pub allowed_targets: Option<Vec<Pattern>>,
    /// What happens to a request without a key. Default: `reject`.
    pub on_missing_key: Option<Outcome>,
    /// What happens if nobody owns the key. Default: `reject`.
    pub on_not_found: Option<Outcome>,
    /// What happens to any other request that cannot be routed. Default: `reject`.
    pub on_error: Option<Outcome>,
    /// What happens to a request if no host of its shard is healthy. Default: `try`.
    pub on_shard_down: Option<OnShardDown>,
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
    /// The cluster whose endpoints are live values.
    #[serde(deserialize_with = "object")]
    pub membership: Option<Membership>,
    /// The namespace of route metadata that may hold a configuration for the route.
    pub per_route: Option<Namespace>,
}

impl Document {
    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        let Self {
            key, path_prefix, resolve, index, shuffle_shard, template, target, allowed_targets, ..
        } = self;
        let Self { on_missing_key, on_not_found, on_shard_down, .. } = self;
        let Self { on_error, allow_untouched, fallback, verify, request_headers, response_headers, .. } =
            self;
        let Self { metadata, runtime, membership, per_route, .. } = self;
        key.is_none()
            && path_prefix.is_none()
            && (resolve.is_none() && index.is_none() && shuffle_shard.is_none() && template.is_none())
            && (on_missing_key.is_none() && on_not_found.is_none() && on_shard_down.is_none())
            && (target.is_none() && allowed_targets.is_none() && on_error.is_none() && fallback.is_none())
            && (allow_untouched.is_none() && verify.is_none() && request_headers.is_none())
            && (response_headers.is_none() && metadata.is_none() && runtime.is_none())
            && (membership.is_none() && per_route.is_none())
    }
}

/// Where the key is: exactly one of the fields, beside `match`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minProperties" = 1, "maxProperties" = 2)))]
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
    /// Parts of the host, by a pattern.
    pub host: Option<Text>,
    /// Parts of the path, by a pattern.
    pub path: Option<Text>,
    /// Parts of the value of `query`, `header` or `cookie`, by a pattern.
    #[serde(rename = "match")]
    pub pattern: Option<Text>,
    /// The first of several sources that is there and matches.
    pub first: Option<Vec<Object<Key>>>,
    /// Several parts, by their names, which are one key together.
    #[serde(deserialize_with = "object")]
    pub parts: Option<BTreeMap<String, Object<Part>>>,
}

/// One of several parts of a key.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minProperties" = 1, "maxProperties" = 3)))]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    /// A query parameter, by its name as it stands in the URL.
    pub query: Option<Parameter>,
    /// A request header.
    pub header: Option<AnyHeader>,
    /// A cookie.
    pub cookie: Option<Cookie>,
    /// A segment of the path, counted from 0.
    pub path_segment: Option<Integer<0, 63>>,
    /// A part of the host, by a pattern.
    pub host: Option<Text>,
    /// A part of the path, by a pattern.
    pub path: Option<Text>,
    /// A part of the value of `query`, `header` or `cookie`, by a pattern.
    #[serde(rename = "match")]
    pub pattern: Option<Text>,
    /// The first of several sources that is there and matches.
    pub first: Option<Vec<Object<Key>>>,
    /// The value if no source has one.
    pub default: Option<NonEmpty>,
}

/// An object without members.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Empty {}

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
    /// Headers that are sent along, which may have parts of the key.
    #[serde(deserialize_with = "object")]
    pub headers: Option<BTreeMap<String, Text>>,
    /// Headers of the request that are sent along.
    pub forward_headers: Option<Vec<SettableHeader>>,
    /// JSON with parts of the key in its texts. It makes the call a POST request.
    pub body: Option<Value>,
    /// Where the response has the target. Default: `hostport: /hostport`.
    #[serde(deserialize_with = "object")]
    pub answer: Option<Answer>,
    /// More request headers, with the places of their values in the response.
    #[serde(deserialize_with = "object")]
    pub set_headers: Option<BTreeMap<String, Place>>,
    /// The statuses that say that nobody owns the key. Default: 404.
    pub not_found: Option<Vec<Integer<201, 599>>>,
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
    /// The statuses of a host's response that drop the answer that led there.
    pub drop_on: Option<Vec<Integer<200, 599>>>,
}

/// Where a resolver's response has the target: `hostport`, or `host` with or without `port`, or `name`, or `hostports`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minProperties" = 1, "maxProperties" = 2)))]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// A `host:port`.
    pub hostport: Option<Place>,
    /// A host.
    pub host: Option<Place>,
    /// The port of the host.
    pub port: Option<Place>,
    /// A name, for `target.header`.
    pub name: Option<Place>,
    /// A list of `ip:port`, for `target.endpoints`: the owner, then those that are tried after it.
    pub hostports: Option<Place>,
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
    /// The hosts by name, in place of a number.
    pub names: Option<Vec<Text>>,
    /// The endpoints of this Envoy cluster, in place of a number.
    pub hosts_from: Option<Cluster>,
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
    /// The hosts by name, in place of a number.
    pub names: Option<Vec<Text>>,
    /// The endpoints of this Envoy cluster, in place of a number.
    pub hosts_from: Option<Cluster>,
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
    /// A request header gets the addresses of the hosts, in the order in which they are to be tried.
    #[serde(deserialize_with = "object")]
    pub endpoints: Option<TargetEndpoints>,
}

/// A request header for the addresses of hosts.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["header"])))]
#[serde(default, deny_unknown_fields)]
pub struct TargetEndpoints {
    /// The name.
    pub header: Option<SettableHeader>,
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

/// What to do when the resolver fails: exactly one of `index` and `template`, and a target.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(JsonSchema),
    schemars(extend("oneOf" = [{ "required": ["index"] }, { "required": ["template"] }]))
)]
#[serde(default, deny_unknown_fields)]
pub struct Fallback {
    /// The formula.
    #[serde(deserialize_with = "object")]
    pub index: Option<Index>,
    /// The target is made of the key alone.
    #[serde(deserialize_with = "object")]
    pub template: Option<Empty>,
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
    schemars(extend("oneOf" = [{ "required": ["rtds"] }, { "required": ["admin"] }, { "required": ["envoy"] }]))
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
    /// The values are read from Envoy's own runtime, with all its layers. Only the dynamic module can do so, and only the
    /// values that have no key in their names.
    #[serde(deserialize_with = "object")]
    pub envoy: Option<OwnRuntime>,
}

/// Envoy's own runtime.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OwnRuntime {}

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

/// The cluster whose endpoints are live values. Without `eds`, the admin interface is polled.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["cluster"])))]
#[serde(default, deny_unknown_fields)]
pub struct Membership {
    /// The cluster.
    pub cluster: Option<Cluster>,
    /// The Envoy cluster that leads to the admin interface. Default: `admin`.
    pub admin: Option<Cluster>,
    /// The interval between polls. Default: `1s`.
    pub refresh: Option<Period<50>>,
    /// The endpoints are pushed: the filter is an EDS client.
    #[serde(deserialize_with = "object")]
    pub eds: Option<Eds>,
}

/// A server of the Endpoint Discovery Service.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Eds {
    /// The Envoy cluster. Default: `xds_cluster`.
    pub cluster: Option<GrpcCluster>,
    /// The `:authority` of the stream. Default: the cluster's name if it is a valid authority, else `pinroute`.
    pub authority: Option<Authority>,
    /// The name of the resource. Default: the name of the cluster whose endpoints are wanted.
    pub service: Option<Resource>,
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

/// What happens to a request that is not routed.
#[derive(Debug)]
pub enum Outcome {
    /// `reject`, or `{ reject: STATUS }`
    Reject(Option<u16>),
    /// `continue`
    Continue,
    /// `{ target: { … } }`
    Target(Target),
}

/// `{ reject: STATUS }` or `{ target: { … } }`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("minProperties" = 1, "maxProperties" = 1)))]
#[serde(default, deny_unknown_fields)]
struct OutcomeObject {
    /// The status of the error.
    reject: Option<Integer<400, 599>>,
    /// A fixed target.
    #[serde(deserialize_with = "object")]
    target: Option<Target>,
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrObject;

        impl<'de> Visitor<'de> for NameOrObject {
            type Value = Outcome;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "reject, continue, or an object with one of reject and target, such as { reject: 503 }",
                )
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Outcome, E> {
                match name {
                    "reject" => Ok(Outcome::Reject(None)),
                    "continue" => Ok(Outcome::Continue),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Outcome, A::Error> {
                match OutcomeObject::deserialize(MapAccessDeserializer::new(map))? {
                    OutcomeObject { reject: Some(Integer(status)), target: None } => {
                        Ok(Outcome::Reject(u16::try_from(status).ok()))
                    }
                    OutcomeObject { reject: None, target: Some(target) } => Ok(Outcome::Target(target)),
                    _ => Err(A::Error::invalid_value(serde::de::Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(NameOrObject)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Outcome {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Outcome".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let object = OutcomeObject::json_schema(generator);
        schemars::json_schema!({ "oneOf": [{ "enum": ["reject", "continue"] }, object] })
    }
}

/// A place in a resolver's response.
#[derive(Debug)]
pub struct Place(pub answer::Place);

/// `{ header: NAME }`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(extend("required" = ["header"])))]
#[serde(default, deny_unknown_fields)]
struct PlaceHeader {
    /// A response header.
    header: Option<ResponseHeader>,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrHeader;

        impl<'de> Visitor<'de> for TextOrHeader {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON pointer such as /a/b, text, or an object with header")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Place, E> {
                let place = match text {
                    "text" => Some(answer::Place::Text),
                    pointer => answer::Place::pointer(pointer),
                };
                place.map(Place).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
                match PlaceHeader::deserialize(MapAccessDeserializer::new(map))?.header {
                    Some(ResponseHeader(name)) => Ok(Place(answer::Place::Header(name.to_ascii_lowercase()))),
                    None => Err(A::Error::invalid_value(serde::de::Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(TextOrHeader)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Place {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let header = PlaceHeader::json_schema(generator);
        schemars::json_schema!({ "oneOf": [{ "type": "string", "pattern": "^(text|/.*)$" }, header] })
    }
}

/// An object, where a derived struct alone would accept a list of its fields too.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match object(deserializer)? {
            Some(object) => Ok(Self(object)),
            None => Err(D::Error::custom("an object")),
        }
    }
}

#[cfg(feature = "schema")]
impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
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
