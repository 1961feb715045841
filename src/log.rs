//! The log level.

use log::LevelFilter;
use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

/// Sets the level of the `log` crate to that of Envoy's `wasm` logger, so that a line that Envoy would drop is not
/// even formatted.
pub fn follow_level() {
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
