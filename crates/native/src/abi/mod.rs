//! The boundary to Envoy, and all unsafe code of this module: declarations, the hooks that Envoy calls, and safe functions
//! for what the hooks may call.
//!
//! [`Filter`] and [`Config`] stand for Envoy's side of a request and of a configuration. Only a hook makes one, from the
//! pointer that Envoy passes, and both are good until the hook for their end: `plugin` forgets a filter in its destroy hook,
//! before Envoy frees it. They must be used on the thread whose hook made them.
#![allow(unsafe_code)]

mod hooks;
mod raw;

pub use hooks::guard_request;
use raw::{Buffer, ConfigPtr, FilterPtr, Header};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::time::Duration;

/// A header: name and value.
pub type Pair<'b> = (&'b str, &'b [u8]);

/// Which headers of a request.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Headers {
    Request = 0,
    Response = 2,
}

/// Where metadata is.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum MetadataSource {
    Route = 1,
    Cluster = 2,
}

/// What Envoy knows about a request: places in `envoy_dynamic_module_type_attribute_id`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Attribute {
    ResponseCodeDetails = 16,
    RouteName = 61,
}

/// Why Envoy did not make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCall {
    /// There is no such cluster, or a header is missing.
    Refused,
    /// The request failed at once: the cluster has no healthy host, or a circuit breaker is open.
    Failed,
}

/// A member of metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Number(f64),
    Text(String),
    Bool(bool),
    Other,
}

/// A request, as Envoy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Filter(FilterPtr);

// SAFETY: the pointer is only handed back to Envoy, in a hook of the worker that the request runs in: each worker has a slot
// of its own. The lock around a slot is what needs this.
unsafe impl Send for Filter {}

/// A configuration, as Envoy sees it. Its hooks run in the main thread.
#[derive(Clone, Copy, Debug)]
pub struct Config(ConfigPtr);

impl Buffer {
    const EMPTY: Self = Self { start: null(), length: 0 };

    fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr().cast::<c_char>(), length: bytes.len() }
    }

    /// # Safety
    /// The buffer must be one that Envoy filled in, and `'b` must end before the hook and before Envoy changes what it
    /// points at.
    unsafe fn bytes<'b>(self) -> &'b [u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: Envoy gives the start and the length of bytes that it owns.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), self.length) }
    }
}

fn with_headers<T>(headers: &[Pair<'_>], call: impl FnOnce(*const Header, usize) -> T) -> T {
    let headers: Vec<Header> = headers
        .iter()
        .map(|(name, value)| Header { name: Buffer::of(name.as_bytes()), value: Buffer::of(value) })
        .collect();
    call(headers.as_ptr(), headers.len())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The id of a call or stream if Envoy made it.
fn made(result: u32, id: u64) -> Result<u64, NoCall> {
    match result {
        0 => Ok(id),
        4 => Err(NoCall::Failed),
        _ => Err(NoCall::Refused),
    }
}

impl Filter {
    /// The first value of a header.
    pub fn header(self, kind: Headers, name: &str) -> Option<Vec<u8>> {
        let mut value = Buffer::EMPTY;
        // SAFETY: Envoy writes to `value` only, and what it points at is copied before Envoy runs again.
        let found = unsafe {
            raw::get_header(self.0, kind as u32, Buffer::of(name.as_bytes()), &mut value, 0, null_mut())
        };
        // SAFETY: as above.
        found.then(|| unsafe { value.bytes() }.to_vec())
    }

    /// Whether the request still has its headers. Envoy may have ended it, and tell the module only later.
    pub fn is_alive(self) -> bool {
        self.has_header(Headers::Request, ":method")
    }

    /// Whether there is a header.
    pub fn has_header(self, kind: Headers, name: &str) -> bool {
        let mut value = Buffer::EMPTY;
        // SAFETY: Envoy writes to `value` only.
        unsafe {
            raw::get_header(self.0, kind as u32, Buffer::of(name.as_bytes()), &mut value, 0, null_mut())
        }
    }

    /// Replaces a header, or adds it. Returns whether Envoy did so.
    pub fn set_header(self, kind: Headers, name: &str, value: &str) -> bool {
        let (name, value) = (Buffer::of(name.as_bytes()), Buffer::of(value.as_bytes()));
        // SAFETY: Envoy copies both.
        unsafe { raw::set_header(self.0, kind as u32, name, value) }
    }

    /// Removes a header, however often it occurs.
    pub fn remove_header(self, kind: Headers, name: &str) {
        // SAFETY: a value without a start means removal.
        unsafe { raw::set_header(self.0, kind as u32, Buffer::of(name.as_bytes()), Buffer::EMPTY) };
    }

    /// Answers the request with a text. Envoy adds the content type. The request may have ended when this returns.
    pub fn answer(self, status: u16, body: &str) {
        let body = Buffer::of(body.as_bytes());
        // SAFETY: there are no headers, and Envoy copies the body.
        unsafe { raw::send_response(self.0, u32::from(status), null(), 0, body, Buffer::EMPTY) };
    }

    /// Lets a request that was stopped go on. It may have ended when this returns.
    pub fn go_on(self) {
        // SAFETY: the filter is that of a request that was stopped and has not ended.
        unsafe { raw::continue_decoding(self.0) }
    }

    /// Makes Envoy select the route again: headers have changed.
    pub fn clear_route_cache(self) {
        // SAFETY: the filter is good, see this file's documentation.
        unsafe { raw::clear_route_cache(self.0) }
    }

    /// Sets a string in the filter state. Returns whether Envoy did so.
    pub fn set_filter_state(self, name: &str, value: &str) -> bool {
        // SAFETY: Envoy copies both.
        unsafe { raw::set_filter_state(self.0, Buffer::of(name.as_bytes()), Buffer::of(value.as_bytes())) }
    }

    /// The members of a namespace of metadata that are wanted. Envoy gives a module no more than their scalars.
    pub fn metadata(
        self,
        source: MetadataSource,
        namespace: &str,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Vec<(String, Scalar)> {
        let (source, namespace) = (source as u32, Buffer::of(namespace.as_bytes()));
        // SAFETY: the filter is good.
        let mut names =
            vec![Buffer::EMPTY; unsafe { raw::get_metadata_keys_count(self.0, source, namespace) }];
        // SAFETY: there is room for as many names as Envoy has just counted, and nothing changes in between.
        if names.is_empty()
            || !unsafe { raw::get_metadata_keys(self.0, source, namespace, names.as_mut_ptr()) }
        {
            return Vec::new();
        }
        names
            .into_iter()
            // SAFETY: the names belong to the route or cluster, which stays while the hook runs.
            .filter(|name| is_wanted(unsafe { name.bytes() }))
            .map(|name| {
                // SAFETY: as above.
                let text = String::from_utf8_lossy(unsafe { name.bytes() }).into_owned();
                (text, self.scalar(source, namespace, name))
            })
            .collect()
    }

    fn scalar(self, source: u32, namespace: Buffer, name: Buffer) -> Scalar {
        let (mut number, mut text, mut truth) = (0.0, Buffer::EMPTY, false);
        // SAFETY: each call writes to its last argument only; the text is copied at once.
        unsafe {
            if raw::get_metadata_number(self.0, source, namespace, name, &mut number) {
                Scalar::Number(number)
            } else if raw::get_metadata_string(self.0, source, namespace, name, &mut text) {
                Scalar::Text(String::from_utf8_lossy(text.bytes()).into_owned())
            } else if raw::get_metadata_bool(self.0, source, namespace, name, &mut truth) {
                Scalar::Bool(truth)
            } else {
                Scalar::Other
            }
        }
    }

    /// A text that Envoy knows about the request.
    pub fn attribute(self, attribute: Attribute) -> Option<Vec<u8>> {
        let mut value = Buffer::EMPTY;
        // SAFETY: Envoy writes to `value` only, and what it points at is copied at once.
        unsafe { raw::get_attribute(self.0, attribute as u32, &mut value).then(|| value.bytes().to_vec()) }
    }

    /// The name of the cluster that the route selects.
    pub fn cluster_name(self) -> Option<Vec<u8>> {
        let mut value = Buffer::EMPTY;
        // SAFETY: Envoy writes to `value` only, and what it points at is copied at once.
        unsafe { raw::get_cluster_name(self.0, &mut value).then(|| value.bytes().to_vec()) }
    }

    /// The number of the worker.
    pub fn worker(self) -> usize {
        // SAFETY: the filter is good.
        unsafe { raw::get_worker_index(self.0) as usize }
    }

    /// Makes a call in the name of this request: it ends with the request.
    pub fn call(
        self,
        cluster: &str,
        headers: &[Pair<'_>],
        body: &[u8],
        timeout: Duration,
    ) -> Result<u64, NoCall> {
        with_headers(headers, |headers, count| {
            let mut id = 0;
            let (cluster, body) = (Buffer::of(cluster.as_bytes()), Buffer::of(body));
            // SAFETY: Envoy copies all of them, and writes to `id` only.
            let result =
                unsafe { raw::callout(self.0, &mut id, cluster, headers, count, body, millis(timeout)) };
            made(result, id)
        })
    }

    /// Adds to a counter.
    pub fn count(self, id: usize) {
        // SAFETY: the counter has no labels.
        unsafe { raw::increment_counter(self.0, id, null(), 0, 1) };
    }

    /// Sets a gauge.
    pub fn set_gauge(self, id: usize, value: u64) {
        // SAFETY: the gauge has no labels.
        unsafe { raw::set_gauge(self.0, id, null(), 0, value) };
    }
}

const SET_GAUGE: &CStr = c"envoy_dynamic_module_callback_http_filter_config_set_gauge";

/// `http_filter_config_increment_counter` and `…_set_gauge`: since Envoy 1.39.
type ChangeMetric = unsafe extern "C" fn(ConfigPtr, usize, *const Buffer, usize, u64) -> u32;

impl Config {
    /// Defines a counter. Possible only while the configuration is made.
    pub fn define_counter(self, name: &str) -> Option<usize> {
        let mut id = 0;
        // SAFETY: Envoy copies the name and writes to `id` only.
        let result = unsafe { raw::define_counter(self.0, Buffer::of(name.as_bytes()), null(), 0, &mut id) };
        (result == 0).then_some(id)
    }

    /// Defines a gauge. Possible only while the configuration is made.
    pub fn define_gauge(self, name: &str) -> Option<usize> {
        let mut id = 0;
        // SAFETY: Envoy copies the name and writes to `id` only.
        let result = unsafe { raw::define_gauge(self.0, Buffer::of(name.as_bytes()), null(), 0, &mut id) };
        (result == 0).then_some(id)
    }

    /// Adds to a counter outside of a request. Returns whether this Envoy can.
    pub fn count(self, id: usize) -> bool {
        static FOUND: OnceLock<Option<ChangeMetric>> = OnceLock::new();
        let found = FOUND
            .get_or_init(|| metric(c"envoy_dynamic_module_callback_http_filter_config_increment_counter"));
        // SAFETY: the counter has no labels.
        found.map(|change| unsafe { change(self.0, id, null(), 0, 1) }).is_some()
    }

    /// Sets a gauge outside of a request. Returns whether this Envoy can.
    pub fn set_gauge(self, id: usize, value: u64) -> bool {
        static FOUND: OnceLock<Option<ChangeMetric>> = OnceLock::new();
        let found =
            FOUND.get_or_init(|| metric(c"envoy_dynamic_module_callback_http_filter_config_set_gauge"));
        // SAFETY: the gauge has no labels.
        found.map(|change| unsafe { change(self.0, id, null(), 0, value) }).is_some()
    }

    /// Makes a call in the name of this configuration.
    pub fn call(self, cluster: &str, headers: &[Pair<'_>], timeout: Duration) -> Result<u64, NoCall> {
        with_headers(headers, |headers, count| {
            let mut id = 0;
            let cluster = Buffer::of(cluster.as_bytes());
            // SAFETY: Envoy copies all of them, and writes to `id` only.
            let result = unsafe {
                raw::config_callout(self.0, &mut id, cluster, headers, count, Buffer::EMPTY, millis(timeout))
            };
            made(result, id)
        })
    }

    /// Opens a stream that has no end of its own, and sends the first data.
    pub fn open_stream(self, cluster: &str, headers: &[Pair<'_>], first: &[u8]) -> Result<u64, NoCall> {
        with_headers(headers, |headers, count| {
            let mut id = 0;
            let (cluster, first) = (Buffer::of(cluster.as_bytes()), Buffer::of(first));
            // SAFETY: Envoy copies all of them, and writes to `id` only.
            let result = unsafe {
                raw::config_start_stream(self.0, &mut id, cluster, headers, count, first, false, 0)
            };
            made(result, id)
        })
    }

    /// Sends data on a stream.
    pub fn send(self, stream: u64, data: &[u8]) {
        // SAFETY: Envoy copies the data, and knows which streams are open.
        unsafe { raw::config_send_data(self.0, stream, Buffer::of(data), false) };
    }

    /// Ends a stream.
    pub fn reset_stream(self, stream: u64) {
        // SAFETY: Envoy knows which streams are open.
        unsafe { raw::config_reset_stream(self.0, stream) }
    }

    /// What wakes the main thread for this configuration, from any thread.
    pub fn waker(self) -> Waker {
        // SAFETY: the result is owned by the waker.
        Waker(unsafe { raw::scheduler_new(self.0) })
    }
}

/// Envoy's runtime, as the main thread sees it: workers would get defaults only. Since Envoy 1.40.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    int: GetInt,
    truth: GetBool,
}

type GetInt = unsafe extern "C" fn(Buffer, u64) -> u64;
type GetBool = unsafe extern "C" fn(Buffer, bool) -> bool;

impl Runtime {
    /// The runtime; `None` if this Envoy has no functions for it.
    pub fn find() -> Option<Self> {
        let int = raw::symbol(c"envoy_dynamic_module_callback_get_runtime_int");
        let truth = raw::symbol(c"envoy_dynamic_module_callback_get_runtime_bool");
        if int.is_null() || truth.is_null() {
            return None;
        }
        // SAFETY: where Envoy has functions of these names, they are of these types.
        unsafe {
            Some(Self {
                int: std::mem::transmute::<*mut c_void, GetInt>(int),
                truth: std::mem::transmute::<*mut c_void, GetBool>(truth),
            })
        }
    }

    /// A number; `None` if there is none of this name. To be asked in the main thread.
    pub fn int(self, name: &str) -> Option<u64> {
        // SAFETY: Envoy only reads the name.
        let or = |default| unsafe { (self.int)(Buffer::of(name.as_bytes()), default) };
        let value = or(0);
        // What is absent is whatever default is asked for.
        (value != 0 || or(u64::MAX) == 0).then_some(value)
    }

    /// A boolean; `None` if there is none of this name. To be asked in the main thread.
    pub fn truth(self, name: &str) -> Option<bool> {
        // SAFETY: Envoy only reads the name.
        let or = |default| unsafe { (self.truth)(Buffer::of(name.as_bytes()), default) };
        let value = or(false);
        (value == or(true)).then_some(value)
    }
}

fn metric(name: &CStr) -> Option<ChangeMetric> {
    let found = raw::symbol(name);
    // SAFETY: where Envoy has a function of this name, it is of this type.
    (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, ChangeMetric>(found) })
}

/// Wakes the main thread, which then runs `config_scheduled`, unless the configuration is gone.
#[derive(Debug)]
pub struct Waker(*mut c_void);

// SAFETY: Envoy says that a scheduler may be used by any thread; this one is owned by one at a time.
unsafe impl Send for Waker {}

impl Waker {
    /// Wakes the main thread.
    pub fn wake(&self) {
        // SAFETY: the scheduler exists until it is dropped.
        unsafe { raw::scheduler_commit(self.0, 0) }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { raw::scheduler_delete(self.0) }
    }
}

/// The number of workers. To be asked in the main thread.
pub fn workers() -> usize {
    // SAFETY: there are no arguments.
    unsafe { raw::get_concurrency() as usize }
}

/// Whether Envoy shows a module the details of a response's code: since 1.39. Before, the question alone is an error in its log.
pub fn shows_code_details() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| metric(SET_GAUGE).is_some())
}

/// Writes to Envoy's log, component `dynamic_modules`.
pub fn log(level: u32, message: &str) {
    // SAFETY: Envoy copies the message.
    unsafe { raw::log(level, Buffer::of(message.as_bytes())) }
}

/// Whether Envoy's log has this level: 0 for trace to 5 for critical.
pub fn logs(level: u32) -> bool {
    // SAFETY: the level is a number.
    unsafe { raw::log_enabled(level) }
}
