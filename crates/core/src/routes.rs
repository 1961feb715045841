//! Configurations that routes and virtual hosts bring along in a namespace of their metadata.

use crate::config::parse_route;
use crate::hash::Digester;
use crate::lru::Lru;
use crate::protobuf::{Metadata, struct_to_json};
use crate::rejection::Rejection;
use crate::request::{Property, Request};
use crate::router::Router;
use std::sync::Arc;

/// How many bytes the configurations of routes may take before the least recently used ones are forgotten.
const BUDGET: usize = 8 << 20;

/// The size of a compiled configuration beside the metadata that it was read from; an estimate.
const ROUTER_BYTES: usize = 1024;

/// The routers of routes, as one thread remembers them. The same metadata is read once.
#[derive(Debug)]
pub struct RouteRouters {
    namespace: String,
    digester: Digester,
    known: Lru<Option<Result<Arc<Router>, InvalidRoute>>>,
}

/// The configuration of a route is invalid. The mistake has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRoute;

impl From<InvalidRoute> for Rejection {
    fn from(InvalidRoute: InvalidRoute) -> Self {
        Self::RouteConfig
    }
}

impl RouteRouters {
    /// Routers from this namespace. `random` keys the table and must be drawn at random.
    pub fn new(namespace: String, random: [u64; 2]) -> Self {
        Self { namespace, digester: Digester::new(random), known: Lru::new(BUDGET) }
    }

    /// The router of a request's route, or else of its virtual host; `None` if neither has one.
    ///
    /// # Errors
    /// [`InvalidRoute`]
    pub fn router(&mut self, request: &impl Request) -> Result<Option<Arc<Router>>, InvalidRoute> {
        for property in [Property::RouteMetadata, Property::VirtualHostMetadata] {
            if let Some(metadata) = request.property(property)
                && let Some(found) = self.router_in(&metadata)
            {
                return found.map(Some);
            }
        }
        Ok(None)
    }

    fn router_in(&mut self, metadata: &[u8]) -> Option<Result<Arc<Router>, InvalidRoute>> {
        let digest = self.digester.digest(0, metadata);
        if let Some(known) = self.known.get(digest) {
            return known.clone();
        }
        let router = self.read(metadata);
        self.known.insert(digest, router.clone(), ROUTER_BYTES + metadata.len());
        router
    }

    #[cold]
    fn read(&self, metadata: &[u8]) -> Option<Result<Arc<Router>, InvalidRoute>> {
        let object = Metadata::namespace(metadata, &self.namespace)?;
        match parse_route(&struct_to_json(object)) {
            Ok(config) => {
                log::info!("pinroute: configuration of a route loaded: {config}");
                Some(Ok(Router::new(config)))
            }
            Err(error) => {
                let namespace = &self.namespace;
                log::error!(
                    "pinroute: configuration in the metadata `{namespace}` of a route refused: {error}"
                );
                Some(Err(InvalidRoute))
            }
        }
    }
}
