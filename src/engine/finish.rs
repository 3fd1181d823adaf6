//! Carries out what follows an attempt. `next_step` decides; this commits, requeues, parks or fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::attempt_outcome::{AttemptOutcome, NextRequest, ReceivedBody};
use super::file_claims::Claims;
use super::finished_attempt::FinishedAttempt;
use super::next_step::{DelayedRetry, NextStep, StepContext, next_step, wait_after_rejection};
use super::request::{digest_of, start_over};
use super::{Engine, host_feedback, record, unwanted};
use crate::fetch::Transport;
use crate::model::{
    Attempt, Feedback, FetchError, Job, RedirectProblem, SavedBody, SendMode, Sha256, TraceOutcome,
    deadline_after, format_duration, now,
};
use crate::report::PastRecord;
use crate::schedule::Lease;
use crate::store::{BodyStore, BodyWriter, SaveCallback};

/// Carries out what follows from the outcome of an attempt.
pub async fn finish<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    mut ended: FinishedAttempt,
    result: Result<AttemptOutcome<ReceivedBody<S::File>>, FetchError>,
) {
    let longest = engine.retry.retry_after_max;
    let head = ended.head.as_ref();
    let mut feedback = host_feedback::feedback(&ended.wire, head, &result, longest);
    let result = result.and_then(|outcome| check_url_budget(engine, outcome));
    let context = StepContext {
        ended: &ended,
        host: lease.start(),
        policy: &engine.retry,
        seed: engine.options.seed,
    };
    let step = next_step(result, &context);
    if !matches!(step, NextStep::Commit(_)) {
        ended.return_part(engine, step.keeps_part());
    }
    match step {
        NextStep::Commit(body) => commit_received(engine, lease, ended, body, &feedback).await,
        NextStep::Continue(next) => {
            if matches!(next, NextRequest::Redirect(_))
                && let Err(error) = archive_redirect(engine, &mut ended).await
            {
                return fail(engine, lease, ended, error, &feedback).await;
            }
            begin_request(engine, &mut ended, next);
            lease.requeue(ended.attempt, &feedback);
        }
        NextStep::Resend(route) => {
            ended.attempt.route = route;
            ended.begin_resend(engine).resends += 1;
            lease.requeue(ended.attempt, &feedback);
        }
        NextStep::Retry(retry) => park_retry(engine, lease, ended, &retry, &mut feedback),
        NextStep::Poll(wait) => park_poll(engine, lease, ended, wait, &feedback),
        NextStep::Fail(error) => fail(engine, lease, ended, error, &feedback).await,
    }
}

/// Archives a redirect, if the store keeps any.
async fn archive_redirect<T, S: BodyStore>(
    engine: &Engine<T, S>,
    ended: &mut FinishedAttempt,
) -> Result<(), FetchError> {
    if engine.store.unwanted_room().is_none() {
        return Ok(());
    }
    // Boxed, because few runs need it and its state would enlarge that of every job.
    Box::pin(unwanted::archive_redirect(engine, ended)).await
}

/// Fails a job. If its last response is archived, that comes first, and the job is reported from
/// the store's callback, as for a body.
async fn fail<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    mut ended: FinishedAttempt,
    error: FetchError,
    feedback: &Feedback,
) {
    let Some(response) = unwanted::prepare(engine, &mut ended, Some(&error)) else {
        let (options, clock) = (&engine.options, &engine.clock);
        let settled = record::settled(ended, Err(error), now(), options, clock);
        // The record comes before the slot: an abort between the two must not lose the record.
        engine.settle(settled).await;
        return lease.release(feedback);
    };
    let Some(permit) = engine.reserve_event().await else {
        return;
    };
    let end = now();
    let done = Box::new({
        let engine = Arc::clone(engine);
        move |archived| {
            let (options, clock) = (&engine.options, &engine.clock);
            let settled = record::archived_failure(ended, error, archived, end, options, clock);
            engine.settle_reserved(settled, permit);
        }
    });
    response.commit(done).await;
    lease.release(feedback);
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

/// Prepares the attempt for the job's next request.
fn begin_request<T, S>(engine: &Engine<T, S>, ended: &mut FinishedAttempt, next: NextRequest) {
    match next {
        NextRequest::Restart => {
            ended.begin_next(engine, TraceOutcome::GoesOn);
        }
        NextRequest::NextPiece => ended.begin_next(engine, TraceOutcome::GoesOn).resends = 0,
        NextRequest::Redirect(redirect) => {
            redirect.apply_to(&mut ended.attempt);
            ended.attempt.route = SendMode::Usual;
            ended.begin_next(engine, TraceOutcome::Redirected).resends = 0;
        }
        NextRequest::GetForHead => {
            let before = ended.begin_resend(engine);
            before.head_refused = true;
            before.resends = 0;
        }
    }
}

/// Parks a failed attempt for a retry.
fn park_retry<T, S>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: FinishedAttempt,
    retry: &DelayedRetry,
    feedback: &mut Feedback,
) {
    let (error, wait) = (&retry.error, retry.wait);
    let end = now();
    let until = deadline_after(end, wait);
    let before = ended.begin_retry(engine, TraceOutcome::Failed(error.kind()), end, until);
    before.retries_used += u32::from(retry.is_counted);
    before.holds += u32::from(!retry.is_counted);
    before.resends = 0;
    before.waited = before.waited.saturating_add(wait);
    let attempt = &mut ended.attempt;
    attempt.again = true;
    attempt.route = SendMode::Usual;
    tracing::info!(
        url = &*attempt.shown_url(),
        "{error}; {} in {}",
        if retry.holds_host {
            "host on hold, retrying"
        } else {
            "retrying"
        },
        format_duration(wait)
    );
    if retry.holds_host {
        feedback.hold = Some(until);
    }
    start_over(attempt, &engine.options);
    lease.park(ended.attempt, until, feedback);
}

/// Parks an attempt whose response was a 202: nothing has failed, the resource is not ready yet.
/// The same request is repeated at the current URL, even after redirects: going back to the input
/// URL could start the work anew.
fn park_poll<T, S>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: FinishedAttempt,
    wait: Duration,
    feedback: &Feedback,
) {
    let end = now();
    let until = deadline_after(end, wait);
    let before = ended.begin_retry(engine, TraceOutcome::GoesOn, end, until);
    before.resends = 0;
    before.waited = before.waited.saturating_add(wait);
    tracing::info!(
        url = &*ended.attempt.shown_url(),
        "202 Accepted; still processing, polling again in {}",
        format_duration(wait)
    );
    lease.park(ended.attempt, until, feedback);
}

/// Handles an attempt that is not sent because its host was given up: parks it for a retry, or
/// fails the job.
pub async fn reject<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    mut attempt: Box<Attempt>,
    error: FetchError,
) {
    let wait = wait_after_rejection(&attempt, &error, &engine.retry, engine.options.seed);
    let wait = wait.filter(|_| start_over(&mut attempt, &engine.options));
    let Some(wait) = wait else {
        let settled = record::given_up(attempt, error, &engine.options, &engine.clock);
        return engine.settle_unsent(settled).await;
    };
    let now = now();
    let until = deadline_after(now, wait);
    if engine.options.trace_attempts {
        attempt.set_ready_at(engine.clock.since_start(until));
    }
    let before = attempt.history_mut(now);
    before.retries_used += 1;
    before.waited = before.waited.saturating_add(wait);
    attempt.again = true;
    attempt.route = SendMode::Usual;
    engine.scheduler.park(attempt, until);
}

/// Commits a complete body.
async fn commit_received<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    mut ended: FinishedAttempt,
    body: ReceivedBody<S::File>,
    feedback: &Feedback,
) {
    match body {
        ReceivedBody::New(file, sha256) => {
            ended.forget_unused_part();
            let commit = |done| file.commit(with_hash(sha256, done));
            commit_body(engine, lease, ended, feedback, commit).await;
        }
        ReceivedBody::Part(sha256) => {
            if let Some(part) = ended.attempt.part.clone() {
                let attempt = ended.attempt.clone();
                let commit = |done| async move {
                    let done = with_hash(sha256, done);
                    engine.store.commit_part(&attempt, &part, done).await;
                };
                commit_body(engine, lease, ended, feedback, commit).await;
            }
        }
        ReceivedBody::Saved => {
            let saved = unchanged_body(engine, &ended.attempt);
            let commit = |done: SaveCallback| async { done(Ok(saved)) };
            commit_body(engine, lease, ended, feedback, commit).await;
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
    if !engine.past.is_empty() && Claims::applies_to(&ended.attempt.job) {
        // Boxed, because few jobs need it and its state would enlarge those of all.
        Box::pin(give_file_away(engine, &ended.attempt.job)).await;
    }
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
