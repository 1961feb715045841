//! Random bytes to the xDS server over real gRPC: nothing may panic, and whoever follows the protocol is served.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse,
};
use http_body_util::{BodyExt, Full};
use pinroute_control_plane::{ControlPlane, Options};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use prost::bytes::Bytes;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

const SOON: Duration = Duration::from_secs(20);

const METHODS: [&str; 10] = [
    "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
    "envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
    "envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
    "envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
    "envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
    "envoy.service.runtime.v3.RuntimeDiscoveryService/DeltaRuntime",
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
];
const RTDS: &str = METHODS[6];

fn options(folder: &std::path::Path) -> Options {
    Options {
        xds: "127.0.0.1:0".parse().unwrap(),
        api: "127.0.0.1:0".parse().unwrap(),
        data: folder.to_owned(),
        // Has a resource of each kind but one.
        demo: Some(1.0),
        ..Options::default()
    }
}

/// A message as gRPC frames it.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Sends this as the whole body of a stream; the status and the body of the answer.
async fn call(channel: &Channel, method: &str, body: Vec<u8>) -> (u16, Bytes) {
    let request = || {
        Request::post(format!("http://control-plane/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(Bytes::from(body.clone()))))
            .unwrap()
    };
    let answered = async {
        let response = match channel.clone().oneshot(request()).await {
            Ok(response) => response,
            // After many streams with errors, HTTP/2 gives up the connection. The next call makes another one.
            Err(_) => channel.clone().oneshot(request()).await.unwrap(),
        };
        let status = response.status().as_u16();
        // A stream that the server resets has no end of its body.
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        (status, body)
    };
    tokio::time::timeout(SOON, answered).await.unwrap()
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(
        prop_oneof!["runtime|service_backend|\\*", "\\PC{0,8}", Just("n".repeat(70_000))],
        0..4,
    )
}

fn type_url() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned()),
        Just("type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned()),
        Just("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment".to_owned()),
        "\\PC{0,20}",
    ]
}

prop_compose! {
    fn sotw()(resource_names in names(), type_url in type_url(), response_nonce in "[0-9]{0,2}", version_info in "\\PC{0,4}", id in "\\PC{0,8}") -> Vec<u8> {
        let node = Some(Node { id, ..Node::default() });
        DiscoveryRequest { node, resource_names, type_url, response_nonce, version_info, ..DiscoveryRequest::default() }.encode_to_vec()
    }
}

prop_compose! {
    fn delta()(names in names(), gone in names(), type_url in type_url(), versions in names(), response_nonce in "[0-9]{0,2}") -> Vec<u8> {
        DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            resource_names_unsubscribe: gone,
            initial_resource_versions: versions.into_iter().map(|name| (name, "1".to_owned())).collect(),
            type_url,
            response_nonce,
            ..DeltaDiscoveryRequest::default()
        }.encode_to_vec()
    }
}

/// A message with some bytes replaced, and cut off somewhere.
fn mutated(message: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<proptest::sample::Index>(), any::<u8>());
    (message, proptest::collection::vec(change, 0..4), any::<proptest::sample::Index>(), any::<bool>())
        .prop_map(|(mut bytes, changes, end, is_cut)| {
            for (place, byte) in changes {
                let place = place.index(bytes.len().max(1));
                bytes.get_mut(place).into_iter().for_each(|old| *old = byte);
            }
            if is_cut {
                bytes.truncate(end.index(bytes.len() + 1));
            }
            bytes
        })
}

/// What a client sends on a stream: messages in frames, or bytes that are no frames.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let message = prop_oneof![
        sotw(),
        delta(),
        mutated(sotw()),
        mutated(delta()),
        proptest::collection::vec(any::<u8>(), 0..64),
    ];
    let frames = proptest::collection::vec(message.prop_map(|message| frame(&message)), 0..4)
        .prop_map(|frames| frames.concat());
    prop_oneof![6 => frames, 1 => proptest::collection::vec(any::<u8>(), 0..64)]
}

/// The runtime layer, as a client that follows the protocol gets it.
async fn served(channel: &Channel) -> Vec<u8> {
    let request =
        DiscoveryRequest { resource_names: vec!["runtime".to_owned()], ..DiscoveryRequest::default() };
    let (status, body) = call(channel, RTDS, frame(&request.encode_to_vec())).await;
    assert_eq!(status, 200);
    let mut response = DiscoveryResponse::decode(body.get(5..).unwrap()).unwrap();
    response.resources.pop().unwrap().value
}

#[test]
fn no_bytes_on_a_stream_harm_the_server() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let report = std::panic::take_hook();
    // One in a task of the server would only end its stream.
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        report(panic);
    }));
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let plane = runtime.block_on(ControlPlane::start(options(folder.path()))).unwrap();
    let connect = || async {
        let endpoint = Endpoint::from_shared(format!("http://{}", plane.xds)).unwrap();
        endpoint.connect().await.unwrap()
    };
    let (hostile, good) = runtime.block_on(async { (connect().await, connect().await) });
    let layer = runtime.block_on(served(&good));
    let story = (proptest::sample::select(&METHODS[..]), body());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let checked = runner.run(&story, |(method, body)| {
        let (status, _) = runtime.block_on(call(&hostile, method, body));
        prop_assert_eq!(status, 200, "the status of gRPC comes behind");
        prop_assert_eq!(PANICS.load(Ordering::Relaxed), 0);
        prop_assert_eq!(&runtime.block_on(served(&good)), &layer);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(plane.stop());
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
