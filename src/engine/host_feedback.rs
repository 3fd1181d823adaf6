//! Derives the scheduler's feedback about a host from the outcome of an attempt.

use std::time::Duration;

use http::Version;

use super::attempt_outcome::AttemptOutcome;
use crate::model::{
    Feedback, FetchError, HostVerdict, ResponseHead, TimeLimit, WireState, deadline_after, now,
    wall_time,
};
use crate::schedule::exhausted_for;

/// Returns what an attempt that ends now says about its host. A delay that the server requests
/// becomes a hold unless it exceeds `longest`.
pub(super) fn feedback<B>(
    wire: &WireState,
    head: Option<&ResponseHead>,
    result: &Result<AttemptOutcome<B>, FetchError>,
    longest: Duration,
) -> Feedback {
    let now = now();
    let took = now.saturating_duration_since(wire.started());
    let verdict = match result {
        Ok(_) => HostVerdict::Answered,
        Err(error) => of_error(error, wire),
    };
    // The hold protects the host's other jobs, so it applies even if this one is not retried.
    let requested = match (&verdict, head) {
        (HostVerdict::Throttled { error, .. }, _) => error.retry_after(),
        (HostVerdict::Answered, Some(head)) => exhausted_for(&head.headers, wall_time()),
        _ => None,
    };
    let hold = requested.filter(|wait| *wait <= longest && !wait.is_zero());
    Feedback {
        verdict,
        hold: hold.map(|wait| deadline_after(now, wait)),
        latency: took.saturating_sub(connect_time(wire)),
        multiplexes: head.map(|head| head.version >= Version::HTTP_2),
    }
}

/// Returns the time spent connecting; zero if the request went over another connection that
/// was ready first.
fn connect_time(wire: &WireState) -> Duration {
    let connected = wire.connect_time().unwrap_or_default();
    match wire.head_time() {
        Some(head) if head < connected => Duration::ZERO,
        _ => connected,
    }
}

fn of_error(error: &FetchError, wire: &WireState) -> HostVerdict {
    // A simulated fault says nothing about the real host. It must not affect other URLs either,
    // or their outcomes would depend on the order of requests.
    if wire.resend_cause().is_some() || wire.is_simulated() {
        return HostVerdict::Inconclusive;
    }
    if wire.is_throttled() {
        return HostVerdict::Throttled {
            error: error.clone(),
            is_rate_limit: true,
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
        // A tunnel leads to one host. A transient failure usually means that the host behind the
        // proxy is unreachable, not the proxy.
        | FetchError::Proxy {
            is_final: false, ..
        } => HostVerdict::ConnectFailed(error.clone()),
        FetchError::Timeout { limit } => of_timeout(limit, error, wire),
        FetchError::Stalled { .. }
        | FetchError::Reset { .. }
        | FetchError::Truncated { .. }
        | FetchError::Protocol { .. }
        | FetchError::Tls { .. } => HostVerdict::Failed,
        FetchError::Redirect { .. }
        | FetchError::Decode { .. }
        | FetchError::TooLarge { .. }
        | FetchError::Checksum(_)
        | FetchError::Robots { .. }
        | FetchError::ContentType(_) => HostVerdict::Answered,
        // Bad proxy credentials, a proxy rule or a local error: nothing is learned of the host.
        FetchError::Dns { .. }
        | FetchError::Proxy { .. }
        | FetchError::Unreachable { .. }
        | FetchError::InvalidUrl { .. }
        | FetchError::Denied(_)
        | FetchError::Conflict(_)
        | FetchError::Save { .. }
        | FetchError::HostGivenUp { .. } => HostVerdict::Inconclusive,
    }
}

fn of_timeout(limit: &TimeLimit, error: &FetchError, wire: &WireState) -> HostVerdict {
    match limit {
        // Other bodies hold the memory or the files; this host is not the cause.
        TimeLimit::Decoder(_) | TimeLimit::Gathering(_) => HostVerdict::Inconclusive,
        TimeLimit::Attempt(_) if wire.is_waiting_for_fd() => HostVerdict::Inconclusive,
        TimeLimit::Attempt(_) if wire.is_connecting() => HostVerdict::ConnectFailed(error.clone()),
        TimeLimit::Attempt(_) | TimeLimit::Head(_) | TimeLimit::ProxyHead(..) => {
            HostVerdict::Failed
        }
    }
}

/// Returns what an error status says about its host, independent of `--retry-on`.
fn of_status(error: &FetchError, status: u16, has_delay: bool) -> HostVerdict {
    match (status, has_delay) {
        (429 | 503, _) | (403, true) => HostVerdict::Throttled {
            error: error.clone(),
            is_rate_limit: status == 429 || has_delay,
        },
        (202, _) => HostVerdict::Answered,
        _ if error.is_transient() => HostVerdict::Failed,
        _ => HostVerdict::Answered,
    }
}
