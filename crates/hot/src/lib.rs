//! What is done for every request: from its head to the instance that it belongs to.
//!
//! The module is compiled for size, and only a crate as a whole can be compiled otherwise. So what has to be fast
//! is here, and what runs when a configuration or a live value changes is in `pinroute-core`, which makes all of
//! this public again under its own name.

pub mod authority;
pub mod cache;
pub mod config;
pub mod index;
pub mod json;
pub mod key;
pub mod keys;
pub mod live;
pub mod percent;
pub mod plan;
pub mod query;
pub mod random;
pub mod shuffle;
pub mod step;
pub mod template;
pub mod where_answer;
