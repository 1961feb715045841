//! Files that cannot be read.

use thiserror::Error;

/// The file cannot be read as what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It is not text.
    #[error("not UTF-8 text")]
    NotText,
    /// It is neither YAML nor JSON.
    #[error("neither YAML nor JSON: {message}")]
    NotYaml {
        /// What is wrong.
        message: String,
        /// Where.
        line: Option<u64>,
    },
    /// It is an Envoy configuration without a filter of this project.
    #[error(
        "no pinroute filter found: a Wasm filter is one if its name, root_id, vm_id or the name of its file contains `pinroute`"
    )]
    NoFilter,
}
