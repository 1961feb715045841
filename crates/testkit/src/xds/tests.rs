use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_client::RuntimeDiscoveryServiceClient;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use super::*;
use crate::poll::eventually;

const DEADLINE: Duration = Duration::from_secs(10);

/// One stream of runtime layers.
struct Client {
    requests: UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    runtime: Runtime,
}

impl Client {
    fn open(xds: &Xds) -> Result<Self, Status> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (requests, stream) = unbounded_channel();
        let first = DiscoveryRequest { resource_names: names(), ..DiscoveryRequest::default() };
        requests.send(first).unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", xds.addr())).unwrap();
        let responses = runtime.block_on(async {
            let mut client = RuntimeDiscoveryServiceClient::new(endpoint.connect().await.unwrap());
            client.stream_runtime(UnboundedReceiverStream::new(stream)).await
        });
        Ok(Self { requests, responses: responses?.into_inner(), runtime })
    }

    fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        let next = self.responses.message();
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, next).await.unwrap() })
    }

    fn judge(&self, response: &DiscoveryResponse, error: Option<&str>) {
        let rejected = |why: &str| envoy_types::pb::google::rpc::Status {
            message: why.to_owned(),
            ..envoy_types::pb::google::rpc::Status::default()
        };
        let request = DiscoveryRequest {
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: names(),
            error_detail: error.map(rejected),
            ..DiscoveryRequest::default()
        };
        self.requests.send(request).unwrap();
    }
}

fn names() -> Vec<String> {
    vec!["runtime".to_owned()]
}

fn wait_for<T: PartialEq + std::fmt::Debug>(wanted: T, probe: impl Fn() -> T) {
    let probe = || Some(probe()).filter(|seen| *seen == wanted).ok_or_else(|| format!("{:?}", probe()));
    eventually(DEADLINE, probe).unwrap();
}

#[test]
fn requests_are_recorded_and_messages_are_added() {
    let xds = Xds::start().unwrap();
    let mut client = Client::open(&xds).unwrap();
    let empty = client.next().unwrap().unwrap();
    assert_eq!(empty.version_info, "0");
    let pushed = xds.set_runtime("runtime", &json!({ "a": 1 }));
    let response = client.next().unwrap().unwrap();
    assert_eq!((&pushed.version, response.version_info.as_str()), (&response.version_info, "1"));
    client.judge(&response, None);
    wait_for(Some("1".to_owned()), || xds.acked_version(Kind::Runtime));

    let raw = DiscoveryResponse { version_info: "v".to_owned(), nonce: "n".to_owned(), ..Default::default() };
    xds.push_raw(Kind::Runtime, &raw);
    assert_eq!(client.next().unwrap().unwrap(), raw);
    client.judge(&raw, Some("not that"));
    wait_for(vec!["not that".to_owned()], || xds.nacks(Kind::Runtime));
    let requests = xds.requests(Kind::Runtime);
    assert_eq!(requests.iter().map(|r| r.nonce.as_str()).collect::<Vec<_>>(), ["", &response.nonce, "n"]);

    // The server goes on as if it had not been there.
    xds.set_runtime("runtime", &json!({ "a": 2 }));
    assert_eq!(client.next().unwrap().unwrap().version_info, "2");
    xds.push_garbage(Kind::Runtime, &[0xff; 100]);
    assert!(client.next().unwrap_err().message().contains("decode"));
    drop(client);
    wait_for(0, || xds.streams(Kind::Runtime));
    assert_eq!((xds.streams_ever(Kind::Runtime), xds.streams_ever(Kind::Cluster)), (1, 0));
}

#[test]
fn new_streams_are_ended() {
    let xds = Xds::start().unwrap();
    xds.end_new_streams(Some(Code::Unavailable));
    assert_eq!(Client::open(&xds).err().map(|status| status.code()), Some(Code::Unavailable));
    wait_for(0, || xds.streams(Kind::Runtime));
    xds.end_new_streams(None);
    assert!(Client::open(&xds).unwrap().next().unwrap().is_some());
    assert_eq!(xds.streams_ever(Kind::Runtime), 2);
}

#[test]
fn stops_and_comes_back_on_the_same_port() {
    let xds = Xds::start().unwrap();
    for round in 1..=3 {
        let mut client = Client::open(&xds).unwrap();
        client.next().unwrap().unwrap();
        let mut idle = TcpStream::connect(xds.addr()).unwrap();
        // The server has accepted the connection when its HTTP/2 settings arrive.
        assert!(idle.read(&mut [0; 9]).unwrap() > 0);
        xds.stop();
        assert_eq!((xds.streams(Kind::Runtime), xds.streams_ever(Kind::Runtime)), (0, round));
        assert!(client.next().is_err());
        idle.set_read_timeout(Some(DEADLINE)).unwrap();
        let error = idle.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let refused = || TcpStream::connect(xds.addr()).err().map(|error| error.kind());
        wait_for(Some(ErrorKind::ConnectionRefused), refused);
        xds.restart().unwrap();
    }
    xds.close_at_once().unwrap();
    for _ in 0..3 {
        let mut connection = TcpStream::connect(xds.addr()).unwrap();
        assert_eq!(connection.read(&mut [0; 9]).unwrap(), 0);
    }
    xds.restart().unwrap();
    assert!(Client::open(&xds).unwrap().next().unwrap().is_some());
}
