//! The runtime layer.

use std::collections::BTreeMap;

use pinroute_core::key::MAX_KEY;
use pinroute_core::shard::MAX_HOSTS;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Edit, Invalid, State, fits};

/// The longest name of a runtime value, in bytes: a key has room, with prefix and suffix.
const MAX_RUNTIME_KEY: usize = 2 * MAX_KEY;

/// How much of an offending value a message repeats, in characters.
const MAX_SHOWN: usize = 120;

/// A runtime value: a number, a boolean or a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RuntimeValue(Value);

impl RuntimeValue {
    /// A whole number.
    pub fn count(number: u32) -> Self {
        Self(number.into())
    }

    /// The value in JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Checks the value of a runtime key. The filter's numbers have to be whole and in range; others may be any scalar.
    pub(super) fn new(field: &str, prefix: &str, key: &str, value: &Value) -> Result<Self, Invalid> {
        if is_count(prefix, key) {
            return Ok(Self::count(count(field, value)?));
        }
        match value {
            Value::Number(number) if number.as_f64().is_some_and(f64::is_finite) => Ok(Self(value.clone())),
            Value::Bool(_) | Value::String(_) => Ok(Self(value.clone())),
            _ => Err(Invalid::new(
                field,
                format!("got {}; allowed: a number, a boolean or a text", shown(value)),
            )),
        }
    }

    /// A value that was stored.
    pub(super) fn stored(value: Value) -> Self {
        Self(value)
    }
}

/// Whether the filter reads this runtime key as a number of hosts.
fn is_count(prefix: &str, key: &str) -> bool {
    let rest = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
    rest.is_some_and(|rest| {
        matches!(rest, "total_hosts" | "default_shard_size" | "replicas") || rest.ends_with(".shard_size")
    })
}

/// A whole number of hosts; `8.0` counts as 8.
pub(super) fn count(field: &str, value: &Value) -> Result<u32, Invalid> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0);
    match number.filter(|number| (1.0..=f64::from(MAX_HOSTS)).contains(number)) {
        // In range, so nothing is cut off.
        Some(number) => Ok(number as u32),
        None => {
            let allowed = format!("a whole number from 1 to {MAX_HOSTS}");
            Err(Invalid::new(field, format!("got {}; allowed: {allowed}", shown(value))))
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

impl State {
    /// Replaces all runtime values.
    ///
    /// # Errors
    /// The first value or key that is not allowed.
    pub fn replace_runtime(&self, prefix: &str, values: &Map<String, Value>) -> Result<Vec<Edit>, Invalid> {
        let mut wanted = BTreeMap::new();
        for (key, value) in values {
            wanted.insert(key, checked(prefix, key, value)?);
        }
        let gone = self.runtime.keys().filter(|key| !wanted.contains_key(key));
        let mut edits: Vec<_> = gone.map(|key| Edit::Runtime(key.clone(), None)).collect();
        edits.extend(wanted.into_iter().filter_map(|(key, value)| self.set(key, value)));
        Ok(edits)
    }

    /// Merges runtime values; null removes one.
    ///
    /// # Errors
    /// The first value or key that is not allowed.
    pub fn merge_runtime(&self, prefix: &str, values: &Map<String, Value>) -> Result<Vec<Edit>, Invalid> {
        let mut edits = Vec::new();
        for (key, value) in values {
            if value.is_null() {
                valid_name(key)?;
                edits.extend(self.runtime.contains_key(key).then(|| Edit::Runtime(key.clone(), None)));
            } else {
                edits.extend(self.set(key, checked(prefix, key, value)?));
            }
        }
        Ok(edits)
    }

    /// The shard size of one customer.
    ///
    /// # Errors
    /// A key that is not allowed.
    pub fn customer(&self, prefix: &str, key: &str) -> Result<Option<&RuntimeValue>, Invalid> {
        Ok(self.runtime.get(&customer_key(prefix, key)?))
    }

    /// Sets the shard size of one customer, or removes it.
    ///
    /// # Errors
    /// A key or a size that is not allowed.
    pub fn set_customer(
        &self,
        prefix: &str,
        key: &str,
        shard_size: Option<&Value>,
    ) -> Result<Vec<Edit>, Invalid> {
        let key = customer_key(prefix, key)?;
        Ok(match shard_size {
            None if self.runtime.contains_key(&key) => vec![Edit::Runtime(key, None)],
            None => Vec::new(),
            Some(size) => {
                let size = RuntimeValue::count(count("shard_size", size)?);
                self.set(&key, size).into_iter().collect()
            }
        })
    }

    /// The edit that sets a value, if it is another one.
    pub(super) fn set(&self, key: &str, value: RuntimeValue) -> Option<Edit> {
        (self.runtime.get(key) != Some(&value)).then(|| Edit::Runtime(key.to_owned(), Some(value)))
    }
}

fn checked(prefix: &str, key: &str, value: &Value) -> Result<RuntimeValue, Invalid> {
    valid_name(key)?;
    let field = format!("values.{key}");
    if let Some(customer) = customer_of(prefix, key) {
        valid_customer(&field, customer)?;
    }
    RuntimeValue::new(&field, prefix, key, value)
}

fn valid_name(key: &str) -> Result<(), Invalid> {
    if !fits(key, MAX_RUNTIME_KEY) {
        let problem = format!(
            "got the name {}; allowed: 1 to {MAX_RUNTIME_KEY} bytes without control characters",
            shown(&key.into())
        );
        return Err(Invalid::new("values", problem));
    }
    Ok(())
}

/// The customer whose shard size the filter reads under this name.
fn customer_of<'k>(prefix: &str, key: &'k str) -> Option<&'k str> {
    let rest = key.strip_prefix(prefix)?.strip_prefix('.')?;
    let customer = rest.strip_suffix(".shard_size")?;
    Some(customer.strip_prefix("customer.").unwrap_or(customer))
}

fn valid_customer(field: &str, key: &str) -> Result<(), Invalid> {
    if !fits(key, MAX_KEY) {
        let problem =
            format!("got {}; allowed: 1 to {MAX_KEY} bytes without control characters", shown(&key.into()));
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

fn customer_key(prefix: &str, key: &str) -> Result<String, Invalid> {
    valid_customer("KEY", key)?;
    Ok(format!("{prefix}.customer.{key}.shard_size"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn state(value: Value) -> State {
        let mut state = State::default();
        let edits = state.replace_runtime("p", &values(value)).unwrap();
        state.apply(edits, 1);
        state
    }

    fn shown(state: &State) -> Value {
        serde_json::to_value(&state.runtime).unwrap()
    }

    #[test]
    fn a_replacement_removes_what_it_does_not_name_and_a_merge_what_is_null() {
        let mut state = state(json!({ "p.total_hosts": 8, "p.customer.a.shard_size": 2, "x": "y" }));
        let edits =
            state.merge_runtime("p", &values(json!({ "x": null, "p.total_hosts": 9, "n": null }))).unwrap();
        assert_eq!(edits.len(), 2, "{edits:?}");
        state.apply(edits, 2);
        assert_eq!(shown(&state), json!({ "p.total_hosts": 9, "p.customer.a.shard_size": 2 }));
        let edits = state.replace_runtime("p", &values(json!({ "b": true }))).unwrap();
        state.apply(edits, 3);
        assert_eq!((shown(&state), state.changed.runtime), (json!({ "b": true }), 3));
        assert_eq!(state.replace_runtime("p", &values(json!({ "b": true }))).unwrap(), [], "nothing changes");
    }

    #[test]
    fn numbers_of_hosts_are_whole_and_in_range() {
        for key in [
            "p.total_hosts",
            "p.default_shard_size",
            "p.replicas",
            "p.customer.a.shard_size",
            "p.a.shard_size",
        ] {
            let check = |value: Value| State::default().merge_runtime("p", &values(json!({ key: value })));
            assert_eq!(
                check(json!(8.0)).unwrap(),
                [Edit::Runtime(key.to_owned(), Some(RuntimeValue::count(8)))]
            );
            for bad in [
                json!(0),
                json!(-1),
                json!(8.5),
                json!("8"),
                json!(65537),
                json!(true),
                json!([]),
                json!(1e300),
            ] {
                let error = check(bad.clone()).unwrap_err();
                assert_eq!(error.field, format!("values.{key}"), "{bad}");
                assert!(error.problem.starts_with(&format!("got {bad}; allowed: a whole number")), "{error}");
            }
        }
        let other = |value: Value| State::default().merge_runtime("p", &values(json!({ "other": value })));
        assert!(other(json!(0.5)).is_ok() && other(json!("8")).is_ok() && other(json!(false)).is_ok());
        assert!(other(json!([1])).is_err() && other(json!({})).is_err());
    }

    #[test]
    fn keys_have_a_length() {
        for key in ["", &"k".repeat(513), "a\nb"] {
            assert_eq!(
                State::default().merge_runtime("p", &values(json!({ key: 1 }))).unwrap_err().field,
                "values"
            );
        }
        let long = "k".repeat(257);
        for customer in ["customer.", "customer.customer.", "", &format!("customer.{long}"), &long] {
            let key = format!("p.{customer}.shard_size");
            let error = State::default().merge_runtime("p", &values(json!({ &key: 1 })));
            let is_fine = customer.ends_with("customer.customer.");
            assert_eq!(error.map_err(|error| error.field).err(), (!is_fine).then(|| format!("values.{key}")));
            assert!(
                State::default().merge_runtime("p", &values(json!({ key: null }))).is_ok(),
                "to get rid of it"
            );
        }
        for key in ["", &"k".repeat(257), "a\0"] {
            let error = State::default().set_customer("p", key, Some(&json!(2))).unwrap_err();
            assert_eq!(error.field, "KEY");
        }
        let edits = State::default().set_customer("p", "a.b/c", Some(&json!(2.0))).unwrap();
        let key = "p.customer.a.b/c.shard_size".to_owned();
        assert_eq!(edits, [Edit::Runtime(key, Some(RuntimeValue::count(2)))]);
        assert_eq!(
            State::default().set_customer("p", "a", Some(&json!("2"))).unwrap_err().field,
            "shard_size"
        );
    }
}
