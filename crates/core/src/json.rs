//! JSON values, read whole.

pub use pinroute_hot::json::{JsonError, Number, Read, Reader, Scalar};

/// How deep values may nest. They cost stack, and Wasm has little.
const MAX_DEPTH: usize = 127;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// An object.
    Object(Members),
}

/// The members of an object, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(Vec<(String, Value)>);

impl Value {
    /// The value of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The value of a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Members> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object()?.get(name)
    }
}

impl Members {
    /// The member called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.place_of(name).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Adds a member, or replaces the one of that name.
    pub fn insert(&mut self, name: String, value: Value) {
        match self.place_of(&name) {
            Ok(at) => {
                if let Some((_, before)) = self.0.get_mut(at) {
                    *before = value;
                }
            }
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

/// Reads a text that is one JSON value.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &[u8]) -> Read<Value> {
    let mut reader = Reader::of(text);
    let value = read(&mut reader, MAX_DEPTH)?;
    reader.end()?;
    Ok(value)
}

/// Reads a value with all that is in it.
fn read(reader: &mut Reader<'_>, depth: usize) -> Read<Value> {
    let inner = depth.checked_sub(1);
    match (reader.peek(), inner) {
        (Some(b'{' | b'['), None) => Err(reader.error("recursion limit exceeded")),
        (Some(b'{'), Some(depth)) => {
            let mut members = Members::default();
            reader.object(&mut |reader, name| {
                members.insert(name.into_owned(), read(reader, depth)?);
                Ok(())
            })?;
            Ok(Value::Object(members))
        }
        (Some(b'['), Some(depth)) => {
            let mut items = Vec::new();
            reader.list(&mut |reader| {
                items.push(read(reader, depth)?);
                Ok(())
            })?;
            Ok(Value::Array(items))
        }
        (Some(b'"'), _) => Ok(Value::String(reader.string()?.into_owned())),
        _ => match reader.scalar()? {
            Scalar::Null => Ok(Value::Null),
            Scalar::Bool(truth) => Ok(Value::Bool(truth)),
            Scalar::Number(Number::Real(real)) if real.is_infinite() => {
                Err(reader.error("number out of range"))
            }
            Scalar::Number(number) => Ok(Value::Number(number)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Theirs;

    impl From<Theirs> for Value {
        fn from(theirs: Theirs) -> Self {
            match theirs {
                Theirs::Null => Self::Null,
                Theirs::Bool(truth) => Self::Bool(truth),
                Theirs::Number(number) => Self::Number(match (number.as_i64(), number.as_u64()) {
                    (Some(whole), _) => {
                        Number::Whole { negative: whole < 0, magnitude: whole.unsigned_abs() }
                    }
                    (None, Some(magnitude)) => Number::Whole { negative: false, magnitude },
                    (None, None) => Number::Real(number.as_f64().unwrap()),
                }),
                Theirs::String(text) => Self::String(text),
                Theirs::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
                Theirs::Object(theirs) => {
                    let mut members = Members::default();
                    theirs.into_iter().for_each(|(name, value)| members.insert(name, value.into()));
                    Self::Object(members)
                }
            }
        }
    }

    /// Both read the same, or say the same is wrong.
    fn same(text: &[u8]) {
        let theirs = serde_json::from_slice::<Theirs>(text);
        let shown = String::from_utf8_lossy(text);
        match (parse(text), theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, Value::from(theirs), "{shown}"),
            (Err(ours), Err(theirs)) => assert_eq!(ours.to_string(), theirs.to_string(), "{shown}"),
            (ours, theirs) => panic!("{shown}: {ours:?}, {theirs:?}"),
        }
        assert_eq!(
            Reader::of(text).skip().is_ok(),
            serde_json::Deserializer::from_slice(text)
                .into_iter::<serde::de::IgnoredAny>()
                .next()
                .is_some_and(|read| read.is_ok()),
            "{shown}"
        );
    }

    #[test]
    fn it_agrees_with_a_library() {
        for text in [
            "null",
            "true",
            "false",
            "nul",
            "nulx",
            "t",
            "{}",
            "[]",
            " {\n} ",
            "[1,2]",
            "[1,]",
            "[,]",
            "[1 2]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{\"a\"",
            "{\"a\":1",
            "{a:1}",
            "[1",
            "[",
            "{",
            "]",
            "}",
            "{\"a\":1,\n\"a\":[{}, null]}",
            "0",
            "-0.5",
            "-1",
            "-",
            "01",
            "-01",
            "1.",
            ".5",
            "1.5",
            "1e3",
            "1E+3",
            "1e-3",
            "1e",
            "1e+",
            "12345678901234567890",
            "18446744073709551615",
            "-9223372036854775808",
            "1e400",
            "1e-400",
            "0e99999999999",
            "123456789.25",
            "2.0",
            "+1",
            r#""""#,
            r#""a""#,
            r#""é""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e9\ud83d\ude00""#,
            r#""a"#,
            "\"a\nb\"",
            "x",
            "{} {}",
            "1 x",
            "\"\u{7f}\"",
            "[\n\n  tru]",
            "{\"b\":2,\"a\":\"\\u0041\"}",
        ] {
            same(text.as_bytes());
        }
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        same(&nested(127));
        assert!(parse(&nested(128)).unwrap_err().to_string().starts_with("recursion limit exceeded"));
        for wrong in [
            &b"\"\\x\""[..],
            b"\"\\u12\"",
            b"\"\\u12g4\"",
            b"\"\\ud800\"",
            b"\"\\ud800\\u0041\"",
            b"\"\\udc00\"",
            b"\"\xff\"",
            b"\"\\",
            b"\"\\\"",
            b"1e99999999999",
        ] {
            assert!(parse(wrong).is_err());
            assert!(serde_json::from_slice::<Theirs>(wrong).is_err());
        }
    }

    #[test]
    fn more_digits_than_a_double_holds_are_near_enough() {
        for text in
            ["0.1234567890123456789012345", "123456789012345678901234567890", "1e300", "1.5e308", "3e-300"]
        {
            let exact: f64 = text.parse().unwrap();
            let read = parse(text.as_bytes()).unwrap().as_f64().unwrap();
            assert!((read - exact).abs() <= exact * 1e-14, "{text}: {read}");
        }
    }

    proptest! {
        #[test]
        fn what_the_library_writes_is_read_back(
            members in prop::collection::btree_map(".{0,6}", ".{0,12}", 0..6),
            numbers: Vec<i64>,
            pretty: bool,
        ) {
            let written = serde_json::json!({ "a": members, "b": numbers });
            let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
            let text = write(&written).unwrap();
            prop_assert_eq!(parse(&text), Ok(Value::from(written)));
            prop_assert!(Reader::of(&text).skip().is_ok());
        }

        #[test]
        fn both_refuse_the_same(text in "[\\[\\]{}:,\"\\\\ au0-2.eE\n+-]{0,12}") {
            let theirs = serde_json::from_slice::<Theirs>(text.as_bytes());
            prop_assert_eq!(parse(text.as_bytes()).is_ok(), theirs.is_ok());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = (parse(&bytes), Reader::of(&bytes).skip());
        }
    }
}
