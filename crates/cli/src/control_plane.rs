//! `pinroute control-plane`: its options, and the variables they may come from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use pinroute_control_plane::discovery::Source;
use pinroute_control_plane::model::{DEFAULT_CLUSTER, is_name};
use pinroute_control_plane::{HostsFrom, Numbers, Options, Token};
use serde_json::json;

use crate::logging;

/// How long work that no stream and no request waits for may take when the process ends.
const STOP_LIMIT: Duration = Duration::from_millis(200);

/// Run the control plane: set live values, hosts and configurations by an API; Envoys get them by xDS.
///
/// A change that was acknowledged is on disk, and on its way to every Envoy that is connected. Each option is also an
/// environment variable, such as PINROUTE_DATA for --data; an empty one counts as unset.
#[derive(Args, Debug)]
#[command(after_help = "\
Stop it with SIGTERM or Ctrl-C: streams end, and it exits with 0 within 3 s. Envoys keep what they have.

Examples:
  pinroute control-plane --data /var/lib/pinroute

  # How many hosts there are, and how many of them one customer may use
  curl -X PATCH http://127.0.0.1:18001/v1/runtime \\
    -d '{\"values\": {\"shuffle_sharding.total_hosts\": 12, \"shuffle_sharding.default_shard_size\": 2}}'
  curl -X PUT http://127.0.0.1:18001/v1/customers/customer-A -d '{\"shard_size\": 3}'
  curl -X DELETE http://127.0.0.1:18001/v1/customers/customer-A

  # The hosts themselves; each keeps its number for as long as it is listed
  curl -X PUT http://127.0.0.1:18001/v1/hosts -d '{\"hosts\": [\"10.0.0.1:80\", \"10.0.0.2:80\"]}'

  # Before a change: who would move? After it: does every Envoy have it? Who made it?
  curl 'http://127.0.0.1:18001/v1/preview?total_hosts=12'
  curl http://127.0.0.1:18001/v1/nodes
  curl http://127.0.0.1:18001/v1/history

  # With a token, from other machines too
  PINROUTE_API_TOKEN=SECRET pinroute control-plane --api 0.0.0.0:18001
  curl -X PUT -H 'authorization: Bearer SECRET' …

http://127.0.0.1:18001/openapi.json describes all calls.")]
pub struct Arguments {
    /// Where Envoys connect to (gRPC): IP:PORT; port 0 takes a free one.
    #[arg(long, env = "PINROUTE_XDS", value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    xds: SocketAddr,

    /// Where operators connect to (HTTP): IP:PORT. Other addresses than loopback need PINROUTE_API_TOKEN.
    #[arg(long, env = "PINROUTE_API", value_name = "ADDRESS", default_value = "127.0.0.1:18001")]
    api: SocketAddr,

    /// Token that calls need which change something, as `authorization: Bearer TOKEN`. Better as a variable: other
    /// users of this machine see options.
    #[arg(long, env = "PINROUTE_API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    api_token: Option<String>,

    /// Folder of the store; made if it is not there. By default in the current folder.
    #[arg(long, env = "PINROUTE_DATA", value_name = "DIR", default_value = "pinroute-data")]
    data: PathBuf,

    /// Start of the runtime keys: the filter's `runtime.prefix`.
    #[arg(long, env = "PINROUTE_PREFIX", default_value = "shuffle_sharding", value_parser = prefix)]
    prefix: String,

    /// Name of the runtime layer: the filter's `runtime.rtds.resource`, or the `name` of Envoy's `rtds_layer`.
    #[arg(long, env = "PINROUTE_RESOURCE", value_name = "NAME", default_value = "runtime", value_parser = name)]
    resource: String,

    /// What carries the number of hosts: a runtime value, the metadata of the cluster, or its endpoints alone.
    #[arg(long, env = "PINROUTE_NUMBERS", value_enum, default_value_t)]
    numbers: Carrier,

    /// Cluster by which Envoys reach this server: clusters by CDS name it as the source of their endpoints.
    #[arg(long, env = "PINROUTE_XDS_CLUSTER", value_name = "NAME", default_value = "xds_cluster", value_parser = name)]
    xds_cluster: String,

    /// Path of the filter's module on the Envoys' machines, for configurations by ECDS.
    #[arg(long, env = "PINROUTE_MODULE", value_name = "FILE", default_value = "/etc/envoy/pinroute.wasm")]
    module: PathBuf,

    /// Where to find the hosts of a cluster, if not by the API: dns:NAME:PORT, all addresses of a name, or file:PATH,
    /// with one IP:PORT on each line. What cannot be found leaves the last hosts.
    #[arg(long, env = "PINROUTE_HOSTS_FROM", value_name = "SOURCE")]
    hosts_from: Option<Source>,

    /// The cluster of --hosts-from.
    #[arg(long, env = "PINROUTE_HOSTS_CLUSTER", value_name = "NAME", default_value = DEFAULT_CLUSTER, value_parser = name)]
    hosts_cluster: String,

    /// How often to look, in seconds. A change counts when it was seen twice.
    #[arg(long, env = "PINROUTE_HOSTS_INTERVAL", value_name = "SECONDS", default_value = "2", value_parser = interval)]
    hosts_interval: Duration,

    /// Play a time line: 8 hosts, size 2, and customer-A, -B and -C with 2; after 30 s 12 hosts and customer-A with 3;
    /// after 60 s customer-B with 4. It starts again with each start.
    #[arg(long, env = "PINROUTE_DEMO", value_parser = BoolishValueParser::new())]
    demo: bool,

    /// How many times as fast the time line of --demo is.
    #[arg(long, env = "PINROUTE_DEMO_SPEED", value_name = "FACTOR", default_value = "1", value_parser = speed)]
    demo_speed: f64,

    /// Start nothing: exit with 0 if the control plane whose API is at --api is ready, with 1 if not.
    #[arg(long)]
    health: bool,

    #[command(flatten)]
    log: logging::Options,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum Carrier {
    #[default]
    Rtds,
    Cds,
    Eds,
}

impl Arguments {
    /// Runs the control plane, or checks the one that runs.
    pub fn run(self) -> Result<()> {
        if self.health {
            return Ok(pinroute_server::check_health(self.api, "/readyz")?);
        }
        self.log.install()?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
        let result = runtime.block_on(pinroute_control_plane::run(self.options()));
        // A preview may still keep a thread busy: nobody waits for it any more.
        runtime.shutdown_timeout(STOP_LIMIT);
        Ok(result?)
    }

    fn options(self) -> Options {
        Options {
            xds: self.xds,
            api: self.api,
            data: self.data,
            prefix: self.prefix,
            resource: self.resource,
            numbers: match self.numbers {
                Carrier::Rtds => Numbers::Rtds,
                Carrier::Cds => Numbers::Cds,
                Carrier::Eds => Numbers::Eds,
            },
            xds_cluster: self.xds_cluster,
            module: self.module,
            demo: self.demo.then_some(self.demo_speed),
            hosts_from: self.hosts_from.map(|source| HostsFrom {
                source,
                cluster: self.hosts_cluster,
                interval: self.hosts_interval,
            }),
            token: self.api_token.as_deref().and_then(Token::new),
        }
    }
}

/// A prefix that the filter would accept.
fn prefix(text: &str) -> Result<String, String> {
    let plugin = json!({ "runtime": { "prefix": text, "rtds": { "cluster": "xds_cluster" } } }).to_string();
    match pinroute_core::config::parse(plugin.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    is_name(text).then(|| text.to_owned()).ok_or("not a name of 1 to 256 bytes other than *")
}

fn speed(text: &str) -> Result<f64, &'static str> {
    let speed = text.parse().ok().filter(|speed| (0.001..=100_000.0).contains(speed));
    speed.ok_or("not a number from 0.001 to 100000")
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("not a number of seconds from 0.1 to 3600")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(options: &[&str]) -> Options {
        Line::try_parse_from([&["control-plane"], options].concat()).unwrap().arguments.options()
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(read(&[]), Options::default());
    }

    #[test]
    fn everything_can_be_set() {
        let options =
            read(&["--demo", "--demo-speed=60", "--numbers=cds", "--api-token= s ", "--prefix=a.b"]);
        assert_eq!((options.demo, options.numbers), (Some(60.0), Numbers::Cds));
        assert_eq!((options.token, options.prefix.as_str()), (Token::new("s"), "a.b"));
        assert_eq!(read(&["--api-token="]).token, None);
        let hosts = read(&["--hosts-from=dns:server:8081", "--hosts-interval=0.5"]).hosts_from.unwrap();
        assert_eq!(
            (hosts.source.to_string().as_str(), hosts.cluster.as_str()),
            ("dns:server:8081", "service_backend")
        );
        assert_eq!(hosts.interval, Duration::from_millis(500));
    }

    #[test]
    fn a_bad_value_is_refused() {
        for option in [
            "--xds=localhost:1",
            "--api=18001",
            "--prefix=",
            "--prefix=a.",
            "--resource=",
            "--numbers=dns",
            "--demo-speed=0",
            "--demo-speed=NaN",
            "--xds-cluster=",
            "--hosts-from=server:80",
            "--hosts-interval=0",
        ] {
            let error = Line::try_parse_from(["control-plane", option]).err().unwrap();
            let (name, value) = option.split_once('=').unwrap();
            let expected = format!("error: invalid value '{value}' for '{name} <");
            let empty = format!("error: a value is required for '{name} <");
            let message = error.to_string();
            assert!(message.starts_with(&expected) || message.starts_with(&empty), "{message}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
