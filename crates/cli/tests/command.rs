//! The command line as a whole.

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    fn pinroute(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pinroute")).env_clear().args(arguments).output().unwrap()
    }

    #[test]
    fn version_is_the_packages() {
        let output = pinroute(&["--version"]);
        let expected = concat!("pinroute ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn help_lists_the_commands_and_has_an_example() {
        let output = pinroute(&["--help"]);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("\n  server ") && help.contains("\nExamples:"), "{help}");
        assert!(output.status.success());
    }

    #[test]
    fn an_unknown_or_missing_command_exits_with_2() {
        for (arguments, message) in [
            (&["serve-all"][..], "unrecognized subcommand 'serve-all'"),
            (&["--colour"], "unexpected argument '--colour'"),
            (&[], "Usage: pinroute <COMMAND>"),
        ] {
            let output = pinroute(arguments);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains(message), "{error}");
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        }
    }
}
