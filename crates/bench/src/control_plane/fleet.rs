//! Many Envoys: streams of the runtime layer, each on a connection of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use pinroute_testkit::control_plane::ControlPlane;
use prost::Message;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use super::{Row, spread, usage};

const RTDS: &str = "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime";
/// For one response to reach all.
const LIMIT: Duration = Duration::from_secs(60);
/// A response with a large layer is larger than what tonic accepts by default.
const MAX_MESSAGE: usize = 64 << 20;
/// Changes; the first one is not counted.
const CHANGES: u32 = 10;

/// A response that a simulated Envoy has accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// When it came.
    pub at: Instant,
    /// The length of the message with its frame.
    pub bytes: usize,
}

/// A simulated Envoy: it subscribes, and accepts what comes.
pub async fn follow(xds: SocketAddr, number: usize, accepted: mpsc::UnboundedSender<Accepted>) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{xds}"))?.tcp_nodelay(true).connect().await?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    grpc.ready().await?;
    let (requests, outgoing) = mpsc::channel(4);
    let resource_names = vec!["runtime".to_owned()];
    let node = Some(Node { id: format!("envoy-{number}"), ..Node::default() });
    let first =
        DiscoveryRequest { node, resource_names: resource_names.clone(), ..DiscoveryRequest::default() };
    requests.send(first).await?;
    let codec: ProstCodec<DiscoveryRequest, DiscoveryResponse> = ProstCodec::default();
    let (path, outgoing) =
        (PathAndQuery::from_static(RTDS), tonic::Request::new(ReceiverStream::new(outgoing)));
    let mut responses = grpc.streaming(outgoing, path, codec).await?.into_inner();
    while let Some(response) = responses.message().await? {
        // The frame of gRPC begins with five bytes.
        let message = Accepted { at: Instant::now(), bytes: response.encoded_len() + 5 };
        let DiscoveryResponse { version_info, nonce: response_nonce, .. } = response;
        let resource_names = resource_names.clone();
        requests
            .send(DiscoveryRequest {
                version_info,
                response_nonce,
                resource_names,
                ..DiscoveryRequest::default()
            })
            .await?;
        accepted.send(message)?;
    }
    Ok(())
}

/// Waits until so many responses were accepted, and returns them.
pub fn wait(
    runtime: &Runtime,
    accepted: &mut mpsc::UnboundedReceiver<Accepted>,
    count: usize,
) -> Result<Vec<Accepted>> {
    runtime.block_on(async {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let next = tokio::time::timeout(LIMIT, accepted.recv()).await;
            let next = next.with_context(|| format!("{} of {count} Envoys were updated", all.len()))?;
            all.push(next.context("a simulated Envoy has ended")?);
        }
        Ok(all)
    })
}

/// Updates a number of Envoys.
pub fn measure(envoys: usize) -> Result<Vec<Row>> {
    let plane = ControlPlane::start(&[])?;
    let put = |size: u32| plane.call("PUT", "/v1/customers/customer-A", &json!({ "shard_size": size }));
    put(1)?;
    let idle = usage(&plane)?;
    let runtime = Runtime::new()?;
    let (sender, mut accepted) = mpsc::unbounded_channel();
    for number in 0..envoys {
        runtime.spawn(follow(plane.xds(), number, sender.clone()));
    }
    wait(&runtime, &mut accepted, envoys)?;
    let connected = usage(&plane)?;
    let mut last = Vec::new();
    let mut before = connected;
    for turn in 0..=CHANGES {
        if turn == 1 {
            before = usage(&plane)?;
        }
        let start = Instant::now();
        put(2 + turn % 2)?;
        let all = wait(&runtime, &mut accepted, envoys)?;
        let latest = all.iter().map(|one| one.at).max().context("there is no Envoy")?;
        if turn > 0 {
            last.push(latest.saturating_duration_since(start).as_secs_f64() * 1e3);
        }
    }
    let after = usage(&plane)?;
    let nodes = plane.api().get("/v1/nodes")?.json()?;
    let listed = nodes.pointer("/nodes").and_then(|nodes| nodes.as_array()).map_or(0, Vec::len);
    ensure!(listed == envoys, "{listed} of {envoys} Envoys are connected");
    Ok(vec![
        (format!("one update to {envoys} Envoys, until the last has it"), spread(&last)),
        (
            "processor time of the control plane for such an update".to_owned(),
            format!("{:.1} ms", after.since(before, CHANGES as usize)),
        ),
        (
            format!("memory of the control plane: idle, with {envoys} Envoys, after {} updates", CHANGES + 1),
            format!("{:.0}, {:.0} and {:.0} MiB", idle.mib, connected.mib, after.mib),
        ),
    ])
}
