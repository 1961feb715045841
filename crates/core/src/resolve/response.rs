//! How a resolver call ended.

/// How a resolver call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'b> {
    /// Without a response: the call could not be made, or broke off.
    Failed,
    /// With a complete response.
    Complete {
        /// Its status.
        status: u16,
        /// Its body, which may be anything.
        body: &'b [u8],
        /// Its headers, if they are wanted.
        headers: Headers<'b>,
    },
}

/// The headers of a response: names in lower case, and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'b>(pub &'b [(String, Vec<u8>)]);

impl<'b> Headers<'b> {
    /// The value of a header that occurs exactly once.
    pub fn once(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value.trim_ascii()),
            _ => None,
        }
    }
}
