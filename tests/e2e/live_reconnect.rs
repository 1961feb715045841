//! The stream of live values after it has ended: when the filter opens the next one, and what the gauges show.

use crate::adapter::is_exception;
use crate::live_rtds::{SOON, clients, config_of, rtds_env, stat, values, wait_for};
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::xds::{Code, Kind, Xds};
use std::time::{Duration, Instant};

/// How long a server that ends its streams is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// Waits until both gauges show this: that of all sources, and that of this one.
fn wait_for_connected(env: &TestEnv, expected: u64) {
    eventually(SOON, || {
        match ["connected", "connected.rtds.xds_cluster.runtime"].map(|name| stat(env, name)) {
            seen if seen == [expected, expected] => Ok(()),
            seen => Err(format!("connected {seen:?}, not yet {expected}")),
        }
    })
    .unwrap();
}

#[test]
fn a_server_that_ends_every_stream_is_asked_ever_more_rarely() {
    if is_exception() {
        return;
    }
    let xds = Xds::start().unwrap();
    xds.end_new_streams(Some(Code::Unavailable));
    let env = rtds_env(&xds, 2).start().unwrap();
    let client = env.client();
    eventually(
        SOON,
        || if xds.streams_ever(Kind::Runtime) > 0 { Ok(()) } else { Err("no stream".to_owned()) },
    )
    .unwrap();
    let start = Instant::now();
    eventually(WATCHED + SOON, || {
        assert_eq!(config_of(&client, "a"), "2/8");
        if start.elapsed() >= WATCHED { Ok(()) } else { Err(format!("{:?}", start.elapsed())) }
    })
    .unwrap();
    let streams = xds.streams_ever(Kind::Runtime);
    println!("{streams} streams in {WATCHED:?}");
    // Waits of at most 0.2, 0.4, 0.8, 1.6, 3.2 and 5 s, and of at least half of that.
    assert!((4..=9).contains(&streams), "{streams} streams in {WATCHED:?}");

    // The server has no values: it sends an empty layer.
    xds.end_new_streams(None);
    wait_for_connected(&env, 1);
    assert_eq!(xds.streams(Kind::Runtime), 1);
    xds.set_runtime("runtime", &values(10, &[]));
    wait_for(&clients(&env), "a", "2/10");
}

#[test]
fn a_server_with_nothing_new_to_say_counts_as_connected() {
    if is_exception() {
        return;
    }
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &values(10, &[]));
    let env = rtds_env(&xds, 2).start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "2/10");
    wait_for_connected(&env, 1);
    xds.stop();
    wait_for_connected(&env, 0);
    // A new stream gets no message: the filter has said which version it has.
    xds.restart().unwrap();
    wait_for_connected(&env, 1);
    assert_eq!((xds.streams(Kind::Runtime), stat(&env, "updates")), (1, 1));
    wait_for(&clients, "a", "2/10");
}
