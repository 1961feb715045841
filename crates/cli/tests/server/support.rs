//! Starts the real binary on a free port and talks plain HTTP/1.1 to it, byte for byte: a client
//! library would tidy up the very requests these tests are about.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than any answer takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// `pinroute server` with nothing of the tests' own environment in it.
fn command(environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinroute"));
    command.arg("server").env_clear().envs(environment.iter().copied());
    command
}

/// Runs a command line that is expected to end by itself.
pub fn finish(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(environment).args(arguments).output().unwrap()
}

/// A running server called `box`, killed when dropped.
pub struct Server {
    child: Child,
    logs: Receiver<String>,
    pub address: SocketAddr,
    /// The start line, and what was logged before it.
    pub start: Vec<String>,
}

impl Server {
    /// Starts on a free port, with JSON logs unless `environment` says otherwise.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        Self::start_with(environment, &[])
    }

    /// As [`start`](Self::start), with further arguments.
    pub fn start_with(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let defaults = [("PORT", "0"), ("BIND", "127.0.0.1"), ("HOSTNAME", "box"), ("LOG_FORMAT", "json")];
        let mut child = command(&defaults)
            .envs(environment.iter().copied())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();

        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, logs) = channel();
        std::thread::spawn(move || {
            // Read to the end even when nobody listens any more, or the server would block on the pipe.
            output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });

        let mut start = Vec::new();
        let address = loop {
            let line = logs.recv_timeout(PATIENCE).unwrap();
            start.push(line.clone());
            if line.contains("listening") {
                let (_, after) = line.split_once("127.0.0.1:").unwrap();
                let port: String = after.chars().take_while(char::is_ascii_digit).collect();
                break SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
            }
        };
        Self { child, logs, address, start }
    }

    /// This server's own `host:port`.
    pub fn name(&self) -> String {
        format!("box:{}", self.address.port())
    }

    /// The next line of the log.
    pub fn log(&self) -> String {
        self.logs.recv_timeout(PATIENCE).unwrap()
    }

    /// A connection on which nothing was said yet.
    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection(BufReader::new(stream))
    }

    /// GET on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", b"")
    }

    /// GET with this `Host` on a connection of its own.
    pub fn get_from(&self, host: &str, path: &str) -> Answer {
        let mut connection = self.connect();
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
        connection.answer()
    }

    /// One request on a connection of its own. `headers` are whole lines, each with its line end.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut connection = self.connect();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {length}\r\n\r\n");
        connection.send(head.as_bytes());
        connection.send(body);
        connection.answer()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until no new connection is taken.
    pub fn until_closed(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_ok() {
            assert!(start.elapsed() < PATIENCE, "still takes connections");
            std::thread::yield_now();
        }
    }

    /// Waits for the end.
    pub fn exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(start.elapsed() < PATIENCE, "still running"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A keep-alive connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Reads one line, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads one answer, by its content-length.
    pub fn answer(&mut self) -> Answer {
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new() };
        let mut body = vec![0; answer.header("content-length").parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// Whether the server has closed the connection in good order.
    pub fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).unwrap() == 0
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The first value of a header, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}
