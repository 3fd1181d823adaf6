//! The circuit breaker of a host: open while the host is unreachable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::doubled;
use super::tuning::circuit_breaker::*;
use crate::model::{FetchError, GiveUpReason, deadline_after};

/// How an unreachable host is probed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProbePolicy {
    /// Probes before the host is given up.
    pub probes: u32,
    /// Wait before the first probe; doubles with each.
    pub delay: Duration,
    /// Maximum wait before a probe, and the wait after the host was given up.
    pub max_delay: Duration,
}

impl ProbePolicy {
    fn next_probe_at(&self, probe: u32) -> Duration {
        doubled(self.delay, probe, self.max_delay)
    }
}

/// The circuit breaker of a host.
#[derive(Debug, Clone, Default)]
pub(super) enum CircuitBreaker {
    /// Reachable, as far as is known.
    #[default]
    Closed,
    /// Recent connections failed, but too few to open the circuit.
    Suspect {
        /// Consecutive failures.
        failures: u32,
    },
    /// Unreachable; one request probes it from `probe_at` on.
    Open {
        /// Consecutive failures.
        failures: u32,
        /// Failed probes.
        probes: u32,
        /// When the circuit opened. Requests that started before are ignored.
        since: Instant,
        /// When the next probe may go out.
        probe_at: Instant,
    },
    /// Given up: its jobs fail. From `until` on one request probes it again.
    GivenUp {
        /// Consecutive failures; 0 if it was given up because it throttled for too long.
        failures: u32,
        /// The error its jobs fail with.
        error: FetchError,
        /// When it may be probed again.
        until: Instant,
    },
}

impl CircuitBreaker {
    /// Records a failed connection of a request that started at `started`. Returns whether the
    /// circuit changed.
    pub(super) fn record_failure(
        &mut self,
        error: &FetchError,
        started: Instant,
        now: Instant,
        probing: &ProbePolicy,
    ) -> bool {
        match *self {
            Self::Closed | Self::Suspect { .. } => {
                let before = match *self {
                    Self::Suspect { failures } => failures,
                    _ => 0,
                };
                let failures = before + 1;
                let timed_out = matches!(
                    error,
                    FetchError::ConnectTimeout { .. } | FetchError::Timeout { .. }
                );
                if failures < FAILURES_TO_OPEN && !timed_out {
                    *self = Self::Suspect { failures };
                    return false;
                }
                self.next_probe(failures, 0, error, now, probing);
                true
            }
            Self::Open {
                failures,
                probes,
                since,
                ..
            } => {
                if started < since {
                    return false;
                }
                self.next_probe(failures + 1, probes + 1, error, now, probing);
                true
            }
            Self::GivenUp {
                failures, until, ..
            } => {
                if started < until {
                    return false;
                }
                self.next_probe(failures + 1, probing.probes, error, now, probing);
                true
            }
        }
    }

    fn next_probe(
        &mut self,
        failures: u32,
        probes: u32,
        error: &FetchError,
        now: Instant,
        probing: &ProbePolicy,
    ) {
        *self = if probes < probing.probes {
            Self::Open {
                failures,
                probes,
                since: now,
                probe_at: deadline_after(now, probing.next_probe_at(probes)),
            }
        } else {
            let why = GiveUpReason::HostDown { failures };
            given_up(failures, error, why, now, probing)
        };
    }

    /// Gives up on a host that throttled for too long: its jobs fail as if it were down.
    pub(super) fn give_up(
        &mut self,
        error: &FetchError,
        why: GiveUpReason,
        now: Instant,
        probing: &ProbePolicy,
    ) {
        *self = given_up(0, error, why, now, probing);
    }

    /// Records a successful connection. Returns whether that closed the circuit.
    pub(super) fn record_success(&mut self) -> bool {
        let was_open = matches!(self, Self::Open { .. } | Self::GivenUp { .. });
        *self = Self::Closed;
        was_open
    }

    /// Records a throttled response to a request that started at `started`. Returns true if the
    /// host stays given up for throttling, so that the response has no further effect.
    pub(super) fn is_still_throttled(
        &mut self,
        started: Instant,
        now: Instant,
        probing: &ProbePolicy,
    ) -> bool {
        match self {
            Self::GivenUp {
                failures: 0, until, ..
            } => {
                if started >= *until {
                    *until = deadline_after(now, probing.max_delay.max(MIN_DOWN_TIME));
                }
                true
            }
            _ => false,
        }
    }

    /// Whether the host is reachable, as far as is known.
    #[must_use]
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Returns when the next probe may start, if that is later than now.
    #[must_use]
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Open { probe_at, .. } => Some(*probe_at).filter(|at| *at > now),
            _ => None,
        }
    }

    /// Returns the error that the host's jobs fail with now, if it is given up.
    #[must_use]
    pub(super) fn rejection(&self, now: Instant) -> Option<&FetchError> {
        match self {
            Self::GivenUp { error, until, .. } if now < *until => Some(error),
            _ => None,
        }
    }
}

fn given_up(
    failures: u32,
    error: &FetchError,
    why: GiveUpReason,
    now: Instant,
    probing: &ProbePolicy,
) -> CircuitBreaker {
    // Unwrap the error of an earlier give-up, so that messages do not nest.
    let error = match error {
        FetchError::HostGivenUp { error, .. } => Arc::clone(error),
        error => Arc::new(error.clone()),
    };
    CircuitBreaker::GivenUp {
        failures,
        error: FetchError::HostGivenUp { error, why },
        until: deadline_after(now, probing.max_delay.max(MIN_DOWN_TIME)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;

    const SECOND: Duration = Duration::from_secs(1);
    const PROBING: ProbePolicy = ProbePolicy {
        probes: 4,
        delay: SECOND,
        max_delay: Duration::from_secs(5),
    };

    fn refused() -> FetchError {
        FetchError::Refused {
            cause: Cause::from_text("x"),
        }
    }

    #[test]
    fn it_opens_after_three_failures_or_one_timeout() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::default();
        assert!(!circuit.record_failure(&refused(), now, now, &PROBING));
        assert!(!circuit.record_failure(&refused(), now, now, &PROBING));
        assert!(circuit.record_failure(&refused(), now, now, &PROBING));
        assert_eq!(circuit.wait(now), Some(now + SECOND));

        let mut circuit = CircuitBreaker::default();
        let timed_out = FetchError::ConnectTimeout {
            limit: SECOND,
            proxy: None,
        };
        assert!(circuit.record_failure(&timed_out, now, now, &PROBING));

        let mut circuit = CircuitBreaker::default();
        for _ in 0..9 {
            assert!(!circuit.record_failure(&refused(), now, now, &PROBING));
            assert!(!circuit.record_success(), "it never opened");
        }
    }

    #[test]
    fn the_waits_between_probes_grow_to_their_limit_and_then_the_host_is_given_up() {
        let mut now = Instant::now();
        let mut circuit = CircuitBreaker::default();
        let timed_out = FetchError::ConnectTimeout {
            limit: SECOND,
            proxy: None,
        };
        circuit.record_failure(&timed_out, now, now, &PROBING);
        for wait in [1, 2, 4, 5] {
            let probe_at = circuit.wait(now).unwrap();
            assert_eq!(probe_at - now, SECOND * wait);
            assert!(circuit.rejection(now).is_none());
            // Requests in flight when it opened are ignored.
            let before = now - SECOND;
            assert!(!circuit.record_failure(&timed_out, before, now, &PROBING));
            now = probe_at;
            assert!(circuit.record_failure(&timed_out, now, now, &PROBING));
        }
        assert!(circuit.rejection(now).is_some() && circuit.wait(now).is_none());
        assert!(
            circuit.rejection(now + SECOND * 5).is_none(),
            "a probe may start"
        );
        assert!(circuit.record_success() && circuit.is_closed());
    }
}
