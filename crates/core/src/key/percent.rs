//! Percent-encoding of bytes: a key need not be UTF-8, and its exact bytes are hashed.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode, percent_encode};
use std::borrow::Cow;

/// All bytes but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Decodes the value of a query parameter: `%41` is `A` and `+` is a space. An escape that is not two
/// hexadecimal digits is kept as it is.
pub fn decode_form(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'+') {
        return decode_segment(raw);
    }
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(decode_segment(&spaced).into_owned())
}

/// Decodes a path segment: as [`decode_form`], but `+` is a plus sign.
pub fn decode_segment(raw: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(raw).into()
}

/// Encodes bytes so that a query parser decodes exactly these bytes.
pub fn encode(bytes: &[u8]) -> PercentEncode<'_> {
    percent_encode(bytes, RESERVED)
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
    fn a_broken_escape_is_kept() {
        for broken in ["%", "%4", "%zz", "%4g", "a%", "%%"] {
            assert_eq!(&*decode_form(broken.as_bytes()), broken.as_bytes(), "{broken}");
        }
        assert_eq!(&*decode_form(b"%%41"), b"%A");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        assert_eq!(&*decode_form(b"%ff%C3%A9"), b"\xff\xc3\xa9");
    }

    #[test]
    fn a_plain_value_is_not_copied() {
        assert!(matches!(decode_form(b"customer-A"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn encoding_then_decoding_gives_the_same_bytes(bytes: Vec<u8>) {
            let encoded = encode(&bytes).to_string();
            prop_assert_eq!(&*decode_form(encoded.as_bytes()), &bytes[..]);
            prop_assert_eq!(&*decode_segment(encoded.as_bytes()), &bytes[..]);
        }

        #[test]
        fn decoding_never_lengthens(bytes: Vec<u8>) {
            prop_assert!(decode_form(&bytes).len() <= bytes.len());
        }
    }
}
