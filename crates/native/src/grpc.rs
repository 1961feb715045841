//! The framing of gRPC messages: a byte for compression, four for the length, and the message.

/// What one message may have at most.
const LIMIT: usize = 64 << 20;
/// Before each message.
const PREFIX: usize = 5;

/// A message with its frame, uncompressed.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Puts messages together from the data of a stream.
#[derive(Debug, Default)]
pub struct Decoder(Vec<u8>);

/// The data are no uncompressed messages of an acceptable size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Decoder {
    /// Adds data. Returns the messages that are complete now.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn add(&mut self, data: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        self.0.extend_from_slice(data);
        let mut messages = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some(([compressed, length @ ..], body)) = rest.split_first_chunk::<PREFIX>() {
            let length = u32::from_be_bytes(*length) as usize;
            if *compressed != 0 || length > LIMIT {
                return Err(Malformed);
            }
            let Some((message, after)) = body.split_at_checked(length) else { break };
            messages.push(message.to_vec());
            rest = after;
        }
        // Nothing is moved before a message is complete: a large one comes in very many pieces.
        let done = self.0.len() - rest.len();
        self.0.drain(..done);
        Ok(messages)
    }
}
