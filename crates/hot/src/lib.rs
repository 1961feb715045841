//! What is done for every request: reading and hashing.
//!
//! The module is compiled for size, and only a crate as a whole can be compiled otherwise. So what has to
//! be fast is here. `pinroute-core` makes it public again under its own name.

pub mod index;
pub mod json;
pub mod percent;
pub mod query;
pub mod shuffle;
