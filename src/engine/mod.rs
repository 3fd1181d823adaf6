//! Walks every job through the stages: a feed fills the scheduler, N workers under
//! `join_all` empty it, each with one attempt at a time.

mod attempt;
mod body;
mod clock;
mod coding;
mod decoder_budget;
mod failure;
mod feed;
mod file_claims;
mod finish;
#[cfg(test)]
mod fuzz;
mod host_feedback;
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
use http::Method;
use tokio::sync::mpsc;

use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{
    EndReason, EngineEvent, EventReturnQueue, FetchError, LiveStats, MaxFailures, Outcome,
    ReorderWindow, SettledJob, Sha256,
};
use crate::report::JournalReader;
use crate::schedule::{RetryPolicy, Scheduler};
use crate::store::BodyStore;

pub use clock::RunClock;
pub use decoder_budget::DecoderBudget;
pub use shutdown::Shutdown;

/// Limits and habits of the engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Requests at the same time.
    pub concurrency: NonZeroUsize,
    /// The method of every request.
    pub method: Method,
    /// Whether the requests have a body.
    pub with_body: bool,
    /// The hash of that body: what was fetched with another one is fetched again.
    pub body_digest: Option<Sha256>,
    /// Limit of one attempt, from its start to the end of the body. None by default.
    pub max_time: Option<Duration>,
    /// The head must come within it, then each KiB of the body; `None`: no limit.
    pub stall_timeout: Option<Duration>,
    /// Largest decoded body, in bytes.
    pub max_size: u64,
    /// Bodies keep their content codings, as they came.
    pub raw: bool,
    /// Compute the SHA-256 of every body, not only of those with an expected one.
    pub sha256: bool,
    /// Redirects followed for one job.
    pub max_redirects: u32,
    /// Whether a 206 is an answer that was asked for.
    pub partial_is_fine: bool,
    /// How long what is in flight may go on after a shutdown was asked for.
    pub grace: Duration,
    /// The run starts nothing new after this.
    pub stop_after: Option<Duration>,
    /// How many jobs may fail before the run is ended; `None`: all.
    pub max_failures: Option<MaxFailures>,
    /// Ask the servers what has changed of what earlier runs have fetched.
    pub refresh: bool,
    /// Where the jitter of back-offs comes from; `None`: the system.
    pub seed: Option<u64>,
    /// Keep when each attempt did what, for timelines and reports: another 0.2 KiB for each job
    /// that is read ahead.
    pub keep_tries: bool,
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
            max_redirects: 10,
            partial_is_fine: false,
            grace: Duration::from_secs(10),
            stop_after: None,
            max_failures: None,
            refresh: false,
            seed: None,
            keep_tries: false,
        }
    }
}

impl EngineOptions {
    /// A connection that does not come about in time stops to count against the limit, and
    /// so many more may start instead: hosts that never answer must not take the places of
    /// those that do. Who wants only a few at the same time wants just that.
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

/// Redirects to shorter URLs are never too long.
const LONG_URL_BYTES: usize = 1024;
/// Below this concurrency it is exact.
const EXACT_BELOW: usize = 8;
/// Connections that may hang beside the requests that are counted.
const MAX_SPARE_CONNECTIONS: usize = 64;

/// Everything a worker needs.
pub struct Engine<T, S> {
    /// Limits and habits.
    pub options: EngineOptions,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Sends requests.
    pub transport: T,
    /// Takes bodies.
    pub store: S,
    /// Whose turn it is.
    pub scheduler: Arc<Scheduler>,
    /// Shared counters.
    pub live: Arc<LiveStats>,
    /// The clock of the run.
    pub clock: RunClock,
    /// Where events go.
    pub events: mpsc::Sender<EngineEvent>,
    /// From where they come back.
    pub spent: EventReturnQueue,
    /// How the run is ended before its list is.
    pub shutdown: Shutdown,
    /// What earlier runs did.
    pub past: JournalReader,
    /// What decoders remember.
    pub windows: DecoderBudget,
    /// Set when nothing can be saved any more.
    pub broken: OnceLock<FetchError>,
}

impl<T, S> Engine<T, S> {
    /// Counts a job that reached its end, and hands it on. Where nothing was sent for it, and
    /// the run is being ended, it is left.
    async fn settle_unsent(&self, settled: SettledJob) {
        if self.shutdown.ended_by().is_none() {
            self.settle(settled).await;
        }
    }

    /// Counts a job that reached its end, and hands it on.
    async fn settle(&self, settled: SettledJob) {
        // The reporters go only after the engine; when one of them fails, the run is
        // already being wound down.
        if let Some(room) = self.reserve_event().await {
            self.settle_reserved(settled, room);
        }
    }

    /// A place among the events that wait to be reported; `None` when nobody reports any more.
    /// A stdout that takes nothing holds the run up for as long as its reader wants; an abort ends
    /// the worker that waits here.
    async fn reserve_event(&self) -> Option<mpsc::OwnedPermit<EngineEvent>> {
        self.events.clone().reserve_owned().await.ok()
    }

    /// The same without waiting: for a body that becomes final later, on another thread.
    fn settle_reserved(&self, mut settled: SettledJob, room: mpsc::OwnedPermit<EngineEvent>) {
        if let (Outcome::Failed(error), Some(told)) = (&settled.outcome, &mut settled.record.error)
        {
            // As the user has it for this run (--retry-on).
            told.transient = self.retry.rules.is_retried(error);
        }
        let ends_run = match &settled.outcome {
            Outcome::Failed(error @ FetchError::Save { ends_run: true, .. }) => Some(error),
            _ => None,
        };
        // One body tells why nothing can be saved any more. Those that were on their way with it are
        // left, however many a writer had before it told.
        if let Some(error) = ends_run
            && self.broken.set(error.clone()).is_err()
        {
            return;
        }
        let ends_run = ends_run.is_some();
        self.live.count_outcome(&settled.outcome);
        self.spent.drop_returned();
        room.send(EngineEvent::Settled(Box::new(settled)));
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

    /// Whether following this would add to what is too much already. Usual redirects are short.
    fn exceeds_url_budget(&self, redirect: &redirect::Redirect) -> bool {
        redirect.length() > LONG_URL_BYTES && self.scheduler.is_overweight()
    }

    fn end_early(&self, why: EndReason) {
        self.shutdown.end_early(why);
        // Now, and not when somebody comes to it: jobs that fail fast would be failed.
        self.scheduler.stop();
    }
}

/// Why a run ended before its list did, apart from a shutdown.
#[derive(Debug, Default)]
pub struct EngineExit {
    /// The list could not be read on.
    pub input_error: Option<InputError>,
    /// Nothing could be saved any more.
    pub broken: Option<FetchError>,
    /// A task broke down: a mistake in this program.
    pub panic: Option<String>,
}

/// Works until everything is settled or the shutdown comes.
pub async fn run<T: Transport, S: BodyStore>(
    engine: Engine<T, S>,
    batches: mpsc::Receiver<Batch>,
    window: Option<ReorderWindow>,
) -> EngineExit {
    let shutdown = engine.shutdown.clone();
    // The tasks run by themselves: when this future is dropped, they have to be told.
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
    // What was handed to the store is made final; then everything that the workers shared can
    // go, and with it the last way to the reporters.
    let closed = engine.store.close(shutdown.abort_token()).await;
    let broken = engine.broken.get().cloned().or(closed.err());
    drop(engine);
    // After the workers nobody needs the feed; it ends by itself, or at this.
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
        .unwrap_or_else(|| "a task broke down".to_owned())
}

#[cfg(test)]
mod tests;
