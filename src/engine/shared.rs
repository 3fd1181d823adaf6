//! What the feed and the workers share.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::clock::RunClock;
use super::decoder_budget::DecoderBudget;
use super::options::EngineOptions;
use super::redirect::Redirect;
use super::shutdown::Shutdown;
use crate::model::{
    EndReason, EngineEvent, EventReturnQueue, FetchError, LiveStats, Outcome, RobotsBody,
    RobotsRoom, SettledJob, spawn_blocking,
};
use crate::report::JournalReader;
use crate::schedule::{Bandwidth, RetryPolicy, Scheduler};

/// Redirect URLs up to this length, in bytes, are followed whatever the queue already holds.
const LONG_URL_BYTES: usize = 1024;

/// Everything the feed and the workers share.
pub(crate) struct Engine<T, S> {
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
    /// Limits the bytes of bodies per second.
    pub bandwidth: Arc<Bandwidth>,
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
    /// Memory shared by all long robots.txt.
    pub robots_room: RobotsRoom,
    /// The first error that makes saving impossible for the rest of the run.
    pub broken: OnceLock<FetchError>,
}

impl<T, S> Engine<T, S> {
    /// Settles a job for which no request was sent. Once the run is ending early it does
    /// nothing: the job counts as left.
    pub(crate) async fn settle_unsent(&self, settled: SettledJob) {
        if self.shutdown.ended_by().is_none() {
            self.settle(settled).await;
        }
    }

    /// Counts a finished job and passes it to the reporters.
    pub(crate) async fn settle(&self, settled: SettledJob) {
        // Reporters outlive the engine unless one of them fails, and then the run is already
        // winding down.
        if let Some(permit) = self.reserve_event().await {
            self.settle_reserved(settled, permit);
        }
    }

    /// Reserves room for one event in the reporter channel; `None` when the channel is closed.
    /// A blocked stdout stalls the run here for as long as its reader likes, by design; an
    /// abort ends the waiting worker.
    pub(crate) async fn reserve_event(&self) -> Option<mpsc::OwnedPermit<EngineEvent>> {
        self.events.clone().reserve_owned().await.ok()
    }

    /// Settles a job without waiting, for bodies committed later on another thread: a sitemap goes to
    /// the reader of its list, a robots.txt to the queue, everything else to the reporters.
    pub(crate) fn settle_reserved(
        &self,
        mut settled: SettledJob,
        permit: mpsc::OwnedPermit<EngineEvent>,
    ) {
        if let Some(reply) = settled.sitemap.take() {
            return reply.send(settled);
        }
        if let Some(body) = settled.robots.take() {
            return self.learn_rules(settled, body);
        }
        self.report(settled, permit);
    }

    /// Counts a settled job, passes it to the reporters, and ends the run if nothing else can be
    /// saved or too many have failed.
    fn report(&self, mut settled: SettledJob, permit: mpsc::OwnedPermit<EngineEvent>) {
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

    /// Takes in a robots.txt on a thread that may be busy for a while: a host may have many URLs and
    /// hostile patterns. The scheduler keeps the URLs until then.
    fn learn_rules(&self, settled: SettledJob, body: RobotsBody) {
        // Here, because the run may end before the rules are read.
        self.live.count_robots_file();
        let (scheduler, shutdown) = (Arc::clone(&self.scheduler), self.shutdown.clone());
        spawn_blocking(move || {
            let _alarm = shutdown.abort_on_panic();
            scheduler.learn_rules(&settled, &body);
        });
    }

    /// Whether a redirect has a long URL while the look-ahead already takes twice its byte limit.
    pub(crate) fn exceeds_url_budget(&self, redirect: &Redirect) -> bool {
        redirect.length() > LONG_URL_BYTES && self.scheduler.is_overweight()
    }

    fn end_early(&self, why: EndReason) {
        self.shutdown.end_early(why);
        // Stop the scheduler here rather than when `run` wakes up: until then it would hand out
        // jobs, and those that fail fast would count as failed instead of left.
        self.scheduler.stop();
    }
}
