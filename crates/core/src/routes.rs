//! Configurations that routes and virtual hosts bring along in a namespace of their metadata.

use crate::config::parse_route;
use crate::hash::{Digest, Digester};
use crate::lru::Lru;
use crate::protobuf::{Metadata, struct_to_json};
use crate::rejection::Rejection;
use crate::request::{Property, Request};
use crate::router::Router;
use prost::Message;
use std::sync::Arc;

/// How many bytes the configurations of routes may take before the least recently used ones are forgotten.
const BUDGET: usize = 8 << 20;

/// How many bytes may be spent on telling metadata apart.
const DIGESTS_BUDGET: usize = 1 << 20;

/// The size of a compiled configuration, for each byte of the metadata that it was read from; an estimate.
const BYTES_PER_BYTE: usize = 4;

/// The routers of routes, as one thread remembers them. The same metadata is read once. Metadata that differs only in what
/// is not the configuration (another namespace, the order of members) leads to the same router.
#[derive(Debug)]
pub struct RouteRouters {
    namespace: String,
    digester: Digester,
    known: Lru<Known>,
    routers: Lru<Arc<Router>>,
}

/// What some metadata holds.
#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    Invalid,
    /// The configuration with this id.
    Config(u64),
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
        let (known, routers) = (Lru::new(DIGESTS_BUDGET), Lru::new(BUDGET));
        Self { namespace, digester: Digester::new(random), known, routers }
    }

    /// The router of a request's route, or else of its virtual host; `None` if neither has one. `plugin` is the router of
    /// all others.
    ///
    /// # Errors
    /// [`InvalidRoute`]
    pub fn router(
        &mut self,
        request: &impl Request,
        plugin: &Router,
    ) -> Result<Option<Arc<Router>>, InvalidRoute> {
        for property in [Property::RouteMetadata, Property::VirtualHostMetadata] {
            if let Some(metadata) = request.property(property)
                && let Some(found) = self.router_in(&metadata, plugin)
            {
                return found.map(Some);
            }
        }
        Ok(None)
    }

    fn router_in(&mut self, metadata: &[u8], plugin: &Router) -> Option<Result<Arc<Router>, InvalidRoute>> {
        let digest = self.digester.digest(0, metadata);
        match self.known.get(digest) {
            Some(Known::Nothing) => return None,
            Some(Known::Invalid) => return Some(Err(InvalidRoute)),
            Some(Known::Config(id)) => {
                if let Some(router) = self.routers.get(Digest::of_numbers(0, *id)) {
                    return Some(Ok(Arc::clone(router)));
                }
            }
            None => {}
        }
        let (known, router) = self.read(metadata, plugin);
        self.known.insert(digest, known, 0);
        router
    }

    #[cold]
    fn read(
        &mut self,
        metadata: &[u8],
        plugin: &Router,
    ) -> (Known, Option<Result<Arc<Router>, InvalidRoute>>) {
        let Some(object) = Metadata::namespace(metadata, &self.namespace) else {
            return (Known::Nothing, None);
        };
        let bytes = object.encoded_len() * BYTES_PER_BYTE;
        let config = match parse_route(&struct_to_json(object)) {
            Ok(config) => config,
            Err(error) => {
                let namespace = &self.namespace;
                log::error!(
                    "pinroute: configuration in the metadata `{namespace}` of a route refused: {error}"
                );
                return (Known::Invalid, Some(Err(InvalidRoute)));
            }
        };
        let known = Known::Config(config.id());
        let digest = Digest::of_numbers(0, config.id());
        let router = match self.routers.get(digest) {
            Some(router) => Arc::clone(router),
            None => {
                log::info!("pinroute: configuration of a route loaded: {config}");
                let router = Router::of_route(config, plugin);
                self.routers.insert(digest, Arc::clone(&router), size_of::<Router>() + bytes);
                router
            }
        };
        (known, Some(Ok(router)))
    }
}
