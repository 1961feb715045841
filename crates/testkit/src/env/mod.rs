//! A test environment: DNS, servers and an Envoy with a shipped configuration.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use pinroute_testkit::env::TestEnv;
//!
//! let env = TestEnv::builder("envoy.yaml").replicas(2).start()?;
//! let response = env.get("/join?client_id=123")?;
//! assert_eq!(response.status, 200);
//! assert_eq!(response.json()?["assigned"], env.servers.hostport(2));
//! # Ok(())
//! # }
//! ```

mod builder;
mod running;

pub use builder::{TestEnvBuilder, for_validation};
pub use running::{SERVER_PORT, TestEnv};
