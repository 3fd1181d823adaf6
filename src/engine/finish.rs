//! What happens after an attempt: commits its body, requeues it for the next request, or passes it
//! on to `failure`.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::attempt_outcome::{AttemptOutcome, NextRequest, ReceivedBody, discards_body};
use super::file_claims::Claims;
use super::request::digest_of;
use super::{Engine, RunClock, failure, host_feedback, record};
use crate::fetch::Transport;
use crate::model::{
    Attempt, AttemptHistory, AttemptTrace, Feedback, FetchError, Job, RedirectProblem,
    ResponseHead, SavedBody, SendMode, Sha256, TraceOutcome, Unprocessed, WireState, add_try, now,
};
use crate::report::PastRecord;
use crate::schedule::Lease;
use crate::store::{BodyStore, BodyWriter, SaveCallback};

/// Maximum resends of one request that are not counted as attempts: a busy HTTP/2 server may
/// close one connection after another (nginx after `keepalive_requests`).
const MAX_FREE_RESENDS: u32 = 10;

/// An attempt that ended, with what was observed of it.
pub struct FinishedAttempt {
    /// The attempt.
    pub attempt: Box<Attempt>,
    /// The head of its response, if one was received.
    pub head: Option<ResponseHead>,
    /// The state of its connection.
    pub wire: Arc<WireState>,
}

impl FinishedAttempt {
    /// Drops the partial body if the response brought the whole body instead of the rest.
    fn forget_unused_part(&mut self) {
        let status = self.head.as_ref().map(|head| head.status);
        if status != Some(StatusCode::PARTIAL_CONTENT) {
            self.attempt.part = None;
        }
    }

    /// Returns the attempt's partial body to the store, or removes it if it is useless.
    fn return_part<T, S: BodyStore>(&mut self, engine: &Engine<T, S>, is_useful: bool) {
        match self.attempt.part.take() {
            Some(part) if is_useful => engine.store.return_part(&self.attempt, &part),
            Some(part) => engine.store.remove_part(&self.attempt, &part),
            None => {}
        }
    }

    /// Prepares the next request of the job, which may start now: nothing has failed.
    fn continue_now<T, S>(&mut self, engine: &Engine<T, S>) -> &mut AttemptHistory {
        self.continue_as(engine, TraceOutcome::GoesOn)
    }

    fn continue_as<T, S>(
        &mut self,
        engine: &Engine<T, S>,
        outcome: TraceOutcome,
    ) -> &mut AttemptHistory {
        let now = now();
        self.begin_retry(engine, outcome, now, now)
    }

    /// Prepares a resend of the same request that does not count as an attempt.
    fn count_resend<T, S>(&mut self, engine: &Engine<T, S>) -> &mut AttemptHistory {
        self.attempt.number -= 1;
        let before = self.continue_as(engine, TraceOutcome::Resent);
        before.total_resends += 1;
        before
    }

    /// Prepares the next attempt, which may start at `again`.
    pub fn begin_retry<T, S>(
        &mut self,
        engine: &Engine<T, S>,
        outcome: TraceOutcome,
        end: Instant,
        again: Instant,
    ) -> &mut AttemptHistory {
        if engine.options.keep_tries {
            self.record_trace(outcome, end, &engine.clock);
            self.attempt.set_ready_at(engine.clock.since_start(again));
        }
        self.attempt.history_mut(self.wire.started())
    }

    /// Records the timing of this attempt.
    pub fn record_trace(&mut self, outcome: TraceOutcome, end: Instant, clock: &RunClock) {
        let wire = &self.wire;
        let began = clock.since_start(wire.started());
        let end = clock.since_start(end);
        let connected = wire
            .opened_connection()
            .then(|| wire.connect_time().map_or(end, |took| began + took));
        let one = AttemptTrace {
            ready: self.attempt.history().ready,
            start: began,
            connected,
            head: wire.head_time().map(|took| began + took),
            end,
            status: self.head.as_ref().map(|head| head.status.as_u16()),
            outcome,
        };
        let before = self.attempt.history_mut(wire.started());
        add_try(&mut before.tries, one);
    }

    /// Returns how to resend the request without counting an attempt, if that is allowed.
    fn free_resend(&self, error: &FetchError) -> Option<SendMode> {
        if self.attempt.history().resends >= MAX_FREE_RESENDS {
            return None;
        }
        let (route, idempotent) = (self.attempt.route, self.attempt.method.is_idempotent());
        match self.wire.unheard() {
            Some(Unprocessed::Stale) if idempotent => Some(SendMode::Fresh),
            // The pool has dropped the dead connection, so a usual request gets another one.
            Some(Unprocessed::StaleShared) if idempotent && self.attempt.history().resends == 0 => {
                Some(SendMode::Usual)
            }
            Some(Unprocessed::BrokenHead) if idempotent => Some(SendMode::Lenient),
            Some(Unprocessed::TurnedAway | Unprocessed::Http1Required) => Some(SendMode::Usual),
            Some(_) => None,
            // Any method: a 421 means that the server did not process the request, only that
            // this connection cannot serve it (RFC 9110 §15.5.20).
            None if error.status() == Some(StatusCode::MISDIRECTED_REQUEST) => {
                (route != SendMode::Fresh).then_some(SendMode::Fresh)
            }
            None => None,
        }
    }
}

/// Carries out what follows from the outcome of an attempt.
pub async fn dispatch<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    mut ended: FinishedAttempt,
    result: Result<AttemptOutcome<ReceivedBody<S::File>>, FetchError>,
) {
    let mut feedback = host_feedback::feedback(
        &ended.wire,
        ended.head.as_ref(),
        &result,
        engine.retry.retry_after_max,
    );
    match result {
        Ok(AttemptOutcome::Body(ReceivedBody::New(file, sha256))) => {
            ended.forget_unused_part();
            let commit = |done| file.commit(with_hash(sha256, done));
            commit_body(engine, lease, ended, &feedback, commit).await;
        }
        Ok(AttemptOutcome::Body(ReceivedBody::Part(sha256))) => {
            if let Some(part) = ended.attempt.part.clone() {
                let attempt = ended.attempt.clone();
                let commit = |done| async move {
                    let done = with_hash(sha256, done);
                    engine.store.commit_part(&attempt, &part, done).await;
                };
                commit_body(engine, lease, ended, &feedback, commit).await;
            }
        }
        Ok(AttemptOutcome::Body(ReceivedBody::Saved)) => {
            let saved = unchanged_body(engine, &ended.attempt);
            let commit = |done: SaveCallback| async { done(Ok(saved)) };
            commit_body(engine, lease, ended, &feedback, commit).await;
        }
        Ok(AttemptOutcome::Continue(NextRequest::NextPiece)) => {
            ended.return_part(engine, true);
            ended.continue_now(engine).resends = 0;
            lease.requeue(ended.attempt, &feedback);
        }
        Ok(AttemptOutcome::Continue(NextRequest::Restart)) => {
            ended.return_part(engine, false);
            ended.continue_now(engine);
            lease.requeue(ended.attempt, &feedback);
        }
        Ok(AttemptOutcome::Continue(NextRequest::Redirect(redirect))) => {
            ended.return_part(engine, true);
            if engine.exceeds_url_budget(&redirect) {
                let problem = RedirectProblem::TooLong(redirect.length());
                let error = FetchError::Redirect { problem };
                return failure::handle_failure(engine, lease, ended, error, &mut feedback).await;
            }
            redirect.apply_to(&mut ended.attempt);
            ended.attempt.route = SendMode::Usual;
            ended.continue_as(engine, TraceOutcome::Redirected).resends = 0;
            lease.requeue(ended.attempt, &feedback);
        }
        Ok(AttemptOutcome::Continue(NextRequest::GetForHead)) => {
            let before = ended.count_resend(engine);
            before.head_refused = true;
            before.resends = 0;
            lease.requeue(ended.attempt, &feedback);
        }
        Err(error) => {
            let resend = ended.free_resend(&error);
            // A free resend is no verdict on the partial body: keep it.
            ended.return_part(engine, resend.is_some() || !discards_body(&error));
            let Some(route) = resend else {
                return failure::handle_failure(engine, lease, ended, error, &mut feedback).await;
            };
            ended.attempt.route = route;
            ended.count_resend(engine).resends += 1;
            lease.requeue(ended.attempt, &feedback);
        }
    }
}

/// Adds the hash computed during the download to the result of the save.
fn with_hash(sha256: Option<Sha256>, done: SaveCallback) -> SaveCallback {
    if sha256.is_none() {
        return done;
    }
    Box::new(move |result| done(result.map(|saved| SavedBody { sha256, ..saved })))
}

/// Describes the saved body that a 304 left in place.
fn unchanged_body<T, S: BodyStore>(engine: &Engine<T, S>, attempt: &Attempt) -> SavedBody {
    let past = attempt.known.as_ref().map(|known| &known.past);
    SavedBody {
        bytes: past.map_or(0, |past| past.bytes),
        file: engine.store.file_of(&attempt.job),
        pack: past.and_then(|past| past.pack),
        is_same: true,
        ..SavedBody::default()
    }
}

/// If an earlier run wrote this job's file for another job, journals that the file no longer holds
/// that body. Called just before the file is replaced, so that a job that fails leaves it alone.
async fn give_file_away<T: Transport, S: BodyStore>(engine: &Arc<Engine<T, S>>, job: &Job) {
    if engine.past.is_empty() || !Claims::applies_to(job) {
        return;
    }
    let (url, file) = (job.url.clone(), engine.store.file_of(job));
    let request = digest_of(job, &engine.options);
    let engine = Arc::clone(engine);
    let noted = tokio::task::spawn_blocking(move || {
        let past = &engine.past;
        match past.find(url.as_str(), file.as_ref(), request.as_deref()) {
            PastRecord::OfAnother(record) => past.give_away(*record),
            PastRecord::Fetched { .. } | PastRecord::None => Ok(()),
        }
    });
    if let Ok(Err(error)) = noted.await {
        // Only a warning: the record of this job will fail to be written, too, and end the run.
        tracing::warn!("cannot write the journal: {error}");
    }
}

/// Commits a body and reports the job from the store's callback. The slot is released as soon as
/// the store has taken the commit: the next request need not wait for the disk.
async fn commit_body<T: Transport, S: BodyStore, C: Future<Output = ()>>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    ended: FinishedAttempt,
    feedback: &Feedback,
    commit: impl FnOnce(SaveCallback) -> C,
) {
    let Some(permit) = engine.reserve_event().await else {
        return;
    };
    let end = now();
    give_file_away(engine, &ended.attempt.job).await;
    let done = Box::new({
        let engine = Arc::clone(engine);
        move |result| {
            let settled = record::settled(ended, result, end, &engine.options, &engine.clock);
            engine.settle_reserved(settled, permit);
        }
    });
    commit(done).await;
    lease.release(feedback);
}
