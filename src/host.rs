//! Host calls that tolerate whatever a client or a resolver sends: values are bytes, and a refusal by the
//! host is an absent value.

use log::LevelFilter;
use pinroute_core::plan::RequestHead;
use pinroute_core::protobuf::put_bytes;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType};
use std::time::SystemTime;

/// The request at hand, as the core wants to see it.
pub struct CurrentRequest;

impl RequestHead for CurrentRequest {
    fn path(&self) -> Option<Vec<u8>> {
        request_header(":path")
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        request_header(name)
    }
}

/// The first value of a request header.
pub fn request_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
}

/// Replaces a request header, or adds it. Whether the host did so.
pub fn set_request_header(name: &str, value: &str) -> bool {
    hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value)).is_ok()
}

/// Removes a request header, however often it is there.
pub fn remove_request_header(name: &str) {
    let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
}

/// Replaces a response header, or adds it.
pub fn set_response_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
}

/// Sets a string in Envoy's filter state for the request at hand. Whether the host did so.
pub fn set_filter_state(name: &str, value: &str) -> bool {
    // envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments: path, value; the span stays FilterChain.
    let mut arguments = Vec::with_capacity(name.len() + value.len() + 8);
    put_bytes(1, name.as_bytes(), &mut arguments);
    put_bytes(2, value.as_bytes(), &mut arguments);
    hostcalls::call_foreign_function("set_envoy_filter_state", Some(&arguments)).is_ok()
}

/// A property of the request at hand, such as the metadata of its route.
pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten().filter(|bytes| !bytes.is_empty())
}

/// The status of the response to a callout; none if the callout failed.
pub fn callout_status() -> Option<u16> {
    let status =
        hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status").ok().flatten()?;
    std::str::from_utf8(&status).ok()?.parse().ok()
}

/// The body of the response to a callout, of `size` bytes.
pub fn callout_body(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten().unwrap_or_default()
}

/// Answers the request at hand with a plain text and ends it. Envoy adds the content type itself.
pub fn answer(status: u16, body: &str) {
    if hostcalls::send_http_response(u32::from(status), vec![], Some(body.as_bytes())).is_err() {
        log::error!("pinroute: Envoy refused to answer a request with status {status}");
    }
}

/// The time of day. Envoy offers no other clock.
pub fn now() -> SystemTime {
    hostcalls::get_current_time().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The time of day in milliseconds.
pub fn now_millis() -> u64 {
    let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the `log` crate as verbose as Envoy's `wasm` logger is, so that a line that Envoy would drop is
/// not even formatted.
pub fn follow_log_level() {
    let level = match hostcalls::get_log_level() {
        Ok(LogLevel::Trace) => LevelFilter::Trace,
        Ok(LogLevel::Debug) => LevelFilter::Debug,
        Ok(LogLevel::Info) | Err(_) => LevelFilter::Info,
        Ok(LogLevel::Warn) => LevelFilter::Warn,
        Ok(LogLevel::Error) => LevelFilter::Error,
        Ok(LogLevel::Critical) => LevelFilter::Off,
    };
    log::set_max_level(level);
}
