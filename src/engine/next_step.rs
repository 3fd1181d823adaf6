//! Decides, without I/O, what follows an attempt: its body is committed, the job sends another
//! request now or later, or it fails.

use std::hash::Hasher;
use std::time::Duration;

use http::{StatusCode, Version};
use siphasher::sip::SipHasher13;

use super::attempt_outcome::{AttemptOutcome, NextRequest, ReceivedBody, discards_body};
use super::finished_attempt::FinishedAttempt;
use crate::model::{Attempt, ErrorKind, FetchError, SendMode, Unprocessed};
use crate::schedule::{FailureContext, RetryDecision, RetryPolicy, StartSnapshot};

/// Maximum resends of one request that are not counted as attempts: a busy HTTP/2 server may
/// close one connection after another (nginx after `keepalive_requests`).
const MAX_FREE_RESENDS: u32 = 10;

/// What follows an attempt.
pub enum NextStep<F> {
    /// Save the body, and settle the job as fetched.
    Commit(ReceivedBody<F>),
    /// Queue the job for its next request; nothing has failed.
    Continue(NextRequest),
    /// Queue the same request again, without counting an attempt.
    Resend(SendMode),
    /// Park the job for a retry.
    Retry(DelayedRetry),
    /// Park the job, then repeat the request at the current URL: the resource is not ready (202).
    Poll(Duration),
    /// Settle the job as failed.
    Fail(FetchError),
}

/// A retry of a failed attempt.
pub struct DelayedRetry {
    /// Why the attempt failed.
    pub error: FetchError,
    /// How long to wait.
    pub wait: Duration,
    /// Whether it is one of `--retries`.
    pub is_counted: bool,
    /// Whether the whole host waits.
    pub holds_host: bool,
}

impl<F> NextStep<F> {
    /// Whether the partial body that the attempt resumed can be resumed by a later one.
    pub fn keeps_part(&self) -> bool {
        match self {
            // The body that is saved takes its place.
            Self::Commit(_) | Self::Continue(NextRequest::Restart) => false,
            // A free resend is no verdict on the partial body.
            Self::Continue(_) | Self::Resend(_) | Self::Poll(_) => true,
            Self::Retry(DelayedRetry { error, .. }) | Self::Fail(error) => !discards_body(error),
        }
    }
}

/// What the next step depends on besides the outcome.
pub struct StepContext<'a> {
    /// The attempt.
    pub ended: &'a FinishedAttempt,
    /// What was known of its host when it started.
    pub host: Option<StartSnapshot>,
    /// Whether and when to retry.
    pub policy: &'a RetryPolicy,
    /// Seed of the backoff jitter; `None`: random.
    pub seed: Option<u64>,
}

/// Decides what follows an attempt.
pub fn next_step<F>(
    result: Result<AttemptOutcome<ReceivedBody<F>>, FetchError>,
    context: &StepContext<'_>,
) -> NextStep<F> {
    let ended = context.ended;
    let error = match result {
        Ok(AttemptOutcome::Body(body)) => return NextStep::Commit(body),
        Ok(AttemptOutcome::Continue(next)) => return NextStep::Continue(next),
        Err(error) => error,
    };
    if let Some(route) = free_resend(ended, &error) {
        return NextStep::Resend(route);
    }
    // Simulated faults must repeat exactly, so they ignore what other URLs learned of the host.
    let host = context.host.filter(|_| !ended.attempt.simulated);
    let policy = context.policy.of_url(&ended.attempt.job.url);
    let decision = policy.decide(&FailureContext {
        throttles: host.map_or(0, |host| host.throttles),
        throttles_with_503: host.is_some_and(|host| host.throttles_with_503),
        is_throttled: ended.wire.is_throttled(),
        ..failure_context(&ended.attempt, &error, context.seed)
    });
    let (wait, is_counted, holds_host) = match decision {
        RetryDecision::Retry(wait) => (wait, true, false),
        RetryDecision::Hold(wait) => (wait, false, true),
        RetryDecision::BackOff(wait) => (wait, true, true),
        RetryDecision::Poll(wait) => return NextStep::Poll(wait),
        RetryDecision::GiveUp { note } => return NextStep::Fail(with_note(error, note)),
    };
    NextStep::Retry(DelayedRetry {
        error,
        wait,
        is_counted,
        holds_host,
    })
}

/// Decides how long an attempt waits that was not sent because its host was given up; `None`: it
/// fails. If a redirect led to the host, a retry from the input URL may be redirected elsewhere.
pub fn wait_after_rejection(
    attempt: &Attempt,
    error: &FetchError,
    policy: &RetryPolicy,
    seed: Option<u64>,
) -> Option<Duration> {
    let policy = policy.of_url(&attempt.job.url);
    match policy.decide(&failure_context(attempt, error, seed)) {
        RetryDecision::Retry(wait) | RetryDecision::Hold(wait) | RetryDecision::BackOff(wait) => {
            attempt.hop.is_some().then_some(wait)
        }
        RetryDecision::Poll(_) | RetryDecision::GiveUp { .. } => None,
    }
}

/// Describes the failure of an attempt at a host of which nothing is known.
fn failure_context<'a>(
    attempt: &Attempt,
    error: &'a FetchError,
    seed: Option<u64>,
) -> FailureContext<'a> {
    let before = attempt.history();
    FailureContext {
        error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: before.retries_used,
        holds: before.holds,
        throttles: 0,
        throttles_with_503: false,
        is_throttled: false,
        waited: before.waited,
        jitter: jitter(seed, attempt),
    }
}

/// Returns how to resend the request without counting an attempt, if that is allowed.
fn free_resend(ended: &FinishedAttempt, error: &FetchError) -> Option<SendMode> {
    let attempt = &ended.attempt;
    let resends = attempt.history().resends;
    if resends >= MAX_FREE_RESENDS {
        return None;
    }
    let idempotent = attempt.method.is_idempotent();
    match ended.wire.unheard() {
        Some(Unprocessed::StaleConnection) if idempotent => Some(SendMode::Fresh),
        // The pool has dropped the dead connection, so a usual request gets another one.
        Some(Unprocessed::StaleSharedConnection) if idempotent && resends == 0 => {
            Some(SendMode::Usual)
        }
        // Not after another error: the body of a 404, for example, is not wanted.
        Some(Unprocessed::Malformed) if idempotent && error.kind() == ErrorKind::Protocol => {
            Some(SendMode::Lenient)
        }
        Some(Unprocessed::LateClock) if idempotent && attempt.route == SendMode::Usual => {
            let head = ended.head.as_ref();
            Some(match head.map(|head| head.version) {
                Some(Version::HTTP_2) => SendMode::Fresh,
                _ => SendMode::Lenient,
            })
        }
        Some(Unprocessed::GoAway | Unprocessed::Http1Required) => Some(SendMode::Usual),
        Some(_) => None,
        // Any method: a 421 means that the server did not process the request, only that
        // this connection cannot serve it (RFC 9110 §15.5.20).
        None if error.status() == Some(StatusCode::MISDIRECTED_REQUEST) => {
            (attempt.route != SendMode::Fresh).then_some(SendMode::Fresh)
        }
        None => None,
    }
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
