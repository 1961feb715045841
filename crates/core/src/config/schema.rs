//! The JSON Schema of the configuration, generated from its types.

use super::wire::Document;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Value, json};

/// The JSON Schema (draft 2020-12) of a plugin's configuration.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.with_transform(RefuseNull).into_generator().into_root_schema_for::<Document>().to_value()
}

/// The JSON Schema of Envoy configurations, as far as plugin configurations are concerned: those of filters whose name contains
/// `pinroute`, and those in the metadata `pinroute` of virtual hosts and routes. It refers to the file of [`schema`] beside it.
pub fn envoy_schema() -> Value {
    let plugin = json!({
        "if": { "type": "object", "not": { "required": ["json"] } },
        "then": { "$ref": "pinroute.schema.json" }
    });
    let within = |names: &[&str], schema: Value| {
        names.iter().rev().fold(schema, |schema, name| match name.strip_suffix("[]") {
            Some(list) => json!({ "properties": { list: { "items": schema } } }),
            None => json!({ "properties": { *name: schema } }),
        })
    };
    let filter = json!({
        "if": { "properties": { "name": { "pattern": "pinroute" } }, "required": ["name"] },
        "then": within(&["typed_config", "config", "configuration", "value"], plugin.clone())
    });
    let metadata = within(&["metadata", "filter_metadata", "pinroute"], plugin);
    let hosts = json!({ "allOf": [metadata, within(&["routes[]"], metadata.clone())] });
    let manager = json!({ "allOf": [
        within(&["http_filters[]"], filter),
        within(&["route_config", "virtual_hosts[]"], hosts)
    ] });
    let mut schema =
        within(&["static_resources", "listeners[]", "filter_chains[]", "filters[]", "typed_config"], manager);
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".to_owned(), "Envoy configuration with pinroute filters".into());
    }
    schema
}

/// Removes `null` and `default` from the schema: a field that is not set is left out.
#[derive(Clone)]
struct RefuseNull;

impl Transform for RefuseNull {
    fn transform(&mut self, schema: &mut Schema) {
        schema.remove("default");
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("enum") {
            choices.retain(|choice| !choice.is_null());
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                for (name, value) in only {
                    schema.ensure_object().entry(name).or_insert(value);
                }
            }
        }
        transform_subschemas(self, schema);
    }
}
