//! The framing of gRPC messages, tested by itself: the module cannot be linked without Envoy.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../src/grpc.rs"]
mod grpc;

use grpc::{Decoder, Malformed, frame};

#[test]
fn messages_are_put_together_however_the_data_is_cut() {
    let messages: [&[u8]; 4] = [b"", b"a", b"two words", &[7; 1000]];
    let data = messages.map(frame).concat();
    for size in [1, 2, 5, 6, 7, 64, data.len()] {
        let mut decoder = Decoder::default();
        let found: Vec<Vec<u8>> = data.chunks(size).flat_map(|part| decoder.add(part).unwrap()).collect();
        assert_eq!(found, messages, "{size} bytes at a time");
        assert_eq!(decoder.add(b"").unwrap(), [[0; 0]; 0]);
    }
}

#[test]
fn compressed_and_huge_messages_are_refused() {
    assert_eq!(Decoder::default().add(&[1, 0, 0, 0, 1, 7]), Err(Malformed));
    assert_eq!(Decoder::default().add(&[0, 0xff, 0, 0, 0]), Err(Malformed));
}
