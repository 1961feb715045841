//! What the system knows: which processors there are, and what a process has used of them.

use anyhow::{ensure, Context, Result};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};
use serde::Serialize;
use std::{fs, io, thread};

/// How Envoy calls its only worker thread.
const WORKER: &str = "wrk:worker_0";

/// Who runs on which processors.
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
    /// Those that this process may use, divided so that Envoy has one for itself. With only one there is
    /// nothing to divide.
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

/// A thread of a process, for asking what it has used.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    process: u32,
    id: u32,
}

impl Thread {
    /// Envoy's worker.
    pub fn worker_of(process: u32) -> Result<Self> {
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let entry = entry?;
            if fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim() == WORKER {
                let id = entry.file_name().to_string_lossy().parse().context("a thread's id")?;
                return Ok(Self { process, id });
            }
        }
        anyhow::bail!("process {process} has no thread {WORKER:?}")
    }

    /// The processor time that it has used so far, user and system, in nanoseconds.
    pub fn used(&self) -> Result<u64> {
        let Self { process, id } = self;
        // Exact to the nanosecond; `stat` counts the same in steps of 10 ms.
        let path = format!("/proc/{process}/task/{id}/schedstat");
        if let Some(exact) = fs::read_to_string(&path).ok().and_then(|text| first_number(&text)) {
            return Ok(exact);
        }
        let path = format!("/proc/{process}/task/{id}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = ticks(&text).with_context(|| format!("{path} is not as expected"))?;
        Ok(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// `utime` plus `stime`, the 14th and 15th field. The second is a name in parentheses and may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// The memory of a process that is resident, in bytes.
pub fn resident(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(first_number).context("no VmRSS")?;
    Ok(kib * 1024)
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

    #[test]
    fn a_thread_with_an_odd_name_is_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(42));
    }
}
