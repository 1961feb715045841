//! Docker's plugins `compose` and `buildx`, from Debian where the system has none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use pinroute_testkit::paths::project_root;

use crate::command::{output, run};

/// The first Debian whose packages are Compose v2 and a matching buildx. Older ones run its programs too.
const SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const PLUGINS: [&str; 2] = ["compose", "buildx"];
/// Where the packages have the plugins.
const INSTALLED: &str = "usr/libexec/docker/cli-plugins";

/// The folder to give as `DOCKER_CONFIG`; `None` if Docker has both plugins itself.
pub fn ensure() -> Result<Option<PathBuf>> {
    if PLUGINS.iter().all(|plugin| works(plugin, None)) {
        return Ok(None);
    }
    let config = project_root().join(".tools/docker");
    if !PLUGINS.iter().all(|plugin| works(plugin, Some(&config))) {
        fetch(&config).context(
            "Docker has no Compose v2 or no buildx, and they cannot be fetched from Debian: install docker-compose-plugin and docker-buildx-plugin",
        )?;
    }
    for plugin in PLUGINS {
        ensure!(works(plugin, Some(&config)), "docker {plugin} does not run");
    }
    Ok(Some(config))
}

fn works(plugin: &str, config: Option<&Path>) -> bool {
    let mut command = Command::new("docker");
    command.args([plugin, "version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(config) = config {
        command.env("DOCKER_CONFIG", config);
    }
    command.status().is_ok_and(|status| status.success())
}

/// Unpacks the packages without installing them: it needs no root, and leaves the system as it is.
fn fetch(config: &Path) -> Result<()> {
    let work = config.join("packages");
    eprintln!(
        "fetching docker compose and docker buildx from Debian into {} (once; 26 MB)",
        config.display()
    );
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(folder))?;
    }
    let sources = work.join("sources.list");
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {} {SUITE} main\n", mirror()?))?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&work).args(["-qq", "-o", "Dir::Etc::sourceparts=/dev/null"]);
        for (option, path) in [
            ("Dir::Etc::sourcelist", sources.clone()),
            ("Dir::State::lists", work.join("lists")),
            ("Dir::Cache", work.join("cache")),
        ] {
            apt.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // Otherwise root drops its rights, and then may not write here.
        apt.args(["-o", "APT::Sandbox::User=root"]);
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["download", "docker-compose", "docker-buildx"]))?;
    let plugins = config.join("cli-plugins");
    fs::create_dir_all(&plugins)?;
    for entry in fs::read_dir(&work)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(work.join("unpacked")))?;
        }
    }
    for plugin in PLUGINS {
        let name = format!("docker-{plugin}");
        fs::copy(work.join("unpacked").join(INSTALLED).join(&name), plugins.join(&name))?;
    }
    Ok(fs::remove_dir_all(&work)?)
}

/// The mirror that this machine installs its packages from.
fn mirror() -> Result<String> {
    let listed = output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(ORIGIN)"]))?;
    let debian = listed.lines().filter_map(|line| line.strip_suffix(" Debian"));
    let main = debian.filter(|uri| !uri.contains("security")).map(str::to_owned).next();
    main.context("no Debian mirror is configured here")
}
