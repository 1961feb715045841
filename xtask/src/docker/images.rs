//! `make images`: builds the images, and checks what is in them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use pinroute_testkit::paths::{project_root, wasm};
use serde_json::Value;

use super::{Docker, sha256, stand_in};
use crate::command::{at, output, run};

/// An image: its name, the Dockerfile's target, and where it has the module.
struct Image {
    name: &'static str,
    target: &'static str,
    module: Option<&'static str>,
}

const IMAGES: [Image; 3] = [
    Image { name: "pinroute", target: "pinroute", module: None },
    Image { name: "pinroute-envoy", target: "envoy", module: Some("/etc/envoy/pinroute.wasm") },
    Image { name: "pinroute-plugin", target: "plugin", module: Some("/plugin.wasm") },
];

/// What to build from: the Dockerfile's `ARG`s, which docker-compose.yaml takes from variables of the same names.
pub type Arguments = Vec<(&'static str, String)>;

/// Builds all images.
///
/// # Errors
/// If no Docker engine answers, an image cannot be built, or one holds another module than `dist/pinroute.wasm`.
pub fn build() -> Result<()> {
    let docker =
        Docker::find()?.context("no Docker engine answers: start one, or check that you may use it")?;
    let arguments = arguments(&docker, || {
        run(Command::new("make").current_dir(project_root()).args(["--no-print-directory", "static"]))?;
        Ok(project_root().join("dist/static/pinroute"))
    })?;
    for image in &IMAGES {
        let mut build = docker.command(&["build", "--quiet", "--target", image.target, "--tag", image.name]);
        for (name, value) in &arguments {
            build.arg("--build-arg").arg(format!("{name}={value}"));
        }
        println!("building {}", image.name);
        run(build.env("DOCKER_BUILDKIT", "1").arg("."))?;
        check(&docker, image)?;
    }
    Ok(())
}

/// The arguments for this machine: stand-ins for the base images that are not here and cannot be pulled, with the command
/// line that `compiled` makes or finds.
///
/// # Errors
/// If a stand-in cannot be made.
pub fn arguments(docker: &Docker, compiled: impl FnOnce() -> Result<PathBuf>) -> Result<Arguments> {
    let dockerfile = fs::read_to_string(project_root().join("Dockerfile"))?;
    let base = |argument: &str| -> Result<String> {
        let named = std::env::var(argument).ok().filter(|name| !name.is_empty());
        let written = dockerfile.lines().find_map(|line| line.strip_prefix(&format!("ARG {argument}=")));
        named.or(written.map(str::to_owned)).with_context(|| format!("the Dockerfile has no {argument}"))
    };
    let mut arguments = vec![("MODULE_SHA256", sha256(&wasm())?)];
    let (rust, envoy) = (base("RUST_IMAGE")?, base("ENVOY_IMAGE")?);
    if is_available(docker, &rust) {
        arguments.push(("RUST_IMAGE", rust));
    } else {
        println!("{rust} cannot be pulled: taking what this machine compiles");
        stand_in::binaries(docker, &compiled()?)?;
        arguments.push(("BINARIES", stand_in::BINARIES.to_owned()));
    }
    if is_available(docker, &envoy) {
        arguments.push(("ENVOY_IMAGE", envoy));
    } else {
        println!("{envoy} cannot be pulled: taking this machine's Envoy");
        stand_in::envoy(docker)?;
        arguments.push(("ENVOY_IMAGE", stand_in::ENVOY.to_owned()));
    }
    let cargo = fs::read_to_string(project_root().join("Cargo.toml"))?;
    let version = cargo.lines().find_map(|line| line.strip_prefix("version = "));
    arguments.push(("VERSION", version.unwrap_or_default().trim_matches('"').to_owned()));
    let git = |words: &[&str]| output(Command::new("git").current_dir(project_root()).args(words));
    if let Ok(revision) = git(&["rev-parse", "HEAD"]) {
        arguments.push(("REVISION", revision));
    }
    // Another kind of origin is a path on this machine, or needs an account.
    if let Some(origin) =
        git(&["remote", "get-url", "origin"]).ok().filter(|origin| origin.starts_with("https://"))
    {
        arguments.push(("SOURCE", origin));
    }
    Ok(arguments)
}

fn is_available(docker: &Docker, image: &str) -> bool {
    docker.has_image(image) || output(&mut docker.command(&["pull", "--quiet", image])).is_ok()
}

/// Checks what is in an image, and the user that it runs as.
fn check(docker: &Docker, image: &Image) -> Result<()> {
    let Image { name, module, .. } = image;
    let described = output(&mut docker.command(&["image", "inspect", name]))?;
    let described: Value = serde_json::from_str(&described)?;
    let config = at(&described, "/0/Config");
    for label in ["licenses", "version", "title"] {
        let value = at(config, &format!("/Labels/org.opencontainers.image.{label}"));
        ensure!(value.as_str().is_some_and(|value| !value.is_empty()), "{name} has no label {label}");
    }
    let user = at(config, "/User").as_str().unwrap_or_default();
    let numbers = user.split(':').all(|part| part.parse().is_ok_and(|id: u32| id > 0));
    ensure!(
        numbers || *name == "pinroute-plugin",
        "{name} runs as the user {user:?}, and not as a number above 0"
    );
    let size = at(&described, "/0/Size").as_u64().unwrap_or_default();
    let mut sum = String::new();
    if let Some(module) = module {
        let found = extract(docker, name, module)?;
        let tested = sha256(&wasm())?;
        ensure!(found == tested, "{name} holds the module {found}, and the tests ran {tested}");
        sum = format!(", module {tested}");
    }
    println!("{name}: {:.1} MB{sum}", size as f64 / 1e6);
    Ok(())
}

/// The sha256 of a file in an image.
fn extract(docker: &Docker, image: &str, path: &str) -> Result<String> {
    // A command is needed, and never run: the plugin's image has none.
    let container = output(&mut docker.command(&["create", image, "-"]))?;
    let file = project_root().join("target").join(format!("{image}.wasm"));
    let copied =
        run(docker.command(&["cp", &format!("{container}:{path}")]).arg(&file).stderr(Stdio::null()));
    run(docker.command(&["rm", &container]).stdout(Stdio::null()))?;
    copied?;
    sha256(&file)
}
