//! Walking through a JSON document.

use serde_json::Value;

/// Calls `visit` on every value, parents before children.
pub(crate) fn walk(value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, visit)),
        _ => {}
    }
}

/// Every value of the field `key`, parents before children.
pub(super) fn find_all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| find_all(item, key, found)),
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|field| find_all(field, key, found));
        }
        _ => {}
    }
}

/// The first object, parents before children, that `matches`.
pub(super) fn find_mut<'a>(value: &'a mut Value, matches: &impl Fn(&Value) -> bool) -> Option<&'a mut Value> {
    if matches(value) {
        return Some(value);
    }
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| find_mut(item, matches)),
        Value::Object(fields) => fields.values_mut().find_map(|field| find_mut(field, matches)),
        _ => None,
    }
}

/// The text under `key`, if `value` is an object that has one.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}
