//! Host calls in the core's terms. None of them panics: values are bytes, and a refusal by the host is an absent value.

use pinroute_core::decision::Call;
use pinroute_core::live::vm::{Node, Vm};
use pinroute_core::protobuf::SetFilterState;
use pinroute_core::request::{Property, Reply, Request};
use pinroute_core::time::Time;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// The request of the effective context.
pub struct CurrentRequest;

impl Request for CurrentRequest {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        request_header(":path").map(Cow::Owned)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        request_header(name).map(Cow::Owned)
    }

    fn property(&self, property: Property) -> Option<Cow<'_, [u8]>> {
        let name = match property {
            Property::RouteMetadata => "route_metadata",
            Property::RouteName => "route_name",
            Property::VirtualHostMetadata => "virtual_host_metadata",
            Property::ClusterMetadata => "cluster_metadata",
            Property::ClusterName => "cluster_name",
        };
        self::property(&["xds", name]).map(Cow::Owned)
    }
}

/// The response to the request of the effective context.
pub struct CurrentReply;

impl Reply for CurrentReply {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name).ok().flatten().map(Cow::Owned)
    }

    fn is_from_upstream(&self) -> bool {
        property(&["response", "code_details"]).is_some_and(|details| details == b"via_upstream")
    }
}

/// The VM that this module runs in.
pub struct ThisVm;

impl Vm for ThisVm {
    fn node(&self) -> Node {
        let text = |field| {
            let bytes = property(&["xds", "node", field]).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Node { id: text("id"), cluster: text("cluster") }
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, Option<u32>)> {
        match hostcalls::get_shared_data(key) {
            Ok((Some(bytes), cas)) => Some((bytes, cas)),
            Ok((None, _)) | Err(_) => None,
        }
    }

    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), cas).is_ok()
    }
}

/// A request header, as Envoy's getter gives it.
pub fn request_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
}

/// Replaces a request header, or adds it. Returns whether the host did so.
pub fn set_request_header(name: &str, value: &str) -> bool {
    hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value)).is_ok()
}

/// Removes a request header, however often it occurs.
pub fn remove_request_header(name: &str) {
    let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
}

/// Replaces a response header, or adds it.
pub fn set_response_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
}

/// Sets a string in Envoy's filter state. Returns whether the host did so.
pub fn set_filter_state(name: &str, value: &str) -> bool {
    let arguments = SetFilterState::new(name, value).to_bytes();
    hostcalls::call_foreign_function("set_envoy_filter_state", Some(&arguments)).is_ok()
}

fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten().filter(|bytes| !bytes.is_empty())
}

/// The contents of a buffer of `size` bytes.
pub fn buffer(buffer: BufferType, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(buffer, 0, size).ok().flatten().unwrap_or_default()
}

/// Sends a GET request to a cluster. Returns the token of the call, or `None` if Envoy refused it.
pub fn get(cluster: &str, authority: &str, path: &str, timeout: Duration) -> Option<u32> {
    let headers = vec![(":method", "GET"), (":path", path), (":authority", authority)];
    hostcalls::dispatch_http_call(cluster, headers, None, vec![], timeout).ok()
}

/// Makes a call to the resolver, with what the request carries for tracing. Returns its token, or `None` if Envoy refused
/// it.
pub fn call_resolver<W>(call: &Call<W>) -> Option<u32> {
    let own = call.headers_for(&CurrentRequest);
    let mut headers = Vec::with_capacity(3 + own.len());
    headers.extend([
        (":method", call.method()),
        (":path", call.path.as_str()),
        (":authority", call.authority.as_str()),
    ]);
    headers.extend(own.iter().map(|(name, value)| (*name, value.as_ref())));
    let body = call.body.as_ref().map(String::as_bytes);
    hostcalls::dispatch_http_call(&call.cluster, headers, body, vec![], call.timeout).ok()
}

/// The headers of the response to a call.
pub fn call_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default()
}

/// The status of the response to a call.
pub fn call_status() -> Option<u16> {
    let status =
        hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status").ok().flatten()?;
    std::str::from_utf8(&status).ok()?.parse().ok()
}

/// Answers the request of the effective context with a text. Envoy adds the content type.
pub fn answer(status: u16, body: &str) {
    if hostcalls::send_http_response(u32::from(status), vec![], Some(body.as_bytes())).is_err() {
        log::error!("pinroute: Envoy refused to answer a request with status {status}");
    }
}

thread_local! {
    // A VM has one thread.
    static START: Instant = Instant::now();
}

/// The time since this VM first asked. Envoy serves it from a monotonic clock, which nobody sets back.
pub fn now() -> Time {
    START.with(|start| Time::default() + start.elapsed())
}

/// Numbers that nobody can guess; `None` if the system cannot draw any.
pub fn random<const COUNT: usize>() -> Option<[u64; COUNT]> {
    let mut numbers = [0; COUNT];
    for number in &mut numbers {
        *number = getrandom::u64().ok()?;
    }
    Some(numbers)
}
