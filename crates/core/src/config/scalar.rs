//! The kinds of value that a field may have, each with its rule and what an error says is allowed.

use super::validated::ShardDown;
use crate::authority;
use crate::shard::Algorithm;
use crate::strategy::mode::IndexMode;
use crate::target::allowed::TargetPattern;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use std::time::Duration;

/// Defines a text with a rule: what an error says is allowed, a pattern for the schema, and the rule.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $allowed:expr, $pattern:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fits: fn(&str) -> bool = $fits;
                match Value::deserialize(deserializer)? {
                    Value::String(text) if fits(&text) => Ok(Self(text)),
                    _ => Err(D::Error::custom($allowed)),
                }
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

text!(
    /// Any text; its rule depends on other fields.
    Text,
    "a text",
    "",
    |_| true
);
text!(
    /// A text that is not empty.
    NonEmpty,
    "a text that is not empty",
    ".",
    |text| !text.is_empty()
);
text!(
    /// The name of an Envoy cluster.
    Cluster,
    "the name of an Envoy cluster",
    "^[^\\x00-\\x1f\\x7f]+$",
    |name| !name.is_empty() && !name.contains(char::is_control)
);
text!(
    /// The name of an Envoy cluster that is called by gRPC.
    GrpcCluster,
    "the name of an Envoy cluster, of at most 100 bytes",
    "^[^\\x00-\\x1f\\x7f]{1,100}$",
    |name| !name.is_empty() && name.len() <= 100 && !name.contains(char::is_control)
);
text!(
    /// The name of an xDS resource.
    Resource,
    "the name of a resource",
    "^[^\\x00-\\x1f\\x7f]+$",
    |name| !name.is_empty() && !name.contains(char::is_control)
);
text!(
    /// The start of the names of runtime values.
    Prefix,
    "the start of the names of runtime values, without a dot at its ends",
    "^[^.\\x00-\\x1f\\x7f]([^\\x00-\\x1f\\x7f]*[^.\\x00-\\x1f\\x7f])?$",
    |prefix| {
        !prefix.is_empty() && !prefix.starts_with('.') && !prefix.ends_with('.') && !prefix.contains(char::is_control)
    }
);
text!(
    /// A namespace of metadata.
    Namespace,
    "a namespace of metadata",
    "^[^\\x00-\\x1f\\x7f]+$",
    |name| !name.is_empty() && !name.contains(char::is_control)
);
text!(
    /// A request path.
    Path,
    "a path that starts with `/`, without white space or `#`",
    "^/[!\"$-~]*$",
    |path| path.starts_with('/') && path.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'#')
);
text!(
    /// The name of a query parameter.
    Parameter,
    "a query parameter's name as it stands in a URL",
    "^[!\"$%'-<>@-~]+$",
    |name| !name.is_empty()
        && name.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && !b"&=?#".contains(&byte))
);
text!(
    /// The name of a cookie.
    Cookie,
    "a cookie's name",
    "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    is_token
);
text!(
    /// The name of a header as it was written.
    AnyHeader,
    "a header's name",
    "^(:authority|[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
    |name| is_token(name) || name == ":authority"
);

impl AnyHeader {
    /// The name as Envoy has it: in lower case, and `:authority` for Host.
    pub fn into_name(self) -> String {
        let Self(name) = self;
        if name.eq_ignore_ascii_case("host") { ":authority".to_owned() } else { name.to_ascii_lowercase() }
    }
}

text!(
    /// The name of a header that may be set. The others frame the message or name its destination.
    SettableHeader,
    "a header's name, but not one of HTTP's own",
    "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    is_settable
);

text!(
    /// The name of a response header.
    ResponseHeader,
    "a header's name",
    "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    is_token
);
text!(
    /// The `:authority` of a call.
    Authority,
    "a host, with or without a port, of at most 100 bytes",
    "^[^\\x00-\\x20/?#@\\\\|\\x7f]{1,100}$",
    authority::is_valid
);

/// Whether a request header of this name may be set.
pub fn is_settable(name: &str) -> bool {
    let http: [&str; 7] =
        ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "keep-alive"];
    is_token(name) && !http.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// A token in the sense of RFC 9110.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Defines a choice between names: what an error says is allowed, and what each name stands for.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident: $of:ty, $allowed:literal, { $($text:literal => $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pub $of);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Value::deserialize(deserializer)?.as_str() {
                    $(Some($text) => Ok(Self($value)),)*
                    _ => Err(D::Error::custom($allowed)),
                }
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "enum": [$($text),*] })
            }
        }
    };
}

choice!(
    /// How a key becomes a number.
    Mode: IndexMode, "hash or numeric", {
        "hash" => IndexMode::Hash,
        "numeric" => IndexMode::Numeric,
    }
);
choice!(
    /// How the hosts of a shard are chosen.
    AlgorithmName: Algorithm, "rendezvous or lua_djb2", {
        "rendezvous" => Algorithm::Rendezvous,
        "lua_djb2" => Algorithm::LuaDjb2,
    }
);
choice!(
    /// What happens to a request if no host of its shard is healthy.
    OnShardDown: ShardDown, "reject or try", {
        "reject" => ShardDown::Reject,
        "try" => ShardDown::Try,
    }
);
/// A whole number within a range. Protobuf's Struct has no integers, so `2.0` is a whole number too.
#[derive(Clone, Copy, Debug)]
pub struct Integer<const MIN: u32, const MAX: u32>(pub u32);

/// A number of hosts.
pub type Count = Integer<1, { crate::shard::MAX_HOSTS }>;

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Integer<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Value::deserialize(deserializer)?.as_f64();
        number
            .filter(|number| number.fract() == 0.0 && (f64::from(MIN)..=f64::from(MAX)).contains(number))
            .map(|number| Self(number as u32))
            .ok_or_else(|| D::Error::custom(format!("a whole number from {MIN} to {MAX}")))
    }
}

/// A duration such as `1s`, `0.25s` or `250ms`, from `MIN_MS` milliseconds to an hour.
#[derive(Clone, Copy, Debug)]
pub struct Period<const MIN_MS: u64>(pub Duration);

/// The longest duration.
const LONGEST: Duration = Duration::from_secs(3600);

impl<'de, const MIN_MS: u64> Deserialize<'de> for Period<MIN_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let range = Duration::from_millis(MIN_MS)..=LONGEST;
        value
            .as_str()
            .and_then(parse_duration)
            .filter(|duration| range.contains(duration))
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "a duration such as \"1s\", \"0.25s\" or \"250ms\", from {MIN_MS}ms to 3600s"
                ))
            })
    }
}

/// Reads `1s`, `0.25s` or `250ms`: digits only, so neither signs, exponents nor white space.
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

/// An entry of `allowed_targets`.
#[derive(Clone, Debug)]
pub struct Pattern(pub TargetPattern);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str = "host:port with `*` for part of a label";
        let value = Value::deserialize(deserializer)?;
        let text = value.as_str().ok_or_else(|| D::Error::custom(ALLOWED))?;
        TargetPattern::parse(text)
            .map(Self)
            .map_err(|mistake| D::Error::custom(format!("{ALLOWED}, but {mistake}")))
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::{Integer, Pattern, Period};
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use std::borrow::Cow;

    impl<const MIN: u32, const MAX: u32> JsonSchema for Integer<MIN, MAX> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            format!("Integer{MIN}To{MAX}").into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
        }
    }

    impl<const MIN_MS: u64> JsonSchema for Period<MIN_MS> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            format!("PeriodFrom{MIN_MS}ms").into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "string", "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?m?s$" })
        }
    }

    impl JsonSchema for Pattern {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Pattern".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "string", "minLength": 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
