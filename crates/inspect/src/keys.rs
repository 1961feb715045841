//! Keys that people write down: on a command line, or one on each line of a file.

use std::io::{self, BufRead};

use pinroute_core::config::Config;
use pinroute_core::key::{Key, KeyError, ONLY_PART};

/// The key of these parts. `key` is that of a configuration with one part, whatever its name is.
///
/// # Errors
/// [`KeyError`] if no request could have this key.
pub fn key<'v>(
    config: &Config,
    key: Option<&'v [u8]>,
    parts: &'v [(String, String)],
) -> Result<Key<'v>, KeyError> {
    let is_single = config.key.is_single();
    config.key.key_of(|name| {
        let part = parts.iter().find(|(part, _)| part == name).map(|(_, value)| value.as_bytes());
        part.or(key.filter(|_| is_single || name == ONLY_PART))
    })
}

/// The key on a line: its parts in their order, separated by tabs.
///
/// # Errors
/// [`KeyError`] if no request could have this key.
pub fn key_of_line<'v>(config: &Config, line: &'v [u8]) -> Result<Key<'v>, KeyError> {
    if config.key.is_single() {
        return config.key.key_of(|_| Some(line));
    }
    let names: Vec<&str> = config.key.names().collect();
    let values: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    config.key.key_of(|name| {
        let place = names.iter().position(|known| *known == name)?;
        values.get(place).copied()
    })
}

/// Calls `each` with every line that is not empty, without its end.
///
/// # Errors
/// If reading fails, or `each` does.
pub fn for_each_line<E: From<io::Error>>(
    mut from: impl BufRead,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            each(line)?;
        }
    }
}
