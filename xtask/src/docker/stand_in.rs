//! Images in place of those that cannot be pulled, made of what this machine has. They have names of their own: under
//! the official names they would hide the real images.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use pinroute_testkit::envoy::envoy_binary;
use pinroute_testkit::paths::{project_root, wasm};

use super::{Docker, sha256};
use crate::command::{output, shown};

/// In place of Envoy's image.
pub const ENVOY: &str = "pinroute-stand-in/envoy";
/// In place of the Dockerfile's stage `build`.
pub const BINARIES: &str = "pinroute-stand-in/binaries";
/// On each of them: from which files it was made.
const LABEL: &str = "pinroute.stand-in";

/// The programs that the Dockerfile, Envoy's entry point and the health check use.
const PROGRAMS: [&str; 3] = ["/bin/bash", "/bin/chmod", "/usr/bin/id"];
/// As the real image's, as far as it matters for a user that is not root.
const ENTRY_POINT: &str = "#!/bin/bash
if [ \"${1#-}\" != \"$1\" ]; then set -- envoy \"$@\"; fi
exec \"$@\"
";

/// Makes the image in place of Envoy's.
///
/// # Errors
/// If there is no Envoy here, or Docker refuses the image.
pub fn envoy(docker: &Docker) -> Result<()> {
    let envoy = envoy_binary()?;
    let key = format!("envoy {}", sha256(&envoy)?);
    make(
        docker,
        ENVOY,
        &key,
        &[r#"ENTRYPOINT ["/docker-entrypoint.sh"]"#, r#"CMD ["envoy", "-c", "/etc/envoy/envoy.yaml"]"#],
        |root| {
            add(root, "usr/local/bin/envoy", &envoy, 0o755)?;
            for program in PROGRAMS {
                add(root, program, Path::new(program), 0o755)?;
                libraries(root, Path::new(program))?;
            }
            libraries(root, &envoy)?;
            write(root, "docker-entrypoint.sh", ENTRY_POINT, 0o755)?;
            write(
                root,
                "etc/passwd",
                "root:x:0:0::/root:/bin/bash\nenvoy:x:101:101::/home/envoy:/bin/bash\n",
                0o644,
            )?;
            write(root, "etc/group", "root:x:0:\nenvoy:x:101:\n", 0o644)?;
            write(root, "tmp/.keep", "", 0o644)
        },
    )
}

/// Makes the image in place of the stage that compiles, from what was compiled here. A command line that is not static
/// gets its libraries.
///
/// # Errors
/// If a binary is missing, or Docker refuses the image.
pub fn binaries(docker: &Docker, command_line: &Path) -> Result<()> {
    let license = project_root().join("LICENSE");
    let key = format!("binaries {} {}", sha256(command_line)?, sha256(&wasm())?);
    make(docker, BINARIES, &key, &[], |root| {
        for image in ["pinroute", "envoy", "plugin"] {
            add(root, &format!("out/{image}/LICENSE"), &license, 0o644)?;
        }
        fs::create_dir_all(root.join("out/data"))?;
        add(root, "out/pinroute/pinroute", command_line, 0o755)?;
        libraries(&root.join("out/pinroute"), command_line)?;
        add(root, "out/envoy/pinroute.wasm", &wasm(), 0o644)?;
        add(root, "out/plugin/plugin.wasm", &wasm(), 0o644)
    })
}

/// Imports what `fill` puts into a folder. Does nothing if the image was made of the same files.
fn make(
    docker: &Docker,
    name: &str,
    key: &str,
    changes: &[&str],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let format = format!("{{{{index .Config.Labels {LABEL:?}}}}}");
    let made = output(&mut docker.command(&["image", "inspect", "--format", &format, name]));
    if made.is_ok_and(|made| made == key) {
        return Ok(());
    }
    println!("making {name}");
    let root = project_root().join("target/stand-in");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    fill(&root)?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--directory"])
        .arg(&root)
        .arg(".")
        .stdout(Stdio::piped());
    let mut packing = tar.spawn().with_context(|| format!("cannot run {}", shown(&tar)))?;
    let archive = packing.stdout.take().context("tar has no output")?;
    let label = format!("LABEL {LABEL}={key:?}");
    let mut import = docker.command(&["import", "--change", &label]);
    changes.iter().for_each(|change| {
        import.args(["--change", change]);
    });
    import.args(["-", name]).stdin(archive).stdout(Stdio::null());
    let imported = import.status().with_context(|| format!("cannot run {}", shown(&import)))?;
    ensure!(packing.wait()?.success() && imported.success(), "cannot make the image {name}");
    Ok(fs::remove_dir_all(&root)?)
}

/// Copies a file to a path below `root`.
fn add(root: &Path, path: &str, from: &Path, mode: u32) -> Result<()> {
    let to = place(root, path)?;
    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(fs::set_permissions(&to, Permissions::from_mode(mode))?)
}

fn write(root: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let to = place(root, path)?;
    fs::write(&to, text)?;
    Ok(fs::set_permissions(&to, Permissions::from_mode(mode))?)
}

fn place(root: &Path, path: &str) -> Result<PathBuf> {
    let to = root.join(path.trim_start_matches('/'));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(to)
}

/// Copies the shared libraries of a program to where it looks for them.
fn libraries(root: &Path, program: &Path) -> Result<()> {
    let listed = output(Command::new("ldd").arg(program))?;
    for path in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        add(root, path, Path::new(path), 0o755)?;
    }
    Ok(())
}
