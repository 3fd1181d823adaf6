//! How a run comes to its end: early or not, and what is said of it then.

use std::future::Future;
use std::time::Duration;

use super::{Problem, RunError, SaveError};
use crate::engine::{EngineExit, RunClock, Shutdown};
use crate::model::{EndReason, LiveStats, Summary, now};
use crate::report::PumpEnd;

/// How long an ended run waits until the rest of a list file has been counted.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends the run early when the caller wishes it or its time has passed; waits until one of
/// these, or the engine itself, has done so.
pub async fn ended_early(
    shutdown: &Shutdown,
    stop_after: Option<Duration>,
    stop: impl Future<Output = ()>,
) {
    let passed = async {
        match stop_after {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop => shutdown.end_early(EndReason::Shutdown),
        () = passed => shutdown.end_early(EndReason::StopAfter(stop_after.unwrap_or_default())),
        () = shutdown.ended_early() => {}
    }
}

/// Drives the work until it ends, or is ended some time after `stop`.
pub async fn run_until_stopped<T>(
    work: impl Future<Output = T>,
    shutdown: &Shutdown,
    grace: Duration,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> T {
    let wishes = async {
        stop.await;
        // Everything gets the same grace: the requests, and a reader of the results that
        // does not read.
        let _ = tokio::time::timeout(grace, abort).await;
        shutdown.abort();
        std::future::pending().await
    };
    tokio::select! {
        // The work first: a wish that comes as it ends changes nothing any more.
        biased;
        end = work => end,
        end = wishes => end,
    }
}

/// Waits a little until the reading thread knows how many lines there were. After a
/// run that was not ended early it knows already.
pub async fn wait_for_count(live: &LiveStats) {
    let known = async {
        while !live.has_list_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if live.is_list_length_known() {
        let _ = tokio::time::timeout(COUNT_TIMEOUT, known).await;
    }
}

pub fn complete(summary: &mut Summary, live: &LiveStats, clock: &RunClock, shutdown: &Shutdown) {
    summary.input = live.listed();
    summary.list_ended = live.has_list_ended();
    summary.left = summary.input.saturating_sub(summary.settled());
    summary.retries = live.retries();
    let end = now();
    summary.wall = end.saturating_duration_since(clock.started());
    summary.at = Some(clock.rfc3339(clock.started()));
    summary.ended_at = Some(clock.rfc3339(end));
    summary.one_by_one = live.busy_time();
    // A wish that came when everything was done has ended nothing.
    let is_early = summary.left > 0 || !summary.list_ended;
    summary.ended_by = shutdown.ended_by().filter(|_| is_early);
}

/// The worst of what happened: a failing output before an input that can't be read, as
/// the exit codes have it.
pub fn run_result(end: EngineExit, pump: PumpEnd) -> Result<Summary, RunError> {
    let is_early = pump.summary.ended_by.is_some();
    let is_cut = !pump.summary.list_ended && !is_early;
    let is_lossy = pump.summary.left > 0 && !is_early;
    let problem = match (end.panic, pump.error, end.broken, end.input_error) {
        (Some(text), _, _, _) => Problem::Internal(text),
        (None, Some(error), None, _) => Problem::Report(error),
        // What the reporters wait for, then, is the disk.
        (None, error, Some(broken), _) => match error.map(Problem::Report) {
            Some(closed) if closed.is_closed_pipe() => closed,
            _ => Problem::Save(SaveError::Disk(broken)),
        },
        (None, None, None, Some(error)) => Problem::Input(error),
        (None, None, None, None) if is_cut => {
            Problem::Internal("the list was not read to its end".to_owned())
        }
        (None, None, None, None) if is_lossy => {
            Problem::Internal("URLs were lost on their way".to_owned())
        }
        (None, None, None, None) => return Ok(pump.summary),
    };
    Err(RunError {
        summary: Box::new(pump.summary),
        problem,
    })
}
