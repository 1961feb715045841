//! The Envoy configuration of `deploy/kubernetes`, with Docker's DNS in place of the cluster's: an alias with dots is as
//! good a name as that of a pod.

use anyhow::{Context, Result};
use pinroute_testkit::paths::project_root;

use super::stack::Stack;
use super::steps::verify;
use crate::command::output;

const DOMAIN: &str = "poc-routing.svc.cluster.local";
const NETWORK: &str = "pinroute-test-headless";
/// What all of this test has.
const LABEL: &str = "pinroute-test-headless";

/// Requests reach the pods that the control plane of a cluster would name.
pub fn names(stack: &Stack) -> Result<()> {
    let result = start(stack).and_then(|url| verify(&url));
    let containers = output(&mut stack.docker.command(&[
        "ps",
        "--all",
        "--quiet",
        "--filter",
        &format!("label={LABEL}"),
    ]))?;
    let logs = match &result {
        Err(_) => output(&mut stack.docker.command(&["logs", "--tail", "15", "pinroute-test-envoy"]))
            .unwrap_or_default(),
        Ok(()) => String::new(),
    };
    for container in containers.lines() {
        stack.run(&["rm", "--force", "--volumes", container])?;
    }
    stack.run(&["network", "rm", NETWORK])?;
    result.context(logs)
}

fn start(stack: &Stack) -> Result<String> {
    stack.run(&["network", "create", NETWORK])?;
    let headless = format!("server-headless.{DOMAIN}");
    let base =
        ["run", "--detach", "--label", LABEL, "--network", NETWORK, "--read-only", "--cap-drop", "ALL"];
    for number in 0..2 {
        let (pod, suffix) = (format!("server-{number}"), format!("SERVICE_SUFFIX=.{headless}"));
        let name = format!("{pod}.{headless}");
        let own = [
            "--hostname",
            &pod,
            "--network-alias",
            &name,
            "--network-alias",
            &headless,
            "--env",
            &suffix,
            "--env",
            "SERVICE_PREFIX=server",
            "--env",
            "INDEX_BASE=0",
            "--env",
            "REPLICAS=2",
            "pinroute",
            "server",
        ];
        stack.run(&[&base[..], &own[..]].concat())?;
    }
    let control_plane = format!("control-plane.{DOMAIN}");
    let own = [
        "--network-alias",
        &control_plane,
        "--env",
        "PINROUTE_XDS=0.0.0.0:18000",
        "--env",
        "PINROUTE_DATA=/var/lib/pinroute",
        "--volume",
        "/var/lib/pinroute",
        "pinroute",
        "control-plane",
    ];
    stack.run(&[&base[..], &own[..]].concat())?;
    let config = project_root().join("deploy/kubernetes/base/envoy.yaml");
    let mount = format!("{}:/etc/envoy-config/envoy.yaml:ro", config.display());
    let own = [
        "--name",
        "pinroute-test-envoy",
        "--publish",
        "127.0.0.1::10000",
        "--publish",
        "127.0.0.1::9901",
        "--volume",
        &mount,
        "pinroute-envoy",
        "envoy",
        "-c",
        "/etc/envoy-config/envoy.yaml",
        "--service-node",
        "pinroute-test-envoy",
        "--drain-time-s",
        "10",
    ];
    stack.run(&[&base[..], &own[..]].concat())?;
    let port = |inside: &str| output(&mut stack.docker.command(&["port", "pinroute-test-envoy", inside]));
    let (listen, admin) = (port("10000/tcp")?, port("9901/tcp")?);
    stack.wait_for("Envoy", admin.parse()?, "/ready", 200)?;
    // One stream to the control plane, by the name that the cluster would have.
    stack.wait_for("the route to a pod", listen.parse()?, "/join?client_id=1", 200)?;
    Ok(format!("http://{listen}"))
}
