//! What users do with the stack.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pinroute_testkit::http::{Client, Response};
use serde_json::{Value, json};

use super::load::command_line;
use super::stack::{API, LISTEN, LUA, SHARDS, Stack};
use crate::command::{at, output};

/// How long `docker compose stop` may take: nothing is in flight.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// Until a change is in effect, on a slow machine.
const BACK_LIMIT: Duration = Duration::from_secs(15);
/// The servers that shuffle-shard-rtds.yaml uses without a live value.
const SHUFFLED: &str = "8";

/// The commands that docs/docker.md lists, word for word.
pub fn as_documented(stack: &Stack) -> Result<()> {
    stack.shell("docker compose up -d --build --scale server=2")?;
    // As the page says: wait until this works.
    let start = Instant::now();
    while let Err(error) = stack.shell("curl -fsS http://localhost:9901/ready && echo ready") {
        ensure!(start.elapsed() < Duration::from_secs(10), "{error:#}");
    }
    let owner = stack.shell("curl 'http://localhost:10000/where?client_id=123'")?;
    let owner: Value = serde_json::from_str(&owner)?;
    let joined = stack.shell("curl -v 'http://localhost:10000/join?client_id=123'")?;
    let joined: Value = serde_json::from_str(&joined)?;
    ensure!(at(&owner, "/hostport") == at(&joined, "/assigned"), "/where says {owner}, and /join {joined}");
    let log = stack.shell(r#"docker compose logs server --no-log-prefix --since=2m | grep "/join""#)?;
    ensure!(log.contains("client_id=\"123\""), "the log says {log}");
    stack.shell("docker compose down -v").map(drop)
}

/// Every request succeeds from the moment at which `up --wait` returns.
pub fn ready(stack: &Stack) -> Result<()> {
    stack.up(2)?;
    verify(&format!("http://{LISTEN}"))
}

/// A thousand clients reach their owners.
pub fn verify(url: &str) -> Result<()> {
    output(command_line()?.args(["client", "--url", url, "--clients", "1000"])).map(drop)
}

/// What the file promises, as the engine has it.
pub fn hardened(stack: &Stack) -> Result<()> {
    for container in ["poc-routing-server-1", "poc-routing-server-2", "poc-routing-envoy-1"] {
        let described: Value = serde_json::from_str(&stack.inspect(container, "{{json .}}")?)?;
        let host = at(&described, "/HostConfig");
        ensure!(*at(host, "/ReadonlyRootfs") == true, "{container} may write to its root");
        ensure!(*at(host, "/CapDrop") == json!(["ALL"]), "{container} has capabilities");
        ensure!(
            *at(host, "/SecurityOpt") == json!(["no-new-privileges:true"]),
            "{container}: {}",
            at(host, "/SecurityOpt")
        );
        ensure!(
            *at(host, "/RestartPolicy/Name") == "unless-stopped",
            "{container}: {}",
            at(host, "/RestartPolicy")
        );
        ensure!(*at(host, "/LogConfig/Config/max-size") == "10m", "{container}: {}", at(host, "/LogConfig"));
        let user = at(&described, "/Config/User").as_str().unwrap_or_default();
        ensure!(!user.is_empty() && !user.starts_with('0'), "{container} runs as {user:?}");
        for binding in at(host, "/PortBindings").as_object().into_iter().flatten() {
            ensure!(*at(binding.1, "/0/HostIp") == "127.0.0.1", "{container}: {binding:?}");
        }
    }
    Ok(())
}

/// A container that was removed comes back under a new number, which owns no client.
pub fn gap(stack: &Stack) -> Result<()> {
    stack.run(&["rm", "--force", "poc-routing-server-1"])?;
    let Err(error) = stack.up(2) else { bail!("up succeeded without poc-routing-server-1") };
    let error = format!("{error:#}");
    ensure!(error.contains("poc-routing-server-3 is unhealthy"), "up says {error}");
    let log = stack.shell("docker compose logs server --no-log-prefix")?;
    let message = "poc-routing-server-3 owns no client: REPLICAS is 2, so the owners are poc-routing-server-1 to poc-routing-server-2";
    ensure!(log.contains(message), "the log says {log}");
    // As docs/docker.md says.
    stack.down()?;
    ready(stack)
}

pub fn lua(stack: &Stack) -> Result<()> {
    output(&mut stack.compose(&["--profile", "lua", "up", "--detach", "--no-build", "--wait"]))?;
    verify(&format!("http://{LUA}"))?;
    let log = stack
        .shell("docker compose logs envoy-lua --no-log-prefix --since=2m | grep -n 'Lua:' | head -n 1")?;
    ensure!(log.contains("Lua:"), "the log has no line of the script");
    output(&mut stack.compose(&["--profile", "lua", "rm", "--stop", "--force", "envoy-lua"])).map(drop)
}

/// What a customer's requests say about its shard.
fn shard(client: &Client) -> Result<String> {
    let response = client.request("GET", "/headers", &[("x-customer-id", "customer-A")], b"")?;
    let config = response.headers.iter().find(|(name, _)| name == "x-shard-config");
    let (_, value) = config.with_context(|| format!("{} without x-shard-config", response.status))?;
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// Whether a server of the shard has answered: host 0 is the first one.
fn is_in_shard(response: &Response) -> bool {
    let shard = response.header("x-shard-assignment").unwrap_or_default().split(',');
    let mut servers = shard.filter_map(|host| host.parse::<u32>().ok()).map(|host| host + 1);
    servers.any(|number| response.header("x-served-by") == Some(&format!("poc-routing-server-{number}")))
}

/// Live values from the API to a response, and without the control plane.
pub fn shuffle(stack: &Stack) -> Result<()> {
    let mut up = stack.compose(&["--profile", "shuffle", "up", "--detach", "--no-build", "--wait"]);
    // Without the time line, which would set numbers of its own.
    output(up.env("REPLICAS", SHUFFLED).env("PINROUTE_DEMO", "false"))?;
    let (requests, api) = (Client::new(SHARDS), Client::new(API));
    ensure!(shard(&requests)? == "2/8", "{}", shard(&requests)?);
    let put = |size: u8, headers: &[(&str, &str)]| {
        let body = json!({ "shard_size": size }).to_string();
        api.request("PUT", "/v1/customers/customer-A", headers, body.as_bytes())
            .map(|response| response.status)
    };
    let token = [("authorization", "Bearer demo")];
    ensure!(put(3, &[])? == 401, "the API takes changes without a token");
    ensure!(put(3, &token)? == 200, "the API refuses its token");
    let wait = |expected: &str| {
        let start = Instant::now();
        while shard(&requests)? != expected {
            ensure!(start.elapsed() < BACK_LIMIT, "the shard is {}, and not {expected}", shard(&requests)?);
        }
        Ok(())
    };
    wait("3/8")?;

    // Requests go on while the control plane is away, and changes arrive when it is back.
    let crashed = Instant::now();
    stack.crash("poc-routing-control-plane-1")?;
    let mut statuses = BTreeMap::new();
    let mut back = None;
    for number in 0.. {
        let due = crashed + Duration::from_millis(5 * number);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let path = format!("/echo/{number}");
        let response = requests.request("GET", &path, &[("x-customer-id", "customer-A")], b"")?;
        *statuses.entry(response.status).or_insert(0) += 1;
        ensure!(response.status != 200 || is_in_shard(&response), "misrouted: {:?}", response.headers);
        if back.is_none() && number % 20 == 0 && put(4, &token).is_ok_and(|status| status == 200) {
            back = Some(crashed.elapsed());
        }
        if crashed.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    let sent: i32 = statuses.values().sum();
    let failed = sent - statuses.get(&200).copied().unwrap_or_default();
    let back = back.context("the API is not back")?;
    println!(
        "| the control plane killed | {sent} | {failed} | 0 | 0.0 s | {:.1} s (the API) |",
        back.as_secs_f64()
    );
    ensure!(failed == 0, "{statuses:?}, back after {back:?}");
    wait("4/8")
}

/// Everything ends by itself, and soon.
pub fn stop(stack: &Stack) -> Result<()> {
    let start = Instant::now();
    output(&mut stack.compose(&["--profile", "*", "stop"]))?;
    ensure!(start.elapsed() < STOP_LIMIT, "stopping took {:?}", start.elapsed());
    let containers = output(&mut stack.compose(&["--profile", "*", "ps", "--all", "--quiet"]))?;
    for container in containers.lines() {
        let exited = stack.inspect(container, "{{.Name}} {{.State.ExitCode}}")?;
        ensure!(exited.ends_with(" 0"), "{exited}");
    }
    ensure!(!containers.is_empty(), "no container has stopped");
    stack.down()
}
