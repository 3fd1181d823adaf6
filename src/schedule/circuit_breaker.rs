//! The circuit of a host: open while it can't be reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::retry::doubled;
use crate::model::{FetchError, deadline_after};

/// Failures in a row that open the circuit. A connection that was waited for in vain
/// counts for all of them: it took long, and every further one would.
const FAILURES_TO_OPEN: u32 = 3;

/// A host that was given up is not probed again before this.
const MIN_DOWN_TIME: Duration = Duration::from_secs(1);

/// How a host that can't be reached is asked again.
#[derive(Debug, Clone, Copy)]
pub struct ProbePolicy {
    /// Probes before the host is given up.
    pub probes: u32,
    /// Wait before the first probe; it doubles with each.
    pub delay: Duration,
    /// Longest wait before a probe, and after it was given up.
    pub max_delay: Duration,
}

impl ProbePolicy {
    fn next_probe_at(&self, probe: u32) -> Duration {
        doubled(self.delay, probe, self.max_delay)
    }
}

/// The circuit of a host.
#[derive(Debug, Clone, Default)]
pub enum CircuitBreaker {
    /// It can be reached, as far as is known.
    #[default]
    Closed,
    /// Not reached lately, but not often enough to say anything.
    Doubtful {
        /// Failures in a row.
        failures: u32,
    },
    /// It can't be reached; one request probes it from `probe_at` on.
    Open {
        /// Failures in a row.
        failures: u32,
        /// Probes that failed.
        probes: u32,
        /// When the circuit opened: what started before says nothing new.
        since: Instant,
        /// When the next probe may go out.
        probe_at: Instant,
    },
    /// It was given up: its jobs fail. From `until` on one request probes it again.
    Down {
        /// Failures in a row; none when it was given up for having refused for too long.
        failures: u32,
        /// What its jobs fail with.
        error: FetchError,
        /// When it may be probed again.
        until: Instant,
    },
}

impl CircuitBreaker {
    /// A connection could not be made for a request that started at `started`. Tells
    /// whether the circuit changed.
    pub fn record_failure(
        &mut self,
        error: &FetchError,
        started: Instant,
        now: Instant,
        probing: &ProbePolicy,
    ) -> bool {
        match *self {
            Self::Closed | Self::Doubtful { .. } => {
                let before = match *self {
                    Self::Doubtful { failures } => failures,
                    _ => 0,
                };
                let failures = before + 1;
                let in_vain = matches!(
                    error,
                    FetchError::ConnectTimeout { .. } | FetchError::Timeout { .. }
                );
                if failures < FAILURES_TO_OPEN && !in_vain {
                    *self = Self::Doubtful { failures };
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
            Self::Down {
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
            let why = match failures {
                1 => "the host is down: a connection to it failed".to_owned(),
                _ => format!("the host is down: {failures} connections in a row failed"),
            };
            down(failures, error, why, now, probing)
        };
    }

    /// The host refused for too long: its jobs fail like those of one that is down.
    pub fn give_up(
        &mut self,
        error: &FetchError,
        why: String,
        now: Instant,
        probing: &ProbePolicy,
    ) {
        *self = down(0, error, why, now, probing);
    }

    /// The host was reached. Tells whether that closed the circuit.
    pub fn record_success(&mut self) -> bool {
        let was_open = matches!(self, Self::Open { .. } | Self::Down { .. });
        *self = Self::Closed;
        was_open
    }

    /// The host refused a request that started at `started`. Tells whether it stays given up
    /// for having refused: then that changes nothing.
    pub fn is_still_throttled(
        &mut self,
        started: Instant,
        now: Instant,
        probing: &ProbePolicy,
    ) -> bool {
        match self {
            Self::Down {
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

    /// Whether the last that is known of the host is that it could be reached.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// When the next probe may go out, if that is not now.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Open { probe_at, .. } => Some(*probe_at).filter(|at| *at > now),
            _ => None,
        }
    }

    /// What the jobs of the host fail with now.
    #[must_use]
    pub fn rejection(&self, now: Instant) -> Option<&FetchError> {
        match self {
            Self::Down { error, until, .. } if now < *until => Some(error),
            _ => None,
        }
    }
}

fn down(
    failures: u32,
    error: &FetchError,
    why: String,
    now: Instant,
    probing: &ProbePolicy,
) -> CircuitBreaker {
    // What a host was given up for before is not piled up.
    let error = match error {
        FetchError::HostGivenUp { error, .. } => Arc::clone(error),
        error => Arc::new(error.clone()),
    };
    CircuitBreaker::Down {
        failures,
        error: FetchError::HostGivenUp {
            error,
            why: why.into(),
        },
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
    fn it_opens_after_three_failures_or_one_that_took_long() {
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
            assert!(!circuit.record_success(), "it was never open");
        }
    }

    #[test]
    fn the_waits_between_probes_grow_up_to_their_bound_and_then_it_is_down() {
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
            // What was under way when it opened says nothing new.
            let before = now - SECOND;
            assert!(!circuit.record_failure(&timed_out, before, now, &PROBING));
            now = probe_at;
            assert!(circuit.record_failure(&timed_out, now, now, &PROBING));
        }
        assert!(circuit.rejection(now).is_some() && circuit.wait(now).is_none());
        assert!(
            circuit.rejection(now + SECOND * 5).is_none(),
            "a probe may go out"
        );
        assert!(circuit.record_success() && circuit.is_closed());
    }
}
