//! Envoy's functions and types, declared by hand from `source/extensions/dynamic_modules/abi/abi.h`.
//!
//! Only what every supported version exports (1.38 and newer) may be declared here: Rust links with `BIND_NOW`, so one
//! function that an Envoy lacks keeps the whole module from being loaded. [`symbol`] finds newer ones.

use std::ffi::{CStr, c_char, c_void};

/// Bytes of Envoy's or of this module's: `envoy_dynamic_module_type_envoy_buffer` and `…_module_buffer`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Buffer {
    pub start: *const c_char,
    pub length: usize,
}

/// A header: `envoy_dynamic_module_type_envoy_http_header` and `…_module_http_header`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    pub name: Buffer,
    pub value: Buffer,
}

/// Envoy's side of a request.
pub type FilterPtr = *mut c_void;
/// Envoy's side of a configuration.
pub type ConfigPtr = *mut c_void;

macro_rules! callbacks {
    ($($vis:vis fn $name:ident = $symbol:literal($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        unsafe extern "C" {
            $(
                #[link_name = concat!("envoy_dynamic_module_callback_", $symbol)]
                $vis fn $name($($arg: $type),*) $(-> $result)?;
            )*
        }
    };
}

callbacks! {
    pub fn log = "log"(level: u32, message: Buffer);
    pub fn log_enabled = "log_enabled"(level: u32) -> bool;
    pub fn get_concurrency = "get_concurrency"() -> u32;

    pub fn get_header = "http_get_header"(
        filter: FilterPtr, kind: u32, name: Buffer, value: *mut Buffer, place: usize, count: *mut usize
    ) -> bool;
    pub fn set_header = "http_set_header"(filter: FilterPtr, kind: u32, name: Buffer, value: Buffer) -> bool;
    pub fn send_response = "http_send_response"(
        filter: FilterPtr, status: u32, headers: *const Header, count: usize, body: Buffer, details: Buffer
    );
    pub fn continue_decoding = "http_filter_continue_decoding"(filter: FilterPtr);
    pub fn clear_route_cache = "http_clear_route_cache"(filter: FilterPtr);
    pub fn set_filter_state = "http_set_filter_state_typed"(filter: FilterPtr, name: Buffer, value: Buffer) -> bool;
    pub fn get_metadata_number = "http_get_metadata_number"(
        filter: FilterPtr, source: u32, namespace: Buffer, name: Buffer, value: *mut f64
    ) -> bool;
    pub fn get_metadata_string = "http_get_metadata_string"(
        filter: FilterPtr, source: u32, namespace: Buffer, name: Buffer, value: *mut Buffer
    ) -> bool;
    pub fn get_metadata_bool = "http_get_metadata_bool"(
        filter: FilterPtr, source: u32, namespace: Buffer, name: Buffer, value: *mut bool
    ) -> bool;
    pub fn get_metadata_keys_count = "http_get_metadata_keys_count"(
        filter: FilterPtr, source: u32, namespace: Buffer
    ) -> usize;
    pub fn get_metadata_keys = "http_get_metadata_keys"(
        filter: FilterPtr, source: u32, namespace: Buffer, keys: *mut Buffer
    ) -> bool;
    pub fn get_attribute = "http_filter_get_attribute_string"(
        filter: FilterPtr, attribute: u32, value: *mut Buffer
    ) -> bool;
    pub fn get_cluster_name = "http_get_cluster_name"(filter: FilterPtr, value: *mut Buffer) -> bool;
    pub fn get_route_config = "get_most_specific_route_config"(filter: FilterPtr) -> *const c_void;
    pub fn get_worker_index = "http_filter_get_worker_index"(filter: FilterPtr) -> u32;
    pub fn callout = "http_filter_http_callout"(
        filter: FilterPtr, id: *mut u64, cluster: Buffer, headers: *const Header, count: usize, body: Buffer,
        timeout_ms: u64
    ) -> u32;
    pub fn increment_counter = "http_filter_increment_counter"(
        filter: FilterPtr, id: usize, labels: *const Buffer, count: usize, value: u64
    ) -> u32;
    pub fn set_gauge = "http_filter_set_gauge"(
        filter: FilterPtr, id: usize, labels: *const Buffer, count: usize, value: u64
    ) -> u32;

    pub fn define_counter = "http_filter_config_define_counter"(
        config: ConfigPtr, name: Buffer, labels: *const Buffer, count: usize, id: *mut usize
    ) -> u32;
    pub fn define_gauge = "http_filter_config_define_gauge"(
        config: ConfigPtr, name: Buffer, labels: *const Buffer, count: usize, id: *mut usize
    ) -> u32;
    pub fn config_callout = "http_filter_config_http_callout"(
        config: ConfigPtr, id: *mut u64, cluster: Buffer, headers: *const Header, count: usize, body: Buffer,
        timeout_ms: u64
    ) -> u32;
    pub fn config_start_stream = "http_filter_config_start_http_stream"(
        config: ConfigPtr, id: *mut u64, cluster: Buffer, headers: *const Header, count: usize, body: Buffer,
        end: bool, timeout_ms: u64
    ) -> u32;
    pub fn config_send_data = "http_filter_config_stream_send_data"(
        config: ConfigPtr, id: u64, data: Buffer, end: bool
    ) -> bool;
    pub fn config_reset_stream = "http_filter_config_reset_http_stream"(config: ConfigPtr, id: u64);
    pub fn scheduler_new = "http_filter_config_scheduler_new"(config: ConfigPtr) -> *mut c_void;
    pub fn scheduler_commit = "http_filter_config_scheduler_commit"(scheduler: *mut c_void, event: u64);
    pub fn scheduler_delete = "http_filter_config_scheduler_delete"(scheduler: *mut c_void);
}

/// A function that not every supported Envoy has; null if this one lacks it.
pub fn symbol(name: &CStr) -> *mut c_void {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // SAFETY: the name ends with a zero, and a null handle is glibc's RTLD_DEFAULT: all that is loaded.
    unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) }
}
