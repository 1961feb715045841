//! What a client says about the responses of a kind.

use std::collections::{BTreeSet, VecDeque};

use envoy_types::pb::google::rpc::Status as Refusal;

use super::Kind;

/// How many responses a client may leave without an ACK or a NACK before the oldest are forgotten.
const MAX_UNJUDGED: usize = 64;

/// What a client says about a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The kind of its resources.
    pub kind: Kind,
    /// Its version.
    pub version: String,
    /// Why the client refused it (NACK); `None` if it accepted it (ACK). Refused resources are not sent again before they change.
    pub refusal: Option<String>,
    /// Whether it refuses no resource of this kind any more.
    pub is_clear: bool,
}

/// What a client of a stream has said about the responses of a kind.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// The responses that it has not judged, the oldest first.
    unjudged: VecDeque<Response>,
    /// The names of resources that it refused, and of which it has not accepted a newer one since.
    refused: BTreeSet<String>,
}

#[derive(Debug)]
struct Response {
    nonce: String,
    version: String,
    names: Vec<String>,
}

impl Verdicts {
    /// A response was sent, with resources of these names.
    pub fn sent(&mut self, nonce: &str, version: &str, names: Vec<String>) {
        if self.unjudged.len() == MAX_UNJUDGED {
            self.unjudged.pop_front();
        }
        self.unjudged.push_back(Response { nonce: nonce.to_owned(), version: version.to_owned(), names });
    }

    /// What a request says about a response. `None` if it is about none, or about one that was judged before: then it only changes
    /// the subscription.
    pub fn judge(&mut self, kind: Kind, nonce: &str, error: Option<&Refusal>) -> Option<Verdict> {
        let place = self.unjudged.iter().position(|response| response.nonce == nonce)?;
        let Response { version, names, .. } = self.unjudged.remove(place)?;
        match error {
            Some(_) => self.refused.extend(names),
            None => self.refused.retain(|name| !names.contains(name)),
        }
        let refusal = error.map(|error| error.message.clone());
        Some(Verdict { kind, version, refusal, is_clear: self.refused.is_empty() })
    }

    /// The client has dropped what the subscription does not include any more.
    pub fn retain(&mut self, is_included: impl Fn(&str) -> bool) {
        self.refused.retain(|name| is_included(name));
    }
}
