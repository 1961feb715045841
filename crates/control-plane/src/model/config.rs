//! Plugin configurations that are pushed.

use serde_json::Value;

use super::{Edit, Invalid, State, name};

/// A plugin configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The commit that changed it last.
    pub revision: u64,
    /// The document.
    pub value: Value,
}

impl State {
    /// Sets a plugin configuration, which the filter's own code checks first; `None` removes it.
    ///
    /// # Errors
    /// The filter's own message.
    pub fn set_config(&self, config: &str, value: Option<&Value>) -> Result<Vec<Edit>, Invalid> {
        name("NAME", config)?;
        let known = self.configs.get(config).map(|known| &known.value);
        if let Some(value) = value {
            pinroute_core::config::parse(value.to_string().as_bytes())
                .map_err(|error| Invalid::semantic(error.path.clone(), error.to_string()))?;
        }
        let edit = (known != value).then(|| Edit::Config(config.to_owned(), value.cloned()));
        Ok(edit.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_filter_checks_what_it_will_get() {
        let good = json!({ "index": { "hosts": ["a:1"] } });
        let mut state = State::default();
        let edits = state.set_config("n", Some(&good)).unwrap();
        state.apply(edits, 4);
        assert_eq!(state.configs["n"], Config { revision: 4, value: good.clone() });
        assert_eq!(state.set_config("n", Some(&good)).unwrap(), []);
        let error = state.set_config("n", Some(&json!({ "index": { "replicas": 0 } }))).unwrap_err();
        assert_eq!((error.field.as_str(), error.is_semantic), ("index.replicas", true));
        assert!(error.problem.starts_with("index.replicas: got 0; allowed: "));
        assert_eq!(state.set_config("n", None).unwrap(), [Edit::Config("n".to_owned(), None)]);
        assert_eq!(state.set_config("x", None).unwrap(), []);
        assert_eq!(state.set_config("", Some(&good)).unwrap_err().field, "NAME");
    }
}
