//! What happens after a failed attempt: a retry later, or the job fails.

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

/// Handles a failed attempt: parks it for a retry, or fails the job.
pub async fn handle_failure<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: FinishedAttempt,
    error: FetchError,
    feedback: &mut Feedback,
) {
    let attempt = &mut ended.attempt;
    // Simulated faults must repeat exactly, so they ignore what other URLs learned of the host.
    let host = lease.start().filter(|_| !attempt.simulated);
    let decision = engine.retry.decide(&FailureContext {
        error: &error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: attempt.history().retries_used,
        holds: attempt.history().holds,
        throttles: host.map_or(0, |host| host.throttles),
        throttles_with_503: host.is_some_and(|host| host.throttles_with_503),
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
            "host on hold, retrying"
        } else {
            "retrying"
        },
        format_duration(wait)
    );
    if holds_host {
        feedback.hold = Some(until);
    }
    start_over(attempt, &engine.options);
    lease.park(ended.attempt, until, feedback);
}

/// Restarts a retry at the input URL, because the target of its redirects may be what failed.
/// Returns false, and keeps the current URL, if the original method is not idempotent: its
/// request was answered and must not be repeated.
fn start_over(attempt: &mut Attempt, options: &EngineOptions) -> bool {
    let (method, with_body) = request_for(&attempt.job, options);
    let may_start_over = method.is_idempotent();
    if may_start_over {
        attempt.restart(method, with_body);
    }
    may_start_over
}

/// Handles an attempt that is not sent because its host was given up. If a redirect led to the
/// host, the attempt is retried from the input URL, which may redirect elsewhere next time.
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
        throttles: 0,
        throttles_with_503: false,
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

/// Parks an attempt whose response was a 202: nothing has failed, the resource is not ready yet.
/// The same request is repeated at the current URL, even after redirects: going back to the input
/// URL could start the work anew.
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
        "202 Accepted; still processing, polling again in {}",
        format_duration(wait)
    );
    lease.park(ended.attempt, until, feedback);
}

/// Fails the job.
async fn give_up<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    ended: FinishedAttempt,
    error: FetchError,
    feedback: &Feedback,
) {
    let settled = record::settled(ended, Err(error), now(), &engine.options, &engine.clock);
    // The record comes before the slot: an abort between the two must not lose the record.
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

/// Returns the jitter, in 0..1. A seed makes it repeatable, waits of simulated runs included.
fn jitter(seed: Option<u64>, attempt: &Attempt) -> f64 {
    let Some(seed) = seed else {
        return fastrand::f64();
    };
    let mut hash = SipHasher13::new_with_keys(seed, 1);
    hash.write(attempt.url().as_str().as_bytes());
    hash.write_u32(attempt.number);
    // An f64 holds 53 bits exactly.
    (hash.finish() >> 11) as f64 / (1u64 << 53) as f64
}
