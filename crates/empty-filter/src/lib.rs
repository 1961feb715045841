//! The least that a Proxy-Wasm filter does, as one writes it with the SDK. The benchmark measures it as the limit:
//! what a filter costs that does nothing, and what the bare calls cost that routing takes, without any of the
//! logic.
//!
//! Its configuration is the name of what it does, wherever it stands in there: `route` reads `:path` and replaces
//! `:authority`, `ask` calls the cluster `resolver` in between, and `shard` reads two headers and sets four. Anything
//! else stands for nothing.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType};
use std::time::Duration;

// The macro makes public functions of its own, without docstrings.
#[allow(missing_docs)]
mod start {
    use super::{Root, Work};

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(Root { work: Work::Nothing }));
    }}
}

/// What the shuffle sharding sets.
const SHARD: [(&str, &str); 4] = [
    ("x-shard-assignment", "1,2"),
    ("x-shard-config", "2/8"),
    ("x-target-host", "1"),
    ("x-target-cluster", "backend_1"),
];

#[derive(Clone, Copy)]
enum Work {
    Nothing,
    Route,
    Ask,
    Shard,
}

struct Root {
    work: Work,
}

struct Http {
    work: Work,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let text = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        let text = text.ok().flatten().unwrap_or_default();
        let named = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        let works: [(&[u8], Work); 3] =
            [(b"route", Work::Route), (b"ask", Work::Ask), (b"shard", Work::Shard)];
        let work = works.into_iter().find(|(word, _)| named(word));
        self.work = work.map_or(Work::Nothing, |(_, work)| work);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { work: self.work }))
    }
}

impl Context for Http {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, size: usize, _trailers: usize) {
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten();
        let text = body.and_then(|body| String::from_utf8(body).ok()).unwrap_or_default();
        // The text behind `"hostport":"`, up to the next quotation mark.
        let behind = text.split_once("hostport").and_then(|(_, behind)| behind.split('"').nth(2));
        let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, ":authority", behind);
        let _ = hostcalls::resume_http_request();
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if matches!(self.work, Work::Nothing) {
            return Action::Continue;
        }
        let path = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, ":path").ok().flatten();
        if matches!(self.work, Work::Route) {
            let authority = Some("poc-routing-server-1:8081");
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, ":authority", authority);
            return Action::Continue;
        }
        if matches!(self.work, Work::Shard) {
            let _ = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "x-customer-id");
            for (name, value) in SHARD {
                let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value));
            }
            return Action::Continue;
        }
        let path = path.and_then(|path| String::from_utf8(path).ok()).unwrap_or_default();
        let path = path.replacen("/join", "/where", 1);
        let headers = vec![(":method", "GET"), (":path", path.as_str()), (":authority", "resolver")];
        match hostcalls::dispatch_http_call("resolver", headers, None, vec![], Duration::from_secs(1)) {
            Ok(_) => Action::Pause,
            Err(_) => Action::Continue,
        }
    }
}
