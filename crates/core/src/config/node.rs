//! A cursor over a JSON document that knows where it stands, so that every mistake is named by its path.

use crate::json::{Members, Number, Value};
use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A mistake in a configuration: where it is, what stands there and what may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field, such as `resolve.timeout` or `allowed_targets[2]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong with it, with the offending value.
    pub problem: String,
    /// What is allowed there.
    pub allowed: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the configuration" } else { &self.path };
        write!(f, "{path}: {}; allowed: {}", self.problem, self.allowed)
    }
}

impl std::error::Error for ConfigError {}

/// What a field holds, or the mistake in it. Boxed, since a hundred places hand it on.
pub type Checked<T> = Result<T, Box<ConfigError>>;

/// The longest stretch of an offending value that a message repeats, in characters.
const MAX_SHOWN: usize = 120;

/// Where a value stands. It becomes text only if there is a mistake to tell.
#[derive(Clone, Copy, Debug)]
enum Path<'v> {
    Root,
    Member(&'v Path<'v>, &'v str),
    Item(&'v Path<'v>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(outer, name) => write!(f, "{outer}.{name}"),
            Self::Item(outer, at) => write!(f, "{outer}[{at}]"),
        }
    }
}

impl Path<'_> {
    #[cold]
    fn error(&self, problem: String, allowed: String) -> Box<ConfigError> {
        Box::new(ConfigError { path: self.to_string(), problem, allowed })
    }
}

/// A value and its path.
#[derive(Clone, Copy, Debug)]
pub struct Node<'v> {
    path: Path<'v>,
    value: &'v Value,
}

impl<'v> Node<'v> {
    /// The document itself.
    pub fn root(value: &'v Value) -> Self {
        Self { path: Path::Root, value }
    }

    /// This value is not what may stand here.
    #[cold]
    pub fn wrong(&self, allowed: impl Into<String>) -> Box<ConfigError> {
        let mut shown = String::new();
        show(self.value, &mut shown);
        let problem = match shown.char_indices().nth(MAX_SHOWN) {
            Some((cut, _)) => format!("got {}…", shown.get(..cut).unwrap_or_default()),
            None => format!("got {shown}"),
        };
        self.error(problem, allowed)
    }

    /// A mistake of another kind at this place.
    pub fn error(&self, problem: impl Into<String>, allowed: impl Into<String>) -> Box<ConfigError> {
        self.path.error(problem.into(), allowed.into())
    }

    /// An object with no fields but `fields`.
    pub fn object<'o>(&'o self, fields: &'static [&'static str]) -> Checked<Object<'o>> {
        let members = self
            .value
            .as_object()
            .ok_or_else(|| self.wrong(format!("an object with {}", fields.join(", "))))?;
        let object = Object { path: &self.path, members };
        match members.iter().map(|(name, _)| name).find(|name| !fields.contains(name)) {
            Some(unknown) => {
                Err(Path::Member(&self.path, unknown).error("unknown field".to_owned(), fields.join(", ")))
            }
            None => Ok(object),
        }
    }

    /// A string, possibly empty.
    pub fn string(&self, allowed: &str) -> Checked<&'v str> {
        self.value.as_str().ok_or_else(|| self.wrong(allowed))
    }

    /// A string that passes a test.
    pub fn string_where(&self, allowed: &str, test: impl Fn(&str) -> bool) -> Checked<String> {
        match self.string(allowed)? {
            text if test(text) => Ok(text.to_owned()),
            _ => Err(self.wrong(allowed)),
        }
    }

    /// A whole number within a range. Protobuf's Struct knows no integers, so `2.0` is a whole number too.
    pub fn integer(&self, range: RangeInclusive<u32>) -> Checked<u32> {
        let number = match self.value.as_f64() {
            // Beyond 2^53 a double no longer holds every whole number; far less is allowed anyway.
            Some(number) if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) => {
                Some(number as u32)
            }
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.wrong(format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// True or false.
    pub fn boolean(&self) -> Checked<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A duration such as `1s`, `0.25s` or `250ms`, from `least` to an hour.
    pub fn duration(&self, least: Duration) -> Checked<Duration> {
        const MOST: Duration = Duration::from_secs(3600);
        self.value
            .as_str()
            .and_then(parse_duration)
            .filter(|duration| (least..=MOST).contains(duration))
            .ok_or_else(|| {
                self.wrong(format!(
                    "a duration such as \"1s\", \"0.25s\" or \"250ms\", from {}ms to 3600s",
                    least.as_millis()
                ))
            })
    }

    /// A list that is not empty.
    pub fn list<'o>(&'o self, allowed: &str) -> Checked<impl ExactSizeIterator<Item = Node<'o>>> {
        let items =
            self.value.as_array().filter(|items| !items.is_empty()).ok_or_else(|| self.wrong(allowed))?;
        Ok(items.iter().enumerate().map(|(at, value)| Node { path: Path::Item(&self.path, at), value }))
    }
}

/// An object whose fields are known.
#[derive(Clone, Copy, Debug)]
pub struct Object<'v> {
    path: &'v Path<'v>,
    members: &'v Members,
}

impl<'v> Object<'v> {
    /// Whether it has no members at all.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The field `name`, if it is there.
    pub fn get(&self, name: &'static str) -> Option<Node<'v>> {
        self.members.get(name).map(|value| Node { path: Path::Member(self.path, name), value })
    }

    /// The field `name`, read by `read`, or `default` where it is absent.
    pub fn get_or<T>(
        &self,
        name: &'static str,
        default: T,
        read: impl FnOnce(Node<'v>) -> Checked<T>,
    ) -> Checked<T> {
        self.get(name).map_or(Ok(default), read)
    }

    /// The field `name`, read by `read`, if it is there.
    pub fn get_opt<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Node<'v>) -> Checked<T>,
    ) -> Checked<Option<T>> {
        self.get(name).map(read).transpose()
    }

    /// The one field that is there out of `names`, none, or a mistake if there are several.
    pub fn at_most_one_of(&self, names: &[&'static str]) -> Checked<Option<(&'static str, Node<'v>)>> {
        let mut present = names.iter().filter_map(|name| Some((*name, self.get(name)?)));
        let first = present.next();
        match (&first, present.next()) {
            (Some((one, _)), Some((other, node))) => Err(node.error(
                format!("cannot stand beside `{one}`; got both `{one}` and `{other}`"),
                format!("exactly one of {}", names.join(", ")),
            )),
            _ => Ok(first),
        }
    }

    /// The one field that is there out of `names`; a mistake if there is none or several.
    pub fn exactly_one_of(&self, names: &[&'static str]) -> Checked<(&'static str, Node<'v>)> {
        self.at_most_one_of(names)?.ok_or_else(|| {
            let allowed = format!("exactly one of {}", names.join(", "));
            self.path.error("got none of its fields".to_owned(), allowed)
        })
    }
}

/// Writes a value as JSON, near enough for a message. The standard library's way to print floating-point
/// numbers would add more to the module than all of this.
fn show(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => show_number(*number, out),
        Value::String(text) => {
            out.push('"');
            out.extend(text.chars().flat_map(|c| {
                let escape = matches!(c, '"' | '\\').then_some('\\');
                escape.into_iter().chain(std::iter::once(if c.is_control() { '\u{fffd}' } else { c }))
            }));
            out.push('"');
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                out.push(if at == 0 { '[' } else { ',' });
                show(item, out);
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Object(members) => {
            for (at, (name, member)) in members.iter().enumerate() {
                out.push_str(if at == 0 { "{\"" } else { ",\"" });
                out.push_str(name);
                out.push_str("\":");
                show(member, out);
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
    }
}

/// Whole numbers exactly, fractions to six places.
fn show_number(number: Number, out: &mut String) {
    const PLACES: f64 = 1e6;
    let written = match number {
        Number::Whole { negative, magnitude } => {
            write!(out, "{}{magnitude}", if negative { "-" } else { "" })
        }
        Number::Real(real) if real.abs() < 1e12 => {
            let (sign, scaled) = (if real < 0.0 { "-" } else { "" }, (real.abs() * PLACES).round() as u64);
            let fraction = format!("{:06}", scaled % 1_000_000);
            write!(out, "{sign}{}.{:0<1}", scaled / 1_000_000, fraction.trim_end_matches('0'))
        }
        Number::Real(real) => {
            write!(out, "a number {}", if real < 0.0 { "below -1e12" } else { "above 1e12" })
        }
    };
    // Writing to a String cannot fail.
    let _ = written;
}

/// Reads `1s`, `0.25s` or `250ms`; digits only, so neither signs, exponents nor white space.
fn parse_duration(text: &str) -> Option<Duration> {
    const NANOS_PER_SECOND: u64 = 1_000_000_000;
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, NANOS_PER_SECOND / 1000),
        None => (text.strip_suffix('s')?, NANOS_PER_SECOND),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(unit)? / scale;
    Some(Duration::from_nanos(whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(fraction)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn values_are_shown_as_they_were_written() {
        for text in [
            "null",
            "true",
            "-3",
            "18446744073709551615",
            "2.5",
            "-0.25",
            "[]",
            "[1,[\"a\"]]",
            "{\"a\":{}}",
            "\"é\\\"\\\\\"",
        ] {
            let mut shown = String::new();
            show(&json::parse(text.as_bytes()).expect(text), &mut shown);
            assert_eq!(shown, text);
        }
        for (text, expected) in
            [("1e300", "a number above 1e12"), ("-1e13", "a number below -1e12"), ("1e3", "1000.0")]
        {
            let mut shown = String::new();
            show(&json::parse(text.as_bytes()).expect(text), &mut shown);
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn durations_are_read_as_written() {
        for (text, millis) in
            [("1s", 1000), ("0.25s", 250), ("250ms", 250), ("0s", 0), ("1.5ms", 1), ("60s", 60_000)]
        {
            assert_eq!(parse_duration(text).map(|d| d.as_millis()), Some(millis), "{text}");
        }
        for text in [
            "", "1", "s", "ms", "1m", "-1s", "+1s", "1e3s", ".5s", "1.s", "1.2.3s", " 1s", "1 s", "1S",
            "inf s", "nans",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
