//! What the API and the demo show of streams: connected Envoys, metrics, and the time line.

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use envoy_types::pb::envoy::config::core::v3::Node;
    use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
    use envoy_types::pb::envoy::service::runtime::v3::Runtime as Layer;
    use envoy_types::pb::google::protobuf::value::Kind;
    use envoy_types::pb::google::rpc::Status as Refusal;
    use pinroute_control_plane::{ControlPlane, Numbers, Options};
    use pinroute_testkit::http::Client;
    use prost::Message;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;
    use tonic::client::Grpc;
    use tonic::codegen::http::uri::PathAndQuery;
    use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
    use tonic::transport::Endpoint;
    use tonic::{Request, Streaming};
    use tonic_prost::ProstCodec;

    const RTDS: &str = "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime";

    fn options(folder: &std::path::Path, demo: Option<f64>) -> Options {
        Options {
            xds: "127.0.0.1:0".parse().unwrap(),
            api: "127.0.0.1:0".parse().unwrap(),
            data: folder.to_owned(),
            demo,
            ..Options::default()
        }
    }

    /// A stream of the runtime layer.
    struct Stream {
        requests: mpsc::Sender<DiscoveryRequest>,
        responses: Streaming<DiscoveryResponse>,
    }

    impl Stream {
        async fn open(plane: &ControlPlane, node: &str) -> Self {
            Self::reopen(plane, node, "").await
        }

        /// Of a client that has this version from an earlier stream.
        async fn reopen(plane: &ControlPlane, node: &str, version: &str) -> Self {
            let channel =
                Endpoint::from_shared(format!("http://{}", plane.xds)).unwrap().connect().await.unwrap();
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.unwrap();
            let (requests, outgoing) = mpsc::channel(4);
            let node = Some(Node { id: node.to_owned(), cluster: "c".to_owned(), ..Node::default() });
            let first = DiscoveryRequest {
                node,
                resource_names: names(),
                version_info: version.to_owned(),
                ..DiscoveryRequest::default()
            };
            requests.send(first).await.unwrap();
            let codec: ProstCodec<DiscoveryRequest, DiscoveryResponse> = ProstCodec::default();
            let path = PathAndQuery::from_static(RTDS);
            let outgoing = Request::new(ReceiverStream::new(outgoing));
            let responses = grpc.streaming(outgoing, path, codec).await.unwrap().into_inner();
            Self { requests, responses }
        }

        async fn next(&mut self) -> DiscoveryResponse {
            let next = tokio::time::timeout(Duration::from_secs(20), self.responses.message());
            next.await.unwrap().unwrap().unwrap()
        }

        async fn reply(&self, to: &DiscoveryResponse, accepted: &str, refusal: Option<&str>) {
            let request = DiscoveryRequest {
                version_info: accepted.to_owned(),
                response_nonce: to.nonce.clone(),
                resource_names: names(),
                error_detail: refusal
                    .map(|message| Refusal { message: message.to_owned(), ..Refusal::default() }),
                ..DiscoveryRequest::default()
            };
            self.requests.send(request).await.unwrap();
        }
    }

    fn names() -> Vec<String> {
        vec!["runtime".to_owned()]
    }

    /// A number of the runtime layer in a response.
    fn number(response: &DiscoveryResponse, key: &str) -> Option<f64> {
        let layer = Layer::decode(response.resources[0].value.as_slice()).unwrap().layer.unwrap();
        match layer.fields.get(&format!("shuffle_sharding.{key}"))?.kind {
            Some(Kind::NumberValue(number)) => Some(number),
            _ => None,
        }
    }

    /// Polls, as an ACK is no call that is answered.
    async fn until(what: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never happened");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn connected_envoys_and_their_pushes_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let plane = ControlPlane::start(options(folder.path(), None)).await.unwrap();
        let client = Client::new(plane.api);
        let get = |path: &str| -> Value { client.get(path).unwrap().json().unwrap() };
        let put = |hosts: u32| {
            let body = format!(r#"{{"values": {{"shuffle_sharding.total_hosts": {hosts}}}}}"#);
            assert_eq!(client.request("PATCH", "/v1/runtime", &[], body.as_bytes()).unwrap().status, 200);
        };
        assert_eq!(get("/v1/nodes"), json!({ "nodes": [] }));

        let mut stream = Stream::open(&plane, "envoy-1").await;
        let first = stream.next().await;
        stream.reply(&first, &first.version_info, None).await;
        put(8);
        let good = stream.next().await;
        assert_eq!(number(&good, "total_hosts"), Some(8.0));
        stream.reply(&good, &good.version_info, None).await;
        put(9);
        let bad = stream.next().await;
        stream.reply(&bad, &good.version_info, Some("not today")).await;
        let status = || get("/v1/nodes")["nodes"][0]["types"]["rtds"].clone();
        until(|| !status()["rejected"].is_null()).await;
        let (good, bad) = (good.version_info, bad.version_info);
        assert!(good.starts_with("1-") && bad.starts_with("2-"), "{good} {bad}");
        assert_eq!(
            status(),
            json!({ "sent": bad, "accepted": good, "rejected": bad, "reason": "not today" })
        );
        let node = &get("/v1/nodes")["nodes"][0];
        assert_eq!(
            (&node["id"], &node["cluster"], &node["streams"]),
            (&json!("envoy-1"), &json!("c"), &json!(1))
        );
        assert!(node["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{node}");
        assert!(node["since"].as_str().unwrap().ends_with('Z'), "{node}");

        let text = client.get("/metrics").unwrap().text();
        let metrics: Vec<(&str, f64)> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        let metric = |name: &str| metrics.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        for (name, value) in [
            ("pushes_total{type=\"rtds\"}", 3.0),
            ("acks_total{type=\"rtds\"}", 2.0),
            ("nacks_total{type=\"rtds\"}", 1.0),
            ("nacks_total{type=\"ecds\"}", 0.0),
            ("push_latency_seconds_count", 2.0),
            ("nodes", 1.0),
            ("streams", 1.0),
            ("revision", 2.0),
        ] {
            assert_eq!(metric(&format!("pinroute_control_plane_{name}")), Some(value), "{name} in\n{text}");
        }
        let sum = metric("pinroute_control_plane_push_latency_seconds_sum").unwrap();
        assert!(sum > 0.0 && sum < 20.0, "{sum}");
        assert!(
            metric("pinroute_control_plane_api_requests_total{status=\"200\"}").unwrap() >= 4.0,
            "{text}"
        );

        // A stop ends the stream, and does not wait for the client.
        plane.stop().await;
        let end = stream.responses.message().await.unwrap_err();
        assert_eq!(end.code(), tonic::Code::Unavailable);
    }

    /// A layer with this number of hosts, made by the first commit.
    async fn plane_with(options: Options, hosts: u32) -> ControlPlane {
        let plane = ControlPlane::start(options).await.unwrap();
        let body = format!(r#"{{"values": {{"shuffle_sharding.total_hosts": {hosts}}}}}"#);
        let client = Client::new(plane.api);
        let response = client.request("PUT", "/v1/runtime", &[], body.as_bytes()).unwrap();
        assert_eq!(response.json().unwrap()["version"], 1);
        plane
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_is_not_used_again_by_another_store_or_other_options() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plane = plane_with(options(first.path(), None), 8).await;
        let version = Stream::open(&plane, "envoy-1").await.next().await.version_info;
        plane.stop().await;

        // The store is lost, and what is set in the new one differs.
        let plane = plane_with(options(second.path(), None), 9).await;
        let other = Stream::reopen(&plane, "envoy-1", &version).await.next().await;
        assert_eq!(number(&other, "total_hosts"), Some(9.0));
        assert_ne!(other.version_info, version);
        plane.stop().await;

        // The old store with other options publishes another layer.
        let by_cds = Options { numbers: Numbers::Cds, ..options(first.path(), None) };
        let plane = ControlPlane::start(by_cds).await.unwrap();
        let other = Stream::reopen(&plane, "envoy-1", &version).await.next().await;
        assert_eq!(number(&other, "total_hosts"), None);
        plane.stop().await;

        // With the old options, an Envoy that has everything is sent nothing before the next change.
        let plane = ControlPlane::start(options(first.path(), None)).await.unwrap();
        let mut stream = Stream::reopen(&plane, "envoy-1", &version).await;
        let body = br#"{"values": {"shuffle_sharding.total_hosts": 10}}"#;
        Client::new(plane.api).request("PUT", "/v1/runtime", &[], body).unwrap();
        assert_eq!(number(&stream.next().await, "total_hosts"), Some(10.0));
        plane.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_demo_plays_the_time_line_again_with_each_start() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            // 30 s become 0.6 s.
            let plane = ControlPlane::start(options(folder.path(), Some(50.0))).await.unwrap();
            let mut stream = Stream::open(&plane, "envoy-1").await;
            for (hosts, sizes) in [(8.0, [2.0, 2.0, 2.0]), (12.0, [3.0, 2.0, 2.0]), (12.0, [3.0, 4.0, 2.0])] {
                let response = stream.next().await;
                stream.reply(&response, &response.version_info, None).await;
                assert_eq!(number(&response, "total_hosts"), Some(hosts));
                assert_eq!(number(&response, "default_shard_size"), Some(2.0));
                let of = |customer| {
                    number(&response, &format!("customer.customer-{customer}.shard_size")).unwrap()
                };
                assert_eq!(["A", "B", "C"].map(of), sizes);
            }
            let history: Value = Client::new(plane.api).get("/v1/history?limit=1").unwrap().json().unwrap();
            assert_eq!(history["changes"][0]["actor"], "demo");
            drop(stream);
            plane.stop().await;
        }
    }
}
