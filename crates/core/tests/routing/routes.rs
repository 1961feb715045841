//! Configurations that routes bring along.

use crate::{Bench, Fake, get, shown};
use pinroute_core::decision::Decision;
use pinroute_core::protobuf::Metadata;
use pinroute_core::rejection::Rejection;
use pinroute_core::request::Property;
use pinroute_core::routes::{InvalidRoute, RouteRouters};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use std::sync::Arc;

fn with_json(mut request: Fake, property: Property, namespace: &str, json: &str) -> Fake {
    let value = Value { kind: Some(Kind::StringValue(json.to_owned())) };
    let object = Struct { fields: [("json".to_owned(), value)].into() };
    let metadata = Metadata { filter_metadata: [(namespace.to_owned(), object)].into() };
    request.properties.insert(property, metadata.encode_to_vec());
    request
}

#[test]
fn a_routes_configuration_has_precedence_over_its_virtual_hosts() {
    let mut routes = RouteRouters::new("pinroute".to_owned(), [1, 2]);
    let mut decided = |request: &Fake| {
        let router = routes.router(request).unwrap()?;
        let mut bench = Bench::new("{}");
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
    let [first, second] = [(); 2].map(|()| routes.router(&request).unwrap().unwrap());
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn an_invalid_configuration_concerns_its_route_alone() {
    let mut routes = RouteRouters::new("pinroute".to_owned(), [1, 2]);
    let wrong = with_json(get("/"), Property::RouteMetadata, "pinroute", r#"{"index":{}}"#);
    assert_eq!(routes.router(&wrong).err(), Some(InvalidRoute));
    assert_eq!(routes.router(&wrong).err(), Some(InvalidRoute), "remembered");
    assert_eq!(Rejection::from(InvalidRoute).status(), 500);
    assert!(routes.router(&get("/")).unwrap().is_none());
}
