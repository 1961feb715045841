//! Where the project's files are.

use std::env;
use std::path::{Path, PathBuf};

/// The project's root: `$PINROUTE_ROOT`, else where this crate was compiled.
#[must_use]
pub fn project_root() -> PathBuf {
    match env::var_os("PINROUTE_ROOT") {
        Some(root) => PathBuf::from(root),
        None => {
            let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            compiled.canonicalize().unwrap_or(compiled)
        }
    }
}

/// The filter that `make wasm` builds. It may not exist.
#[must_use]
pub fn wasm() -> PathBuf {
    project_root().join("dist/pinroute.wasm")
}

/// The dynamic module that `make native` builds. It may not exist.
#[must_use]
pub fn native() -> PathBuf {
    project_root().join("dist/libpinroute_native.so")
}

/// Envoy configurations shipped with the project.
#[must_use]
pub fn shipped_configs() -> PathBuf {
    project_root().join("envoy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_what_is_shipped() {
        assert!(shipped_configs().join("envoy.yaml").exists());
    }
}
