//! What an attempt says about its host.

use std::time::{Duration, SystemTime};

use super::attempt::Step;
use crate::model::{Feedback, FetchError, ResponseHead, TimeLimit, Verdict, Wire, after, now};
use crate::schedule::budget_gone;

/// What an attempt that ended now says about its host. A wait that the server wants before
/// the next request is met up to `longest`.
pub fn feedback<F>(
    wire: &Wire,
    head: Option<&ResponseHead>,
    result: &Result<Step<F>, FetchError>,
    longest: Duration,
) -> Feedback {
    let now = now();
    let took = now.saturating_duration_since(wire.started());
    let verdict = match result {
        Ok(_) => Verdict::Answered,
        Err(error) => of_error(error, wire),
    };
    // Whether this job is tried again or not: the others are to wait.
    let asked = match (&verdict, head) {
        (Verdict::Refused { error, .. }, _) => error.retry_after(),
        (Verdict::Answered, Some(head)) => budget_gone(&head.headers, SystemTime::now()),
        _ => None,
    };
    let hold = asked.filter(|wait| *wait <= longest && !wait.is_zero());
    Feedback {
        verdict,
        hold: hold.map(|wait| after(now, wait)),
        latency: took.saturating_sub(connecting(wire)),
    }
}

/// How long connecting took; not when the request went over another connection before.
fn connecting(wire: &Wire) -> Duration {
    let connected = wire.connect_time().unwrap_or_default();
    match wire.head_time() {
        Some(head) if head < connected => Duration::ZERO,
        _ => connected,
    }
}

fn of_error(error: &FetchError, wire: &Wire) -> Verdict {
    // A rehearsal must teach nothing about the real host, and the outcomes of its other
    // URLs must not hang on the order they came in.
    if wire.unheard().is_some() || wire.is_simulated() {
        return Verdict::Nothing;
    }
    if wire.is_throttled() {
        return Verdict::Refused {
            error: error.clone(),
            surely_pace: true,
        };
    }
    match error {
        FetchError::Status {
            status,
            retry_after,
            ..
        } => of_status(error, status.as_u16(), retry_after.is_some()),
        FetchError::Dns {
            not_found: false, ..
        }
        | FetchError::Refused { .. }
        | FetchError::Unreachable {
            exhausted: false, ..
        }
        | FetchError::ConnectTimeout { .. }
        // A tunnel is made to one host: when it fails and may not the next time, the host behind
        // the proxy is what is out of reach, most often.
        | FetchError::Proxy {
            is_final: false, ..
        } => Verdict::NotConnected(error.clone()),
        FetchError::Timeout {
            limit: TimeLimit::Attempt(_),
        } if wire.waits_for_room() => Verdict::Nothing,
        // The other bodies hold the memory, or the files, and not this host.
        FetchError::Timeout {
            limit: TimeLimit::Decoder(_) | TimeLimit::Gathering(_),
        } => Verdict::Nothing,
        FetchError::Timeout {
            limit: TimeLimit::Attempt(_),
        } if wire.is_connecting() => Verdict::NotConnected(error.clone()),
        FetchError::Timeout { .. }
        | FetchError::Stalled { .. }
        | FetchError::Reset { .. }
        | FetchError::Truncated { .. }
        | FetchError::Protocol { .. }
        | FetchError::Tls { .. } => Verdict::Troubled,
        FetchError::Redirect { .. }
        | FetchError::Decode { .. }
        | FetchError::TooLarge { .. }
        | FetchError::Checksum(_) => Verdict::Answered,
        // Wrong credentials or a rule of the proxy's: nothing is learned of the host.
        FetchError::Dns { .. }
        | FetchError::Proxy { .. }
        | FetchError::Unreachable { .. }
        | FetchError::InvalidUrl { .. }
        | FetchError::Denied(_)
        | FetchError::Save { .. }
        | FetchError::HostGivenUp { .. } => Verdict::Nothing,
    }
}

/// What a status says about its host, whatever the user wants to be retried.
fn of_status(error: &FetchError, status: u16, says_when: bool) -> Verdict {
    match (status, says_when) {
        (429 | 503, _) | (403, true) => Verdict::Refused {
            error: error.clone(),
            surely_pace: status == 429 || says_when,
        },
        (202, _) => Verdict::Answered,
        _ if error.is_transient() => Verdict::Troubled,
        _ => Verdict::Answered,
    }
}
