//! Finds the configurations in a file: a plugin configuration, or the filters in an Envoy configuration and the metadata of
//! its routes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use pinroute_core::config::{self, Config, ConfigError, PluginConfig};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::Value;

use crate::error::ReadError;
use crate::node::Node;
use crate::wiring::{Wiring, clusters, override_headers};

/// The word that marks a filter as one of this project.
const MARK: &str = "pinroute";

/// A configuration in a file.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name in messages; empty if it is all of the file.
    pub name: String,
    /// The line where it begins.
    pub line: Option<u64>,
    /// What the file says around it.
    pub wiring: Wiring,
    /// The plugin whose routes it belongs to, by its place in the list; `None` if it is a plugin's.
    pub plugin: Option<usize>,
    content: Content,
    /// The document or the part of it that has the lines of its fields.
    node: Option<Node>,
    /// What is added to these lines.
    offset: u64,
}

#[derive(Clone, Debug)]
enum Content {
    /// What Envoy hands to the filter.
    Plugin(Vec<u8>),
    /// The object in a route's metadata.
    Route(Value),
    /// What Envoy hands to a dynamic module as the configuration of a route.
    RouteText(Vec<u8>),
    /// Envoy hands over nothing that can be known here.
    Unknown(ConfigError),
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// A plugin's.
    Plugin(Box<PluginConfig>),
    /// A route's.
    Route(Box<Config>),
}

impl Parsed {
    /// How requests are decided.
    pub fn config(&self) -> &Config {
        match self {
            Self::Plugin(plugin) => &plugin.config,
            Self::Route(config) => config,
        }
    }
}

impl Found {
    /// Reads it as the filter does.
    ///
    /// # Errors
    /// The filter's own.
    pub fn parse(&self) -> Result<Parsed, ConfigError> {
        match &self.content {
            Content::Plugin(bytes) => config::parse(bytes).map(|plugin| Parsed::Plugin(Box::new(plugin))),
            Content::Route(value) => config::parse_route(value).map(|config| Parsed::Route(Box::new(config))),
            Content::RouteText(bytes) => {
                config::parse_route_text(bytes).map(|config| Parsed::Route(Box::new(config)))
            }
            Content::Unknown(error) => Err(error.clone()),
        }
    }

    /// Whether it is a file without any content.
    pub fn is_blank(&self) -> bool {
        self.name.is_empty() && matches!(&self.content, Content::Plugin(bytes) if bytes.is_empty())
    }

    /// The line of a field.
    pub fn line_of(&self, path: &str) -> Option<u64> {
        let line = self.node.as_ref().and_then(|node| node.line_of(path)).map(|line| line + self.offset);
        line.or(self.line)
    }
}

/// All configurations in a file.
///
/// # Errors
/// [`ReadError`]
pub fn configurations(bytes: &[u8]) -> Result<Vec<Found>, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::NotText)?;
    let documents = match Node::read_all(text) {
        Ok(documents) => documents,
        // What is meant as JSON gets the filter's own message.
        Err(_) if text.trim_start().starts_with('{') => return Ok(vec![whole(bytes.to_vec(), None)]),
        Err(error) => return Err(error),
    };
    if !documents.iter().any(is_envoy) {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        return match <[Node; 1]>::try_from(documents) {
            // JSON as it stands, with the members that YAML would not accept twice.
            Ok([node]) if is_json => Ok(vec![whole(bytes.to_vec(), Some(node))]),
            Ok([node]) if node.is_null() => Ok(vec![whole(Vec::new(), None)]),
            // A single word is what the filter calls no JSON.
            Ok([node]) if node.text().is_some() => Ok(vec![whole(bytes.to_vec(), None)]),
            Ok([node]) => Ok(vec![whole(node.to_value().to_string().into_bytes(), Some(node))]),
            Err(documents) if documents.is_empty() => {
                Ok(vec![whole(if is_json { bytes.to_vec() } else { Vec::new() }, None)])
            }
            Err(documents) => {
                let line = documents.get(1).map(|second| second.line);
                Err(ReadError::NotYaml { message: "more than one document".to_owned(), line })
            }
        };
    }
    let (clusters, override_headers) = (clusters(&documents), override_headers(&documents));
    let mut finder = Finder { clusters, override_headers, ..Finder::default() };
    documents.iter().for_each(|document| finder.walk(document, None, None));
    if finder.found.is_empty() {
        return Err(ReadError::NoFilter);
    }
    let plugins = finder.found.len();
    for plugin in 0..plugins {
        if let Some(namespace) = finder.namespaces.get(plugin).cloned().flatten() {
            let others = finder.found.len();
            documents.iter().for_each(|document| finder.walk_routes(document, plugin, &namespace, None));
            let lacks_metadata = finder.found.len() == others;
            if let Some(found) = finder.found.get_mut(plugin) {
                found.wiring.lacks_metadata = lacks_metadata;
            }
        }
    }
    finder.name_apart();
    Ok(finder.found)
}

/// A file that is a plugin's configuration.
fn whole(bytes: Vec<u8>, node: Option<Node>) -> Found {
    let content = Content::Plugin(bytes);
    let (name, wiring) = (String::new(), Wiring::default());
    Found { name, line: None, wiring, plugin: None, content, node, offset: 0 }
}

/// Whether a document is an Envoy configuration, or a part of one.
fn is_envoy(document: &Node) -> bool {
    const SIGNS: [&str; 6] =
        ["static_resources", "dynamic_resources", "admin", "node", "layered_runtime", "resources"];
    SIGNS.iter().any(|sign| document.get(sign).is_some()) || holds_plugin(document)
}

/// What makes a node the configuration of a Wasm plugin or of a dynamic module.
fn is_plugin(node: &Node) -> bool {
    ["vm_config", "dynamic_module_config"].iter().any(|sign| node.get(sign).is_some_and(Node::is_object))
}

fn holds_plugin(node: &Node) -> bool {
    is_plugin(node)
        || node.elements().iter().any(holds_plugin)
        || node.members().iter().any(|member| holds_plugin(&member.value))
}

#[derive(Default)]
struct Finder<'d> {
    found: Vec<Found>,
    /// For each plugin that was found, the namespace of its routes' configurations.
    namespaces: Vec<Option<Namespace>>,
    /// The clusters of the file.
    clusters: Option<Arc<BTreeSet<String>>>,
    /// The headers by which they select endpoints.
    override_headers: Arc<BTreeSet<String>>,
    /// The connection manager of the last plugin that was found.
    manager: Option<&'d Node>,
}

/// A namespace of metadata in which a plugin looks for configurations.
#[derive(Clone, Debug)]
struct Namespace {
    name: String,
    /// Whether the plugin is a dynamic module, to which Envoy shows less.
    is_module: bool,
}

impl<'d> Finder<'d> {
    /// `manager` is the connection manager around this node, `filter` the entry of its list of filters.
    fn walk(&mut self, node: &'d Node, manager: Option<&'d Node>, filter: Option<&'d Node>) {
        let manager = if node.get("http_filters").is_some() { Some(node) } else { manager };
        let is_filter = node.get("name").is_some() && node.get("typed_config").is_some();
        let filter = if is_filter { Some(node) } else { filter };
        if is_plugin(node) {
            self.add_plugin(node, manager, filter);
            return;
        }
        node.elements().iter().for_each(|element| self.walk(element, manager, filter));
        node.members().iter().for_each(|member| self.walk(&member.value, manager, filter));
    }

    fn add_plugin(&mut self, plugin: &Node, manager: Option<&'d Node>, filter: Option<&Node>) {
        let filter_name = filter.map(|filter| filter.text_at(&["name"])).unwrap_or_default();
        let names = [
            filter_name,
            plugin.text_at(&["name"]),
            plugin.text_at(&["root_id"]),
            plugin.text_at(&["vm_config", "vm_id"]),
            plugin.text_at(&["vm_config", "code", "local", "filename"]),
            plugin.text_at(&["vm_config", "code", "remote", "http_uri", "uri"]),
            plugin.text_at(&["filter_name"]),
            plugin.text_at(&["per_route_config_name"]),
            plugin.text_at(&["dynamic_module_config", "name"]),
        ];
        if !names.iter().any(|name| name.to_ascii_lowercase().contains(MARK)) {
            return;
        }
        let name = names.iter().find(|name| !name.is_empty()).copied().unwrap_or(MARK);
        let mut wiring = manager.map(|manager| Wiring::of(manager, filter)).unwrap_or_default();
        wiring.clusters = self.clusters.clone();
        wiring.override_headers = Arc::clone(&self.override_headers);
        let policy = plugin.get("failure_policy").filter(|policy| policy.text() == Some("FAIL_OPEN"));
        let older = plugin.get("fail_open").filter(|open| open.is_true());
        wiring.fails_open = policy.or(older).map(|node| node.line);
        if let Some(manager) = manager {
            // Once, if a connection manager has several of these filters.
            if !self.manager.replace(manager).is_some_and(|last| std::ptr::eq(last, manager)) {
                wiring.find_unknown_filters(manager);
            }
        }
        let configuration = plugin.get("configuration").or_else(|| plugin.get("filter_config"));
        let (mut content, node, offset) = match configuration {
            None => (Content::Plugin(Vec::new()), None, 0),
            Some(any) => of_any(any),
        };
        let is_of_route = plugin.get("per_route_config_name").is_some();
        if is_of_route && let Content::Plugin(bytes) = content {
            content = Content::RouteText(bytes);
        }
        let kind = if is_of_route { "route's filter" } else { "filter" };
        let is_module = plugin.get("dynamic_module_config").is_some();
        self.namespaces.push(namespace(&content).map(|name| Namespace { name, is_module }));
        self.found.push(Found {
            name: format!("{kind} {name}"),
            line: Some(configuration.unwrap_or(plugin).line),
            wiring,
            plugin: None,
            content,
            node,
            offset,
        });
    }

    /// Adds the configurations in the metadata of virtual hosts and routes. `outer` names the one that this node is in.
    fn walk_routes(&mut self, node: &Node, plugin: usize, namespace: &Namespace, outer: Option<&str>) {
        for (list, kind) in [("virtual_hosts", "virtual host"), ("routes", "route")] {
            for element in node.get(list).map(Node::elements).unwrap_or_default() {
                let name = match (element.text_at(&["name"]), outer) {
                    ("", Some(outer)) => format!("{kind} at line {} of {outer}", element.line),
                    ("", None) => format!("{kind} at line {}", element.line),
                    (name, _) => format!("{kind} {name}"),
                };
                if let Some(object) = element.at(&["metadata", "filter_metadata", &namespace.name]) {
                    self.found.push(Found {
                        name: name.clone(),
                        line: Some(object.line),
                        wiring: Wiring { clusters: self.clusters.clone(), ..Wiring::default() },
                        plugin: Some(plugin),
                        content: namespace.content(list, object),
                        node: Some(object.clone()),
                        offset: 0,
                    });
                }
                self.walk_routes(element, plugin, namespace, Some(&name));
            }
        }
        let is_list = |name: &str| matches!(name, "virtual_hosts" | "virtualHosts" | "routes");
        let inner = node.members().iter().filter(|member| !is_list(&member.name)).map(|member| &member.value);
        inner.chain(node.elements()).for_each(|inner| self.walk_routes(inner, plugin, namespace, outer));
    }

    /// Gives those of the same name their lines.
    fn name_apart(&mut self) {
        let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for found in &self.found {
            if !seen.insert(found.name.clone()) {
                twice.insert(found.name.clone());
            }
        }
        for found in self.found.iter_mut().filter(|found| twice.contains(&found.name)) {
            found.name += &format!(" at line {}", found.line.unwrap_or_default());
        }
    }
}

impl Namespace {
    /// What Envoy shows the plugin of an object in the metadata of a member of this list.
    fn content(&self, list: &str, object: &Node) -> Content {
        let hidden = |problem: String, allowed| Content::Unknown(ConfigError::new("", problem, allowed));
        let holds_more = |value: &Node| value.is_object() || !value.elements().is_empty();
        if self.is_module && list == "virtual_hosts" {
            let problem =
                "in the metadata of a virtual host, which Envoy shows to no dynamic module".to_owned();
            return hidden(
                problem,
                "the virtual host's `typed_per_filter_config`, or the metadata of its routes",
            );
        }
        if self.is_module && object.members().iter().any(|member| holds_more(&member.value)) {
            let problem = "an object in metadata, which Envoy shows to no dynamic module".to_owned();
            return hidden(problem, "a single member `json` with the configuration as text");
        }
        Content::Route(as_envoy_does(object))
    }
}

/// What Envoy hands to a filter for this `google.protobuf.Any`, the part of the document that has its lines, and what is added
/// to these.
fn of_any(any: &Node) -> (Content, Option<Node>, u64) {
    let kind = any.text_at(&["@type"]);
    let value = any.get("value").filter(|value| !value.is_null());
    let empty = || (Content::Plugin(Vec::new()), None, 0);
    let wrong = |problem: String, allowed: &str| {
        (Content::Unknown(ConfigError::new("configuration", problem, allowed)), None, 0)
    };
    if any.is_null() || (any.is_object() && any.members().is_empty()) {
        return empty();
    }
    // Envoy refuses the file for what follows; so it does for a type that is no URL.
    if let Some(other) =
        any.members().iter().find(|member| !matches!(member.name.as_str(), "@type" | "value"))
    {
        let problem = format!("got {:?} beside the type", other.name);
        return wrong(problem, "the configuration within `value`");
    }
    let name = kind.rsplit_once('/').map(|(_, name)| name).unwrap_or_default();
    match name.strip_prefix("google.protobuf.").unwrap_or_default() {
        "Struct" => match value {
            Some(object) if object.is_object() => {
                let bytes = to_struct(&object.to_value()).encode_to_vec();
                (Content::Plugin(bytes), Some(object.clone()), 0)
            }
            None => empty(),
            Some(other) => wrong(format!("got {} as the value of a Struct", other.to_value()), "an object"),
        },
        "StringValue" => match value.map(|value| (value, value.text())) {
            Some((value, Some(text))) => {
                // The line of a text of several lines is that of its first.
                let lines = text.trim_end().lines().count();
                let node = (lines > 1).then(|| Node::read_all(text).ok()?.into_iter().next()).flatten();
                (Content::Plugin(text.as_bytes().to_vec()), node, value.line.saturating_sub(1))
            }
            None => empty(),
            Some(_) => wrong("the value of a StringValue is not a text".to_owned(), "JSON as text"),
        },
        "BytesValue" => match value.map(|value| value.text().and_then(base64)) {
            Some(Some(bytes)) => (Content::Plugin(bytes), None, 0),
            None => empty(),
            Some(None) => wrong("the value of a BytesValue is not base64".to_owned(), "base64"),
        },
        _ => {
            let problem = format!("got the type {kind:?}");
            let allowed =
                "type.googleapis.com/google.protobuf.Struct, StringValue or BytesValue, with its `value`";
            wrong(problem, allowed)
        }
    }
}

/// Base64 as protobuf reads it in JSON: of either alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.trim_end_matches('=').replace('-', "+").replace('_', "/")).ok()
}

/// The namespace that a plugin reads its routes' configurations from, also if the configuration has a mistake elsewhere.
fn namespace(content: &Content) -> Option<String> {
    let Content::Plugin(bytes) = content else { return None };
    let document: Cow<'_, Value> = match serde_json::from_slice(bytes) {
        Ok(value) => Cow::Owned(value),
        Err(_) => Cow::Owned(pinroute_core::protobuf::struct_to_json(Struct::decode(bytes.as_slice()).ok()?)),
    };
    document.get("per_route")?.as_str().map(str::to_owned)
}

/// A document as it comes out of a Struct, in which all numbers are floating-point.
fn as_envoy_does(object: &Node) -> Value {
    match object.to_value() {
        value @ Value::Object(_) => pinroute_core::protobuf::struct_to_json(to_struct(&value)),
        value => value,
    }
}

/// The Struct of an object.
pub fn to_struct(value: &Value) -> Struct {
    let members = value.as_object().into_iter().flatten();
    Struct { fields: members.map(|(name, member)| (name.clone(), to_struct_value(member))).collect() }
}

fn to_struct_value(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(list) => {
            Kind::ListValue(ListValue { values: list.iter().map(to_struct_value).collect() })
        }
        Value::Object(_) => Kind::StructValue(to_struct(value)),
    };
    prost_types::Value { kind: Some(kind) }
}
