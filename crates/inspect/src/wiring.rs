//! How a file wires a filter: the routes that it is enabled for, and the names that the file knows.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::node::Node;

/// What a file says around a configuration.
#[derive(Clone, Debug, Default)]
pub struct Wiring {
    /// The routes that the filter is enabled for and that go to a cluster.
    pub routes: Vec<Route>,
    /// The file's clusters; `None` if Envoy may have others.
    pub clusters: Option<Arc<BTreeSet<String>>>,
    /// The headers by which clusters of the file select endpoints, in lower case.
    pub override_headers: Arc<BTreeSet<String>>,
    /// The line that lets requests pass while the filter's VM is lost.
    pub fails_open: Option<u64>,
    /// Whether the file has all routes of the connection manager.
    pub has_routes: bool,
    /// Whether no route has metadata in the namespace that the configuration reads.
    pub lacks_metadata: bool,
    /// The line of a filter that is disabled, if no route or virtual host enables it.
    pub never_enabled: Option<u64>,
    /// Filters that routes configure and that the connection manager does not have, with their lines.
    pub unknown_filters: Vec<(String, u64)>,
}

/// A route that the filter is enabled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in messages.
    pub name: String,
    /// Its line.
    pub line: u64,
    /// What its path begins with, if it selects by that.
    pub prefix: Option<String>,
    /// The header that names its cluster, in lower case.
    pub cluster_header: Option<String>,
}

/// The clusters in a file; `None` if Envoy also gets some from elsewhere, or all.
pub fn clusters(documents: &[Node]) -> Option<Arc<BTreeSet<String>>> {
    let is_dynamic =
        documents.iter().any(|document| document.at(&["dynamic_resources", "cds_config"]).is_some());
    let lists = documents.iter().filter_map(|document| document.at(&["static_resources", "clusters"]));
    let names = lists.flat_map(Node::elements).map(|cluster| cluster.text_at(&["name"]).to_owned());
    let names: BTreeSet<String> = names.collect();
    (!is_dynamic && !names.is_empty()).then(|| Arc::new(names))
}

/// The headers by which the clusters in a file select endpoints.
pub fn override_headers(documents: &[Node]) -> Arc<BTreeSet<String>> {
    let mut headers = BTreeSet::new();
    documents.iter().for_each(|document| add_override_headers(document, &mut headers));
    Arc::new(headers)
}

fn add_override_headers(node: &Node, headers: &mut BTreeSet<String>) {
    let sources = node.get("override_host_sources").map(Node::elements).unwrap_or_default();
    headers.extend(sources.iter().map(|source| source.text_at(&["header"]).to_ascii_lowercase()));
    node.elements().iter().for_each(|element| add_override_headers(element, headers));
    node.members().iter().for_each(|member| add_override_headers(&member.value, headers));
}

impl Wiring {
    /// The wiring of a filter, by its entry in the list of a connection manager.
    pub fn of(manager: &Node, filter: Option<&Node>) -> Self {
        let name = filter.map(|filter| filter.text_at(&["name"])).unwrap_or_default();
        let disabled = filter.and_then(|filter| filter.get("disabled")).filter(|disabled| disabled.is_true());
        let Some(table) = manager.get("route_config") else { return Self::default() };
        // With VHDS, Envoy asks for virtual hosts as it needs them.
        let has_routes = table.get("vhds").is_none();
        let state = |node: &Node, outer: bool| match per_filter(node, name) {
            Some(own) => own.get("disabled").is_some_and(Node::is_true),
            None => outer,
        };
        let is_disabled = state(table, disabled.is_some());
        let (mut routes, mut is_enabled) = (Vec::new(), !is_disabled);
        for host in table.get("virtual_hosts").map(Node::elements).unwrap_or_default() {
            let is_disabled = state(host, is_disabled);
            is_enabled |= !is_disabled;
            for route in host.get("routes").map(Node::elements).unwrap_or_default() {
                if !state(route, is_disabled) {
                    is_enabled = true;
                    routes.extend(Route::of(route));
                }
            }
        }
        let never_enabled = disabled.filter(|_| has_routes && !is_enabled).map(|disabled| disabled.line);
        Self { routes, has_routes, never_enabled, ..Self::default() }
    }

    /// Finds the filters that the routes of a connection manager configure and that it does not have.
    pub fn find_unknown_filters(&mut self, manager: &Node) {
        let mut known = BTreeSet::new();
        names(manager.get("http_filters"), &mut known);
        let Some(table) = manager.get("route_config") else { return };
        let hosts = table.get("virtual_hosts").map(Node::elements).unwrap_or_default();
        let routes = hosts.iter().filter_map(|host| host.get("routes")).flat_map(Node::elements);
        for node in std::iter::once(table).chain(hosts).chain(routes) {
            let configured = node.get("typed_per_filter_config").map(Node::members).unwrap_or_default();
            let unknown = configured.iter().filter(|member| !known.contains(member.name.as_str()));
            self.unknown_filters.extend(unknown.map(|member| (member.name.clone(), member.line)));
        }
    }
}

impl Route {
    fn of(route: &Node) -> Option<Self> {
        let action = route.get("route")?;
        let prefix = ["prefix", "path", "path_separated_prefix"]
            .iter()
            .find_map(|kind| route.at(&["match", kind]).and_then(Node::text));
        let name = match (route.text_at(&["name"]), prefix) {
            ("", Some(prefix)) => format!("route {prefix}"),
            ("", None) => format!("route at line {}", route.line),
            (name, _) => format!("route {name}"),
        };
        let cluster_header = action.get("cluster_header").and_then(Node::text).map(str::to_ascii_lowercase);
        Some(Self { name, line: route.line, prefix: prefix.map(str::to_owned), cluster_header })
    }
}

/// What a route, a virtual host or a table of routes configures for a filter. Names of filters are as they stand.
fn per_filter<'n>(node: &'n Node, filter: &str) -> Option<&'n Node> {
    let members = node.get("typed_per_filter_config")?.members();
    members.iter().find(|member| member.name == filter).map(|member| &member.value)
}

/// Adds all names below a node: a filter may stand inside another one.
fn names<'n>(node: Option<&'n Node>, known: &mut BTreeSet<&'n str>) {
    let Some(node) = node else { return };
    known.extend(node.get("name").and_then(Node::text));
    node.elements().iter().for_each(|element| names(Some(element), known));
    node.members().iter().for_each(|member| names(Some(&member.value), known));
}
