//! The decisions of pinroute: which instance a request belongs to, and why it may be refused.
//!
//! Nothing here knows of a proxy, a network or a clock. A configuration goes through three stages: JSON
//! text, [`config::Config`] (validated, each mistake named by its path) and [`plan::Plan`] (compiled, all
//! that can be worked out before a request comes). A request is a transition: a [`plan::Plan`] is told
//! what happened and answers with the [`step::Step`] that the caller has to carry out.

pub mod config;
pub mod json;
pub mod live;
pub mod protobuf;

pub use pinroute_hot::{
    authority, cache, index, key, keys, percent, plan, query, random, shuffle, step, template, where_answer,
};
