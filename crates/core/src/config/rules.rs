//! Rules that several fields share.

use super::error::{ConfigError, is_secret, shown_at};
use super::scalar::Authority;
use crate::authority::of_cluster;
use crate::key::KeySource;
use crate::template::{Slot, Template, TemplateError};
use serde_json::Value;

/// The result of a validation.
pub type Result<T> = std::result::Result<T, ConfigError>;

/// Refuses two fields of which only one may be set.
pub fn at_most_one(path: &str, fields: &[(&str, bool)]) -> Result<()> {
    let mut set = fields.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name);
    match (set.next(), set.next()) {
        (Some(one), Some(other)) => {
            let path = if path.is_empty() { other.to_owned() } else { format!("{path}.{other}") };
            let problem = format!("got both `{one}` and `{other}`");
            Err(ConfigError::new(path, problem, format!("exactly one of {}", names(fields))))
        }
        _ => Ok(()),
    }
}

/// Refuses anything but exactly one of some fields.
pub fn exactly_one(path: &str, fields: &[(&str, bool)]) -> Result<()> {
    at_most_one(path, fields)?;
    if fields.iter().any(|(_, is_set)| *is_set) {
        return Ok(());
    }
    Err(ConfigError::new(path, "got none of its fields", format!("exactly one of {}", names(fields))))
}

fn names(fields: &[(&str, bool)]) -> String {
    fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Refuses a key of several parts where something takes only one.
pub fn single_part(key: &KeySource, path: &str, what: &str) -> Result<()> {
    if key.is_single() {
        return Ok(());
    }
    let parts = key.names().collect::<Vec<_>>().join(", ");
    let problem = format!("got a key of several parts: {parts}");
    Err(ConfigError::new(path, problem, format!("{what} only with a key of one part")))
}

/// Reads a template.
pub fn read_template(
    path: &str,
    text: &str,
    allowed: &str,
    slot: impl Fn(&str) -> Option<Slot>,
) -> Result<Template> {
    let value = shown_at(path, &Value::from(text));
    Template::parse(text, slot).map_err(|error| {
        let problem = match error {
            TemplateError::Unknown(_) if is_secret(path) => {
                format!("got {value} with an unknown placeholder")
            }
            TemplateError::Unknown(name) => format!("got {value} with the unknown placeholder {{{name}}}"),
            TemplateError::Unbalanced => format!("got {value} with a brace without its partner"),
        };
        ConfigError::new(path, problem, allowed)
    })
}

/// Refuses a template that gives no well-formed text.
pub fn well_formed(
    path: &str,
    text: &str,
    template: Template,
    fits: impl Fn(&str) -> bool,
) -> Result<Template> {
    if fits(&template.example()) {
        return Ok(template);
    }
    let allowed = "a text that is well-formed once its placeholders are replaced";
    Err(ConfigError::value(path, &Value::from(text), allowed))
}

/// The `:authority` of calls to a cluster.
pub fn authority(configured: Option<Authority>, cluster: &str) -> String {
    configured.map_or_else(|| of_cluster(cluster).to_owned(), |authority| authority.0)
}
