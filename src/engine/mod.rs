//! Runs every job through the stages: the feed fills the scheduler, and workers under
//! `join_all` drain it, each running one attempt at a time.

mod adopt;
mod archive_only;
mod attempt;
mod attempt_outcome;
mod body;
mod body_target;
mod body_verifier;
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
mod opening;
mod options;
mod record;
mod redirect;
mod request;
mod response_digests;
mod resume;
mod segments;
mod shared;
mod shutdown;
mod threads;
mod usage;
mod worker;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{FetchError, ReorderWindow};
use crate::schedule::LimitUpdates;
use crate::store::BodyStore;

#[cfg(feature = "cli")]
pub(crate) use adopt::is_adoptable;
#[cfg(feature = "cli")]
pub(crate) use body_verifier::BodyVerifier;
pub(crate) use clock::RunClock;
pub(crate) use decoder_budget::DecoderBudget;
pub use options::EngineOptions;
#[cfg(feature = "cli")]
pub(crate) use request::digest_of;
pub(crate) use shared::Engine;
pub(crate) use shutdown::Shutdown;
pub(crate) use threads::ThreadFailure;

/// Errors that ended a run early. A shutdown is not an error and leaves all fields empty.
#[derive(Debug, Default)]
pub(crate) struct EngineExit {
    /// The input could not be read to its end.
    pub input_error: Option<InputError>,
    /// Saving became impossible.
    pub broken: Option<FetchError>,
    /// A thread did not start, or a task panicked.
    pub failure: Option<ThreadFailure>,
}

/// Runs until every job is settled or a shutdown ends the run.
pub(crate) async fn run<T: Transport, S: BodyStore>(
    engine: Engine<T, S>,
    batches: mpsc::Receiver<Batch>,
    window: Option<ReorderWindow>,
    updates: Option<LimitUpdates>,
) -> EngineExit {
    let shutdown = engine.shutdown.clone();
    // Spawned tasks outlive this future: abort them when it is dropped.
    let dropped = shutdown.abort_token().drop_guard();
    let engine = Arc::new(engine);
    let scheduler = Arc::clone(&engine.scheduler);
    let workers = threads::start(&engine);
    let feed = tokio::spawn(feed::run(Arc::clone(&engine), batches, window));
    let time = tokio::spawn({
        let (scheduler, shutdown) = (Arc::clone(&scheduler), shutdown.clone());
        let updates = follow_limits(&engine, updates);
        async move {
            let _alarm = shutdown.abort_on_panic();
            let abort = shutdown.abort_token();
            let work = async { tokio::join!(scheduler.run_timers(), updates) };
            abort.run_until_cancelled(work).await;
        }
    });

    tokio::pin!(workers);
    let ended = tokio::select! {
        ended = &mut workers => ended,
        () = shutdown.stopped() => {
            scheduler.stop();
            workers.await
        }
    };
    time.abort();
    // Commit what the store still has queued, then drop the shared state: with it goes the last
    // event sender, which ends the reporters.
    let is_complete = shutdown.ended_by().is_none()
        && engine.broken.get().is_none()
        && !shutdown.abort_token().is_cancelled();
    let closed = engine
        .store
        .close(is_complete, shutdown.abort_token())
        .await;
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
    let mut panics = feed_error.into_iter().chain(time.err());
    EngineExit {
        input_error,
        broken,
        failure: panics.find_map(threads::panic_of).or(ended.err()),
    }
}

/// Changes the limits of a run as its caller asks for.
fn follow_limits<T, S>(
    engine: &Engine<T, S>,
    updates: Option<LimitUpdates>,
) -> impl Future<Output = ()> + use<T, S> {
    let scheduler = Arc::clone(&engine.scheduler);
    let (bandwidth, live) = (Arc::clone(&engine.bandwidth), Arc::clone(&engine.live));
    let mut options = engine.options.clone();
    async move {
        let Some(mut updates) = updates else { return };
        while let Some(update) = updates.recv().await {
            options.concurrency = update.concurrency;
            bandwidth.set_limits(&update.schedule);
            live.set_limit_rate(update.schedule.limit_rate);
            scheduler.set_limits(&update, options.worker_threads());
        }
    }
}

#[cfg(test)]
mod tests;
