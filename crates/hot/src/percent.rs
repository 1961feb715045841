//! Percent-encoding, on bytes: a key need not be UTF-8, and what is hashed is exactly its bytes.

use std::borrow::Cow;

/// Decodes a query parameter's value: `%41` is `A` and `+` is a space. An escape that is not two
/// hexadecimal digits stays as it stands.
pub fn decode_form(raw: &[u8]) -> Cow<'_, [u8]> {
    decode(raw, true)
}

/// Decodes a path segment: as [`decode_form`], but `+` is a plus.
pub fn decode_segment(raw: &[u8]) -> Cow<'_, [u8]> {
    decode(raw, false)
}

fn decode(raw: &[u8], plus_is_space: bool) -> Cow<'_, [u8]> {
    let needs_work = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    if !raw.iter().any(needs_work) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            (b'+', _) if plus_is_space => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Appends `bytes` to `out` so that a query parser reads exactly these bytes back.
pub fn encode_into(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            _ => {
                out.push(b'%');
                out.extend([byte >> 4, byte & 15].iter().filter_map(|half| HEX.get(usize::from(*half))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plus_is_a_space_in_a_query_and_a_plus_in_a_path() {
        assert_eq!(&*decode_form(b"a+b%2Bc"), b"a b+c");
        assert_eq!(&*decode_segment(b"a+b%2Bc"), b"a+b+c");
    }

    #[test]
    fn a_broken_escape_stays_as_it_stands() {
        for broken in ["%", "%4", "%zz", "%4g", "a%", "%%"] {
            assert_eq!(&*decode_form(broken.as_bytes()), broken.as_bytes(), "{broken}");
        }
        assert_eq!(&*decode_form(b"%%41"), b"%A");
    }

    #[test]
    fn bytes_that_are_not_utf8_survive() {
        assert_eq!(&*decode_form(b"%ff%C3%A9"), b"\xff\xc3\xa9");
    }

    #[test]
    fn nothing_is_copied_where_nothing_is_encoded() {
        assert!(matches!(decode_form(b"customer-A"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn encoding_then_decoding_gives_the_same_bytes(bytes: Vec<u8>) {
            let mut encoded = Vec::new();
            encode_into(&bytes, &mut encoded);
            prop_assert_eq!(&*decode_form(&encoded), &bytes[..]);
            prop_assert_eq!(&*decode_segment(&encoded), &bytes[..]);
        }

        #[test]
        fn decoding_never_lengthens(bytes: Vec<u8>) {
            prop_assert!(decode_form(&bytes).len() <= bytes.len());
        }
    }
}
