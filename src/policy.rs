//! What requests are decided by: the plugin's configuration, or one that a route brings along.

use crate::callouts::InFlight;
use crate::metadata::MetadataNumbers;
use crate::{host, metrics};
use pinroute_core::cache::Cache;
use pinroute_core::config::{self, Config};
use pinroute_core::live::Numbers;
use pinroute_core::plan::{Memory, Plan};
use pinroute_core::{protobuf, random};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// How many bytes of metadata the policies of routes may take before the unused ones are forgotten. A
/// route's metadata is a few hundred bytes, so this is many thousands of routes.
const ROUTE_POLICIES: usize = 8 << 20;

/// What a compiled policy takes beside the metadata that it was made from; an estimate.
const POLICY_WEIGHT: usize = 1024;

/// A plan, with what this worker remembers for it.
pub struct Policy {
    plan: Plan,
    metadata: Option<MetadataNumbers>,
    memory: RefCell<Memory>,
    in_flight: Option<RefCell<InFlight>>,
}

impl Policy {
    /// A policy that has not seen a request yet.
    pub fn new(config: Config) -> Rc<Self> {
        let random = random::number();
        let metadata = config.metadata.as_deref().map(MetadataNumbers::new);
        let plan = Plan::new(config);
        let in_flight = plan.caches().then(RefCell::default);
        Rc::new(Self { plan, metadata, memory: RefCell::new(Memory::new(random)), in_flight })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The questions under way, where requests for one key share one.
    pub fn in_flight(&self) -> Option<&RefCell<InFlight>> {
        self.in_flight.as_ref()
    }

    /// Counts what the cache of answers had to say to the last decision.
    pub fn count_cache_event(&self) {
        if let Some(event) = self.memory().take_cache_event() {
            metrics::with(|metrics| metrics.cache(event));
        }
    }

    /// The numbers that the metadata of the request's route and cluster say, in this order.
    pub fn numbers(&self) -> (Numbers, Numbers) {
        self.metadata
            .as_ref()
            .map_or_else(Default::default, |metadata| (metadata.of_route(), metadata.of_cluster()))
    }

    /// What is remembered. Borrowed for one decision at a time.
    pub fn memory(&self) -> RefMut<'_, Memory> {
        self.memory.borrow_mut()
    }
}

/// A route's configuration is wrong. What is wrong with it has been logged.
#[derive(Clone)]
pub struct WrongRoute;

/// The policies that routes and virtual hosts bring along in a namespace of their metadata.
pub struct RoutePolicies {
    namespace: String,
    known: RefCell<Cache<Result<Option<Rc<Policy>>, WrongRoute>>>,
}

impl RoutePolicies {
    /// Looks for them in this namespace.
    pub fn new(namespace: String) -> Self {
        Self { namespace, known: RefCell::new(Cache::new(ROUTE_POLICIES)) }
    }

    /// The policy of the route of the request at hand, or else of its virtual host; none if neither has one.
    pub fn current(&self) -> Result<Option<Rc<Policy>>, WrongRoute> {
        for path in [["xds", "route_metadata"], ["xds", "virtual_host_metadata"]] {
            if let Some(metadata) = host::property(&path) {
                if let Some(policy) = self.policy_in(&metadata)? {
                    return Ok(Some(policy));
                }
            }
        }
        Ok(None)
    }

    /// The policy in some metadata. The same bytes are read only once.
    fn policy_in(&self, metadata: &[u8]) -> Result<Option<Rc<Policy>>, WrongRoute> {
        if let Some(known) = self.known.borrow_mut().get(metadata) {
            return known;
        }
        let policy = self.read(metadata);
        self.known.borrow_mut().insert(metadata, policy.clone(), POLICY_WEIGHT);
        policy
    }

    #[cold]
    fn read(&self, metadata: &[u8]) -> Result<Option<Rc<Policy>>, WrongRoute> {
        let Some(bytes) = protobuf::metadata_namespace(metadata, &self.namespace) else { return Ok(None) };
        let read = match protobuf::struct_to_json(bytes) {
            Some(value) => config::parse_for_route(&value).map_err(|error| error.to_string()),
            None => Err("it nests too deep".to_owned()),
        };
        match read {
            Ok(config) => {
                log::info!("pinroute: configuration of a route loaded: {config}");
                Ok(Some(Policy::new(config)))
            }
            Err(error) => {
                log::error!(
                    "pinroute: configuration in the metadata `{}` of a route refused: {error}",
                    self.namespace
                );
                Err(WrongRoute)
            }
        }
    }
}
