//! Many requests on few connections, at little cost to the test itself. Unlike [`crate::http`], it reads only statuses.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// For one response.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);

/// How many responses there were of each status.
pub type Statuses = BTreeMap<u16, usize>;

/// `GET`s these paths on several connections at once, on each its share of them one after the other.
///
/// # Errors
/// If a connection fails, or if a response has no status or no `content-length`.
pub fn get_all(addr: SocketAddr, connections: usize, paths: &[String]) -> Result<Statuses> {
    let share = paths.len().div_ceil(connections.max(1)).max(1);
    thread::scope(|scope| {
        let running: Vec<_> =
            paths.chunks(share).map(|paths| scope.spawn(move || get_in_turn(addr, paths))).collect();
        let mut all = Statuses::new();
        for one in running {
            let statuses = one.join().ok().context("a connection's thread panicked")??;
            statuses.into_iter().for_each(|(status, count)| *all.entry(status).or_default() += count);
        }
        Ok(all)
    })
}

fn get_in_turn(addr: SocketAddr, paths: &[String]) -> Result<Statuses> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(RESPONSE_DEADLINE))?;
    let mut responses = BufReader::new(&stream);
    let mut statuses = Statuses::new();
    for path in paths {
        (&stream).write_all(format!("GET {path} HTTP/1.1\r\nhost: load\r\n\r\n").as_bytes())?;
        let status = read_response(&mut responses).with_context(|| format!("GET {path}"))?;
        *statuses.entry(status).or_default() += 1;
    }
    Ok(statuses)
}

/// Reads a response to its end, and returns its status.
fn read_response(from: &mut impl BufRead) -> Result<u16> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status: {line:?}"))?;
    let mut length = None;
    loop {
        line.clear();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse()?);
            }
            Some(_) => {}
            None => break,
        }
    }
    let length: u64 = length.context("no content-length")?;
    std::io::copy(&mut from.take(length), &mut std::io::sink())?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_resolver::{FakeResolver, FakeResponse};

    #[test]
    fn every_path_is_requested_once() {
        let server = FakeResolver::start(|path, _| match path {
            "/7" => FakeResponse::status(503, "busy"),
            _ => FakeResponse::ok("body"),
        });
        let server = server.unwrap();
        let paths: Vec<String> = (0..205).map(|number| format!("/{number}")).collect();
        let statuses = get_all(server.addr(), 4, &paths).unwrap();
        assert_eq!(statuses, [(200, 204), (503, 1)].into());
        let mut seen: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
        let mut expected = paths;
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }
}
