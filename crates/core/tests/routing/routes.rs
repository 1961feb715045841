//! Configurations that routes bring along.

use crate::{Bench, Fake, get, shown, with_header};
use pinroute_core::decision::Decision;
use pinroute_core::rejection::Rejection;
use pinroute_core::request::Property;
use pinroute_core::routes::{InvalidRoute, RouteRouters};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use std::sync::Arc;

fn with_json(mut request: Fake, property: Property, namespace: &str, json: &str) -> Fake {
    let metadata = with_metadata(&[(namespace, encoded("json", json))]);
    request.properties.insert(property, metadata.properties[&Property::RouteMetadata].clone());
    request
}

#[test]
fn a_routes_configuration_has_precedence_over_its_virtual_hosts() {
    let mut routes = RouteRouters::new("pinroute".to_owned(), [1, 2]);
    let mut decided = |request: &Fake| {
        let mut bench = Bench::new("{}");
        let router = routes.router(request, &bench.router).unwrap()?;
        match router.on_request(&mut bench.worker, request, &bench.live, bench.now, || 0) {
            Decision::Verdict(verdict) => Some(shown(verdict)),
            other => panic!("{other:?}"),
        }
    };
    let plain = get("/?client_id=1");
    assert_eq!(decided(&plain), None);
    let of_host = r#"{"index":{"hosts":["host:1"]}}"#;
    let of_route = r#"{"index":{"hosts":["route:1"]}}"#;
    let request = with_json(plain, Property::VirtualHostMetadata, "pinroute", of_host);
    assert_eq!(decided(&request).as_deref(), Some("host:1"));
    let other = with_json(request.clone(), Property::RouteMetadata, "other", of_route);
    assert_eq!(decided(&other).as_deref(), Some("host:1"), "another namespace");
    let request = with_json(request, Property::RouteMetadata, "pinroute", of_route);
    assert_eq!(decided(&request).as_deref(), Some("route:1"));
}

#[test]
fn the_same_metadata_gives_the_same_router() {
    let mut routes = RouteRouters::new("pinroute".to_owned(), [1, 2]);
    let request = with_json(get("/"), Property::RouteMetadata, "pinroute", "{}");
    let plugin = Bench::new("{}").router;
    let mut router = |request: &Fake| routes.router(request, &plugin).unwrap().unwrap();
    let first = router(&request);
    assert!(Arc::ptr_eq(&first, &router(&request)));
    // The order of a serialized map is not stable, and other namespaces are none of the filter's business.
    let (prefix, path) = (encoded("path_prefix", "/a"), encoded("on_error", "reject"));
    let orders = [[&prefix[..], &path].concat(), [&path[..], &prefix].concat()];
    let [known, reordered] = orders.clone().map(|object| router(&with_metadata(&[("pinroute", object)])));
    let [object, _] = orders;
    let beside = router(&with_metadata(&[("other", encoded("generation", "7")), ("pinroute", object)]));
    assert!(Arc::ptr_eq(&known, &reordered) && Arc::ptr_eq(&known, &beside));
    assert!(!Arc::ptr_eq(&known, &first));
}

/// Metadata whose namespaces are serialized already.
#[derive(Clone, PartialEq, prost::Message)]
struct RawMetadata {
    #[prost(message, repeated, tag = "1")]
    namespaces: Vec<RawNamespace>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawNamespace {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    object: Vec<u8>,
}

fn with_metadata(namespaces: &[(&str, Vec<u8>)]) -> Fake {
    let raw =
        |(name, object): &(&str, Vec<u8>)| RawNamespace { name: (*name).to_owned(), object: object.clone() };
    let metadata = RawMetadata { namespaces: namespaces.iter().map(raw).collect() };
    let mut request = get("/");
    request.properties.insert(Property::RouteMetadata, metadata.encode_to_vec());
    request
}

/// A serialized Struct with one text.
fn encoded(name: &str, text: &str) -> Vec<u8> {
    let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: [(name.to_owned(), value)].into() }.encode_to_vec()
}

#[test]
fn what_the_plugin_owns_its_routes_own_too() {
    let shuffle =
        r#"{"shuffle_shard":{},"target":{"header":{"name":"x-target-cluster","value":"b_{index}"}}}"#;
    let plugin = Bench::new(shuffle).router;
    let mut routes = RouteRouters::new("pinroute".to_owned(), [1, 2]);
    let config = r#"{"index":{},"target":{"header":{"name":"x-owner","value":"{index}"}}}"#;
    let request = with_json(get("/"), Property::RouteMetadata, "pinroute", config);
    let router = routes.router(&request, &plugin).unwrap().unwrap();
    let owned: Vec<&str> = router.owned_headers().iter().map(|name| &**name).collect();
    let of_plugin = ["x-shard-assignment", "x-shard-config", "x-target-host", "x-target-cluster"];
    assert_eq!(owned, [&of_plugin[..], &["x-owner"]].concat());

    let config = r#"{"resolve":{"forward_headers":["x-target-cluster","x-user"]}}"#;
    let request = with_json(get("/?client_id=1"), Property::RouteMetadata, "pinroute", config);
    let request = with_header(with_header(request, "x-target-cluster", "forged"), "x-user", "7");
    let mut bench = Bench::new("{}");
    bench.router = routes.router(&request, &plugin).unwrap().unwrap();
    assert_eq!(bench.call(&request).headers, [("x-user".to_owned(), b"7".to_vec())]);
}

#[test]
fn an_invalid_configuration_concerns_its_route_alone() {
    let mut routes = RouteRouters::new("pinroute".to_owned(), [1, 2]);
    let wrong = with_json(get("/"), Property::RouteMetadata, "pinroute", r#"{"index":{}}"#);
    let plugin = Bench::new("{}").router;
    assert_eq!(routes.router(&wrong, &plugin).err(), Some(InvalidRoute));
    assert_eq!(routes.router(&wrong, &plugin).err(), Some(InvalidRoute), "remembered");
    assert_eq!(Rejection::from(InvalidRoute).status(), 500);
    assert!(routes.router(&get("/"), &plugin).unwrap().is_none());
}
