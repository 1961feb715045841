//! Container images, and the tests of the Compose stack.

pub mod compose;
pub mod images;
mod plugins;
mod stand_in;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use pinroute_testkit::paths::project_root;

use crate::command::output;

/// Docker's command line with the plugins that it needs, in the project's folder.
#[derive(Clone, Debug)]
pub struct Docker {
    /// Where the plugins are, if the system has none.
    config: Option<PathBuf>,
}

impl Docker {
    /// `None` if no Docker engine answers.
    ///
    /// # Errors
    /// If an engine answers, and a plugin can neither be found nor fetched.
    pub fn find() -> Result<Option<Self>> {
        let answers = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !answers.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        Ok(Some(Self { config: plugins::ensure()? }))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments);
        self.equip(command)
    }

    /// Makes a command run in the project's folder, with the plugins.
    fn equip(&self, mut command: Command) -> Command {
        command.current_dir(project_root());
        if let Some(config) = &self.config {
            command.env("DOCKER_CONFIG", config);
        }
        command
    }

    fn has_image(&self, name: &str) -> bool {
        output(&mut self.command(&["image", "inspect", "--format", "{{.Id}}", name])).is_ok()
    }
}

/// As `sha256sum` prints it.
fn sha256(file: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg("--").arg(file))?;
    let sum = line.split_whitespace().next().map(|sum| sum.trim_start_matches('\\').to_owned());
    sum.context("sha256sum printed nothing")
}
