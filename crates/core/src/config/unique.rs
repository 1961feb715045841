//! JSON in which a member that occurs twice is an error. serde's own maps keep the last one.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// The members of an object in their order.
pub struct UniqueMap<'b, V>(pub Vec<(Cow<'b, str>, V)>);

impl<'de: 'b, 'b, V: Deserialize<'de> + 'b> Deserialize<'de> for UniqueMap<'b, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'b, V>(PhantomData<&'b V>);

        impl<'de: 'b, 'b, V: Deserialize<'de> + 'b> Visitor<'de> for Members<'b, V> {
            type Value = UniqueMap<'b, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut members, mut names) = (Vec::new(), HashSet::new());
                while let Some((Name(name), value)) = map.next_entry()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("duplicate member `{name}`")));
                    }
                    members.push((name, value));
                }
                Ok(UniqueMap(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A member's name, borrowed where it has no escapes. A plain `Cow` would always copy.
#[derive(serde::Deserialize)]
pub struct Name<'n>(#[serde(borrow)] pub Cow<'n, str>);

/// A JSON value whose objects have no duplicate members.
#[derive(Debug)]
pub struct UniqueValue(pub Value);

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::from(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::from(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::from(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::from(value))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(UniqueValue(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::Array(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut members = Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    let UniqueValue(value) = map.next_value()?;
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate member `{name}`")));
                    }
                    members.insert(name, value);
                }
                Ok(Value::Object(members))
            }
        }

        deserializer.deserialize_any(Any).map(UniqueValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duplicate_member_is_an_error_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"x":{"b":1,"a":2,"b":3}}]"#, r#"{"a":1,"\u0061":1}"#] {
            let error = serde_json::from_str::<UniqueValue>(text).expect_err(text).to_string();
            assert!(error.starts_with("duplicate member `"), "{error}");
        }
        assert!(serde_json::from_str::<UniqueMap<'_, u32>>(r#"{"a":1,"a":1}"#).is_err());
        let UniqueMap(members) = serde_json::from_str::<UniqueMap<'_, u32>>(r#"{"b":1,"a":2}"#).unwrap();
        assert_eq!(members, [("b".into(), 1), ("a".into(), 2)]);
        assert!(members.iter().all(|(name, _)| matches!(name, Cow::Borrowed(_))));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_library_on_anything_else(text in "[\\[\\]{}:,\"\\\\ abu0-2.eE\n+-]{0,12}") {
            let unique = serde_json::from_str::<UniqueValue>(&text).map(|UniqueValue(value)| value);
            match (unique, serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(ours), Ok(_)) => prop_assert!(ours.to_string().starts_with("duplicate member")),
                (Err(_), Err(_)) => {}
                (Ok(ours), Err(theirs)) => prop_assert!(false, "{ours} {theirs}"),
            }
        }
    }
}
