//! Reads one parameter of a request path without touching the rest.

/// Splits a request path at its first `?`: the path proper, and the query if there is one.
pub fn split_path(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|byte| *byte == b'?') {
        Some(at) => {
            let (before, rest) = path.split_at(at);
            (before, rest.get(1..))
        }
        None => (path, None),
    }
}

/// Whether a path has `.` or `..` as a segment, which a proxy or a server on the way would take for a step. Some servers
/// cut what follows a semicolon off first.
pub fn has_dot_segment(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// The value of the first parameter called `name` as it stands in `query`, percent-encoded.
///
/// Names are compared byte for byte without decoding, as the Lua scripts do. A parameter without `=` has an
/// empty value.
pub fn raw_param<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| match pair.strip_prefix(name)? {
        [] => Some(pair.get(pair.len()..).unwrap_or_default()),
        [b'=', value @ ..] => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_its_first_question_mark() {
        assert_eq!(split_path(b"/join?a=1?b"), (&b"/join"[..], Some(&b"a=1?b"[..])));
        assert_eq!(split_path(b"/join"), (&b"/join"[..], None));
        assert_eq!(split_path(b"?"), (&b""[..], Some(&b""[..])));
    }

    #[test]
    fn the_first_parameter_of_that_exact_name_counts() {
        let cases: &[(&str, Option<&str>)] = &[
            ("client_id=1", Some("1")),
            ("x=0&client_id=a%20b&client_id=2", Some("a%20b")),
            ("my_client_id=1", None),
            ("client_idx=1", None),
            ("client_id", Some("")),
            ("client_id=", Some("")),
            ("client_id=a=b", Some("a=b")),
            ("", None),
            ("&&client_id=7", Some("7")),
        ];
        for (query, expected) in cases {
            assert_eq!(raw_param(query.as_bytes(), b"client_id"), expected.map(str::as_bytes), "{query}");
        }
    }
}
