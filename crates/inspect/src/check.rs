//! Finds the mistakes in a file before Envoy does.

use std::fmt;

use serde::Serialize;

use crate::advice::{Advice, advice};
use crate::error::ReadError;
use crate::found::{Found, configurations};
use crate::text::printable;

/// What was found in a file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// Whether no configuration has a mistake.
    pub ok: bool,
    /// The configurations in it; one, without a name, if the file is a plugin's configuration.
    pub configurations: Vec<Checked>,
}

/// One configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Which one of the file.
    pub name: String,
    /// The line where it begins.
    pub line: Option<u64>,
    /// What it does, if it has no mistake.
    pub summary: Option<String>,
    /// The first mistake.
    pub error: Option<Mistake>,
    /// What is legal and unwise.
    pub warnings: Vec<Warning>,
}

/// A mistake, in the filter's own words.
#[derive(Clone, Debug, Serialize)]
pub struct Mistake {
    /// The field, such as `resolve.timeout`; empty for the configuration as a whole.
    pub path: String,
    /// What the filter logs when it refuses the configuration.
    pub message: String,
    /// The line of the field.
    pub line: Option<u64>,
}

/// Something legal and unwise.
#[derive(Clone, Debug, Serialize)]
pub struct Warning {
    /// The field.
    pub path: &'static str,
    /// What is unwise, with the field.
    pub message: String,
    /// The line of the field.
    pub line: Option<u64>,
}

/// Checks all configurations in a file. `file` is its name in messages.
///
/// # Errors
/// [`ReadError`]
pub fn check(file: &str, bytes: &[u8]) -> Result<Report, ReadError> {
    let configurations: Vec<_> = configurations(bytes)?.iter().map(checked).collect();
    let ok = configurations.iter().all(|checked| checked.error.is_none());
    Ok(Report { file: file.to_owned(), ok, configurations })
}

impl Report {
    /// The report on a file that cannot be read as what it should be. `is_optional` if one without a filter is no mistake.
    pub fn unreadable(file: &str, error: &ReadError, is_optional: bool) -> Self {
        let (path, message) = (String::new(), error.to_string());
        let line = match error {
            ReadError::NotYaml { line, .. } => *line,
            ReadError::NotText | ReadError::NoFilter => None,
        };
        let ok = is_optional && *error == ReadError::NoFilter;
        let mut checked =
            Checked { name: String::new(), line, summary: None, error: None, warnings: Vec::new() };
        if ok {
            checked.warnings.push(Warning { path: "", message, line });
        } else {
            checked.error = Some(Mistake { path, message, line });
        }
        Self { file: file.to_owned(), ok, configurations: vec![checked] }
    }
}

fn checked(found: &Found) -> Checked {
    let (name, line) = (found.name.clone(), found.line);
    match found.parse() {
        Ok(parsed) => {
            let warning = |Advice { path, message, line }| {
                let line = line.or_else(|| found.line_of(path));
                Warning { path, message: format!("{path}: {message}"), line }
            };
            let message = "the file is empty: all defaults".to_owned();
            let blank = found.is_blank().then_some(Warning { path: "", message, line: None });
            let advice = advice(&parsed, &found.wiring).into_iter().map(warning);
            let warnings = blank.into_iter().chain(advice).collect();
            Checked { name, line, summary: Some(parsed.config().to_string()), error: None, warnings }
        }
        Err(error) => {
            let (message, line_of) = (error.to_string(), found.line_of(&error.path));
            let error = Mistake { path: error.path, message, line: line_of };
            Checked { name, line, summary: None, error: Some(error), warnings: Vec::new() }
        }
    }
}

/// One line for each finding, `FILE:LINE: KIND: NAME: MESSAGE`, as compilers write them, in the order of the lines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut findings = Vec::new();
        for Checked { name, line, summary, error, warnings } in &self.configurations {
            let ok = summary.iter().map(|summary| (*line, "ok", summary));
            let error = error.iter().map(|error| (error.line, "error", &error.message));
            let warnings = warnings.iter().map(|warning| (warning.line, "warning", &warning.message));
            findings.extend(ok.chain(error).chain(warnings).map(|finding| (finding, name)));
        }
        findings.sort_by_key(|((line, ..), _)| *line);
        for ((line, kind, message), name) in findings {
            f.write_str(&self.file)?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {kind}: ")?;
            if !name.is_empty() {
                write!(f, "{}: ", printable(name))?;
            }
            writeln!(f, "{}", printable(message))?;
        }
        Ok(())
    }
}
