//! The end of a run: stopping early, the final counts, and the result.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "cli")]
use super::delivery::{RunningDelivery, end_of};
use super::problem::is_closed_pipe;
use super::{Problem, RunError, SaveError};
use crate::engine::{EngineExit, RunClock, Shutdown, ThreadFailure};
use crate::model::{EndReason, LiveStats, Summary, now};
#[cfg(feature = "cli")]
use crate::report::Progress;
use crate::report::{PumpEnd, ReportError, RunningPump};

/// How long a stopped run waits for the rest of the input lines to be counted.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the engine's results go to.
pub(super) struct StartedOutputs {
    pub pump: RunningPump,
    pub live: Arc<LiveStats>,
    pub clock: RunClock,
    pub shutdown: Shutdown,
    pub is_shard: bool,
    #[cfg(feature = "cli")]
    pub progress: Option<Progress>,
    #[cfg(feature = "cli")]
    pub delivery: Option<RunningDelivery>,
}

impl StartedOutputs {
    /// Ends them after the engine, and returns what the run came to.
    pub(super) async fn finish(self, end: EngineExit) -> Result<Summary, RunError> {
        if end.input_error.is_none() {
            wait_for_count(&self.live).await;
        }
        #[cfg(feature = "cli")]
        if let Some(progress) = self.progress {
            progress.stop();
        }
        let complete = |summary: &mut Summary, error: Option<&ReportError>| {
            if error.is_some_and(is_closed_pipe) {
                self.shutdown.end_early(EndReason::ResultsClosed);
            }
            complete(
                summary,
                &self.live,
                &self.clock,
                &self.shutdown,
                self.is_shard,
            );
        };
        let abort = self.shutdown.abort_token();
        let end_of_pump = self.pump.finish(abort, complete).await;
        #[cfg(feature = "cli")]
        let delivered = end_of(self.delivery).await;
        #[cfg(not(feature = "cli"))]
        let delivered = Ok(());
        let summary = run_result(end, end_of_pump)?;
        match delivered {
            Ok(()) => Ok(summary),
            Err(problem) => {
                let summary = Box::new(summary);
                Err(RunError { summary, problem })
            }
        }
    }
}

/// Stops the run early when `stop` completes or `stop_after` has passed. Returns when one of these,
/// or the engine itself, has stopped it.
pub(super) async fn ended_early(
    shutdown: &Shutdown,
    stop_after: Option<Duration>,
    stop: impl Future<Output = ()>,
) {
    let time_limit = async {
        match stop_after {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop => shutdown.end_early(EndReason::Shutdown),
        () = time_limit => shutdown.end_early(EndReason::StopAfter(stop_after.unwrap_or_default())),
        () = shutdown.ended_early() => {}
    }
}

/// Runs `work` to its end. After `stop`, aborts it when `grace` has passed or `abort` completes.
pub(super) async fn run_until_stopped<T>(
    work: impl Future<Output = T>,
    shutdown: &Shutdown,
    grace: Duration,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> T {
    let stopping = async {
        stop.await;
        // The grace covers everything: requests in flight, and a reader of the results that has
        // stopped reading.
        let _ = tokio::time::timeout(grace, abort).await;
        shutdown.abort();
        std::future::pending().await
    };
    tokio::select! {
        // The work first: stopping has no effect once it has ended.
        biased;
        end = work => end,
        end = stopping => end,
    }
}

/// Waits up to [`COUNT_TIMEOUT`] for the reading thread to count the rest of the input lines. Only
/// a run that was stopped early has to wait.
async fn wait_for_count(live: &LiveStats) {
    let known = async {
        while !live.has_list_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if live.is_list_length_known() {
        let _ = tokio::time::timeout(COUNT_TIMEOUT, known).await;
    }
}

/// Fills in the final counts, times and end reason.
fn complete(
    summary: &mut Summary,
    live: &LiveStats,
    clock: &RunClock,
    shutdown: &Shutdown,
    is_shard: bool,
) {
    summary.input = live.listed();
    summary.list_ended = live.has_list_ended();
    if is_shard && summary.list_ended {
        summary.list_lines = Some(summary.input + live.other_lines());
    }
    summary.left = summary.input.saturating_sub(summary.settled());
    summary.retries = live.retries();
    summary.limit_rate = live.limit_rate();
    summary.robots_files = live.robots_files();
    let end = now();
    summary.wall = end.saturating_duration_since(clock.started());
    summary.at = Some(clock.rfc3339(clock.started()));
    summary.ended_at = Some(clock.rfc3339(end));
    summary.sequential = live.busy_time();
    // A stop after everything was done has ended nothing early.
    let is_early = summary.left > 0 || !summary.list_ended;
    summary.ended_by = shutdown.ended_by().filter(|_| is_early);
}

/// Returns the worst problem of the run, in the order of the exit codes: a failed output before an
/// unreadable input.
fn run_result(end: EngineExit, pump: PumpEnd) -> Result<Summary, RunError> {
    let is_early = pump.summary.ended_by.is_some();
    let is_cut = !pump.summary.list_ended && !is_early;
    let is_lossy = pump.summary.left > 0 && !is_early;
    let problem = match (end.failure, pump.error, end.broken, end.input_error) {
        (Some(ThreadFailure::Start(error)), _, _, _) => Problem::Thread(error),
        (Some(ThreadFailure::Panic(text)), _, _, _) => Problem::Internal(text),
        (None, Some(error), None, _) => Problem::Report(error),
        // With a failed disk, an error of the reporters is a consequence, except a closed stdout.
        (None, error, Some(broken), _) => match error.map(Problem::Report) {
            Some(closed) if closed.is_closed_pipe() => closed,
            _ => Problem::Save(SaveError::Disk(broken)),
        },
        (None, None, None, Some(error)) => Problem::Input(error),
        (None, None, None, None) if is_cut => Problem::Internal("input not fully read".to_owned()),
        (None, None, None, None) if is_lossy => {
            Problem::Internal("URLs lost in the pipeline".to_owned())
        }
        (None, None, None, None) => return Ok(pump.summary),
    };
    Err(RunError {
        summary: Box::new(pump.summary),
        problem,
    })
}
