//! What an attempt says about its host.

use std::time::{Duration, SystemTime};

use super::attempt::AttemptOutcome;
use crate::model::{
    Feedback, FetchError, HostVerdict, ResponseHead, TimeLimit, WireState, deadline_after, now,
};
use crate::schedule::exhausted_for;

/// What an attempt that ended now says about its host. A wait that the server wants before
/// the next request is met up to `longest`.
pub fn feedback<F>(
    wire: &WireState,
    head: Option<&ResponseHead>,
    result: &Result<AttemptOutcome<F>, FetchError>,
    longest: Duration,
) -> Feedback {
    let now = now();
    let took = now.saturating_duration_since(wire.started());
    let verdict = match result {
        Ok(_) => HostVerdict::Answered,
        Err(error) => of_error(error, wire),
    };
    // Whether this job is tried again or not: the others are to wait.
    let asked = match (&verdict, head) {
        (HostVerdict::Refused { error, .. }, _) => error.retry_after(),
        (HostVerdict::Answered, Some(head)) => exhausted_for(&head.headers, SystemTime::now()),
        _ => None,
    };
    let hold = asked.filter(|wait| *wait <= longest && !wait.is_zero());
    Feedback {
        verdict,
        hold: hold.map(|wait| deadline_after(now, wait)),
        latency: took.saturating_sub(connecting(wire)),
    }
}

/// How long connecting took; not when the request went over another connection before.
fn connecting(wire: &WireState) -> Duration {
    let connected = wire.connect_time().unwrap_or_default();
    match wire.head_time() {
        Some(head) if head < connected => Duration::ZERO,
        _ => connected,
    }
}

fn of_error(error: &FetchError, wire: &WireState) -> HostVerdict {
    // A rehearsal must teach nothing about the real host, and the outcomes of its other
    // URLs must not hang on the order they came in.
    if wire.unheard().is_some() || wire.is_simulated() {
        return HostVerdict::Nothing;
    }
    if wire.is_throttled() {
        return HostVerdict::Refused {
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
        } => HostVerdict::NotConnected(error.clone()),
        FetchError::Timeout {
            limit: TimeLimit::Attempt(_),
        } if wire.is_waiting_for_fd() => HostVerdict::Nothing,
        // The other bodies hold the memory, or the files, and not this host.
        FetchError::Timeout {
            limit: TimeLimit::Decoder(_) | TimeLimit::Gathering(_),
        } => HostVerdict::Nothing,
        FetchError::Timeout {
            limit: TimeLimit::Attempt(_),
        } if wire.is_connecting() => HostVerdict::NotConnected(error.clone()),
        FetchError::Timeout { .. }
        | FetchError::Stalled { .. }
        | FetchError::Reset { .. }
        | FetchError::Truncated { .. }
        | FetchError::Protocol { .. }
        | FetchError::Tls { .. } => HostVerdict::Troubled,
        FetchError::Redirect { .. }
        | FetchError::Decode { .. }
        | FetchError::TooLarge { .. }
        | FetchError::Checksum(_) => HostVerdict::Answered,
        // Wrong credentials or a rule of the proxy's: nothing is learned of the host.
        FetchError::Dns { .. }
        | FetchError::Proxy { .. }
        | FetchError::Unreachable { .. }
        | FetchError::InvalidUrl { .. }
        | FetchError::Denied(_)
        | FetchError::Save { .. }
        | FetchError::HostGivenUp { .. } => HostVerdict::Nothing,
    }
}

/// What a status says about its host, whatever the user wants to be retried.
fn of_status(error: &FetchError, status: u16, says_when: bool) -> HostVerdict {
    match (status, says_when) {
        (429 | 503, _) | (403, true) => HostVerdict::Refused {
            error: error.clone(),
            surely_pace: status == 429 || says_when,
        },
        (202, _) => HostVerdict::Answered,
        _ if error.is_transient() => HostVerdict::Troubled,
        _ => HostVerdict::Answered,
    }
}
