//! How much is measured.

use serde::Serialize;

/// Numbers of rounds, requests and points.
#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    /// Rounds of the comparison; each runs every chain once.
    pub rounds: usize,
    /// Requests that one run measures.
    pub requests: u64,
    /// Requests before them in all.
    pub first_warm_up: u64,
    /// Connections, but for the plot over connections.
    pub connections: usize,
    /// Rounds over a single connection, for the latency without a queue.
    pub alone_rounds: usize,
    /// Requests that one such run measures.
    pub alone: u64,
    /// Envoys started for start-up time and memory.
    pub starts: usize,
    /// Pushes of endpoints.
    pub pushes: u8,
    /// What growth is measured with.
    pub growth: Growth,
}

/// The points of the plots of growth.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    /// Rounds at each point.
    pub rounds: usize,
    /// Requests that one run measures.
    pub requests: u64,
    /// Numbers of keys.
    pub keys: Vec<u64>,
    /// Numbers of hosts.
    pub hosts: Vec<u64>,
    /// Numbers of endpoints.
    pub endpoints: Vec<u16>,
    /// Numbers of customers with a shard size of their own.
    pub overrides: Vec<u64>,
    /// Numbers of connections.
    pub connections: Vec<u64>,
}

impl Scale {
    /// For publishing: six to eight minutes on a machine with nothing else to do.
    pub fn full() -> Self {
        Self {
            rounds: 100,
            requests: 1_000,
            first_warm_up: 20_000,
            connections: 16,
            alone_rounds: 5,
            alone: 300,
            starts: 5,
            pushes: 20,
            growth: Growth {
                rounds: 25,
                requests: 1_000,
                keys: vec![10, 100, 1_000, 10_000, 100_000, 1_000_000],
                hosts: vec![8, 100, 1_000, 10_000],
                endpoints: vec![8, 100, 1_000],
                overrides: vec![0, 100, 10_000, 100_000],
                connections: vec![1, 4, 16, 64, 250, 1_000],
            },
        }
    }

    /// For a look at the figures: a minute or two.
    pub fn quick() -> Self {
        Self {
            rounds: 20,
            requests: 1_000,
            first_warm_up: 10_000,
            connections: 16,
            alone_rounds: 3,
            alone: 100,
            starts: 1,
            pushes: 5,
            growth: Growth {
                rounds: 3,
                requests: 1_000,
                keys: vec![10, 1_000, 100_000],
                hosts: vec![8, 1_000, 10_000],
                endpoints: vec![8, 1_000],
                overrides: vec![0, 100_000],
                connections: vec![1, 16, 250],
            },
        }
    }

    /// For a test: whether it works at all.
    pub fn smoke() -> Self {
        Self {
            rounds: 1,
            requests: 200,
            first_warm_up: 50,
            connections: 4,
            alone_rounds: 1,
            alone: 20,
            starts: 1,
            pushes: 1,
            growth: Growth {
                rounds: 1,
                requests: 100,
                keys: vec![10, 100],
                hosts: vec![8, 100],
                endpoints: vec![8, 100],
                overrides: vec![0, 100],
                connections: vec![1, 8],
            },
        }
    }
}
