//! What follows an attempt that failed: another one later, or the job has failed for good.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::finish::FinishedAttempt;
use super::request::request_for;
use super::{Engine, EngineOptions, record};
use crate::fetch::Transport;
use crate::model::{
    Attempt, Feedback, FetchError, SendMode, TraceOutcome, deadline_after, format_duration, now,
};
use crate::schedule::{FailureContext, Lease, RetryDecision};
use crate::store::BodyStore;

/// Does what follows an attempt that failed: it goes back and waits, or the job has failed.
pub async fn handle_failure<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: FinishedAttempt,
    error: FetchError,
    feedback: &mut Feedback,
) {
    let attempt = &mut ended.attempt;
    // What is simulated must not hang on what others met before.
    let host = lease.start().filter(|_| !attempt.simulated);
    let decision = engine.retry.decide(&FailureContext {
        error: &error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: attempt.history().retries_used,
        holds: attempt.history().holds,
        refusals: host.map_or(0, |host| host.refusals),
        limits_by_503: host.is_some_and(|host| host.limits_by_503),
        is_throttled: ended.wire.is_throttled(),
        waited: attempt.history().waited,
        jitter: jitter(engine.options.seed, attempt),
    });
    let (wait, uses_retry, holds_host) = match decision {
        RetryDecision::GiveUp { note } => {
            let error = with_note(error, note);
            return give_up(engine, lease, ended, error, feedback).await;
        }
        RetryDecision::Retry(wait) => (wait, true, false),
        RetryDecision::Hold(wait) => (wait, false, true),
        RetryDecision::BackOff(wait) => (wait, true, true),
        RetryDecision::Poll(wait) => return poll(engine, lease, ended, wait, feedback),
    };
    let end = now();
    let until = deadline_after(end, wait);
    let outcome = TraceOutcome::Failed(error.kind());
    let before = ended.begin_retry(engine, outcome, end, until);
    before.retries_used += u32::from(uses_retry);
    before.holds += u32::from(!uses_retry);
    before.resends = 0;
    before.waited = before.waited.saturating_add(wait);
    let attempt = &mut ended.attempt;
    attempt.again = true;
    attempt.route = SendMode::Usual;
    tracing::info!(
        url = &*attempt.shown_url(),
        "{error}; {} in {}",
        if holds_host {
            "its host again"
        } else {
            "again"
        },
        format_duration(wait)
    );
    if holds_host {
        feedback.hold = Some(until);
    }
    start_over(attempt, &engine.options);
    lease.park(ended.attempt, until, feedback);
}

/// The next attempt asks the URL of the list again, since where its redirects led may be what
/// failed. Not where that would send again what changes something there: it was answered.
/// Tells whether it does.
fn start_over(attempt: &mut Attempt, options: &EngineOptions) -> bool {
    let (method, with_body) = request_for(&attempt.job, options);
    let may_start_over = method.is_idempotent();
    if may_start_over {
        attempt.restart(method, with_body);
    }
    may_start_over
}

/// An attempt that is not sent, since its host was given up. Where a redirect has led there, the
/// URL of the list may lead elsewhere next time.
pub async fn reject<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    mut attempt: Box<Attempt>,
    error: FetchError,
) {
    let before = attempt.history();
    let decision = engine.retry.decide(&FailureContext {
        error: &error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: before.retries_used,
        holds: before.holds,
        refusals: 0,
        limits_by_503: false,
        is_throttled: false,
        waited: before.waited,
        jitter: jitter(engine.options.seed, &attempt),
    });
    let wait = match decision {
        RetryDecision::Retry(wait) | RetryDecision::Hold(wait) | RetryDecision::BackOff(wait) => {
            Some(wait)
        }
        RetryDecision::Poll(_) | RetryDecision::GiveUp { .. } => None,
    };
    let wait = wait.filter(|_| attempt.hop.is_some() && start_over(&mut attempt, &engine.options));
    let Some(wait) = wait else {
        let settled = record::given_up(attempt, error, &engine.options, &engine.clock);
        return engine.settle_unsent(settled).await;
    };
    let now = now();
    let until = deadline_after(now, wait);
    if engine.options.keep_tries {
        attempt.set_ready_at(engine.clock.since_start(until));
    }
    let before = attempt.history_mut(now);
    before.retries_used += 1;
    before.waited = before.waited.saturating_add(wait);
    attempt.again = true;
    attempt.route = SendMode::Usual;
    engine.scheduler.park(attempt, until);
}

/// What was asked for is still being made: nothing has failed, and the same request goes to the
/// same place again, also after redirects. To begin at their start could order it anew.
fn poll<T, S>(
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
        "202: still being made; asked again in {}",
        format_duration(wait)
    );
    lease.park(ended.attempt, until, feedback);
}

/// The job has failed for good.
async fn give_up<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    ended: FinishedAttempt,
    error: FetchError,
    feedback: &Feedback,
) {
    let settled = record::settled(ended, Err(error), now(), &engine.options, &engine.clock);
    // First the record, then the slot: what is cut off between the two was reported.
    engine.settle(settled).await;
    lease.release(feedback);
}

fn with_note(error: FetchError, note: Option<String>) -> FetchError {
    match (error, note) {
        (
            FetchError::Status {
                status,
                retry_after,
                ..
            },
            Some(note),
        ) => FetchError::Status {
            status,
            retry_after,
            note: Some(note.into()),
        },
        (error, _) => error,
    }
}

/// In 0..1. From the seed, when there is one, so that a rehearsal repeats to the wait.
fn jitter(seed: Option<u64>, attempt: &Attempt) -> f64 {
    let Some(seed) = seed else {
        return fastrand::f64();
    };
    let mut hash = SipHasher13::new_with_keys(seed, 1);
    hash.write(attempt.url().as_str().as_bytes());
    hash.write_u32(attempt.number);
    // 53 bits are what an f64 holds exactly.
    (hash.finish() >> 11) as f64 / (1u64 << 53) as f64
}
