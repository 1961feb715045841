//! Structured logs on standard output.

use std::io::IsTerminal;

use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::EnvFilter;

use crate::environment::Environment;
use crate::error::StartError;

#[derive(Debug, PartialEq)]
enum Format {
    Text,
    Json,
}

/// Installs the logger that `LOG_FORMAT` and `RUST_LOG` ask for.
pub fn install(env: &impl Environment) -> Result<(), StartError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(read_filter(env)?)
        .with_ansi(std::io::stdout().is_terminal());
    let installed = match read_format(env)? {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder.json().finish().try_init(),
    };
    installed.map_err(|error| StartError::Logging(error.to_string()))
}

fn read_filter(env: &impl Environment) -> Result<EnvFilter, StartError> {
    let Some(value) = env.variable("RUST_LOG") else { return Ok(EnvFilter::new("info")) };
    EnvFilter::builder().parse(&value).map_err(|_| StartError::Variable {
        name: "RUST_LOG",
        value,
        allowed: "a log filter such as debug or pinroute_server=trace",
    })
}

fn read_format(env: &impl Environment) -> Result<Format, StartError> {
    match env.variable("LOG_FORMAT") {
        None => Ok(Format::Text),
        Some(value) => match value.as_str() {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err(StartError::Variable { name: "LOG_FORMAT", value, allowed: "text or json" }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::fake::Fake;

    #[test]
    fn text_at_info_unless_told() {
        assert_eq!(read_format(&Fake(&[])).unwrap(), Format::Text);
        assert_eq!(read_format(&Fake(&[("LOG_FORMAT", "json")])).unwrap(), Format::Json);
        assert_eq!(read_filter(&Fake(&[])).unwrap().to_string(), "info");
        assert_eq!(read_filter(&Fake(&[("RUST_LOG", "debug")])).unwrap().to_string(), "debug");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let error = read_format(&Fake(&[("LOG_FORMAT", "xml")])).unwrap_err();
        assert_eq!(error.to_string(), r#"LOG_FORMAT="xml": must be text or json"#);
        let error = read_filter(&Fake(&[("RUST_LOG", "a=b=c")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"RUST_LOG="a=b=c": must be a log filter such as debug or pinroute_server=trace"#
        );
    }
}
