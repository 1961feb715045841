//! Makes the requests.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::ask::{Asker, Endpoint};
use crate::options::{Error, Options, Rate};
use crate::report::{Report, seconds};
use crate::tally::{Checked, Progress, Tally, Took, Verdict};

/// Makes the requests, and returns their results: of all, or those that ended before `stop` did. Requests in flight
/// at that moment do not count.
///
/// `progress` is called after each request.
///
/// # Errors
/// Only if latencies cannot be measured. What goes wrong with a request is in the report.
pub async fn run(
    options: Options,
    mut progress: impl FnMut(Progress),
    stop: impl Future<Output = ()>,
) -> Result<Report, Error> {
    let mut tally = Tally::new(options.url.to_string())?;
    let plan = Arc::new(Plan {
        asker: Asker::new(options.url, options.timeout),
        clients: options.clients,
        rate: options.rate,
        duration: options.duration,
        start: Instant::now(),
        next: AtomicU64::new(0),
        started: AtomicU64::new(0),
    });
    let concurrency = options.concurrency.max(1);
    let (sender, mut receiver) = mpsc::channel(concurrency);
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        workers.spawn(work(Arc::clone(&plan), sender.clone()));
    }
    drop(sender);
    let mut stop = pin!(stop);
    let interrupted = loop {
        tokio::select! {
            checked = receiver.recv() => match checked {
                Some(checked) => {
                    let at = checked.at;
                    tally.add(checked);
                    progress(tally.progress(plan.fraction(at)));
                }
                // All workers have ended.
                None => break false,
            },
            () = &mut stop => break true,
        }
    };
    let unsent = if interrupted { 0 } else { plan.unsent() };
    let (planned, seconds) = (plan.planned(), seconds(plan.start.elapsed()));
    let report = tally.report();
    let passed = report.is_clean() && !interrupted;
    Ok(Report { passed, planned, interrupted, unsent, seconds, ..report })
}

/// What the workers share.
#[derive(Debug)]
struct Plan {
    asker: Asker,
    clients: Vec<String>,
    rate: Option<Rate>,
    duration: Option<Duration>,
    start: Instant,
    /// The number of the next request.
    next: AtomicU64,
    started: AtomicU64,
}

impl Plan {
    /// The number of the next request, and its client; `None` at the end of a run without a duration.
    fn take(&self) -> Option<(u64, &String)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let count = u64::try_from(self.clients.len()).ok()?;
        if self.duration.is_none() && number >= count {
            return None;
        }
        let index = usize::try_from(number.checked_rem(count)?).ok()?;
        Some((number, self.clients.get(index)?))
    }

    /// Waits until a request is due, and returns the time from which its latency counts: the past, if all workers
    /// were busy when it was due. `None` at the end of the duration.
    async fn due(&self, number: u64) -> Option<Instant> {
        let end = match self.duration {
            Some(duration) => Some(self.start.checked_add(duration)?),
            None => None,
        };
        let is_over = |time: Instant| end.is_some_and(|end| time >= end);
        let now = Instant::now();
        let due = match self.rate {
            Some(rate) => self.start.checked_add(rate.start_of(number))?,
            None => now,
        };
        if is_over(due) || is_over(now) {
            return None;
        }
        if due <= now {
            return Some(due);
        }
        sleep_until(due).await;
        // The timer is up to a millisecond late, which is not the server's fault.
        Some(Instant::now())
    }

    /// Which part of the run is over.
    fn fraction(&self, at: Duration) -> f64 {
        match self.duration {
            Some(duration) => at.as_secs_f64() / duration.as_secs_f64(),
            None => self.started.load(Ordering::Relaxed) as f64 / self.clients.len() as f64,
        }
    }

    /// How many requests to make; `None` if it depends on how fast they are.
    fn planned(&self) -> Option<u64> {
        match (self.duration, self.rate) {
            (None, _) => u64::try_from(self.clients.len()).ok(),
            (Some(duration), Some(rate)) => Some(rate.within(duration)),
            (Some(_), None) => None,
        }
    }

    /// How many requests were due by the end of the duration, but did not start.
    fn unsent(&self) -> u64 {
        let due = self.rate.zip(self.duration).map_or(0, |(rate, duration)| rate.within(duration));
        due.saturating_sub(self.started.load(Ordering::Relaxed))
    }
}

/// One request after the other.
async fn work(plan: Arc<Plan>, results: mpsc::Sender<Checked>) {
    while let Some((number, client)) = plan.take() {
        let Some(due) = plan.due(number).await else { return };
        plan.started.fetch_add(1, Ordering::Relaxed);
        let began = plan.start.elapsed();
        let verdict = check(&plan.asker, client, due).await;
        let checked = Checked { client: client.clone(), began, at: plan.start.elapsed(), verdict };
        if results.send(checked).await.is_err() {
            return;
        }
    }
}

/// One request: who owns the client, and which host answers.
async fn check(asker: &Asker, client: &str, due: Instant) -> Verdict {
    let start = Instant::now();
    let owner = match asker.ask(Endpoint::Where, client).await {
        Ok(owner) => owner,
        Err(cause) => return Verdict::Failed { owner: None, cause },
    };
    let located = Instant::now();
    let host = match asker.ask(Endpoint::Join, client).await {
        Ok(host) => host,
        Err(cause) => return Verdict::Failed { owner: Some(owner), cause },
    };
    let took = Took { locate: located - start, join: located.elapsed(), all: due.elapsed() };
    if host == owner {
        return Verdict::Landed { host, owner, moved: false, took };
    }
    // The owner may have changed between the two calls.
    match asker.ask(Endpoint::Where, client).await {
        Ok(now) if now == host => Verdict::Landed { host, owner: now, moved: true, took },
        Ok(_) => Verdict::Landed { host, owner, moved: false, took },
        Err(cause) => Verdict::Failed { owner: None, cause },
    }
}
