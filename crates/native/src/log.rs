//! Lines in Envoy's log, component `dynamic_modules`.

use crate::abi;
use log::{Level, LevelFilter, Log, Metadata, Record};

struct EnvoyLog;

fn number(level: Level) -> u32 {
    match level {
        Level::Trace => 0,
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

impl Log for EnvoyLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        abi::logs(number(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        // A line that Envoy would drop is not even formatted.
        if self.enabled(record.metadata()) {
            abi::log(number(record.level()), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Sends the lines of the `log` crate, and those of panics, to Envoy.
pub fn start() {
    if log::set_logger(&EnvoyLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
        std::panic::set_hook(Box::new(|panic| log::error!("pinroute: {panic}")));
    }
}
