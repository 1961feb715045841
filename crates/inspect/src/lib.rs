//! Looks at configurations without Envoy: [`check`] finds mistakes, [`explain`] says where a key goes and why,
//! [`preview`] says who moves from one configuration to another. All of it by the filter's own code.

mod advice;
pub mod check;
mod error;
pub mod explain;
mod found;
mod keys;
mod live;
mod node;
mod overlap;
pub mod preview;
mod request;
mod subject;
mod text;
mod theory;
mod wiring;

pub use error::ReadError;
pub use live::{Live, LiveError, SetValue};
pub use subject::{Subject, SubjectError, plugin};
