//! Where things are: the project, what it ships, and private folders for what runs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, process};

use anyhow::{Context, Result};

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

/// The filter as `make wasm` leaves it. It may not exist.
#[must_use]
pub fn wasm() -> PathBuf {
    project_root().join("dist/pinroute.wasm")
}

/// Envoy configurations shipped with the project.
#[must_use]
pub fn shipped_configs() -> PathBuf {
    project_root().join("envoy")
}

/// A folder only this user can read, gone with the value.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
}

impl PrivateDir {
    /// Makes a folder under the system's temporary one.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn new(purpose: &str) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("pinroute-{purpose}-{}-{count}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                // Left by a killed process that had our id: take the next number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // Nobody to tell; the system clears its temporary folder anyway.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_dir_goes_with_its_value() {
        let dir = PrivateDir::new("test").unwrap();
        let path = dir.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn the_root_holds_what_is_shipped() {
        assert!(shipped_configs().join("envoy.yaml").exists());
    }
}
