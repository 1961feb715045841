//! The strategies: how the host of a key is found.

pub mod hosts;
pub mod index;
pub mod mode;
pub mod resolve;
pub mod shuffle;
