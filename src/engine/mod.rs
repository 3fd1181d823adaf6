//! Runs every job through the stages: the feed fills the scheduler, and workers under
//! `join_all` drain it, each running one attempt at a time.

mod adopt;
mod attempt;
mod attempt_outcome;
mod body;
mod clock;
mod coding;
mod content_type;
mod decoder_budget;
mod disposition;
mod feed;
mod file_claims;
mod finish;
mod finished_attempt;
#[cfg(test)]
mod fuzz;
mod host_feedback;
mod next_step;
mod record;
mod redirect;
mod request;
mod resume;
mod shutdown;
mod verify;
mod worker;

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use http::{HeaderValue, Method};
use tokio::sync::mpsc;

use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{
    EndReason, EngineEvent, ErrorHint, EventReturnQueue, ExpectedTypes, FetchError, LiveStats,
    MaxFailures, Outcome, ReorderWindow, SettledJob, Sha256,
};
use crate::report::JournalReader;
use crate::schedule::{RetryPolicy, Scheduler};
use crate::store::BodyStore;

pub use clock::RunClock;
pub use decoder_budget::DecoderBudget;
#[cfg(feature = "cli")]
pub use request::digest_of;
pub use shutdown::Shutdown;
#[cfg(feature = "cli")]
pub use verify::BodyVerifier;

/// Limits and behaviour of the engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Maximum concurrent requests. 64 by default.
    pub concurrency: NonZeroUsize,
    /// Method of every request, unless its input line sets another.
    pub method: Method,
    /// Whether requests have a body.
    pub with_body: bool,
    /// Hash of that body. A URL fetched earlier with a different body is fetched again.
    pub body_digest: Option<Sha256>,
    /// Timeout for one attempt, from its start to the end of the body. None by default.
    pub max_time: Option<Duration>,
    /// The head must arrive within this time, then each KiB of the body. `None`: no limit.
    /// 30 s by default.
    pub stall_timeout: Option<Duration>,
    /// Maximum size of the decoded body, in bytes. 1 GiB by default.
    pub max_size: u64,
    /// Keep the content codings of bodies instead of decoding them.
    pub raw: bool,
    /// Compute the SHA-256 of every body, not only of those with an expected one.
    pub sha256: bool,
    /// The media types that bodies may have, unless an input line sets others. Any by default.
    pub expected_types: Option<ExpectedTypes>,
    /// Maximum redirects followed per job. 10 by default.
    pub max_redirects: u32,
    /// Whether a 206 is an expected response, because the user set `Range` for the run.
    pub partial_is_fine: bool,
    /// The `Cookie` headers that the user set for the run. They tell whether a redirect back is
    /// the same request once more.
    pub own_cookies: Vec<HeaderValue>,
    /// Time that requests in flight get to finish after a stop. 10 s by default.
    pub grace: Duration,
    /// Stop starting requests after this time.
    pub stop_after: Option<Duration>,
    /// The run ends after more failures than this; `None`: never.
    pub max_failures: Option<MaxFailures>,
    /// Send conditional requests for what earlier runs fetched, instead of skipping it.
    pub refresh: bool,
    /// Seed of the backoff jitter; `None`: random.
    pub seed: Option<u64>,
    /// Record the timing of each attempt, for timelines and reports. Takes another 0.2 KiB per
    /// job in the look-ahead.
    pub keep_tries: bool,
    /// What is added to error messages in records, in parentheses. Nothing by default.
    pub error_hint: Option<ErrorHint>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::MIN.saturating_add(63),
            method: Method::GET,
            with_body: false,
            body_digest: None,
            max_time: None,
            stall_timeout: Some(Duration::from_secs(30)),
            max_size: 1 << 30,
            raw: false,
            sha256: false,
            expected_types: None,
            max_redirects: 10,
            partial_is_fine: false,
            own_cookies: Vec::new(),
            grace: Duration::from_secs(10),
            stop_after: None,
            max_failures: None,
            refresh: false,
            seed: None,
            keep_tries: false,
            error_hint: None,
        }
    }
}

impl EngineOptions {
    /// Returns how many connections may be pending beyond the concurrency limit.
    ///
    /// Connections pending longer than `SLOW_CONNECT` stop counting against the limit, so
    /// unreachable hosts cannot starve others. Small limits are strict: they are usually
    /// deliberate.
    fn spare_connections(&self) -> usize {
        match self.concurrency.get() {
            few if few < EXACT_BELOW => 0,
            many => many.min(MAX_SPARE_CONNECTIONS),
        }
    }

    fn worker_count(&self) -> usize {
        self.concurrency.get() + self.spare_connections()
    }
}

/// Redirect URLs up to this length, in bytes, are followed whatever the queue already holds.
const LONG_URL_BYTES: usize = 1024;
/// Below this concurrency the limit is strict: no spare connections.
const EXACT_BELOW: usize = 8;
/// Maximum pending connections beyond the concurrency limit.
const MAX_SPARE_CONNECTIONS: usize = 64;

/// Everything the feed and the workers share.
pub struct Engine<T, S> {
    /// Limits and behaviour.
    pub options: EngineOptions,
    /// Decides whether and when to retry.
    pub retry: RetryPolicy,
    /// Sends requests.
    pub transport: T,
    /// Saves bodies.
    pub store: S,
    /// Decides which attempt runs next.
    pub scheduler: Arc<Scheduler>,
    /// Counters shared with the progress display.
    pub live: Arc<LiveStats>,
    /// The clock of the run.
    pub clock: RunClock,
    /// Sends events to the reporters.
    pub events: mpsc::Sender<EngineEvent>,
    /// Returns reported events to the threads that allocated them, to be dropped there.
    pub spent: EventReturnQueue,
    /// Ends the run early.
    pub shutdown: Shutdown,
    /// The journal of earlier runs.
    pub past: JournalReader,
    /// Memory shared by all decoders.
    pub windows: DecoderBudget,
    /// The first error that makes saving impossible for the rest of the run.
    pub broken: OnceLock<FetchError>,
}

impl<T, S> Engine<T, S> {
    /// Settles a job for which no request was sent. Once the run is ending early it does
    /// nothing: the job counts as left.
    async fn settle_unsent(&self, settled: SettledJob) {
        if self.shutdown.ended_by().is_none() {
            self.settle(settled).await;
        }
    }

    /// Counts a finished job and passes it to the reporters.
    async fn settle(&self, settled: SettledJob) {
        // Reporters outlive the engine unless one of them fails, and then the run is already
        // winding down.
        if let Some(permit) = self.reserve_event().await {
            self.settle_reserved(settled, permit);
        }
    }

    /// Reserves room for one event in the reporter channel; `None` when the channel is closed.
    /// A blocked stdout stalls the run here for as long as its reader likes, by design; an
    /// abort ends the waiting worker.
    async fn reserve_event(&self) -> Option<mpsc::OwnedPermit<EngineEvent>> {
        self.events.clone().reserve_owned().await.ok()
    }

    /// Settles a job without waiting, for bodies committed later on another thread.
    fn settle_reserved(&self, mut settled: SettledJob, permit: mpsc::OwnedPermit<EngineEvent>) {
        if let (Outcome::Failed(error), Some(reported)) =
            (&settled.outcome, &mut settled.record.error)
        {
            // The kind's default does not count: --retry-on may have changed it for this run.
            reported.transient = self.retry.rules.is_retried(error);
        }
        let ends_run = match &settled.outcome {
            Outcome::Failed(error @ FetchError::Save { ends_run: true, .. }) => Some(error),
            _ => None,
        };
        // Only the first body reports why saving is impossible. The others in flight count as
        // left, however many the writer had queued by then.
        if let Some(error) = ends_run
            && self.broken.set(error.clone()).is_err()
        {
            return;
        }
        let ends_run = ends_run.is_some();
        self.live.count_outcome(&settled.outcome);
        self.spent.drop_returned();
        permit.send(EngineEvent::Settled(Box::new(settled)));
        if ends_run {
            self.end_early(EndReason::Disk);
        }
        let live = &self.live;
        if let Some(most) = self.options.max_failures
            && most.is_exceeded(live.failed(), live.settled(), live.total())
        {
            self.end_early(EndReason::MaxFailures(most));
        }
    }

    /// Whether a redirect has a long URL while the look-ahead already takes twice its byte limit.
    fn exceeds_url_budget(&self, redirect: &redirect::Redirect) -> bool {
        redirect.length() > LONG_URL_BYTES && self.scheduler.is_overweight()
    }

    fn end_early(&self, why: EndReason) {
        self.shutdown.end_early(why);
        // Stop the scheduler here rather than when `run` wakes up: until then it would hand out
        // jobs, and those that fail fast would count as failed instead of left.
        self.scheduler.stop();
    }
}

/// Errors that ended a run early. A shutdown is not an error and leaves all fields empty.
#[derive(Debug, Default)]
pub struct EngineExit {
    /// The input could not be read to its end.
    pub input_error: Option<InputError>,
    /// Saving became impossible.
    pub broken: Option<FetchError>,
    /// Message of a task that panicked: a bug in this program.
    pub panic: Option<String>,
}

/// Runs until every job is settled or a shutdown ends the run.
pub async fn run<T: Transport, S: BodyStore>(
    engine: Engine<T, S>,
    batches: mpsc::Receiver<Batch>,
    window: Option<ReorderWindow>,
) -> EngineExit {
    let shutdown = engine.shutdown.clone();
    // Spawned tasks outlive this future: abort them when it is dropped.
    let dropped = shutdown.abort_token().drop_guard();
    let engine = Arc::new(engine);
    let scheduler = Arc::clone(&engine.scheduler);
    let workers: Vec<_> = (0..engine.options.worker_count())
        .map(|_| tokio::spawn(worker::run(Arc::clone(&engine))))
        .collect();
    let feed = tokio::spawn(feed::run(Arc::clone(&engine), batches, window));
    let time = tokio::spawn({
        let (scheduler, shutdown) = (Arc::clone(&scheduler), shutdown.clone());
        async move {
            let _alarm = shutdown.abort_on_panic();
            let abort = shutdown.abort_token();
            abort.run_until_cancelled(scheduler.run_timers()).await;
        }
    });

    let workers = join_all(workers);
    tokio::pin!(workers);
    let ends = tokio::select! {
        ends = &mut workers => ends,
        () = shutdown.stopped() => {
            scheduler.stop();
            workers.await
        }
    };
    time.abort();
    // Commit what the store still has queued, then drop the shared state: with it goes the last
    // event sender, which ends the reporters.
    let closed = engine.store.close(shutdown.abort_token()).await;
    let broken = engine.broken.get().cloned().or(closed.err());
    drop(engine);
    // Without workers the feed is useless: end it if it has not ended by itself.
    shutdown.stop();
    let fed = feed.await;
    let time = time.await;
    dropped.disarm();
    let (input_error, feed_error) = match fed {
        Ok(input_error) => (input_error, None),
        Err(error) => (None, Some(error)),
    };
    let panic = ends
        .into_iter()
        .filter_map(Result::err)
        .chain(feed_error)
        .chain(time.err())
        .find_map(|error| error.try_into_panic().ok())
        .map(|payload| panic_text(&*payload));
    EngineExit {
        input_error,
        broken,
        panic,
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a task panicked".to_owned())
}

#[cfg(test)]
mod tests;
