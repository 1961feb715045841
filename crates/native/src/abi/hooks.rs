//! The functions that Envoy finds by their names, and calls. Each turns pointers into the types of this crate, and none lets a
//! panic out: that would end Envoy.

use super::raw::{Buffer, ConfigPtr, FilterPtr, Header};
use super::{Config, Filter};
use crate::http::{self, Stream};
use crate::live::StreamEvent;
use crate::log;
use crate::plugin::{Plugin, RouteConfig};
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::rc::Rc;
use std::sync::Arc;

const CONTINUE: u32 = 0;
const STOP: u32 = 1;
/// Nothing of the request goes on, and Envoy stops to read it when its buffers are full.
const STOP_ALL_AND_WATERMARK: u32 = 4;

/// Runs a hook. After a panic, which has been logged, the result is `after_panic`.
fn guard<T>(after_panic: T, hook: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or(after_panic)
}

/// Runs what a request needs. After a panic the request is answered with 500, and the result is `after_panic`.
pub fn guard_request<T>(filter: Filter, after_panic: T, hook: impl FnOnce() -> T) -> T {
    guard(None, || Some(hook())).unwrap_or_else(|| {
        filter.answer(500, "internal error");
        after_panic
    })
}

/// # Safety
/// `stream` must be what `new` returned for this request, and must not have been destroyed.
unsafe fn stream(stream: *const c_void) -> Rc<Stream> {
    let stream = stream.cast::<Stream>();
    // SAFETY: it comes from `Rc::into_raw`, in the same worker. Its own count keeps it until the hook is over, also if
    // Envoy destroys the request meanwhile.
    unsafe {
        Rc::increment_strong_count(stream);
        Rc::from_raw(stream)
    }
}

/// # Safety
/// `plugin` must be what `config_new` returned, and must not have been destroyed.
unsafe fn plugin<'p>(plugin: *const c_void) -> Option<&'p Plugin> {
    // SAFETY: it comes from `Box::into_raw`, and is only ever shared. Envoy destroys it after the last hook that gets it.
    unsafe { plugin.cast::<Plugin>().as_ref() }
}

/// Runs a hook of a configuration.
///
/// # Safety
/// As for [`plugin`].
unsafe fn guard_plugin(this: *const c_void, hook: impl FnOnce(&Plugin)) {
    guard((), || {
        // SAFETY: see above.
        if let Some(plugin) = unsafe { plugin(this) } {
            hook(plugin);
        }
    });
}

/// # Safety
/// Envoy must give the start and the number of items, which stay as they are until the hook ends.
unsafe fn list<'l, T>(start: *const T, count: usize) -> &'l [T] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: see above.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// # Safety
/// As for [`list`]; the headers must be Envoy's.
unsafe fn pairs(headers: *const Header, count: usize) -> Vec<(String, Vec<u8>)> {
    // SAFETY: see above.
    let pair = |header: &Header| unsafe {
        (String::from_utf8_lossy(header.name.bytes()).into_owned(), header.value.bytes().to_vec())
    };
    // SAFETY: see above.
    unsafe { list(headers, count) }.iter().map(pair).collect()
}

/// The status among the headers of a response; `None` without headers, which means that there was no response.
///
/// # Safety
/// As for [`list`]; the headers must be Envoy's.
unsafe fn status(headers: *const Header, count: usize) -> Option<u16> {
    // SAFETY: see above.
    unsafe {
        let status = list(headers, count).iter().find(|header| header.name.bytes() == b":status")?;
        std::str::from_utf8(status.value.bytes()).ok()?.parse().ok()
    }
}

/// # Safety
/// As for [`list`]; the chunks must be Envoy's.
unsafe fn concat(chunks: *const Buffer, count: usize) -> Vec<u8> {
    // SAFETY: see above.
    unsafe { list(chunks, count).iter().map(|chunk| chunk.bytes()).collect::<Vec<_>>().concat() }
}

/// Defines hooks. Their bodies may take it for granted that Envoy keeps to its interface: the pointers are what the functions
/// above ask for.
macro_rules! hooks {
    ($(fn $name:ident = $symbol:literal($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(
            #[unsafe(export_name = concat!("envoy_dynamic_module_on_", $symbol))]
            unsafe extern "C" fn $name($($arg: $type),*) $(-> $result)? {
                // SAFETY: see the macro's documentation.
                #[allow(unused_unsafe)]
                unsafe { $body }
            }
        )*
    };
}

hooks! {
    fn program_init = "program_init"() -> *const c_char {
        guard(null(), || {
            log::start();
            c"v0.2.0".as_ptr()
        })
    }

    fn config_new = "http_filter_config_new"(envoy: ConfigPtr, _name: Buffer, config: Buffer) -> *const c_void {
        guard(null(), || match Plugin::new(Config(envoy), config.bytes()) {
            Ok(plugin) => Box::into_raw(Box::new(plugin)).cast_const().cast(),
            Err(error) => {
                ::log::error!("pinroute: configuration refused: {error}");
                null()
            }
        })
    }

    fn config_destroy = "http_filter_config_destroy"(config: *const c_void) {
        guard((), || drop(Box::from_raw(config.cast::<Plugin>().cast_mut())));
    }

    fn route_config_new = "http_filter_per_route_config_new"(_name: Buffer, config: Buffer) -> *const c_void {
        guard(null(), || match RouteConfig::new(config.bytes()) {
            Ok(config) => Arc::into_raw(Arc::new(config)).cast(),
            Err(error) => {
                ::log::error!("pinroute: configuration of a route refused: {error}");
                null()
            }
        })
    }

    fn route_config_destroy = "http_filter_per_route_config_destroy"(config: *const c_void) {
        guard((), || drop(Arc::from_raw(config.cast::<RouteConfig>())));
    }

    fn new = "http_filter_new"(config: *const c_void, filter: FilterPtr) -> *const c_void {
        guard(null(), || {
            let slot = plugin(config).and_then(|plugin| plugin.slot(Filter(filter).worker()));
            slot.map_or(null(), |slot| Rc::into_raw(Rc::new(Stream::new(slot))).cast())
        })
    }

    fn destroy = "http_filter_destroy"(stream: *const c_void) {
        guard((), || http::on_destroy(&Rc::from_raw(stream.cast::<Stream>())));
    }

    fn request_headers = "http_filter_request_headers"(
        filter: FilterPtr, this: *const c_void, _end: bool
    ) -> u32 {
        guard_request(Filter(filter), STOP, || match http::on_request(Filter(filter), &stream(this)) {
            http::Next::GoesOn => CONTINUE,
            http::Next::Answered => STOP,
            http::Next::Waits => STOP_ALL_AND_WATERMARK,
        })
    }

    fn request_body = "http_filter_request_body"(_filter: FilterPtr, _this: *const c_void, _end: bool) -> u32 {
        CONTINUE
    }

    fn request_trailers = "http_filter_request_trailers"(_filter: FilterPtr, _this: *const c_void) -> u32 {
        CONTINUE
    }

    fn response_headers = "http_filter_response_headers"(
        filter: FilterPtr, this: *const c_void, _end: bool
    ) -> u32 {
        // A response that cannot be judged is passed on: by now the request has done its work.
        guard(CONTINUE, || match http::on_response(Filter(filter), &stream(this)) {
            http::Next::Answered => STOP,
            http::Next::GoesOn | http::Next::Waits => CONTINUE,
        })
    }

    fn local_reply = "http_filter_local_reply"(
        _filter: FilterPtr, this: *const c_void, _status: u32, _details: Buffer, _reset: bool
    ) -> u32 {
        guard(CONTINUE, || {
            stream(this).on_local_reply();
            CONTINUE
        })
    }

    fn response_body = "http_filter_response_body"(_filter: FilterPtr, _this: *const c_void, _end: bool) -> u32 {
        CONTINUE
    }

    fn response_trailers = "http_filter_response_trailers"(_filter: FilterPtr, _this: *const c_void) -> u32 {
        CONTINUE
    }

    fn stream_complete = "http_filter_stream_complete"(_filter: FilterPtr, _this: *const c_void) {}

    fn callout_done = "http_filter_http_callout_done"(
        _filter: FilterPtr, this: *const c_void, _id: u64, result: u32,
        headers: *const Header, count: usize, chunks: *const Buffer, chunk_count: usize
    ) {
        guard((), || {
            let status = if result == 0 { status(headers, count) } else { None };
            http::on_called(&stream(this), status, || pairs(headers, count), || concat(chunks, chunk_count));
        });
    }

    fn stream_headers = "http_filter_http_stream_headers"(
        _filter: FilterPtr, _this: *const c_void, _id: u64, _headers: *const Header, _count: usize, _end: bool
    ) {}

    fn stream_data = "http_filter_http_stream_data"(
        _filter: FilterPtr, _this: *const c_void, _id: u64, _chunks: *const Buffer, _count: usize, _end: bool
    ) {}

    fn stream_trailers = "http_filter_http_stream_trailers"(
        _filter: FilterPtr, _this: *const c_void, _id: u64, _headers: *const Header, _count: usize
    ) {}

    fn stream_ended = "http_filter_http_stream_complete"(_filter: FilterPtr, _this: *const c_void, _id: u64) {}

    fn stream_reset = "http_filter_http_stream_reset"(
        _filter: FilterPtr, _this: *const c_void, _id: u64, _reason: u32
    ) {}

    fn scheduled = "http_filter_scheduled"(_filter: FilterPtr, _this: *const c_void, _event: u64) {}

    fn above_watermark = "http_filter_downstream_above_write_buffer_high_watermark"(
        _filter: FilterPtr, _this: *const c_void
    ) {}

    fn below_watermark = "http_filter_downstream_below_write_buffer_low_watermark"(
        _filter: FilterPtr, _this: *const c_void
    ) {}

    fn config_scheduled = "http_filter_config_scheduled"(envoy: ConfigPtr, config: *const c_void, _event: u64) {
        guard_plugin(config, |plugin| plugin.on_tick(Config(envoy)));
    }

    fn config_callout_done = "http_filter_config_http_callout_done"(
        envoy: ConfigPtr, config: *const c_void, id: u64, result: u32,
        headers: *const Header, count: usize, chunks: *const Buffer, chunk_count: usize
    ) {
        guard_plugin(config, |plugin| {
            let is_ok = result == 0 && status(headers, count) == Some(200);
            let body = is_ok.then(|| concat(chunks, chunk_count));
            plugin.on_called(Config(envoy), id, body.as_deref());
        });
    }

    fn config_stream_headers = "http_filter_config_http_stream_headers"(
        envoy: ConfigPtr, config: *const c_void, id: u64, headers: *const Header, count: usize, end: bool
    ) {
        guard_plugin(config, |plugin| {
            plugin.on_stream(Config(envoy), id, StreamEvent::Headers(&pairs(headers, count), end));
        });
    }

    fn config_stream_data = "http_filter_config_http_stream_data"(
        envoy: ConfigPtr, config: *const c_void, id: u64, chunks: *const Buffer, count: usize, end: bool
    ) {
        guard_plugin(config, |plugin| {
            plugin.on_stream(Config(envoy), id, StreamEvent::Data(&concat(chunks, count), end));
        });
    }

    fn config_stream_trailers = "http_filter_config_http_stream_trailers"(
        envoy: ConfigPtr, config: *const c_void, id: u64, headers: *const Header, count: usize
    ) {
        guard_plugin(config, |plugin| {
            plugin.on_stream(Config(envoy), id, StreamEvent::Headers(&pairs(headers, count), true));
        });
    }

    fn config_stream_complete = "http_filter_config_http_stream_complete"(
        envoy: ConfigPtr, config: *const c_void, id: u64
    ) {
        guard_plugin(config, |plugin| plugin.on_stream(Config(envoy), id, StreamEvent::Gone));
    }

    fn config_stream_reset = "http_filter_config_http_stream_reset"(
        envoy: ConfigPtr, config: *const c_void, id: u64, _reason: u32
    ) {
        guard_plugin(config, |plugin| plugin.on_stream(Config(envoy), id, StreamEvent::Gone));
    }
}

impl Filter {
    /// The route's own configuration, if it has one.
    pub fn route_config(self) -> Option<Arc<RouteConfig>> {
        // SAFETY: the filter is good.
        let config = unsafe { super::raw::get_route_config(self.0) }.cast::<RouteConfig>();
        // SAFETY: it comes from `Arc::into_raw`, and the route, which is alive in this hook, keeps it.
        (!config.is_null()).then(|| unsafe {
            Arc::increment_strong_count(config);
            Arc::from_raw(config)
        })
    }
}
