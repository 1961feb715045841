//! The check of the dependencies that needs no network: licences, sources, versions. `deny.toml` has the same rules
//! for those who have cargo-deny.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pinroute_testkit::paths::project_root;
use serde_json::Value;
use spdx::{Expression, ParseMode};

/// The licences that a dependency may have.
const ALLOWED: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// The only registry that dependencies may come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every package that `Cargo.lock` names.
pub fn check() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(project_root());
    let output = command.output().context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let faults: BTreeSet<String> = packages.iter().flat_map(faults).collect();
    for fault in &faults {
        println!("{fault}");
    }
    ensure!(faults.is_empty(), "{} of the dependencies break a rule", faults.len());
    println!("the licences and sources of {} packages are allowed", packages.len());
    Ok(())
}

/// The rules that a package breaks.
fn faults(package: &Value) -> Vec<String> {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let name = text(package, "name").unwrap_or_default();
    let mut faults = Vec::new();
    match text(package, "license") {
        Some(license) if allowed(&license) => {}
        license => faults.push(format!("{name}: the licence {license:?} is not allowed")),
    }
    match text(package, "source") {
        // A package of this workspace: its dependencies are written by us.
        None => {
            let dependencies = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
            // A path dependency has the version *, and needs none.
            for dependency in dependencies.filter(|one| one.get("path").is_none()) {
                if text(dependency, "req").as_deref() == Some("*") {
                    let of = text(dependency, "name").unwrap_or_default();
                    faults.push(format!("{name}: the dependency {of} has the version *"));
                }
            }
        }
        Some(source) if source == CRATES_IO => {}
        Some(source) => faults.push(format!("{name}: the source {source} is not crates.io")),
    }
    faults
}

/// Whether the licence, an SPDX expression, can be met with allowed ones.
fn allowed(license: &str) -> bool {
    // Old crates write MIT/Apache-2.0 for `OR`.
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|requirement| ALLOWED.contains(&requirement.to_string().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        let fine = [
            "MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ];
        assert!(fine.into_iter().all(allowed));
        let refused = ["GPL-3.0-only", "MIT AND GPL-3.0-only", "", "my own"];
        assert!(!refused.into_iter().any(allowed));
    }

    #[test]
    fn each_rule_is_named() {
        let git = json!({ "name": "a", "license": "MIT", "source": "git+https://example.com/a" });
        assert_eq!(faults(&git), ["a: the source git+https://example.com/a is not crates.io"]);
        let unlicensed = json!({ "name": "b", "license": null, "source": CRATES_IO });
        assert_eq!(faults(&unlicensed), ["b: the licence None is not allowed"]);
        let dependencies = json!([{ "name": "d", "req": "*" }, { "name": "e", "req": "*", "path": "/e" }]);
        let own = json!({ "name": "c", "license": "Apache-2.0", "dependencies": dependencies });
        assert_eq!(faults(&own), ["c: the dependency d has the version *"]);
    }
}
