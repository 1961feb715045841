//! Which tests the dynamic module does not take part in, and why.

use crate::is_older_than;
use pinroute_testkit::adapter::Adapter;

const NO_VM: &str = "a module has no VM that could be lost: a panic is caught, and a fault would end Envoy";
const SHOWN_LATER: &str =
    "Envoy 1.38 lets a module change metrics only during a request, and it waits for one without any";
const PUSHES_WASM: &str =
    "it pushes the Wasm filter itself by ECDS; `native` changes the module's configuration";

/// The tests, with the reasons.
const EXCEPTIONS: [(&str, &str); 12] = [
    ("hostcalls::the_documentation_lists_the_calls_for_a_request", "it reads the log of Wasm host calls"),
    ("live_lost_vm::a_plugin_that_joins_with_another_refresh_begins_with_the_polled_values", PUSHES_WASM),
    ("live_lost_vm::polled_values_decide_the_first_request_of_each_plugin_of_a_new_vm", NO_VM),
    ("live_lost_vm::pushed_values_decide_the_first_request_of_a_new_vm", NO_VM),
    ("live_reconnect::a_server_that_ends_every_stream_is_asked_ever_more_rarely", SHOWN_LATER),
    ("live_reconnect::a_server_with_nothing_new_to_say_counts_as_connected", SHOWN_LATER),
    ("live_rtds::a_crashed_vm_restarts_and_subscribes_again", NO_VM),
    ("live_rtds::a_new_configuration_takes_over_and_the_old_one_stops_its_calls", PUSHES_WASM),
    ("live_rtds::bad_values_change_nothing_and_are_reported_once", SHOWN_LATER),
    (
        "per_route::a_virtual_hosts_metadata_applies_to_routes_without_their_own",
        "Envoy shows a module no metadata of virtual hosts: they use `typed_per_filter_config`",
    ),
    ("recipes_by_pattern::a_crash_ends_an_open_socket_at_its_next_message", NO_VM),
    (
        "requests::pending_calls_of_closed_connections_end",
        "a module's call ends with the request that it was made for, unless another one waits for it",
    ),
];

/// Whether the test that calls this cannot run with the module. It must be in the table.
pub fn is_exception() -> bool {
    let thread = std::thread::current();
    let name = thread.name().expect("a test's thread has its name");
    let (_, reason) = EXCEPTIONS.iter().find(|(test, _)| *test == name).expect("it is in the table");
    let is_exception = Adapter::current() == Adapter::Native && (is_older_than(39) || *reason != SHOWN_LATER);
    if is_exception {
        println!("not with the dynamic module: {reason}");
    }
    is_exception
}
