//! Shared data: what all VMs with the same `vm_id` in one Envoy process can read and write.

use proxy_wasm::hostcalls;

/// A value, and what a compare-and-set has to name to replace it.
pub fn read(key: &str) -> Option<(Vec<u8>, Option<u32>)> {
    match hostcalls::get_shared_data(key) {
        Ok((Some(bytes), cas)) => Some((bytes, cas)),
        Ok((None, _)) | Err(_) => None,
    }
}

/// A number written by [`write`] as eight bytes.
pub fn read_u64(key: &str) -> Option<u64> {
    read(key).and_then(|(bytes, _)| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
}

/// Replaces a value.
pub fn write(key: &str, value: &[u8]) {
    let _ = hostcalls::set_shared_data(key, Some(value), None);
}

/// Replaces a value if nobody else has meanwhile. Whether it did.
pub fn write_if(key: &str, value: &[u8], cas: Option<u32>) -> bool {
    hostcalls::set_shared_data(key, Some(value), cas).is_ok()
}
