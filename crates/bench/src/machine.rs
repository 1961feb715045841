//! The machine's processors, and what a process has used of them and of the memory.

use anyhow::{Context, Result, ensure};
use procfs::process::{Process, Task};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use std::time::Duration;
use std::{fs, io, thread};

/// What the names of Envoy's worker threads begin with.
const WORKER: &str = "wrk:worker_";

/// Which processors each part runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors {
    /// Envoy, all threads.
    pub envoy: Vec<usize>,
    /// The load generator.
    pub load: Vec<usize>,
    /// The resolver.
    pub servers: Vec<usize>,
}

impl Processors {
    /// The processors that this process may use, divided so that Envoy has one for itself if there are two.
    pub fn divide() -> Result<Self> {
        let allowed = sched_getaffinity(None).map_err(io::Error::from)?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        ensure!(!all.is_empty(), "no processor may be used");
        Ok(Self::of(&all))
    }

    fn of(all: &[usize]) -> Self {
        let one = |place: usize| all.iter().skip(place.min(all.len() - 1)).take(1).copied().collect();
        let rest: Vec<usize> = all.iter().skip(2).copied().collect();
        let servers = if rest.is_empty() { one(1) } else { rest };
        Self { envoy: one(0), load: one(1), servers }
    }
}

/// Binds the calling thread to some processors. What it starts from now on is bound too.
pub fn pin(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in processors {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).map_err(io::Error::from).context("cannot bind to a processor")
}

/// A thread of Envoy.
#[derive(Debug)]
pub struct Thread {
    name: String,
    task: Task,
}

impl Thread {
    /// All threads of an Envoy process.
    pub fn all(process: u32) -> Result<Vec<Self>> {
        let named = |task: Task| Some(Self { name: task.stat().ok()?.comm, task });
        Ok(proc(process)?.tasks()?.filter_map(Result::ok).filter_map(named).collect())
    }

    /// The only worker of an Envoy process.
    pub fn worker(process: u32) -> Result<Self> {
        let worker = Self::all(process)?.into_iter().find(Self::is_worker);
        worker.with_context(|| format!("process {process} has no thread {WORKER:?}"))
    }

    /// Whether it serves requests.
    pub fn is_worker(&self) -> bool {
        self.name.starts_with(WORKER)
    }

    /// The processor time that it has used, user and system, in nanoseconds.
    pub fn used(&self) -> Result<u64> {
        // Exact to the nanosecond; a kernel without it still has `stat`, in steps of 10 ms.
        if let Ok(exact) = self.task.schedstat() {
            return Ok(exact.sum_exec_runtime);
        }
        let stat = self.task.stat()?;
        Ok((stat.utime + stat.stime) * 1_000_000_000 / procfs::ticks_per_second().max(1))
    }
}

/// The memory of a process that is resident, in bytes.
pub fn resident(process: u32) -> Result<u64> {
    Ok(proc(process)?.status()?.vmrss.context("no VmRSS")? * 1024)
}

/// The processor time that the threads of a process have used, user and system, without threads that have ended.
pub fn used(process: u32) -> Result<Duration> {
    let threads = Thread::all(process)?;
    threads.iter().map(Thread::used).sum::<Result<u64>>().map(Duration::from_nanos)
}

fn proc(process: u32) -> Result<Process> {
    Process::new(i32::try_from(process)?).with_context(|| format!("no process {process}"))
}

/// Where the figures were measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of them.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: name.map_or("unknown", |(_, name)| name).trim().to_owned(),
            processors: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().split(['-', '+']).next().unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_has_a_processor_for_itself_if_there_are_two() {
        let split = |all: &[usize]| {
            let Processors { envoy, load, servers } = Processors::of(all);
            [envoy, load, servers]
        };
        assert_eq!(split(&[3]), [vec![3], vec![3], vec![3]]);
        assert_eq!(split(&[0, 1]), [vec![0], vec![1], vec![1]]);
        assert_eq!(split(&[0, 1, 2, 5]), [vec![0], vec![1], vec![2, 5]]);
    }
}
