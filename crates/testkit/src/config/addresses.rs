//! The addresses of a document, and what replaces them.

use std::fmt;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::tree::{text, walk};

/// A host, by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an IP address.
    pub host: String,
    /// 0 to 65535.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self { host: addr.ip().to_string(), port: addr.port() }
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Self {
        Self { host: host.to_owned(), port }
    }
}

/// Rules to replace addresses. The first rule that fits an address applies.
#[derive(Debug, Clone, Default)]
pub struct AddressMap {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    /// `None` fits every host.
    host: Option<String>,
    port: u16,
    to: Address,
    /// The host stays as it is, only the port changes.
    keep_host: bool,
}

impl AddressMap {
    /// Covers no address yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Exactly this address becomes another one.
    #[must_use]
    pub fn replace(mut self, from: impl Into<Address>, to: impl Into<Address>) -> Self {
        let from = from.into();
        self.rules.push(Rule { host: Some(from.host), port: from.port, to: to.into(), keep_host: false });
        self
    }

    /// Every address with this port becomes another one.
    #[must_use]
    pub fn replace_port(mut self, from: u16, to: impl Into<Address>) -> Self {
        self.rules.push(Rule { host: None, port: from, to: to.into(), keep_host: false });
        self
    }

    /// Every address with this port keeps its host, which is a DNS name as a rule, and gets another port.
    #[must_use]
    pub fn keep_host(mut self, from: u16, to: u16) -> Self {
        self.rules.push(Rule { host: None, port: from, to: Address::from(("", to)), keep_host: true });
        self
    }

    /// These rules, and where none fits those of `others`.
    #[must_use]
    pub fn or(mut self, others: Self) -> Self {
        self.rules.extend(others.rules);
        self
    }

    /// What this address becomes.
    fn get(&self, address: &Address) -> Option<Address> {
        let fits = |rule: &&Rule| {
            rule.port == address.port && rule.host.as_ref().is_none_or(|host| *host == address.host)
        };
        let rule = self.rules.iter().find(fits)?;
        let host = if rule.keep_host { &address.host } else { &rule.to.host };
        Some(Address { host: host.clone(), port: rule.to.port })
    }

    /// Replaces every address of `document` that a rule covers, and gives those that none covers.
    pub(super) fn apply(&self, document: &mut Value) -> Vec<String> {
        let mut uncovered = Vec::new();
        walk(document, &mut |value| match address_of(value) {
            Some(Ok(address)) => match (self.get(&address), value.as_object_mut()) {
                (Some(to), Some(fields)) => {
                    fields.insert("address".to_owned(), json!(to.host));
                    fields.insert("port_value".to_owned(), json!(to.port));
                }
                _ => uncovered.push(address.to_string()),
            },
            Some(Err(odd)) => uncovered.push(odd),
            None => {}
        });
        uncovered.sort();
        uncovered.dedup();
        uncovered
    }
}

impl fmt::Display for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules =
            self.rules.iter().map(|rule| format!("{}:{}", rule.host.as_deref().unwrap_or("*"), rule.port));
        write!(f, "[{}]", rules.collect::<Vec<_>>().join(", "))
    }
}

/// The address in a `socket_address` node: `None` if `value` is none, and an error that shows the node if
/// it is one that cannot be replaced, such as one with a `named_port`.
fn address_of(value: &Value) -> Option<Result<Address, String>> {
    // `address` also names objects, around a `socket_address` for instance.
    let host = text(value, "address")?;
    let fields = value.as_object()?;
    if !fields.contains_key("port_value") && !fields.contains_key("named_port") {
        // Other messages of Envoy have a textual `address` too: a health check's URL, a proxy's name.
        return None;
    }
    let port = fields.get("port_value").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    Some(port.map(|port| Address::from((host, port))).ok_or_else(|| value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Value {
        json!({ "address": { "socket_address": { "address": host, "port_value": port } } })
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let map = AddressMap::new()
            .replace(("0.0.0.0", 10000), ("127.0.0.1", 0))
            .replace(("127.0.0.11", 53), ("127.0.0.1", 5353))
            .replace_port(9901, ("127.0.0.1", 9))
            .keep_host(8081, 40000)
            .replace(("server", 8081), ("never", 1));
        let mut document = json!([
            node("0.0.0.0", 10000),
            { "resolvers": [node("127.0.0.11", 53)] },
            node("0.0.0.0", 9901),
            node("server", 8081),
        ]);
        assert!(map.apply(&mut document).is_empty());
        let expected = json!([
            node("127.0.0.1", 0),
            { "resolvers": [node("127.0.0.1", 5353)] },
            node("127.0.0.1", 9),
            node("server", 40000),
        ]);
        assert_eq!(document, expected);
    }

    #[test]
    fn what_is_not_covered_is_named() {
        let map = AddressMap::new().replace(("0.0.0.0", 10000), ("127.0.0.1", 0)).keep_host(8081, 1);
        let named = json!({ "address": "localhost", "named_port": "http" });
        let mut document = json!([node("0.0.0.0", 10001), node("server", 8081), named]);
        let odd = "{\"address\":\"localhost\",\"named_port\":\"http\"}";
        assert_eq!(map.apply(&mut document), ["0.0.0.0:10001", odd]);
        assert_eq!(map.to_string(), "[0.0.0.0:10000, *:8081]");
    }

    #[test]
    fn other_things_called_address_stay() {
        let mut document = json!({ "address": "text", "other": { "address": { "pipe": { "path": "/x" } } } });
        let before = document.clone();
        assert!(AddressMap::new().apply(&mut document).is_empty());
        assert_eq!(document, before);
    }
}
