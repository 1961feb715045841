use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Node, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;
use envoy_types::pb::envoy::service::extension::v3::extension_config_discovery_service_client::ExtensionConfigDiscoveryServiceClient;
use envoy_types::pb::envoy::service::listener::v3::listener_discovery_service_client::ListenerDiscoveryServiceClient;
use envoy_types::pb::envoy::service::route::v3::route_discovery_service_client::RouteDiscoveryServiceClient;
use envoy_types::pb::envoy::service::runtime::v3::Runtime as RuntimeLayer;
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_client::RuntimeDiscoveryServiceClient;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::rpc;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::poll::eventually;

const DEADLINE: Duration = Duration::from_secs(10);
/// How long a test waits to see that no message comes.
const SILENCE: Duration = Duration::from_millis(200);

/// One stream of a client.
struct Client {
    requests: UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    runtime: Runtime,
}

macro_rules! open {
    ($xds:expr, $client:ident, $method:ident) => {{
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (requests, stream) = unbounded_channel();
        let responses = runtime.block_on(async {
            let channel = channel($xds).await;
            let mut client = $client::new(channel).max_decoding_message_size(64 << 20);
            client.$method(UnboundedReceiverStream::new(stream)).await.unwrap().into_inner()
        });
        Client { requests, responses, runtime }
    }};
}

async fn channel(xds: &Xds) -> Channel {
    Endpoint::from_shared(format!("http://{}", xds.addr())).unwrap().connect().await.unwrap()
}

fn rtds(xds: &Xds) -> Client {
    open!(xds, RuntimeDiscoveryServiceClient, stream_runtime)
}

impl Client {
    fn send(&self, request: DiscoveryRequest) {
        self.requests.send(request).unwrap();
    }

    fn subscribe(&self, type_url: &str, names: &[&str]) {
        self.send(request(type_url, names));
    }

    fn ack(&self, response: &DiscoveryResponse, names: &[&str]) {
        let (version_info, response_nonce) = (response.version_info.clone(), response.nonce.clone());
        self.send(DiscoveryRequest { version_info, response_nonce, ..request(&response.type_url, names) });
    }

    fn nack(&self, response: &DiscoveryResponse, names: &[&str], why: &str) {
        let error_detail = Some(rpc::Status { code: 3, message: why.to_owned(), details: Vec::new() });
        let response_nonce = response.nonce.clone();
        self.send(DiscoveryRequest { error_detail, response_nonce, ..request(&response.type_url, names) });
    }

    fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        let next = self.responses.message();
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, next).await.unwrap() })
    }

    fn response(&mut self) -> DiscoveryResponse {
        self.next().unwrap().unwrap()
    }

    fn gets_nothing(&mut self) {
        let next = self.responses.message();
        let heard = self.runtime.block_on(async { tokio::time::timeout(SILENCE, next).await });
        assert!(heard.is_err(), "{heard:?}");
    }
}

fn request(type_url: &str, names: &[&str]) -> DiscoveryRequest {
    let resource_names = names.iter().map(|&name| name.to_owned()).collect();
    DiscoveryRequest { type_url: type_url.to_owned(), resource_names, ..DiscoveryRequest::default() }
}

fn layers(response: &DiscoveryResponse) -> Vec<RuntimeLayer> {
    let layer = |any: &Any| {
        assert_eq!(any.type_url, RUNTIME);
        RuntimeLayer::decode(&*any.value).unwrap()
    };
    response.resources.iter().map(layer).collect()
}

fn wait_for<T: PartialEq + std::fmt::Debug>(wanted: T, probe: impl Fn() -> T) {
    let probe = || Some(probe()).filter(|seen| *seen == wanted).ok_or_else(|| format!("{:?}", probe()));
    eventually(DEADLINE, probe).unwrap();
}

#[test]
fn answers_a_subscription_and_pushes_changes() {
    let xds = Xds::start().unwrap();
    let first = xds.set_runtime("runtime", &json!({"a": {"b": 8, "c": [true, null]}, "d": "text"})).unwrap();
    assert_eq!((first.version.as_str(), first.streams), ("1", 0));
    let mut client = rtds(&xds);
    wait_for(1, || xds.streams(RUNTIME));
    let node = Some(Node { id: "id".to_owned(), cluster: "cluster".to_owned(), ..Node::default() });
    client.send(DiscoveryRequest { node, ..request(RUNTIME, &["runtime"]) });
    let response = client.response();
    assert_eq!((response.version_info.as_str(), response.type_url.as_str()), ("1", RUNTIME));
    let [layer] = &layers(&response)[..] else { panic!("{response:?}") };
    assert_eq!(layer.name, "runtime");
    let fields = &layer.layer.as_ref().unwrap().fields;
    let Some(Kind::StructValue(a)) = &fields["a"].kind else { panic!("{fields:?}") };
    assert_eq!(a.fields["b"].kind, Some(Kind::NumberValue(8.0)));
    assert_eq!(fields["d"].kind, Some(Kind::StringValue("text".to_owned())));
    client.ack(&response, &["runtime"]);
    wait_for(Some("1".to_owned()), || xds.acked_version(RUNTIME));
    client.gets_nothing();

    xds.set_runtime("other", &json!({})).unwrap();
    client.gets_nothing();
    let pushed = xds.set_runtime("runtime", &json!({"x": 1})).unwrap();
    assert_eq!((pushed.version.as_str(), pushed.streams), ("3", 1));
    let update = client.response();
    assert_eq!((update.version_info.as_str(), update.resources.len()), ("3", 1));
    assert_ne!(update.nonce, response.nonce);

    let requests = xds.requests(RUNTIME);
    let seen: Vec<_> = requests.iter().map(|r| (r.version.as_str(), r.nonce.as_str(), r.stream)).collect();
    assert_eq!(seen, [("", "", 1), ("1", response.nonce.as_str(), 1)]);
    assert!(requests.iter().all(|r| r.node_id == "id" && r.node_cluster == "cluster" && r.error.is_none()));
    assert!(requests[1].at >= requests[0].at && requests[1].at >= first.at);
    drop(client);
    wait_for(0, || xds.streams(RUNTIME));
    assert_eq!(xds.streams_ever(RUNTIME), 1);
}

#[test]
fn records_a_nack_and_does_not_send_again() {
    let xds = Xds::start().unwrap();
    let mut client = rtds(&xds);
    // The type may be left out where the service has but one.
    client.subscribe("", &["runtime"]);
    client.gets_nothing();
    let raw = DiscoveryResponse { version_info: "v".to_owned(), nonce: "n".to_owned(), ..Default::default() };
    assert_eq!(xds.push_raw(RUNTIME, &raw).streams, 1);
    assert_eq!(client.response(), raw);
    client.nack(&raw, &["runtime"], "not that");
    wait_for(vec!["not that".to_owned()], || xds.nacks(RUNTIME));
    client.gets_nothing();
    assert_eq!((xds.acked_version(RUNTIME), xds.requests(RUNTIME)[1].nonce.as_str()), (None, "n"));
    // More names on the same stream are a new subscription; a NACK of an older response is not.
    xds.set_runtime("more", &json!({})).unwrap();
    client.nack(&raw, &["runtime", "more"], "again");
    assert_eq!(layers(&client.response())[0].name, "more");
    client.nack(&raw, &["runtime", "more", "most"], "late");
    xds.set_runtime("most", &json!({})).unwrap();
    client.gets_nothing();
}

#[test]
fn every_service_answers() {
    let xds = Xds::start().unwrap();
    let types = [CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTE, RUNTIME];
    for type_url in types {
        xds.set_resource(type_url, "a", vec![1]);
    }
    let mut ads = open!(&xds, AggregatedDiscoveryServiceClient, stream_aggregated_resources);
    let mut clients = [
        open!(&xds, ClusterDiscoveryServiceClient, stream_clusters),
        open!(&xds, EndpointDiscoveryServiceClient, stream_endpoints),
        open!(&xds, ExtensionConfigDiscoveryServiceClient, stream_extension_configs),
        open!(&xds, ListenerDiscoveryServiceClient, stream_listeners),
        open!(&xds, RouteDiscoveryServiceClient, stream_routes),
        rtds(&xds),
    ];
    for (type_url, client) in types.into_iter().zip(&mut clients) {
        for client in [&mut ads, client] {
            client.subscribe(type_url, &["a"]);
            let response = client.response();
            assert_eq!(response.type_url, type_url);
            assert_eq!(response.resources, [Any { type_url: type_url.to_owned(), value: vec![1] }]);
        }
        assert_eq!((xds.streams(type_url), xds.streams_ever(type_url)), (2, 2), "{type_url}");
        assert_eq!(xds.set_resource(type_url, "a", vec![2]).streams, 2);
        assert_eq!(ads.response().resources[0].value, [2]);
    }
    ads.subscribe("", &["a"]);
    assert_eq!(ads.next().unwrap_err().code(), Code::InvalidArgument);
    clients[0].subscribe(RUNTIME, &["a"]);
    assert_eq!(clients[0].response().resources[0].value, [2]);
    let message = clients[0].next().unwrap_err().message().to_owned();
    assert_eq!(message, format!("this service has {CLUSTER}, not {RUNTIME}"));
}

#[test]
fn clusters_without_names_are_all_clusters() {
    let xds = Xds::start().unwrap();
    let mut client = open!(&xds, ClusterDiscoveryServiceClient, stream_clusters);
    client.subscribe(CLUSTER, &[]);
    client.gets_nothing();
    xds.set_cluster(&EdsCluster::new("a").metadata(json!({"x": 1})).subsets("host_id")).unwrap();
    xds.set_cluster(&EdsCluster::new("b")).unwrap();
    xds.remove_resource(CLUSTER, "a");
    let counts = [(); 3].map(|()| client.response().resources.len());
    assert_eq!(counts, [1, 2, 1]);
    let error = xds.set_cluster(&EdsCluster::new("a").metadata(json!(1))).unwrap_err();
    assert_eq!(format!("{error:#}"), "the metadata envoy.lb: not a JSON object: 1");
}

#[test]
fn an_extension_config_is_a_whole_wasm_filter() {
    let xds = Xds::start().unwrap();
    let mut client = open!(&xds, ExtensionConfigDiscoveryServiceClient, stream_extension_configs);
    client.subscribe(EXTENSION_CONFIG, &["pinroute"]);
    let filter = WasmFilter { vm_id: "vm", wasm: Path::new("/a.wasm"), config: "{}" };
    xds.set_extension_config("pinroute", &filter).unwrap();
    let config = TypedExtensionConfig::decode(&*client.response().resources[0].value).unwrap();
    assert_eq!(config.name, "pinroute");
    let plugin = Wasm::decode(&*config.typed_config.unwrap().value).unwrap().config.unwrap();
    assert_eq!((plugin.name.as_str(), plugin.failure_policy), ("pinroute", 1));
}

#[test]
fn stops_and_comes_back_on_the_same_port() {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &json!({})).unwrap();
    for round in 1..=3 {
        let mut client = rtds(&xds);
        client.subscribe(RUNTIME, &["runtime"]);
        client.response();
        let mut idle = TcpStream::connect(xds.addr()).unwrap();
        // The server has accepted the connection when its HTTP/2 settings arrive.
        assert!(idle.read(&mut [0; 9]).unwrap() > 0);
        xds.stop();
        assert_eq!((xds.streams(RUNTIME), xds.streams_ever(RUNTIME)), (0, round));
        assert!(client.next().is_err());
        idle.set_read_timeout(Some(DEADLINE)).unwrap();
        let error = idle.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let refused = || TcpStream::connect(xds.addr()).err().map(|error| error.kind());
        wait_for(Some(ErrorKind::ConnectionRefused), refused);
        xds.restart().unwrap();
    }
    assert_eq!(xds.requests(RUNTIME).iter().map(|r| r.stream).collect::<Vec<_>>(), [1, 2, 3]);

    xds.close_at_once().unwrap();
    for _ in 0..3 {
        let mut connection = TcpStream::connect(xds.addr()).unwrap();
        assert_eq!(connection.read(&mut [0; 9]).unwrap(), 0);
    }
    xds.restart().unwrap();
    rtds(&xds);
}

#[test]
fn sends_garbage_and_ends_streams() {
    let xds = Xds::start().unwrap();
    let mut client = rtds(&xds);
    client.subscribe(RUNTIME, &["runtime"]);
    wait_for(1, || xds.requests(RUNTIME).len());
    xds.push_garbage(RUNTIME, &[0xff; 100]);
    let error = client.next().unwrap_err();
    assert!(error.message().contains("decode"), "{error}");

    let mut client = rtds(&xds);
    client.subscribe(RUNTIME, &["runtime"]);
    wait_for(2, || xds.requests(RUNTIME).len());
    xds.end_streams(RUNTIME, Code::Unavailable, "go away");
    let error = client.next().unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "go away"));
    assert_eq!(xds.streams(RUNTIME), 0);
}

#[test]
fn carries_what_is_large() {
    let xds = Xds::start().unwrap();
    let mut client = rtds(&xds);
    client.subscribe(RUNTIME, &["runtime"]);
    let entries: serde_json::Map<_, _> = (0..100_000).map(|i| (format!("key.{i}"), json!(i))).collect();
    xds.set_runtime("runtime", &Value::Object(entries)).unwrap();
    let fields: HashMap<_, _> = layers(&client.response()).remove(0).layer.unwrap().fields;
    assert_eq!((fields.len(), &fields["key.99999"].kind), (100_000, &Some(Kind::NumberValue(99_999.0))));

    let large = Any { type_url: RUNTIME.to_owned(), value: vec![0xff; 10 << 20] };
    let raw = DiscoveryResponse { resources: vec![large.clone(), large], ..DiscoveryResponse::default() };
    xds.push_raw(RUNTIME, &raw);
    assert!(client.response() == raw);
}
