//! A child process that writes its output to a file and ends with the thread that started it.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Pid, getppid, kill_process, set_parent_process_death_signal};

pub use rustix::process::Signal;

use crate::sync::locked;

/// A running child. Dropping it kills it; in a panicking test its output is printed too.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` with both its outputs appended to the file `log`.
    ///
    /// The kernel kills the child when the calling **thread** ends, for any reason. The child gets a process group of
    /// its own, so that Ctrl-C at the terminal does not reach it.
    ///
    /// # Errors
    /// If the file cannot be written or the program cannot be run; the message names both.
    pub fn spawn(name: impl Into<String>, command: &mut Command, log: impl Into<PathBuf>) -> Result<Self> {
        let (name, log) = (name.into(), log.into());
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        die_with_this_thread(command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().to_string_lossy()))?;
        Ok(Self { name, log, child: Mutex::new(child) })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        locked(&self.child).id()
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        Ok(locked(&self.child).try_wait()?)
    }

    /// Sends a signal. Does nothing once the process has ended.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = locked(&self.child);
        // The process has not been waited for, so no other process can have its id.
        if child.try_wait()?.is_none() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("process id 0")?;
            kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }

    /// `kill -9`, then waits until it has ended.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&self) -> Result<()> {
        let mut child = locked(&self.child);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Its output so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// The last `count` lines of [`log`](Self::log).
    #[must_use]
    pub fn log_tail(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails if the process has ended by itself.
        let _ = self.kill();
        if thread::panicking() {
            eprintln!("--- output of {} ---\n{}--- end of {} ---", self.name, self.log(), self.name);
        }
    }
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Makes the kernel kill the command's process when the thread that spawns it ends.
#[allow(unsafe_code)]
pub(crate) fn die_with_this_thread(command: &mut Command) {
    let parent = std::process::id();
    let hook = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the parent ended before the line above, the kernel will not send the signal.
        if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()))
        }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The hook makes two system
    // calls, compares integers, and allocates nothing on any path.
    unsafe {
        command.pre_exec(hook);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::poll::eventually;
    use tempfile::TempDir;

    fn sleeper(dir: &TempDir) -> Process {
        let mut command = Command::new("sleep");
        Process::spawn("sleeper", command.arg("600"), dir.path().join("log")).unwrap()
    }

    fn gone(pid: u32) -> Result<(), String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A killed child stays as a zombie, Z, until its parent waits for it.
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    }

    #[test]
    fn keeps_the_output_and_the_status() {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 7"]);
        let process = Process::spawn("talker", &mut command, dir.path().join("log")).unwrap();
        let status =
            eventually(Duration::from_secs(10), || process.exited().unwrap().ok_or("it runs".into()))
                .unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(process.log(), "one\ntwo\nthree\n");
        assert_eq!(process.log_tail(2), "two\nthree");
        process.signal(Signal::TERM).unwrap();
    }

    #[test]
    fn ends_with_its_value() {
        let dir = TempDir::new().unwrap();
        let process = sleeper(&dir);
        let pid = process.pid();
        assert!(process.exited().unwrap().is_none());
        drop(process);
        gone(pid).unwrap();
    }

    #[test]
    fn ends_with_the_thread_that_started_it() {
        let dir = TempDir::new().unwrap();
        let pid = thread::scope(|scope| {
            // Forgotten, so that no destructor can be what kills it.
            let start = || {
                let process = sleeper(&dir);
                let pid = process.pid();
                std::mem::forget(process);
                pid
            };
            scope.spawn(start).join().unwrap()
        });
        eventually(Duration::from_secs(10), || gone(pid)).unwrap();
    }

    #[test]
    fn names_what_cannot_be_started() {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new("/no/such/program");
        let error = Process::spawn("ghost", &mut command, dir.path().join("log")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start ghost (/no/such/program)");
    }
}
