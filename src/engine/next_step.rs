//! Decides, without I/O, what follows an attempt: its body is committed, the job sends another
//! request now or later, or it fails.

use std::hash::Hasher;
use std::time::Duration;

use http::{StatusCode, Version};
use siphasher::sip::SipHasher13;

use super::EngineOptions;
use super::attempt_outcome::{AttemptOutcome, NextRequest, ReceivedBody, discards_body};
use super::finished_attempt::FinishedAttempt;
use super::request::request_for;
use super::resume;
use crate::model::{
    Attempt, ErrorKind, FetchError, GiveUpReason, Hint, ResendCause, ResponseHead, SendMode,
};
use crate::schedule::{FailureContext, RetryDecision, RetryPolicy, StartSnapshot};

/// Maximum resends of one request that are not counted as attempts: a busy HTTP/2 server may
/// close one connection after another (nginx after `keepalive_requests`).
const MAX_FREE_RESENDS: u32 = 10;

/// What follows an attempt.
pub(super) enum NextStep<F> {
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
    /// Queue the job for its next mirror: this URL has failed for good.
    TryMirror(FetchError),
    /// Settle the job as failed.
    Fail(FetchError),
}

/// A retry of a failed attempt.
pub(super) struct DelayedRetry {
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
    /// Whether the partial body that the attempt was to continue, and whose writer it has not taken,
    /// can be continued by a later one. A writer that was taken keeps it by itself when it is dropped.
    pub(super) fn keeps_untaken_part(&self) -> bool {
        match self {
            // The body that is saved takes its place.
            Self::Commit(_) | Self::Continue(NextRequest::FromFirstByte) => false,
            // A free resend is no verdict on the partial body.
            Self::Continue(_) | Self::Resend(_) | Self::Poll(_) => true,
            Self::Retry(DelayedRetry { error, .. })
            | Self::TryMirror(error)
            | Self::Fail(error) => !discards_body(error),
        }
    }
}

/// What the next step depends on besides the outcome.
pub(super) struct StepContext<'a> {
    /// The attempt.
    pub ended: &'a FinishedAttempt,
    /// What was known of its host when it started.
    pub host: Option<StartSnapshot>,
    /// Whether and when to retry.
    pub policy: &'a RetryPolicy,
    /// The requests of the run, and the seed of the backoff jitter.
    pub options: &'a EngineOptions,
}

/// Decides what follows an attempt.
pub(super) fn next_step<F>(
    result: Result<AttemptOutcome<ReceivedBody<F>>, FetchError>,
    context: &StepContext<'_>,
) -> NextStep<F> {
    let ended = context.ended;
    let error = match result {
        Ok(AttemptOutcome::Body(body)) => return NextStep::Commit(body),
        Ok(AttemptOutcome::Continue(next)) => return NextStep::Continue(next),
        Err(error) => error,
    };
    if let Some(send_mode) = free_resend(ended, &error) {
        return NextStep::Resend(send_mode);
    }
    let error = match error {
        FetchError::Protocol { cause } if is_not_sent_again(ended) => FetchError::Protocol {
            cause: cause.with_hint(Hint::NotSentAgain),
        },
        error => error,
    };
    // Simulated faults must repeat exactly, so they ignore what other URLs learned of the host.
    let host = context.host.filter(|_| !ended.attempt.simulated);
    let policy = context.policy.of_url(ended.attempt.source_url());
    let decision = policy.decide(&FailureContext {
        throttles: host.map_or(0, |host| host.throttles),
        throttles_with_503: host.is_some_and(|host| host.throttles_with_503),
        is_throttled: ended.wire.is_throttled(),
        ..failure_context(&ended.attempt, &error, context.options.seed)
    });
    let (wait, is_counted, holds_host) = match decision {
        RetryDecision::Retry(wait) => (wait, true, false),
        RetryDecision::Hold(wait) => (wait, false, true),
        RetryDecision::BackOff(wait) => (wait, true, true),
        RetryDecision::Poll(wait) => return NextStep::Poll(wait),
        RetryDecision::GiveUp { .. } if may_be_whole(ended, &error) => {
            return NextStep::Continue(NextRequest::WithoutRange);
        }
        RetryDecision::GiveUp { .. } if has_mirror(&ended.attempt, &error, context.options) => {
            return NextStep::TryMirror(error);
        }
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
pub(super) fn wait_after_rejection(
    attempt: &Attempt,
    error: &FetchError,
    policy: &RetryPolicy,
    seed: Option<u64>,
) -> Option<Duration> {
    let policy = policy.of_url(attempt.source_url());
    match policy.decide(&failure_context(attempt, error, seed)) {
        RetryDecision::Retry(wait) | RetryDecision::Hold(wait) | RetryDecision::BackOff(wait) => {
            attempt.hop.is_some().then_some(wait)
        }
        RetryDecision::Poll(_) | RetryDecision::GiveUp { .. } => None,
    }
}

/// Whether a job whose URL has failed for good goes on at a mirror. Only another server can help:
/// what is wrong with the line or on this machine stays so. Requests that may change something are
/// for one server.
pub(super) fn has_mirror(attempt: &Attempt, error: &FetchError, options: &EngineOptions) -> bool {
    let (method, with_body) = request_for(&attempt.job, options);
    let may_help = match error.kind() {
        // A mirror has rules of its own, but the same content.
        ErrorKind::Robots => !error.is_reservation(),
        ErrorKind::InvalidUrl | ErrorKind::Denied | ErrorKind::Conflict | ErrorKind::Save => false,
        ErrorKind::Dns
        | ErrorKind::Refused
        | ErrorKind::Unreachable
        | ErrorKind::ConnectTimeout
        | ErrorKind::Tls
        | ErrorKind::Proxy
        | ErrorKind::Timeout
        | ErrorKind::Stalled
        | ErrorKind::Reset
        | ErrorKind::Truncated
        | ErrorKind::Protocol
        | ErrorKind::Redirect
        | ErrorKind::Status
        | ErrorKind::Decode
        | ErrorKind::TooLarge
        | ErrorKind::Checksum
        | ErrorKind::ContentType => true,
    };
    may_help && !with_body && method.is_safe() && attempt.next_mirror().is_some()
}

/// Whether a job whose partial body cannot be continued may still get the whole one: some servers
/// and gateways fail every range request, or cut it off. A host that throttles fails all requests.
fn may_be_whole(ended: &FinishedAttempt, error: &FetchError) -> bool {
    let history = ended.attempt.history();
    // The body might have come over the first connection, if no segments had been tried.
    let are_ranges_cut = history.segments > 1 && !history.has_whole_range;
    let failed_at_range = match error {
        FetchError::Status { status, .. } => {
            *status != StatusCode::TOO_MANY_REQUESTS && error.retry_after().is_none()
        }
        FetchError::Redirect { .. } | FetchError::Protocol { .. } => true,
        // A proxy that forwards sees the range; one that tunnels answers only to CONNECT.
        FetchError::Proxy { status, .. } => {
            status.is_some() && ended.attempt.url().scheme() == "http"
        }
        // Once some of the rest has come, it may go on from there.
        FetchError::Reset { .. } | FetchError::Timeout { .. } => {
            ended.head.is_none() || are_ranges_cut
        }
        FetchError::Truncated { received, .. } => {
            *received == 0 || are_ranges_cut || are_ranges_limited(ended)
        }
        FetchError::Stalled { .. } => are_ranges_cut,
        // No host has seen the range, or what it sent is wrong for another reason, or saving failed.
        FetchError::InvalidUrl { .. }
        | FetchError::Dns { .. }
        | FetchError::Refused { .. }
        | FetchError::Unreachable { .. }
        | FetchError::ConnectTimeout { .. }
        | FetchError::Tls { .. }
        | FetchError::Robots { .. }
        | FetchError::Decode { .. }
        | FetchError::TooLarge { .. }
        | FetchError::Checksum(_)
        | FetchError::ContentType(_)
        | FetchError::Denied(_)
        | FetchError::Conflict(_)
        | FetchError::Save { .. }
        | FetchError::HostGivenUp { .. } => false,
    };
    let requested_range = ended.attempt.resumable_part().is_some();
    failed_at_range && requested_range && !ended.wire.is_simulated()
}

/// Whether a server answered with less than the range that was requested.
fn are_ranges_limited(ended: &FinishedAttempt) -> bool {
    let part = ended.attempt.resumable_part();
    part.zip(ended.head.as_ref())
        .is_some_and(|(part, head)| resume::is_limited(part, head))
}

/// Describes the failure of an attempt at a host of which nothing is known.
fn failure_context<'a>(
    attempt: &Attempt,
    error: &'a FetchError,
    seed: Option<u64>,
) -> FailureContext<'a> {
    let history = attempt.history();
    FailureContext {
        error,
        idempotent: attempt.method().is_idempotent(),
        retries_used: history.retries_used,
        holds: history.holds,
        throttles: 0,
        throttles_with_503: false,
        is_throttled: false,
        concerns_one_url: history.rejections.concern_one_url(),
        waited: history.waited,
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
    let idempotent = attempt.method().is_idempotent();
    match ended.wire.resend_cause() {
        Some(ResendCause::StaleConnection) if idempotent => Some(SendMode::Fresh),
        // The pool has dropped the dead connection, so a usual request gets another one.
        Some(ResendCause::StaleSharedConnection) if idempotent && resends == 0 => {
            Some(SendMode::Usual)
        }
        Some(ResendCause::Http2Failed) if idempotent && attempt.send_mode != SendMode::Fresh => {
            Some(SendMode::Fresh)
        }
        Some(ResendCause::Http2Only) if idempotent => Some(SendMode::Fresh),
        // Not after another error: the body of a 404, for example, is not wanted.
        Some(ResendCause::Malformed) if idempotent && error.kind() == ErrorKind::Protocol => {
            Some(SendMode::Lenient)
        }
        Some(ResendCause::LateClock) if idempotent && attempt.send_mode == SendMode::Usual => {
            let head = ended.head.as_ref();
            Some(match head.map(|head| head.version) {
                Some(Version::HTTP_2) => SendMode::Fresh,
                _ => SendMode::Bounded,
            })
        }
        Some(ResendCause::GoAway | ResendCause::BrokenTunnel | ResendCause::Http1Required) => {
            Some(SendMode::Usual)
        }
        Some(_) => None,
        // Any method: a 421 means that the server did not process the request, only that
        // this connection cannot serve it (RFC 9110 §15.5.20).
        None if error.status() == Some(StatusCode::MISDIRECTED_REQUEST) => {
            (attempt.send_mode != SendMode::Fresh).then_some(SendMode::Fresh)
        }
        None => (idempotent && may_have_ended(ended, error)).then_some(SendMode::Unended),
    }
}

/// Whether another response could be repaired, but the request must not be sent twice.
fn is_not_sent_again(ended: &FinishedAttempt) -> bool {
    ended.wire.resend_cause() == Some(ResendCause::Malformed)
        && !ended.attempt.method().is_idempotent()
}

/// Whether a body that stalled or was cut off may be complete: the parser waits for ever after
/// trailers that end with a line feed alone. It can't be told from a body that did not end, so only
/// another client's response can.
fn may_have_ended(ended: &FinishedAttempt, error: &FetchError) -> bool {
    matches!(error.kind(), ErrorKind::Stalled | ErrorKind::Truncated)
        && ended.head.as_ref().is_some_and(ResponseHead::is_chunked)
        && !ended.attempt.history().is_unended
        && !ended.wire.is_simulated()
}

fn with_note(error: FetchError, note: Option<GiveUpReason>) -> FetchError {
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
            note: Some(note),
        },
        (error, _) => error,
    }
}

/// Returns the jitter, in 0..1. A seed makes it repeatable, also for waits after injected faults.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderValue, Method};
    use url::Url;

    use super::*;
    use crate::model::{
        BodyVersion, ByteRanges, Cause, ChainCookies, Hop, Job, LineOptions, Mirror, PartialBody,
        TimeLimit, WireState, now,
    };

    type Outcome = Result<AttemptOutcome<ReceivedBody<()>>, FetchError>;

    /// An attempt whose connection noticed this.
    fn ended(method: Method, noticed: Option<ResendCause>) -> FinishedAttempt {
        let job = Job::plain("http://a.test/");
        let wire = WireState::new(now());
        if let Some(noticed) = noticed {
            wire.mark_resendable(noticed);
        }
        FinishedAttempt {
            attempt: Box::new(Attempt::new(job, method, false)),
            head: None,
            wire: Arc::new(wire),
            archive_only: None,
        }
    }

    fn get() -> FinishedAttempt {
        ended(Method::GET, None)
    }

    /// An attempt after those that had used up all of something.
    fn after(mut ended: FinishedAttempt, use_up: fn(&mut FinishedAttempt)) -> FinishedAttempt {
        use_up(&mut ended);
        ended
    }

    fn no_retries_left(ended: &mut FinishedAttempt) {
        ended.attempt.history_mut(now()).retries_used = 3;
    }

    fn no_resends_left(ended: &mut FinishedAttempt) {
        ended.attempt.history_mut(now()).resends = MAX_FREE_RESENDS;
    }

    fn resent_once(ended: &mut FinishedAttempt) {
        ended.attempt.history_mut(now()).resends = 1;
    }

    fn with_part(ended: &mut FinishedAttempt) {
        let url = Url::parse("http://a.test/").unwrap();
        ended.attempt.part = Some(Box::new(PartialBody {
            version: BodyVersion {
                job_url: url.clone(),
                url,
                validator: HeaderValue::from_static("\"a\""),
                total: None,
            },
            length: 5,
            beyond: ByteRanges::default(),
        }));
    }

    fn without_range(ended: &mut FinishedAttempt) {
        with_part(ended);
        ended.attempt.history_mut(now()).without_range = true;
    }

    fn over_a_fresh_connection(ended: &mut FinishedAttempt) {
        ended.attempt.send_mode = SendMode::Fresh;
    }

    fn in_cut_segments(ended: &mut FinishedAttempt) {
        ended.attempt.history_mut(now()).segments = 2;
    }

    fn in_whole_segments(ended: &mut FinishedAttempt) {
        in_cut_segments(ended);
        ended.attempt.history_mut(now()).has_whole_range = true;
    }

    fn truncated(received: u64) -> Outcome {
        Err(FetchError::Truncated {
            received,
            expected: Some(9),
        })
    }

    fn reset() -> Outcome {
        Err(FetchError::Reset {
            cause: Cause::from_text("cut"),
        })
    }

    fn status(code: u16, retry_after: Option<u64>) -> Outcome {
        Err(FetchError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
            note: None,
        })
    }

    fn corrupt() -> Outcome {
        Err(FetchError::Protocol {
            cause: Cause::from_text("corrupt"),
        })
    }

    fn proxy(status: Option<StatusCode>) -> Outcome {
        Err(FetchError::Proxy {
            status,
            is_final: true,
            cause: Cause::from_text("x"),
        })
    }

    /// The decision in words.
    fn decide(outcome: Outcome, ended: &FinishedAttempt) -> String {
        let options = EngineOptions {
            seed: Some(0),
            ..EngineOptions::default()
        };
        let context = StepContext {
            ended,
            host: None,
            policy: &RetryPolicy::default(),
            options: &options,
        };
        let step = next_step(outcome, &context);
        let part = if step.keeps_untaken_part() {
            "part kept"
        } else {
            "part dropped"
        };
        let step = match step {
            NextStep::Commit(_) => "commit".to_owned(),
            NextStep::Continue(next) => format!("continue with {next:?}"),
            NextStep::Resend(mode) => format!("resend {mode:?}"),
            NextStep::Retry(DelayedRetry {
                is_counted,
                holds_host,
                ..
            }) => match (is_counted, holds_host) {
                (true, false) => "retry".to_owned(),
                (false, true) => "hold the host".to_owned(),
                (true, true) => "hold the host and use up a retry".to_owned(),
                (false, false) => "retry free of charge".to_owned(),
            },
            NextStep::Poll(wait) => format!("poll after {wait:?}"),
            NextStep::TryMirror(error) => format!("mirror after: {error}"),
            NextStep::Fail(error) => format!("fail: {error}"),
        };
        format!("{step}, {part}")
    }

    #[test]
    fn what_follows_an_attempt() {
        use AttemptOutcome::{Body, Continue};
        let body = || Ok(Body(ReceivedBody::New((), None)));
        let again = |next| Ok(Continue(next));
        let noticed = |noticed| ended(Method::GET, Some(noticed));
        let post = |noticed| ended(Method::POST, noticed);
        for (outcome, ended, decision) in [
            (body(), get(), "commit, part dropped"),
            (
                again(NextRequest::FromFirstByte),
                get(),
                "continue with FromFirstByte, part dropped",
            ),
            (
                again(NextRequest::NextPiece),
                get(),
                "continue with NextPiece, part kept",
            ),
            (
                again(NextRequest::GetForHead),
                get(),
                "continue with GetForHead, part kept",
            ),
            // Retries.
            (reset(), get(), "retry, part kept"),
            (
                reset(),
                after(get(), no_retries_left),
                "fail: connection lost: cut, part kept",
            ),
            (reset(), post(None), "fail: connection lost: cut, part kept"),
            (status(500, None), get(), "retry, part kept"),
            (status(404, None), get(), "fail: 404 Not Found, part kept"),
            (status(429, None), get(), "hold the host, part kept"),
            (status(503, Some(2)), get(), "hold the host, part kept"),
            (status(503, Some(2)), post(None), "hold the host, part kept"),
            (status(503, None), get(), "retry, part kept"),
            (status(202, Some(2)), get(), "poll after 2s, part kept"),
            (
                corrupt(),
                get(),
                "fail: invalid HTTP response: corrupt, part dropped",
            ),
            // A partial body whose rest fails for good.
            (
                status(404, None),
                after(get(), with_part),
                "continue with WithoutRange, part kept",
            ),
            (
                status(404, None),
                after(get(), without_range),
                "fail: 404 Not Found, part kept",
            ),
            (
                corrupt(),
                after(get(), with_part),
                "continue with WithoutRange, part kept",
            ),
            (reset(), after(get(), with_part), "retry, part kept"),
            (
                reset(),
                after(after(get(), with_part), no_retries_left),
                "continue with WithoutRange, part kept",
            ),
            (
                truncated(0),
                after(after(get(), with_part), no_retries_left),
                "continue with WithoutRange, part kept",
            ),
            (
                truncated(5),
                after(after(get(), with_part), no_retries_left),
                "fail: body truncated: received 5 of 9 bytes, part kept",
            ),
            // All ranges of a body in segments were cut off, or some were not.
            (
                truncated(5),
                after(
                    after(after(get(), with_part), no_retries_left),
                    in_cut_segments,
                ),
                "continue with WithoutRange, part kept",
            ),
            (
                truncated(5),
                after(
                    after(after(get(), with_part), no_retries_left),
                    in_whole_segments,
                ),
                "fail: body truncated: received 5 of 9 bytes, part kept",
            ),
            (
                status(403, Some(100_000)),
                after(get(), with_part),
                "fail: 403 Forbidden; requested delay 27h 46m exceeds retry_after_max 5m, part kept",
            ),
            (
                Err(FetchError::Refused {
                    cause: Cause::from_text("x"),
                }),
                after(after(get(), with_part), no_retries_left),
                "fail: could not connect: x, part kept",
            ),
            (
                proxy(Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED)),
                after(get(), with_part),
                "continue with WithoutRange, part kept",
            ),
            (
                proxy(None),
                after(get(), with_part),
                "fail: proxy error: x, part kept",
            ),
            // Resends, which count as no attempt.
            (
                reset(),
                noticed(ResendCause::StaleConnection),
                "resend Fresh, part kept",
            ),
            (
                reset(),
                post(Some(ResendCause::StaleConnection)),
                "fail: connection lost: cut, part kept",
            ),
            (
                reset(),
                noticed(ResendCause::StaleSharedConnection),
                "resend Usual, part kept",
            ),
            (
                reset(),
                after(noticed(ResendCause::StaleSharedConnection), resent_once),
                "retry, part kept",
            ),
            (
                Err(FetchError::Protocol {
                    cause: Cause::from_text("bad"),
                }),
                noticed(ResendCause::Malformed),
                "resend Lenient, part kept",
            ),
            (reset(), noticed(ResendCause::Malformed), "retry, part kept"),
            (
                reset(),
                noticed(ResendCause::LateClock),
                "resend Bounded, part kept",
            ),
            (
                reset(),
                post(Some(ResendCause::GoAway)),
                "resend Usual, part kept",
            ),
            (
                reset(),
                post(Some(ResendCause::BrokenTunnel)),
                "resend Usual, part kept",
            ),
            (
                reset(),
                post(Some(ResendCause::Http1Required)),
                "resend Usual, part kept",
            ),
            (
                reset(),
                after(noticed(ResendCause::GoAway), no_resends_left),
                "retry, part kept",
            ),
            (
                reset(),
                noticed(ResendCause::Http2Failed),
                "resend Fresh, part kept",
            ),
            (
                reset(),
                after(noticed(ResendCause::Http2Failed), over_a_fresh_connection),
                "retry, part kept",
            ),
            (
                reset(),
                post(Some(ResendCause::Http2Failed)),
                "fail: connection lost: cut, part kept",
            ),
            (
                corrupt(),
                after(noticed(ResendCause::Http2Only), over_a_fresh_connection),
                "resend Fresh, part kept",
            ),
            (status(421, None), post(None), "resend Fresh, part kept"),
            (
                status(421, None),
                after(get(), over_a_fresh_connection),
                "fail: 421 Misdirected Request, part kept",
            ),
        ] {
            let situation = format!("{outcome:?} {:?}", ended.wire.resend_cause());
            assert_eq!(decide(outcome, &ended), decision, "{situation}");
        }
    }

    /// An attempt at a job with this many mirrors, of which some have been tried.
    fn with_mirrors(method: Method, count: usize, tried: u32) -> FinishedAttempt {
        let mut ended = ended(method.clone(), None);
        let mirror = Mirror {
            url: Url::parse("http://m.test/").unwrap(),
            credentials: None,
        };
        ended.attempt.job.options = Some(Box::new(LineOptions {
            method: Some(method.clone()),
            mirrors: vec![mirror; count].into(),
            ..LineOptions::default()
        }));
        for _ in 0..tried {
            ended.attempt.begin_mirror(method.clone(), false);
        }
        ended
    }

    #[test]
    fn a_url_that_failed_for_good_is_followed_by_its_mirrors() {
        let of = |count, tried| with_mirrors(Method::GET, count, tried);
        let fail = |error: FetchError| Err(error);
        let cause = || Cause::from_text("x");
        for (outcome, ended, decision) in [
            (
                status(404, None),
                of(0, 0),
                "fail: 404 Not Found, part kept",
            ),
            (
                status(404, None),
                of(1, 0),
                "mirror after: 404 Not Found, part kept",
            ),
            (
                status(404, None),
                of(2, 1),
                "mirror after: 404 Not Found, part kept",
            ),
            (
                status(404, None),
                of(2, 2),
                "fail: 404 Not Found, part kept",
            ),
            // Retries come first, at each of them.
            (reset(), of(1, 0), "retry, part kept"),
            (
                reset(),
                after(of(1, 0), no_retries_left),
                "mirror after: connection lost: x, part kept",
            ),
            (reset(), of(1, 1), "retry, part kept"),
            (status(429, None), of(1, 0), "hold the host, part kept"),
            (status(202, Some(2)), of(1, 0), "poll after 2s, part kept"),
            (
                fail(FetchError::Refused { cause: cause() }),
                after(of(1, 0), no_retries_left),
                "mirror after: could not connect: x, part kept",
            ),
            (
                fail(FetchError::Tls { cause: cause() }),
                of(1, 0),
                "mirror after: TLS failed: x, part kept",
            ),
            (
                fail(FetchError::Checksum(cause())),
                of(1, 0),
                "retry, part dropped",
            ),
            (
                fail(FetchError::Checksum(cause())),
                after(of(1, 0), no_retries_left),
                "mirror after: content mismatch: x, part dropped",
            ),
            (
                fail(FetchError::ContentType(cause())),
                of(1, 0),
                "mirror after: unexpected content type: x, part dropped",
            ),
            // Not the fault of a server.
            (
                fail(FetchError::Denied(cause())),
                of(1, 0),
                "fail: denied: x, part kept",
            ),
            (
                fail(FetchError::Save {
                    cause: cause(),
                    ends_run: false,
                }),
                of(1, 0),
                "fail: could not save: x, part dropped",
            ),
            (
                status(404, None),
                with_mirrors(Method::HEAD, 1, 0),
                "mirror after: 404 Not Found, part kept",
            ),
            (
                status(404, None),
                with_mirrors(Method::PUT, 1, 0),
                "fail: 404 Not Found, part kept",
            ),
        ] {
            let situation = format!("{outcome:?} {:?}", ended.attempt.mirror_number());
            let decided = decide(outcome, &ended).replace(": cut", ": x");
            assert_eq!(decided, decision, "{situation}");
        }
    }

    #[test]
    fn a_host_given_up_is_avoided_only_by_a_job_that_a_redirect_led_there() {
        let refused = FetchError::Timeout {
            limit: TimeLimit::Head(Duration::from_secs(1)),
        };
        let wait = |attempt: &Attempt| {
            wait_after_rejection(attempt, &refused, &RetryPolicy::default(), Some(0))
        };
        let mut ended = get();
        assert_eq!(wait(&ended.attempt), None);
        ended.attempt.hop = Some(Box::new(Hop {
            url: Url::parse("http://b.test/").unwrap(),
            visited: vec![Url::parse("http://a.test/").unwrap()],
            requests: Vec::new(),
            cookies: ChainCookies::default(),
            left_origin: true,
        }));
        assert!(wait(&ended.attempt).is_some());
        no_retries_left(&mut ended);
        assert_eq!(wait(&ended.attempt), None);
    }

    #[test]
    fn a_seed_makes_the_jitter_repeatable_and_different_for_each_attempt() {
        let mut attempt = get().attempt;
        let first = jitter(Some(1), &attempt);
        assert_eq!(jitter(Some(1), &attempt), first);
        assert_ne!(jitter(Some(2), &attempt), first);
        attempt.number += 1;
        assert_ne!(jitter(Some(1), &attempt), first);
        assert!((0.0..1.0).contains(&first));
    }
}
