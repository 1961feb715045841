//! The check of the manifests in `deploy/kubernetes`: rendered by kustomize, compared with the schemas of Kubernetes, and
//! with the Envoy configuration in them checked as those in `envoy/` are. It needs no cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::envoy::validate;
use pinroute_testkit::paths::{project_root, wasm};
use serde_json::Value;

use crate::command::{at, output};

/// The folders that users apply.
const FOLDERS: [&str; 4] = ["base", "minikube", "example", "filter-from-configmap"];
/// A Python package that has the schemas inside.
const VALIDATOR: &str = "kubernetes-validate";
const VALIDATOR_VERSION: &str = "1.37.0";

/// Checks every folder.
///
/// # Errors
/// If a manifest is not valid, or Envoy refuses its configuration.
pub fn check() -> Result<()> {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        println!("kubectl is not installed: the manifests of deploy/kubernetes are not checked");
        return Ok(());
    }
    let validator = validator()?;
    let copy = project_root().join("target/kubernetes");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    // A copy, as the module belongs into one of the folders.
    output(Command::new("cp").arg("-r").arg(project_root().join("deploy/kubernetes")).arg(&copy))?;
    fs::copy(wasm(), copy.join("filter-from-configmap/pinroute.wasm")).context("run `make wasm` first")?;
    for name in FOLDERS {
        let rendered = output(Command::new("kubectl").arg("kustomize").arg(copy.join(name)))?;
        let file = copy.join(format!("{name}.yaml"));
        fs::write(&file, &rendered)?;
        let mut validate = Command::new("python3");
        validate.arg(validator.join("bin").join(VALIDATOR)).args(["--strict", "--quiet"]).arg(&file);
        output(validate.env("PYTHONPATH", &validator))?;
        let documents = documents(&rendered)?;
        check_replicas(&documents)?;
        let envoy = envoy_configuration(&documents)?;
        check_envoy(&copy.join(format!("{name}-envoy.yaml")), envoy)?;
        println!("deploy/kubernetes/{name}: ok");
    }
    Ok(())
}

fn documents(rendered: &str) -> Result<Vec<Value>> {
    let documents = rendered.split("\n---\n");
    documents.map(|document| serde_saphyr::from_str(document).context("not YAML")).collect()
}

/// `REPLICAS` is the number of servers that there are.
fn check_replicas(documents: &[Value]) -> Result<()> {
    let is_server = |document: &&Value| {
        *at(document, "/kind") == "StatefulSet" && *at(document, "/metadata/name") == "server"
    };
    let server = documents.iter().find(is_server).context("there is no StatefulSet server")?;
    let variables = at(server, "/spec/template/spec/containers/0/env").as_array();
    let variable = variables.into_iter().flatten().find(|variable| *at(variable, "/name") == "REPLICAS");
    let passed = variable.and_then(|variable| at(variable, "/value").as_str()).unwrap_or_default();
    let replicas = at(server, "/spec/replicas").as_u64().context("no number of replicas")?;
    ensure!(passed.parse() == Ok(replicas), "there are {replicas} servers, and REPLICAS is {passed:?}");
    Ok(())
}

/// What the ConfigMap has.
fn envoy_configuration(documents: &[Value]) -> Result<&str> {
    let text = documents.iter().find_map(|document| at(document, "/data/envoy.yaml").as_str());
    text.context("no ConfigMap has envoy.yaml")
}

fn check_envoy(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    let name = file.display().to_string();
    let report = pinroute_inspect::check::check(&name, text.as_bytes())?;
    let has_warnings = report.configurations.iter().any(|found| !found.warnings.is_empty());
    ensure!(report.ok && !has_warnings, "{report}");
    let mut shipped = Shipped::parse(&name, text)?;
    validate(shipped.replace_files()?.value())
}

/// The folder with the validator, which is installed once.
fn validator() -> Result<PathBuf> {
    let tools = project_root().join(".tools");
    let home = tools.join(format!("{VALIDATOR}-{VALIDATOR_VERSION}"));
    if home.is_dir() {
        return Ok(home);
    }
    eprintln!("installing {VALIDATOR} {VALIDATOR_VERSION} into {} (once; 23 MB)", home.display());
    let fresh = tools.join(format!(".{VALIDATOR}.{}", std::process::id()));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(&fresh);
    output(pip.arg(format!("{VALIDATOR}=={VALIDATOR_VERSION}")))?;
    fs::rename(&fresh, &home).with_context(|| format!("cannot make {}", home.display()))?;
    Ok(home)
}
