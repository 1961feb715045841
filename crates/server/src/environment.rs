//! Where settings come from, as a trait: the tests' environment is a map.

use std::io;

/// What the server asks of its surroundings before it starts.
pub trait Environment {
    /// The variable's value. Unset and empty are the same: `docker compose` passes `${X:-}` as empty.
    fn variable(&self, name: &str) -> Option<String>;

    /// The system's own host name.
    fn system_hostname(&self) -> io::Result<String>;
}

/// The process's real environment.
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        let value = std::env::var_os(name)?;
        // Bytes that are not UTF-8 become U+FFFD, which every setting with rules then refuses.
        Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    }

    fn system_hostname(&self) -> io::Result<String> {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
        Ok(name.trim().to_owned())
    }
}

#[cfg(test)]
pub mod fake {
    //! An environment of the tests' making.

    use super::*;

    /// Variables in a list, and a system called `box`.
    pub struct Fake<'a>(pub &'a [(&'a str, &'a str)]);

    impl Environment for Fake<'_> {
        fn variable(&self, name: &str) -> Option<String> {
            let found = self.0.iter().find(|(key, value)| *key == name && !value.is_empty());
            found.map(|(_, value)| (*value).to_owned())
        }

        fn system_hostname(&self) -> io::Result<String> {
            Ok("box".to_owned())
        }
    }
}
