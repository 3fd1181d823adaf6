//! Carries out what follows an attempt. `next_step` decides; this commits, requeues, parks or fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::attempt_outcome::{AttemptOutcome, NextRequest, ReceivedBody};
use super::body_target::BodyTarget;
use super::finished_attempt::FinishedAttempt;
use super::next_step::{
    DelayedRetry, NextStep, StepContext, has_mirror, next_step, wait_after_rejection,
};
use super::request::{begin_mirror, digest_of, try_back_to_source};
use super::{Engine, archive_only, host_feedback, record};
use crate::fetch::Transport;
use crate::model::{
    Attempt, BodyHashes, ErrorKind, Feedback, FetchError, HostVerdict, Job, RedirectProblem,
    SavedBody, SendMode, TraceOutcome, deadline_after, format_duration, now, spawn_blocking,
};
use crate::report::PastRecord;
use crate::schedule::Lease;
use crate::store::{BodyStore, BodyWriter, SaveCallback};

/// Carries out what follows from the outcome of an attempt.
pub(super) async fn finish<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    mut ended: FinishedAttempt,
    part: Option<Box<S::File>>,
    result: Result<AttemptOutcome<ReceivedBody<BodyTarget<S::File>>>, FetchError>,
) {
    if let Err(error) = &result
        && ended.blames_address(error)
    {
        engine.transport.avoid_address(&ended.attempt, &ended.wire);
    }
    let longest = engine.retry.retry_after_max;
    let head = ended.head.as_ref();
    let mut feedback = host_feedback::feedback(&ended.wire, head, &result, longest);
    if let (HostVerdict::Throttled { .. }, Some(host)) = (&feedback.verdict, lease.start_snapshot())
        && ended.add_rejection(host.accepted)
    {
        feedback = Feedback::from_verdict(HostVerdict::Inconclusive);
    }
    let result = result.and_then(|outcome| check_url_budget(engine, outcome));
    let context = StepContext {
        ended: &ended,
        host: lease.start_snapshot(),
        policy: &engine.retry,
        options: &engine.options,
    };
    let step = next_step(result, &context);
    match part {
        Some(part) if !step.keeps_untaken_part() => part.discard(),
        // Put back before the next attempt may start, which takes it again.
        part => drop(part),
    }
    if !matches!(step, NextStep::Commit(_)) {
        ended.attempt.part = None;
    }
    let end = AttemptEnd {
        engine,
        lease,
        ended,
        feedback,
    };
    match step {
        NextStep::Commit(body) => end.commit_received(body).await,
        NextStep::Continue(next) => end.go_on(next).await,
        NextStep::Resend(send_mode) => end.resend(send_mode),
        NextStep::Retry(retry) => end.park_retry(&retry),
        NextStep::Poll(wait) => end.park_poll(wait),
        NextStep::TryMirror(error) => end.try_mirror(&error).await,
        NextStep::Fail(error) => end.fail(error).await,
    }
}

/// An attempt that ended, with what it still holds: each method carries out one of the steps that
/// may follow.
struct AttemptEnd<'e, T, S> {
    engine: &'e Arc<Engine<T, S>>,
    lease: Lease,
    ended: FinishedAttempt,
    feedback: Feedback,
}

impl<T, S> AttemptEnd<'_, T, S> {
    /// Queues the job's next request.
    fn begin_request(mut self, next: NextRequest) {
        let (engine, ended) = (self.engine, &mut self.ended);
        match next {
            NextRequest::FromFirstByte => {
                ended.close_attempt_now(engine, TraceOutcome::GoesOn);
            }
            NextRequest::WithoutRange => {
                let history = ended.close_attempt_now(engine, TraceOutcome::GoesOn);
                history.without_range = true;
                history.resends = 0;
                ended.attempt.send_mode = SendMode::Usual;
                try_back_to_source(&mut ended.attempt, &engine.options);
            }
            NextRequest::NextPiece => {
                ended
                    .close_attempt_now(engine, TraceOutcome::GoesOn)
                    .resends = 0
            }
            NextRequest::Redirect(redirect) => {
                redirect.apply_to(&mut ended.attempt);
                ended.attempt.send_mode = SendMode::Usual;
                ended
                    .close_attempt_now(engine, TraceOutcome::Redirected)
                    .resends = 0;
            }
            NextRequest::GetForHead => {
                let history = ended.close_for_resend(engine);
                history.head_refused = true;
                history.resends = 0;
            }
        }
        self.lease.requeue(self.ended.attempt, &self.feedback);
    }

    /// Queues the same request again.
    fn resend(mut self, send_mode: SendMode) {
        self.ended.attempt.send_mode = send_mode;
        let history = self.ended.close_for_resend(self.engine);
        history.resends += 1;
        history.is_unended |= send_mode == SendMode::Unended;
        self.lease.requeue(self.ended.attempt, &self.feedback);
    }

    /// Parks the failed attempt for a retry.
    fn park_retry(mut self, retry: &DelayedRetry) {
        let (engine, ended) = (self.engine, &mut self.ended);
        let (error, wait) = (&retry.error, retry.wait);
        let http2_failed = ended.failed_over_http2(error);
        let end = now();
        let until = deadline_after(end, wait);
        let history = ended.close_attempt(engine, TraceOutcome::Failed(error.kind()), end, until);
        history.retries_used += u32::from(retry.is_counted);
        history.holds += u32::from(!retry.is_counted);
        history.http2_failures += u32::from(http2_failed);
        history.resends = 0;
        history.waited = history.waited.saturating_add(wait);
        let attempt = &mut ended.attempt;
        attempt.again = true;
        // The connection may be what is stuck, and over HTTP/2 all others would use it, too.
        attempt.send_mode = match error.kind() {
            ErrorKind::Timeout | ErrorKind::Stalled => SendMode::Fresh,
            _ => SendMode::Usual,
        };
        tracing::info!(
            url = &*attempt.shown_url(),
            "{}; {} in {}",
            (engine.options.error_text)(error),
            if retry.holds_host {
                "host on hold, retrying"
            } else {
                "retrying"
            },
            format_duration(wait)
        );
        if retry.holds_host {
            // Replaces the bare `Retry-After`: the retry may wait longer (`hold_bound`), and the
            // host's other URLs with it.
            self.feedback.hold = Some(until);
        }
        try_back_to_source(attempt, &engine.options);
        self.lease.park(self.ended.attempt, until, &self.feedback);
    }

    /// Parks an attempt whose response was a 202: nothing has failed, the resource is not ready yet.
    /// The same request is repeated at the current URL, even after redirects: going back to the input
    /// URL could start the work anew.
    fn park_poll(mut self, wait: Duration) {
        let end = now();
        let until = deadline_after(end, wait);
        let outcome = TraceOutcome::GoesOn;
        let history = self.ended.close_attempt(self.engine, outcome, end, until);
        history.resends = 0;
        history.waited = history.waited.saturating_add(wait);
        tracing::info!(
            url = &*self.ended.attempt.shown_url(),
            "202 Accepted; still processing, polling again in {}",
            format_duration(wait)
        );
        self.lease.park(self.ended.attempt, until, &self.feedback);
    }
}

impl<T: Transport, S: BodyStore> AttemptEnd<'_, T, S> {
    /// Queues the job's next request. A redirect is archived first, if the store keeps any.
    async fn go_on(mut self, next: NextRequest) {
        if matches!(next, NextRequest::Redirect(_))
            && let Err(error) = self.archive(None).await
        {
            return self.fail(error).await;
        }
        self.begin_request(next);
    }

    /// Queues the job for its next mirror. The response is archived first, as a redirect is.
    async fn try_mirror(mut self, error: &FetchError) {
        if let Err(error) = self.archive(Some(error)).await {
            return self.fail(error).await;
        }
        let (engine, ended) = (self.engine, &mut self.ended);
        ended.close_attempt_now(engine, TraceOutcome::Failed(error.kind()));
        move_to_mirror(engine, &mut ended.attempt, error);
        self.lease.requeue(self.ended.attempt, &self.feedback);
    }

    /// Archives the response of an attempt after which the job goes on, if the store keeps any.
    async fn archive(&mut self, error: Option<&FetchError>) -> Result<(), FetchError> {
        if self.engine.store.archive_room().is_none() {
            return Ok(());
        }
        // Boxed, because few runs need it and its state would enlarge that of every job.
        let (engine, ended) = (self.engine, &mut self.ended);
        Box::pin(archive_only::archive_before_next(engine, ended, error)).await
    }

    /// Fails the job. If its last response is archived, that comes first, and the job is reported
    /// from the store's callback, as for a body.
    async fn fail(mut self, error: FetchError) {
        let engine = self.engine;
        let Some(response) = archive_only::prepare(engine, &mut self.ended, Some(&error)) else {
            let settled = record::settled(engine, self.ended, Err(error), now());
            // The record comes before the slot: an abort between the two must not lose the record.
            engine.settle(settled).await;
            return self.lease.release(&self.feedback);
        };
        let Some(permit) = engine.reserve_event().await else {
            return;
        };
        let (end, ended) = (now(), self.ended);
        let done = Box::new({
            let engine = Arc::clone(engine);
            move |archived: Result<SavedBody, FetchError>| {
                let (error, archived) = match archived {
                    Ok(archived) => (error, archived),
                    Err(error) => (error, SavedBody::default()),
                };
                let mut settled = record::settled(&engine, ended, Err(error), end);
                record::fill_archived(&mut settled.record, &archived);
                engine.settle_reserved(settled, permit);
            }
        });
        response.commit(done).await;
        self.lease.release(&self.feedback);
    }

    /// Commits a complete body.
    async fn commit_received(self, body: ReceivedBody<BodyTarget<S::File>>) {
        let engine = self.engine;
        match body {
            ReceivedBody::New(mut file, hashes) => {
                file.describe(|bytes| {
                    let saved = SavedBody {
                        bytes,
                        hashes: hashes.clone(),
                        ..SavedBody::default()
                    };
                    record::settled(engine, self.ended.copy(), Ok(saved), now()).record
                });
                if !engine.past.is_empty() {
                    // Boxed, because few jobs need it and its state would enlarge those of all.
                    Box::pin(journal_replacement(engine, &self.ended.attempt.job)).await;
                }
                let commit = |done| file.commit(with_hashes(hashes, done));
                self.commit_body(commit).await;
            }
            ReceivedBody::Saved => {
                if let Some(head) = &self.ended.head {
                    engine.store.confirm(&self.ended.attempt.job, head);
                }
                let saved = unchanged_body(engine, &self.ended.attempt);
                let commit = |done: SaveCallback| async { done(Ok(saved)) };
                self.commit_body(commit).await;
            }
        }
    }

    /// Commits a body and reports the job from the store's callback. The slot is released as soon
    /// as the store has taken the commit: the next request need not wait for the disk.
    async fn commit_body<C: Future<Output = ()>>(self, commit: impl FnOnce(SaveCallback) -> C) {
        let (engine, ended) = (self.engine, self.ended);
        let Some(permit) = engine.reserve_event().await else {
            return;
        };
        let end = now();
        let done = Box::new({
            let engine = Arc::clone(engine);
            move |result| {
                let settled = record::settled(&engine, ended, result, end);
                engine.settle_reserved(settled, permit);
            }
        });
        commit(done).await;
        self.lease.release(&self.feedback);
    }
}

/// Fails an outcome that is a redirect for whose URL the look-ahead has no room.
fn check_url_budget<T, S, B>(
    engine: &Engine<T, S>,
    outcome: AttemptOutcome<B>,
) -> Result<AttemptOutcome<B>, FetchError> {
    match outcome {
        AttemptOutcome::Continue(NextRequest::Redirect(redirect))
            if engine.exceeds_url_budget(&redirect) =>
        {
            let problem = RedirectProblem::TooLong(redirect.length());
            Err(FetchError::Redirect { problem })
        }
        outcome => Ok(outcome),
    }
}

/// Moves a job on to its next mirror.
fn move_to_mirror<T, S>(engine: &Engine<T, S>, attempt: &mut Attempt, error: &FetchError) {
    tracing::info!(
        url = &*attempt.shown_url(),
        "{}; trying the next mirror",
        (engine.options.error_text)(error)
    );
    begin_mirror(attempt, &engine.options);
}

/// Handles an attempt that is not sent because its host was given up: parks it for a retry, moves
/// the job on to its next mirror, or fails it.
pub(super) async fn reject<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    mut attempt: Box<Attempt>,
    error: FetchError,
) {
    let wait = wait_after_rejection(&attempt, &error, &engine.retry, engine.options.seed);
    let Some(wait) = wait.filter(|_| try_back_to_source(&mut attempt, &engine.options)) else {
        if has_mirror(&attempt, &error, &engine.options) {
            if engine.options.trace_attempts {
                attempt.set_ready_at(engine.clock.since_start(now()));
            }
            move_to_mirror(engine, &mut attempt, &error);
            return engine.scheduler.requeue(attempt);
        }
        let settled = record::failed_unsent(engine, attempt, error);
        return engine.settle_unsent(settled).await;
    };
    let now = now();
    let until = deadline_after(now, wait);
    if engine.options.trace_attempts {
        attempt.set_ready_at(engine.clock.since_start(until));
    }
    let history = attempt.history_mut(now);
    history.retries_used += 1;
    history.waited = history.waited.saturating_add(wait);
    attempt.again = true;
    attempt.send_mode = SendMode::Usual;
    engine.scheduler.park(attempt, until);
}

/// Adds the hashes computed during the download to the result of the save.
fn with_hashes(hashes: Option<Box<BodyHashes>>, done: SaveCallback) -> SaveCallback {
    if hashes.is_none() {
        return done;
    }
    Box::new(move |result| done(result.map(|saved| SavedBody { hashes, ..saved })))
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

/// If an earlier run wrote this job's file, journals that the file no longer holds that body. Called
/// just before the file is replaced, so that a job that fails leaves it alone.
async fn journal_replacement<T: Transport, S: BodyStore>(engine: &Arc<Engine<T, S>>, job: &Job) {
    let Some(file) = engine.store.file_of(job).filter(|_| !job.is_auxiliary()) else {
        return;
    };
    let (url, request) = (job.url.clone(), digest_of(job, &engine.options));
    if !engine
        .past
        .may_find(url.as_str(), &file, request.as_deref())
    {
        return;
    }
    let engine = Arc::clone(engine);
    let noted = spawn_blocking(move || {
        let past = &engine.past;
        match past.find(url.as_str(), Some(&file), request.as_deref()) {
            PastRecord::OfAnother(record) | PastRecord::Fetched(record) => {
                past.journal_replacement(*record)
            }
            PastRecord::None => Ok(()),
        }
    });
    if let Ok(Err(error)) = noted.await {
        // Only a warning: the record of this job will fail to be written, too, and end the run.
        tracing::warn!("cannot write the journal: {error}");
    }
}
