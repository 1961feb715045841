//! Reading the few protobuf messages that Envoy hands over, straight from the wire.
//!
//! The generated code of a protobuf library would be a tenth of the module's size for the sake of five
//! messages with two or three fields each; the tests hold this reader to such a library (`prost`).

use crate::json::{Members, Number, Value};
use crate::live::Scalar;

/// How deep messages may nest. Values within values cost stack, and Wasm has little.
const MAX_DEPTH: usize = 64;

/// The value of one field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire<'b> {
    /// A variable-length integer; also booleans and enumerations.
    Varint(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// A string, bytes or an embedded message.
    Bytes(&'b [u8]),
    /// Four bytes, little-endian.
    Fixed32(u32),
}

impl<'b> Wire<'b> {
    /// The bytes of a length-delimited field.
    pub fn bytes(self) -> Option<&'b [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string.
    pub fn text(self) -> Option<&'b str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// The fields of one message, in the order in which they stand. An error ends it: after one, nothing that
/// follows can be told apart.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'b> Fields<'b> {
    /// The fields of the message in `bytes`.
    pub fn of(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u32, Wire<'b>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((number, wire))
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u32, Wire<'b>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The entries of a `map<string, M>` in field `number`: each is a message with the key in field 1 and the
/// value in field 2. Other fields are skipped.
pub fn map_entries(bytes: &[u8], number: u32) -> impl Iterator<Item = Result<(&str, &[u8]), Malformed>> {
    Fields::of(bytes).filter_map(move |field| match field {
        Err(Malformed) => Some(Err(Malformed)),
        Ok((found, wire)) if found == number => Some(wire.bytes().and_then(map_entry).ok_or(Malformed)),
        Ok(_) => None,
    })
}

fn map_entry(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (mut key, mut value) = ("", &[][..]);
    for field in Fields::of(bytes) {
        match field.ok()? {
            (1, wire) => key = wire.text()?,
            (2, wire) => value = wire.bytes()?,
            _ => {}
        }
    }
    Some((key, value))
}

/// The namespace `name` out of an `envoy.config.core.v3.Metadata`: the bytes of a `google.protobuf.Struct`.
pub fn metadata_namespace<'b>(metadata: &'b [u8], name: &str) -> Option<&'b [u8]> {
    map_entries(metadata, 1).filter_map(Result::ok).find(|(found, _)| *found == name).map(|(_, bytes)| bytes)
}

/// Appends a length-delimited field to a message.
pub fn put_bytes(number: u32, bytes: &[u8], message: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, message);
    put_varint(bytes.len() as u64, message);
    message.extend_from_slice(bytes);
}

/// Appends an integer field to a message.
pub fn put_varint_field(number: u32, value: u64, message: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, message);
    put_varint(value, message);
}

fn put_varint(mut value: u64, message: &mut Vec<u8>) {
    while value > 0x7f {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// A `google.protobuf.Struct` as a JSON object; `None` if the bytes are none, or nest too deep.
pub fn struct_to_json(bytes: &[u8]) -> Option<Value> {
    object(bytes, MAX_DEPTH)
}

/// A `google.protobuf.Value` as JSON; `None` if the bytes are none, or nest too deep.
pub fn value_to_json(bytes: &[u8]) -> Option<Value> {
    value(bytes, MAX_DEPTH)
}

/// Visits every single value in a `google.protobuf.Struct`, with the names that lead to it joined by dots.
/// An object and a list count as [`Scalar::Other`], the object before what it holds. Whether the bytes are a Struct, and one that does not nest too deep.
pub fn walk(bytes: &[u8], visit: &mut dyn FnMut(&str, Scalar<'_>)) -> bool {
    walk_object(bytes, &mut String::new(), MAX_DEPTH, visit).is_some()
}

fn walk_object(
    bytes: &[u8],
    path: &mut String,
    depth: usize,
    visit: &mut dyn FnMut(&str, Scalar<'_>),
) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let outer = path.len();
    for entry in map_entries(bytes, 1) {
        let (name, value) = entry.ok()?;
        if outer != 0 {
            path.push('.');
        }
        path.push_str(name);
        for field in Fields::of(value) {
            match field.ok()? {
                (2, Wire::Fixed64(bits)) => visit(path, Scalar::Number(f64::from_bits(bits))),
                (3, wire) => visit(path, Scalar::Text(wire.text()?)),
                (4, Wire::Varint(truth)) => visit(path, Scalar::Bool(truth != 0)),
                (5, wire) => {
                    // As well as what it holds: where a number is wanted, an object is a mistake.
                    visit(path, Scalar::Other);
                    walk_object(wire.bytes()?, path, depth, visit)?;
                }
                (1, Wire::Varint(_)) | (6, Wire::Bytes(_)) => visit(path, Scalar::Other),
                (1..=6, _) => return None,
                _ => {}
            }
        }
        path.truncate(outer);
    }
    Some(())
}

fn object(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members = Members::default();
    for entry in map_entries(bytes, 1) {
        let (name, bytes) = entry.ok()?;
        members.insert(name.to_owned(), value(bytes, depth)?);
    }
    Some(Value::Object(members))
}

fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut found = Value::Null;
    // The kinds exclude each other; should several stand there, the last one counts.
    for field in Fields::of(bytes) {
        found = match field.ok()? {
            (1, Wire::Varint(_)) => Value::Null,
            (2, Wire::Fixed64(bits)) => number(f64::from_bits(bits)),
            (3, wire) => Value::String(wire.text()?.to_owned()),
            (4, Wire::Varint(truth)) => Value::Bool(truth != 0),
            (5, wire) => object(wire.bytes()?, depth)?,
            (6, wire) => list(wire.bytes()?, depth)?,
            (1..=6, _) => return None,
            _ => found,
        };
    }
    Some(found)
}

fn list(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    for field in Fields::of(bytes) {
        if let (1, wire) = field.ok()? {
            items.push(value(wire.bytes()?, depth)?);
        }
    }
    Some(Value::Array(items))
}

/// Whole numbers become whole again, so that messages say `5` where a user wrote `5`.
fn number(number: f64) -> Value {
    /// Above this a double cannot tell neighbouring whole numbers apart.
    const LAST_EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= LAST_EXACT {
        Value::Number(Number::Whole { negative: number < 0.0, magnitude: number.abs() as u64 })
    } else if number.is_finite() {
        Value::Number(Number::Real(number))
    } else {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value as Proto};
    use serde_json::{json, Value as Json};

    fn to_proto(value: &Json) -> Proto {
        let kind = match value {
            Json::Null => Kind::NullValue(0),
            Json::Bool(truth) => Kind::BoolValue(*truth),
            Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Json::String(text) => Kind::StringValue(text.clone()),
            Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(to_proto).collect() }),
            Json::Object(_) => Kind::StructValue(to_struct(value)),
        };
        Proto { kind: Some(kind) }
    }

    fn to_struct(value: &Json) -> Struct {
        let members = value.as_object().unwrap();
        Struct { fields: members.iter().map(|(name, member)| (name.clone(), to_proto(member))).collect() }
    }

    fn ours(written: &Json) -> Option<Value> {
        crate::json::parse(written.to_string().as_bytes()).ok()
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            (-1e9..1e9).prop_map(|real: f64| Json::from(real.floor() + 0.5)),
            "\\PC{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_prost_writes_is_read_back(members in prop::collection::btree_map("\\PC{0,6}", any_json(), 0..6)) {
            let written = Json::Object(members.into_iter().collect());
            prop_assert_eq!(struct_to_json(&to_struct(&written).encode_to_vec()), ours(&written));
        }

        #[test]
        fn arbitrary_bytes_are_refused_where_prost_refuses_them(bytes: Vec<u8>) {
            // The other way round it may be laxer: an unknown field's groups, say.
            if struct_to_json(&bytes).is_some() {
                prop_assert!(Struct::decode(bytes.as_slice()).is_ok());
            }
        }
    }

    #[test]
    fn every_value_is_visited_by_its_path() {
        let written = json!({ "a": { "b": 1, "c": { "d": "x" } }, "e.f": true, "g": [1], "h": null });
        let mut visited = Vec::new();
        let whole = walk(&to_struct(&written).encode_to_vec(), &mut |name, value| {
            visited.push(format!("{name}={value}"));
        });
        assert!(whole);
        visited.sort();
        let other = "no single value";
        let expected = [
            "a.b=1".to_owned(),
            "a.c.d=\"x\"".to_owned(),
            format!("a.c={other}"),
            format!("a={other}"),
            "e.f=true".to_owned(),
            format!("g={other}"),
            format!("h={other}"),
        ];
        assert_eq!(visited, expected);
        assert!(!walk(b"\xff", &mut |_, _| {}));
    }

    #[test]
    fn what_is_put_is_read_back() {
        let mut message = Vec::new();
        put_bytes(1, b"path", &mut message);
        put_bytes(700, &[7; 300], &mut message);
        let fields: Vec<_> = Fields::of(&message).collect();
        assert_eq!(fields, [Ok((1, Wire::Bytes(b"path"))), Ok((700, Wire::Bytes(&[7; 300])))]);
    }

    #[test]
    fn a_namespace_is_found_by_its_name() {
        let mut metadata = Vec::new();
        for (name, value) in [("envoy.lb", "x"), ("pinroute", "y")] {
            let mut entry = Vec::new();
            put_bytes(1, name.as_bytes(), &mut entry);
            put_bytes(2, value.as_bytes(), &mut entry);
            put_bytes(1, &entry, &mut metadata);
        }
        assert_eq!(metadata_namespace(&metadata, "pinroute"), Some(&b"y"[..]));
        assert_eq!(metadata_namespace(&metadata, "other"), None);
        assert_eq!(metadata_namespace(b"\xff", "pinroute"), None);
    }

    #[test]
    fn numbers_keep_their_kind() {
        let written = json!({ "a": 5, "b": -2.5, "c": 100_000, "d": 1e16 });
        assert_eq!(struct_to_json(&to_struct(&written).encode_to_vec()), ours(&written));
        assert_eq!(number(f64::NAN), Value::Null);
    }

    #[test]
    fn a_struct_that_nests_too_deep_is_refused() {
        let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(struct_to_json(&to_struct(&nested(50)).encode_to_vec()).is_some());
        assert_eq!(struct_to_json(&to_struct(&nested(70)).encode_to_vec()), None);
    }
}
