//! A configuration that questions are asked about, with the live values that are assumed.

use std::sync::Arc;

use pinroute_core::config::{Config, ConfigError, PluginConfig};
use pinroute_core::decision::Verdict;
use pinroute_core::explain::Explanation;
use pinroute_core::key::{Key, KeyError};
use pinroute_core::live::values::LiveValues;
use pinroute_core::rejection::Rejection;
use pinroute_core::router::{Router, Worker};
use thiserror::Error;

use crate::error::ReadError;
use crate::found::{Found, Parsed, configurations};
use crate::live::{Assumed, Live, LiveError};
use crate::request::MadeUp;

/// Keys the tables of the one worker. There are no clients here whose keys could collide on purpose.
const TABLES: [u64; 3] = [1, 2, 3];

/// A configuration with live values.
#[derive(Debug)]
pub struct Subject {
    /// The configuration.
    pub config: Config,
    /// What the reader should know about the live values.
    pub warnings: Vec<String>,
    /// The prefix of its runtime keys.
    pub prefix: Option<String>,
    router: Arc<Router>,
    worker: Worker<()>,
    live: LiveValues,
    request: MadeUp,
}

/// Why no question can be asked about a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The configuration has a mistake.
    #[error("{}{error}", prefixed(.name))]
    Invalid {
        /// Which configuration of the file.
        name: String,
        /// The mistake.
        error: ConfigError,
    },
    /// The live values cannot be used.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The file has several configurations, or none of the wanted name.
    #[error("{problem}; the configurations are: {}", .names.join(", "))]
    Which {
        /// What is wrong.
        problem: String,
        /// Those that there are.
        names: Vec<String>,
    },
}

fn prefixed(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}: ") }
}

impl Subject {
    /// The configuration in a file; `name` chooses one of several.
    ///
    /// # Errors
    /// [`SubjectError`]
    pub fn load(bytes: &[u8], name: Option<&str>, live: &Live) -> Result<Self, SubjectError> {
        let all = configurations(bytes)?;
        let found = choose(&all, name)?;
        let parse = |found: &Found| {
            found.parse().map_err(|error| SubjectError::Invalid { name: found.name.clone(), error })
        };
        let owner = found.plugin.and_then(|plugin| all.get(plugin));
        let plugin = parse(owner.unwrap_or(found))?;
        let of_plugin = Router::new(plugin.config().clone(), 0);
        let (config, router) = match owner {
            None => (plugin.config().clone(), of_plugin),
            Some(_) => {
                let config = parse(found)?.config().clone();
                (config.clone(), Router::of_route(config, &of_plugin))
            }
        };
        let (prefix, assumed) = match &plugin {
            Parsed::Plugin(plugin) => (
                plugin.runtime.as_ref().map(|runtime| runtime.prefix.clone()),
                Assumed::new(live, plugin, config.metadata.as_deref())?,
            ),
            // Only plugins have routes.
            Parsed::Route(_) => (None, Assumed::default()),
        };
        let Assumed { values, route_metadata, cluster_metadata, warnings } = assumed;
        Ok(Self {
            config,
            warnings,
            prefix,
            router,
            worker: Worker::new(TABLES),
            live: values,
            request: MadeUp { route_metadata, cluster_metadata, ..MadeUp::default() },
        })
    }

    /// Sets what the request has beside its key.
    pub fn set_request(&mut self, path: &[u8], headers: &[(String, String)]) {
        self.request.path = path.to_vec();
        let lower = |(name, value): &(String, String)| {
            // Envoy keeps the Host under this name.
            let name = match name.to_ascii_lowercase() {
                host if host == "host" => ":authority".to_owned(),
                name => name,
            };
            (name, value.clone().into_bytes())
        };
        self.request.headers = headers.iter().map(lower).collect();
    }

    /// The key that the request has by itself.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn key_of_request(&self) -> Result<Key<'static>, KeyError> {
        let header = |name: &str| {
            let value = self.request.headers.iter().find(|(known, _)| known == name);
            value.map(|(_, value)| value.as_slice().into())
        };
        self.config.key.extract(&self.request.path, header).map(Key::into_owned)
    }

    /// What happens to a request that is refused.
    pub fn refused(&self, rejection: Rejection) -> Verdict {
        self.router.refuse(rejection)
    }

    /// What the filter decides for a key.
    pub fn explain(&mut self, key: &Key<'_>) -> Explanation {
        let Self { router, worker, live, request, .. } = self;
        router.explain(worker, key, &request.path, request, live)
    }
}

/// The plugin configuration in a file; `name` chooses one of several.
///
/// # Errors
/// [`SubjectError`]
pub fn plugin(bytes: &[u8], name: Option<&str>) -> Result<PluginConfig, SubjectError> {
    let mut all = configurations(bytes)?;
    if name.is_none() {
        // A route's own configuration is not a plugin's.
        all.retain(|found| found.plugin.is_none());
    }
    let found = choose(&all, name)?;
    match found.parse() {
        Ok(Parsed::Plugin(plugin)) => Ok(*plugin),
        Ok(Parsed::Route(_)) => Err(SubjectError::Which {
            problem: format!("{} is not the configuration of a filter", found.name),
            names: all.iter().map(|found| format!("`{}`", found.name)).collect(),
        }),
        Err(error) => Err(SubjectError::Invalid { name: found.name.clone(), error }),
    }
}

fn choose<'f>(all: &'f [Found], name: Option<&str>) -> Result<&'f Found, SubjectError> {
    let names = || all.iter().map(|found| format!("`{}`", found.name)).collect();
    match (name, all) {
        (None, [only]) => Ok(only),
        (None, _) => {
            let problem = "the file has more than one configuration, choose one by name or line".to_owned();
            Err(SubjectError::Which { problem, names: names() })
        }
        (Some(name), _) => all
            .iter()
            .find(|found| found.name == name || found.name.strip_prefix("filter ") == Some(name))
            .or_else(|| {
                let line = name.parse().ok()?;
                all.iter().find(|found| found.line == Some(line))
            })
            .ok_or_else(|| SubjectError::Which {
                problem: format!("no configuration `{name}`"),
                names: names(),
            }),
    }
}
