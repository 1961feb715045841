//! The `resolve` strategy's parts: the response, the answer cache, and the calls in flight.

pub mod answer;
pub mod cache;
pub mod calls;
pub mod response;
