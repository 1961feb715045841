//! A plugin: one configuration in one worker. It loads the configuration, creates a context for each request, and
//! receives ticks, and the responses to calls.

use crate::host::{self, ThisVm};
use crate::http::Http;
use crate::live;
use crate::log::follow_level;
use crate::plugin::Plugin;
use crate::reenter::REENTER;
use pinroute_core::config::{self, PluginConfig};
use pinroute_core::response::{Headers, Response};
use pinroute_core::time::Time;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::rc::Rc;
use std::time::Duration;

/// How often a plugin reads the clock and looks for new live values. What another VM has received takes effect here
/// after half of this on average. A tick without live values costs Envoy about a microsecond.
const TICK: Duration = Duration::from_millis(25);

/// How often a plugin ticks that needs neither.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// How often the log level is read: at each slow tick.
const READ_LOG_LEVEL: Duration = Duration::from_millis(900);

/// The root context.
pub struct Root {
    id: u32,
    plugin: Option<Rc<Plugin>>,
    next_log_level: Time,
}

impl Root {
    /// A plugin without a configuration.
    pub fn new(id: u32) -> Self {
        Self { id, plugin: None, next_log_level: Time::default() }
    }

    fn configure(&mut self, bytes: &[u8]) -> Result<(), String> {
        let config = config::parse(bytes).and_then(PluginConfig::without_own_runtime);
        let config = config.map_err(|error| error.to_string())?;
        let random = host::random().ok_or("the system has no random numbers")?;
        log::info!("pinroute {}: configuration loaded: {}", env!("CARGO_PKG_VERSION"), config.config);
        let plugin = Plugin::new(self.id, config, random);
        let _ = hostcalls::set_tick_period(if plugin.needs_ticks() { TICK } else { SLOW_TICK });
        if let Some(replaced) = self.plugin.replace(Rc::new(plugin)) {
            replaced.leave();
        }
        Ok(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Envoy keeps ticking a root context whose plugin has been replaced.
        let _ = hostcalls::set_tick_period(Duration::ZERO);
        if let Some(plugin) = &self.plugin {
            plugin.leave();
            plugin.worker.borrow_mut().on_plugin_gone(self.id);
        }
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        let message = host::buffer(BufferType::GrpcReceiveBuffer, size);
        let action = live::with(|live| live.on_message(token, &message, &ThisVm));
        action.into_iter().for_each(live::carry_out);
        if let Some(plugin) = &self.plugin {
            plugin.refresh();
        }
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        let now = host::now();
        let action = live::with(|live| live.on_closed(token, status, now));
        action.into_iter().for_each(live::carry_out);
    }

    fn on_grpc_stream_initial_metadata(&mut self, token: u32, count: u32) {
        // Envoy reports a stream that it could not open too, without any header.
        if count > 0 {
            live::with(|live| live.on_accepted(token));
        }
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(plugin) = &self.plugin else { return };
        // Without headers the call failed, and to ask for its status would be an error.
        let status = if headers == 0 { None } else { host::call_status() };
        let body = match status {
            Some(200) => host::buffer(BufferType::HttpCallResponseBody, body_size),
            _ => Vec::new(),
        };
        if live::with(|live| live.has_call(token)) {
            let body = status.filter(|status| *status == 200).map(|_| body.as_slice());
            live::with(|live| live.on_response(token, body, &ThisVm));
            plugin.refresh();
            return;
        }
        let wanted = status == Some(200) && plugin.worker.borrow().needs_answer_headers(token);
        let headers = if wanted { host::call_headers() } else { Vec::new() };
        let complete = |status| Response::Complete { status, body: &body, headers: Headers(&headers) };
        plugin.on_response(token, status.map_or(Response::Failed, complete));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        follow_level();
        match self.configure(&host::buffer(BufferType::PluginConfiguration, size)) {
            Ok(()) => true,
            Err(error) => {
                log::error!("pinroute: configuration refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let now = host::now();
        if now >= self.next_log_level {
            self.next_log_level = now + READ_LOG_LEVEL;
            follow_level();
        }
        if let Some(plugin) = &self.plugin {
            plugin.tick(now);
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if let (REENTER, Some(plugin)) = (queue, &self.plugin) {
            plugin.send();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        // Envoy sends no request to a plugin that refused its configuration.
        self.plugin.as_ref().map(|plugin| Box::new(Http::new(id, Rc::clone(plugin))) as Box<dyn HttpContext>)
    }
}
