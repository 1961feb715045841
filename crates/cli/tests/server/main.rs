//! `pinroute server`, as the process that users start.

#![cfg(test)]

mod endpoints;
mod process;
mod support;
mod vectors;
