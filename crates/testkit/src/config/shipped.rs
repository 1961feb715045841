//! Loading a shipped configuration and changing it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::addresses::{Address, AddressMap};
use super::tree::{find_all, find_mut, text, walk};
use crate::adapter::MODULE;
use crate::paths;

/// The folder of the files in the container, which the shipped configurations name.
const FILES: &str = "/etc/envoy/";
/// The Wasm filter's type, without which a filter has no plugin configuration.
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// An Envoy configuration as a JSON document, loaded from YAML.
#[derive(Debug, Clone)]
pub struct Shipped {
    name: String,
    document: Value,
}

impl Shipped {
    /// Loads a file of the project's folder `envoy/`, such as `envoy.yaml`.
    ///
    /// # Errors
    /// If it cannot be read or is no YAML.
    pub fn load(name: &str) -> Result<Self> {
        let path = paths::shipped_configs().join(name);
        let yaml = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(name, &yaml)
    }

    /// Parses a document; messages show `name`.
    ///
    /// # Errors
    /// If it is no YAML.
    pub fn parse(name: &str, yaml: &str) -> Result<Self> {
        let document = serde_saphyr::from_str(yaml).with_context(|| format!("{name} is not valid YAML"))?;
        Ok(Self { name: name.to_owned(), document })
    }

    /// The names of all shipped configurations, those of recipes, of rivals and of the dynamic module too, sorted.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn list() -> Result<Vec<String>> {
        let mut names = Vec::new();
        for folder in ["", "native/", "recipes/", "rivals/"] {
            let dir = paths::shipped_configs().join(folder);
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".yaml") {
                    names.push(format!("{folder}{name}"));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The document, as Envoy will get it.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.document
    }

    /// Changes the document in any way. Only Envoy checks the result.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) -> &mut Self {
        change(&mut self.document);
        self
    }

    /// Every value of the field `key`, anywhere in the document.
    #[must_use]
    pub fn find_all(&self, key: &str) -> Vec<&Value> {
        let mut found = Vec::new();
        find_all(&self.document, key, &mut found);
        found
    }

    // === Addresses and files ===

    /// Replaces every `socket_address` by means of the map.
    ///
    /// # Errors
    /// If the map does not cover one; the message names it.
    pub fn replace_addresses(&mut self, map: &AddressMap) -> Result<&mut Self> {
        let uncovered = map.apply(&mut self.document);
        ensure!(
            uncovered.is_empty(),
            "{}: the address map does not cover {}; it has {map}",
            self.name,
            uncovered.join(", ")
        );
        Ok(self)
    }

    /// As [`replace_addresses`](Self::replace_addresses), but leaves alone what the map does not cover.
    pub fn replace_known_addresses(&mut self, map: &AddressMap) -> &mut Self {
        map.apply(&mut self.document);
        self
    }

    /// Replaces a port where it is written into a text, as in `allowed_targets: ["server-*:8081"]`: every
    /// `:FROM` that no digit follows becomes `:TO`.
    pub fn replace_port_in_texts(&mut self, from: u16, to: u16) -> &mut Self {
        walk(&mut self.document, &mut |value| {
            if let Value::String(text) = value {
                *text = with_port(text, from, to);
            }
        });
        self
    }

    /// Replaces the container's file names by the project's: `/etc/envoy/pinroute.wasm` by that of
    /// `dist/`, any other `/etc/envoy/X` by `envoy/X`.
    ///
    /// # Errors
    /// If such a file does not exist; for the filter the message names the command that builds it.
    pub fn replace_files(&mut self) -> Result<&mut Self> {
        let mut missing = None;
        walk(&mut self.document, &mut |value| {
            let Some(file) = value.as_str().and_then(|text| text.strip_prefix(FILES)) else { return };
            let path = local(file);
            if !path.exists() {
                missing = Some(path.clone());
            }
            *value = json!(path.to_string_lossy());
        });
        match missing {
            None => Ok(self),
            Some(path) if path == paths::wasm() => bail!("{} is missing: run `make wasm`", path.display()),
            Some(path) => bail!("{} names {}, which is missing", self.name, path.display()),
        }
    }

    // === Parts of the document ===

    /// The static cluster of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn cluster(&mut self, name: &str) -> Result<&mut Value> {
        let clusters = self.document.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut);
        clusters
            .and_then(|all| all.iter_mut().find(|cluster| text(cluster, "name") == Some(name)))
            .with_context(|| format!("{} has no cluster {name:?}", self.name))
    }

    /// Adds a static cluster.
    ///
    /// # Errors
    /// If the document has no list of clusters.
    pub fn add_cluster(&mut self, cluster: Value) -> Result<&mut Self> {
        let clusters = self.document.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut);
        clusters.with_context(|| format!("{} has no static clusters", self.name))?.push(cluster);
        Ok(self)
    }

    /// Points every endpoint of a static cluster at one address.
    ///
    /// # Errors
    /// If there is no such cluster, or if it has no endpoint.
    pub fn point_cluster(&mut self, name: &str, to: &Address) -> Result<&mut Self> {
        let endpoints = self.cluster(name)?.get_mut("load_assignment");
        let endpoints = endpoints.with_context(|| format!("the cluster {name:?} has no load_assignment"))?;
        walk(endpoints, &mut |value| {
            if let Some(socket) = value.get_mut("socket_address") {
                *socket = json!({ "address": to.host, "port_value": to.port });
            }
        });
        Ok(self)
    }

    /// The entry of this name in the first `http_filters` that has one.
    ///
    /// # Errors
    /// If there is none.
    pub fn http_filter(&mut self, name: &str) -> Result<&mut Value> {
        let is_it = |filter: &Value| text(filter, "name") == Some(name);
        let has_it = |value: &Value| {
            value.get("http_filters").and_then(Value::as_array).is_some_and(|list| list.iter().any(is_it))
        };
        find_mut(&mut self.document, &has_it)
            .and_then(|manager| manager.get_mut("http_filters")?.as_array_mut())
            .and_then(|list| list.iter_mut().find(|filter| is_it(filter)))
            .with_context(|| format!("{} has no HTTP filter {name:?}", self.name))
    }

    /// Gives a filter another configuration, as JSON text.
    ///
    /// # Errors
    /// If there is no such filter, or if it is neither Wasm nor a dynamic module.
    pub fn plugin_config(&mut self, filter: &str, config: &Value) -> Result<&mut Self> {
        self.plugin_config_text(filter, &config.to_string())
    }

    /// Gives a filter any text as its configuration, valid JSON or not.
    ///
    /// # Errors
    /// If there is no such filter, or if it is neither Wasm nor a dynamic module.
    pub fn plugin_config_text(&mut self, filter: &str, text: &str) -> Result<&mut Self> {
        let string = json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text });
        self.plugin_config_any(filter, string)
    }

    /// Gives a filter another configuration, as a `google.protobuf.Struct`, in which every number is
    /// a double.
    ///
    /// # Errors
    /// If there is no such filter, or if it is neither Wasm nor a dynamic module.
    pub fn plugin_config_struct(&mut self, filter: &str, config: &Value) -> Result<&mut Self> {
        let any = json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": config });
        self.plugin_config_any(filter, any)
    }

    fn plugin_config_any(&mut self, filter: &str, any: Value) -> Result<&mut Self> {
        let typed = self.http_filter(filter)?.get_mut("typed_config");
        let typed = typed.with_context(|| format!("the filter {filter:?} has no typed_config"))?;
        if text(typed, "@type") == Some(MODULE) {
            if let Some(module) = typed.as_object_mut() {
                module.insert("filter_config".to_owned(), any);
            }
            return Ok(self);
        }
        ensure!(
            text(typed, "@type") == Some(WASM),
            "the filter {filter:?} is neither Wasm nor a dynamic module"
        );
        let plugin = typed.get_mut("config").and_then(Value::as_object_mut);
        plugin
            .with_context(|| format!("the filter {filter:?} has no config"))?
            .insert("configuration".to_owned(), any);
        Ok(self)
    }
}

/// Where a file of the container's `/etc/envoy/` is in the project.
fn local(file: &str) -> PathBuf {
    let wasm = paths::wasm();
    if wasm.file_name().is_some_and(|name| Path::new(file) == Path::new(name)) {
        wasm
    } else {
        paths::shipped_configs().join(file)
    }
}

fn with_port(text: &str, from: u16, to: u16) -> String {
    let (from, to) = (format!(":{from}"), format!(":{to}"));
    let mut parts = text.split(from.as_str());
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A longer number that begins with the same digits.
        let longer = part.starts_with(|c: char| c.is_ascii_digit());
        result.push_str(if longer { &from } else { &to });
        result.push_str(part);
    }
    result
}

#[cfg(test)]
mod tests;
