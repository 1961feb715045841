//! The decisions of pinroute: which instance a request belongs to, and why it may be refused.
//!
//! Nothing here knows of a proxy, a network or a clock. A configuration goes through three stages: JSON
//! text, [`config::Config`] (validated, each mistake named by its path) and [`plan::Plan`] (compiled, all
//! that can be worked out before a request comes). A request is a transition: a [`plan::Plan`] is told
//! what happened and answers with the [`step::Step`] that the caller has to carry out.

pub mod authority;
pub mod cache;
pub mod config;
pub mod key;
pub mod live;
pub mod plan;
pub mod protobuf;
pub mod random;
pub mod step;
pub mod template;
pub mod where_answer;

pub use pinroute_hot::{index, json, percent, query, shuffle};
