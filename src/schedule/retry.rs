//! Decides whether and when to retry. Pure: the caller does the waiting.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::model::{ErrorKind, FetchError, GiveUpReason};

use super::backoff::doubled;
use super::host_control::HostLimits;
use super::retry_on::RetryRules;
use super::tuning::hold::*;

/// Settings for retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum retries after the first attempt. With 0 there is one attempt, whatever delay the
    /// server requests. 3 by default.
    pub retries: u32,
    /// Maximum of the first backoff; doubles with each retry. 500 ms by default.
    pub delay: Duration,
    /// Maximum of any backoff that the server did not request. 30 s by default.
    pub max_delay: Duration,
    /// Maximum `Retry-After` that is honoured. 5 min by default.
    pub retry_after_max: Duration,
    /// Maximum total wait of one job for its retries. 15 min by default. Time in the queue of a
    /// host on hold does not count, but a host whose holds add up to this without an accepted
    /// request is given up.
    pub max_wait: Duration,
    /// Additions to the failures that are retried, and exceptions.
    pub rules: RetryRules,
    /// Retries of the URLs of single hosts, by name as in a URL.
    pub hosts: Arc<HostLimits>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 3,
            delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(5 * 60),
            max_wait: Duration::from_secs(15 * 60),
            rules: RetryRules::default(),
            hosts: Arc::default(),
        }
    }
}

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct FailureContext<'a> {
    /// The error of the attempt.
    pub error: &'a FetchError,
    /// Whether the method is idempotent (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// Retries used so far.
    pub retries_used: u32,
    /// Holds of this job so far that used up no retry.
    pub holds: u32,
    /// Consecutive throttled rounds of the host before this attempt started.
    pub throttles: u32,
    /// Whether the host's 503s without `Retry-After` are known to be throttling, like a 429.
    pub throttles_with_503: bool,
    /// Whether the server throttled below HTTP (ENHANCE_YOUR_CALM), which counts as a 429.
    pub is_throttled: bool,
    /// Whether only this URL is rejected, while the host serves others.
    pub concerns_one_url: bool,
    /// Time that the job has waited so far.
    pub waited: Duration,
    /// Position of the backoff within its range, in 0..1.
    pub jitter: f64,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryDecision {
    /// Retry after this wait; uses up a retry.
    Retry(Duration),
    /// Retry after this wait, which holds the whole host; uses up no retry.
    Hold(Duration),
    /// Retry after this wait, which holds the whole host; uses up a retry.
    BackOff(Duration),
    /// Repeat the request after this wait, because the resource is not ready (202). Uses up no
    /// retry and delays only this job.
    Poll(Duration),
    /// The failure is final. The note says why a requested delay was not honoured.
    GiveUp {
        /// Appended to the error message.
        note: Option<GiveUpReason>,
    },
}

impl RetryPolicy {
    /// Returns the policy for a URL in the list: its host may have its own number of retries.
    #[must_use]
    pub fn of_url(&self, url: &Url) -> Cow<'_, Self> {
        let host = url.host_str().filter(|_| !self.hosts.is_empty());
        let limit = host.and_then(|host| self.hosts.get(host));
        match limit.and_then(|limit| limit.retries) {
            Some(retries) => Cow::Owned(Self {
                retries,
                ..self.clone()
            }),
            None => Cow::Borrowed(self),
        }
    }

    /// Decides what to do after a failed attempt.
    #[must_use]
    pub fn decide(&self, context: &FailureContext<'_>) -> RetryDecision {
        let final_ = RetryDecision::GiveUp { note: None };
        let error = context.error;
        let status = error.status().map(|status| status.as_u16());
        if self.retries == 0 || !self.rules.is_retried(error) {
            let note = error.retry_after().filter(|_| status == Some(202));
            return RetryDecision::GiveUp {
                note: note.map(|requested| GiveUpReason::PollingOff { requested }),
            };
        }
        match (status, error.retry_after()) {
            (Some(429 | 503 | 403), Some(delay)) if context.concerns_one_url => {
                return self.wait_alone(delay, context);
            }
            (Some(429 | 503), Some(delay)) => return self.honour_delay(delay, context),
            (Some(403), Some(delay)) if context.idempotent => {
                return self.honour_delay(delay, context);
            }
            (Some(202), Some(delay)) => return self.poll(delay, context),
            // On other statuses it is not about the host (RFC 9110 §10.2.3, RFC 6585 §4).
            _ => {}
        }
        let may_resend = context.idempotent || error.is_before_request();
        if !may_resend {
            return final_;
        }
        let status = match status {
            Some(503) if context.throttles_with_503 => Some(429),
            None if context.is_throttled => Some(429),
            status => status,
        };
        let has_retry = context.retries_used < self.retries_for(error);
        let (wait, decision): (_, fn(Duration) -> RetryDecision) = match status {
            Some(429) if context.concerns_one_url => {
                return self.wait_alone(Duration::ZERO, context);
            }
            Some(429) if context.throttles < FREE_THROTTLES && context.holds < FREE_HOLDS => {
                (self.hold(context.throttles, context), RetryDecision::Hold)
            }
            Some(429) if has_retry => (
                self.hold(context.throttles, context),
                RetryDecision::BackOff,
            ),
            Some(503) if has_retry && context.throttles >= THROTTLES_BEFORE_HOLD => (
                self.hold(context.throttles - THROTTLES_BEFORE_HOLD, context),
                RetryDecision::BackOff,
            ),
            _ if has_retry => match self.delay_of_listed(error) {
                Some(delay) => return self.wait_at_least(delay, context),
                None => (self.retry_wait(context), RetryDecision::Retry),
            },
            _ => return final_,
        };
        if context.waited.saturating_add(wait) > self.max_wait {
            return final_;
        }
        decision(wait)
    }

    /// Returns the retries allowed for an error. A checksum mismatch gets only one, because it is
    /// usually permanent, unless `--retry-on` names it.
    fn retries_for(&self, error: &FetchError) -> u32 {
        match error.kind() {
            ErrorKind::Checksum if self.rules.listed(error).is_none() => self.retries.min(1),
            _ => self.retries,
        }
    }

    /// Returns the `Retry-After` of a status that is retried only because `--retry-on` lists it.
    fn delay_of_listed(&self, error: &FetchError) -> Option<Duration> {
        let delay = error.retry_after()?;
        (!error.is_transient()).then_some(delay)
    }

    /// Returns the maximum backoff before retry number `retry`, counted from 0.
    fn max_backoff(&self, retry: u32) -> Duration {
        doubled(self.delay, retry, self.max_delay)
    }

    /// Returns the backoff with full jitter, between zero and the maximum, so that requests that
    /// failed together are not retried together.
    fn retry_wait(&self, context: &FailureContext<'_>) -> Duration {
        let bound = self.max_backoff(context.retries_used);
        scaled(bound, context.jitter.clamp(0.0, 1.0))
    }

    /// Returns the hold of a host that throttled without `Retry-After`: doubles with each time,
    /// with jitter between half and all of it.
    fn hold(&self, times: u32, context: &FailureContext<'_>) -> Duration {
        let bound = self.hold_bound(times);
        scaled(bound, 0.5 + context.jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Returns the hold, before jitter, after `times` throttled rounds. It has a lower bound, so that
    /// a host that keeps throttling is not hammered even if the user disables backoff.
    fn hold_bound(&self, times: u32) -> Duration {
        let first = self.delay.max(MIN_HOLD);
        doubled(first, times, self.max_delay.max(MIN_MAX_HOLD))
    }

    /// Honours a requested delay that applies to the whole host.
    fn honour_delay(&self, delay: Duration, context: &FailureContext<'_>) -> RetryDecision {
        let wait = delay.max(self.hold_bound(context.throttles));
        self.within(delay, wait, context, RetryDecision::Hold)
    }

    /// Honours a requested delay that applies only to this job. The minimum wait grows with the
    /// time already waited, so that a server that always requests no delay is not polled in a tight
    /// loop.
    fn poll(&self, delay: Duration, context: &FailureContext<'_>) -> RetryDecision {
        let min = (context.waited / 8).clamp(MIN_HOLD, MIN_MAX_HOLD);
        match self.within(delay, delay.max(min), context, RetryDecision::Poll) {
            RetryDecision::GiveUp { note: Some(note) } => RetryDecision::GiveUp {
                note: Some(GiveUpReason::StillProcessing(Box::new(note))),
            },
            decision => decision,
        }
    }

    /// Honours the delay of a rejection that does not concern the host's other URLs. It uses up a
    /// retry, as any failure of this URL.
    fn wait_alone(&self, delay: Duration, context: &FailureContext<'_>) -> RetryDecision {
        if context.retries_used >= self.retries_for(context.error) {
            return RetryDecision::GiveUp { note: None };
        }
        let wait = delay.max(self.hold(context.retries_used, context));
        self.within(delay, wait, context, RetryDecision::Retry)
    }

    fn wait_at_least(&self, delay: Duration, context: &FailureContext<'_>) -> RetryDecision {
        let wait = delay.max(self.retry_wait(context));
        self.within(delay, wait, context, RetryDecision::Retry)
    }

    /// Checks a requested delay and the resulting wait against their limits.
    fn within(
        &self,
        delay: Duration,
        wait: Duration,
        context: &FailureContext<'_>,
        decision: fn(Duration) -> RetryDecision,
    ) -> RetryDecision {
        let give_up = |note| RetryDecision::GiveUp { note: Some(note) };
        if delay > self.retry_after_max {
            return give_up(GiveUpReason::DelayTooLong {
                requested: delay,
                max: self.retry_after_max,
            });
        }
        if context.waited.saturating_add(wait) > self.max_wait {
            return give_up(GiveUpReason::WaitTooLong {
                wait,
                max: self.max_wait,
            });
        }
        decision(wait)
    }
}

fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, RedirectProblem, RobotsProblem, TimeLimit};
    use http::StatusCode;
    use proptest::prelude::*;

    fn status(code: u16, retry_after: Option<u64>) -> FetchError {
        FetchError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
            note: None,
        }
    }

    fn first(error: &FetchError) -> FailureContext<'_> {
        FailureContext {
            error,
            idempotent: true,
            retries_used: 0,
            holds: 0,
            throttles: 0,
            throttles_with_503: false,
            is_throttled: false,
            concerns_one_url: false,
            waited: Duration::ZERO,
            jitter: 1.0,
        }
    }

    fn decide(context: &FailureContext<'_>) -> RetryDecision {
        RetryPolicy::default().decide(context)
    }

    const GIVE_UP: RetryDecision = RetryDecision::GiveUp { note: None };

    #[test]
    fn every_status_code_is_decided_as_written() {
        for code in 100..=999 {
            let transient = matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524);
            let error = status(code, None);
            let half_second = Duration::from_millis(500);
            let expected = match code {
                429 => RetryDecision::Hold(half_second),
                _ if transient => RetryDecision::Retry(half_second),
                _ => GIVE_UP,
            };
            assert_eq!(decide(&first(&error)), expected, "{code}");

            let mut unsafe_method = first(&error);
            unsafe_method.idempotent = false;
            assert_eq!(decide(&unsafe_method), GIVE_UP, "{code} after a POST");

            let with_delay = status(code, Some(2));
            let two = Duration::from_secs(2);
            let expected = match code {
                403 | 429 | 503 => RetryDecision::Hold(two),
                202 => RetryDecision::Poll(two),
                _ if transient => RetryDecision::Retry(half_second),
                _ => GIVE_UP,
            };
            assert_eq!(
                decide(&first(&with_delay)),
                expected,
                "{code} with Retry-After"
            );
            if code == 202 {
                // In reply to a POST a 202 is a success.
                continue;
            }
            let mut unsafe_method = first(&with_delay);
            unsafe_method.idempotent = false;
            let expected = if matches!(code, 429 | 503) {
                RetryDecision::Hold(two)
            } else {
                GIVE_UP
            };
            assert_eq!(
                decide(&unsafe_method),
                expected,
                "{code} with Retry-After after a POST"
            );
        }
    }

    #[test]
    fn every_kind_is_decided_as_written() {
        let cause = || Cause::from_text("x");
        let second = Duration::from_secs(1);
        let dns = |not_found| FetchError::Dns {
            host: "h".into(),
            not_found,
            cause: cause(),
        };
        // (error, retried, retried even after a POST)
        let table = [
            (
                FetchError::InvalidUrl {
                    reason: String::new(),
                    hint: None,
                },
                false,
                false,
            ),
            (dns(true), false, false),
            (dns(false), true, true),
            (FetchError::Refused { cause: cause() }, true, true),
            (
                FetchError::Unreachable {
                    exhausted: false,
                    cause: cause(),
                },
                true,
                true,
            ),
            (
                FetchError::ConnectTimeout {
                    limit: second,
                    proxy: None,
                },
                true,
                true,
            ),
            (FetchError::Tls { cause: cause() }, false, false),
            (
                FetchError::Proxy {
                    status: None,
                    is_final: false,
                    cause: cause(),
                },
                true,
                true,
            ),
            (
                FetchError::Proxy {
                    status: None,
                    is_final: true,
                    cause: cause(),
                },
                false,
                false,
            ),
            (
                FetchError::Timeout {
                    limit: TimeLimit::Head(second),
                },
                true,
                false,
            ),
            (
                FetchError::Stalled {
                    window: second,
                    received: 0,
                },
                true,
                false,
            ),
            (FetchError::Reset { cause: cause() }, true, false),
            (
                FetchError::Truncated {
                    received: 0,
                    expected: None,
                },
                true,
                false,
            ),
            (FetchError::Protocol { cause: cause() }, false, false),
            (
                FetchError::Redirect {
                    problem: RedirectProblem::TooMany(1),
                },
                false,
                false,
            ),
            (
                FetchError::Decode {
                    coding: "gzip".into(),
                    cause: cause(),
                },
                false,
                false,
            ),
            (
                FetchError::TooLarge {
                    limit: 1,
                    announced: None,
                },
                false,
                false,
            ),
            (FetchError::Checksum(cause()), true, false),
            (
                FetchError::Robots {
                    problem: RobotsProblem::Disallowed("/".into()),
                },
                false,
                false,
            ),
            (FetchError::ContentType(cause()), false, false),
            (FetchError::Denied(cause()), false, false),
            (FetchError::Conflict(cause()), false, false),
            (
                FetchError::Save {
                    cause: cause(),
                    ends_run: false,
                },
                false,
                false,
            ),
        ];
        let given_up = FetchError::HostGivenUp {
            error: FetchError::Refused { cause: cause() }.into(),
            why: GiveUpReason::HostDown { failures: 3 },
        };
        assert_eq!(
            given_up.kind(),
            ErrorKind::Refused,
            "the kind of the underlying error"
        );
        for (error, retried, retried_post) in &table {
            let is_retry = |idempotent| {
                let mut context = first(error);
                context.idempotent = idempotent;
                matches!(decide(&context), RetryDecision::Retry(_))
            };
            assert_eq!(is_retry(true), *retried, "{error}");
            assert_eq!(is_retry(false), *retried_post, "{error} after a POST");
        }
        let kinds: std::collections::HashSet<_> = table.iter().map(|row| row.0.kind()).collect();
        assert_eq!(
            kinds.len(),
            ErrorKind::ALL.len() - 1,
            "all but status, which has its own table"
        );
    }

    #[test]
    fn a_checksum_mismatch_is_retried_once() {
        let error = FetchError::Checksum(Cause::from_text("x"));
        let mut context = first(&error);
        context.retries_used = 1;
        assert_eq!(decide(&context), GIVE_UP);
    }

    fn listed(list: &str) -> RetryPolicy {
        RetryPolicy {
            rules: list.parse::<RetryRules>().unwrap(),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn listed_failures_use_retries_and_excluded_ones_are_final() {
        let ms = Duration::from_millis;
        let policy = listed("404,!500,!429");
        let decide = |code, retry_after| policy.decide(&first(&status(code, retry_after)));
        assert_eq!(decide(404, None), RetryDecision::Retry(ms(500)));
        assert_eq!(decide(500, None), GIVE_UP);
        assert_eq!(decide(429, Some(1)), GIVE_UP);
        assert_eq!(decide(502, None), RetryDecision::Retry(ms(500)), "as usual");
        // Retry-After delays only that URL, and uses up a retry.
        assert_eq!(decide(404, Some(7)), RetryDecision::Retry(ms(7000)));
        assert_eq!(decide(404, Some(0)), RetryDecision::Retry(ms(500)));
        let note = |decision| match decision {
            RetryDecision::GiveUp { note: Some(note) } => note,
            other => panic!("{other:?}"),
        };
        let too_long = note(decide(404, Some(301)));
        insta::assert_snapshot!("retry_after_too_long", too_long);
        let error = status(404, Some(7));
        let mut context = first(&error);
        context.retries_used = 3;
        assert_eq!(policy.decide(&context), GIVE_UP);
        context.retries_used = 0;
        context.idempotent = false;
        assert_eq!(policy.decide(&context), GIVE_UP, "a POST");

        let error = FetchError::Checksum(Cause::from_text("x"));
        let mut context = first(&error);
        context.retries_used = 2;
        let by_hand = listed("checksum").decide(&context);
        assert_eq!(
            by_hand,
            RetryDecision::Retry(ms(2000)),
            "not limited to one retry"
        );
    }

    #[test]
    fn a_202_is_polled_at_a_bounded_rate_and_within_its_limits() {
        let ms = Duration::from_millis;
        let decide = |delay, waited: Duration| {
            let error = status(202, Some(delay));
            let mut context = first(&error);
            // Polling does not use retries.
            context.retries_used = 3;
            context.waited = waited;
            super::tests::decide(&context)
        };
        assert_eq!(decide(0, ms(0)), RetryDecision::Poll(ms(100)));
        assert_eq!(decide(0, ms(4000)), RetryDecision::Poll(ms(500)));
        assert_eq!(decide(0, ms(60_000)), RetryDecision::Poll(ms(1000)));
        assert_eq!(decide(20, ms(60_000)), RetryDecision::Poll(ms(20_000)));
        let note = |delay, waited| match decide(delay, Duration::from_secs(waited)) {
            RetryDecision::GiveUp {
                note: Some(GiveUpReason::StillProcessing(why)),
            } => *why,
            other => panic!("{other:?}"),
        };
        assert!(matches!(note(301, 0), GiveUpReason::DelayTooLong { .. }));
        assert!(matches!(
            note(60, 14 * 60 + 1),
            GiveUpReason::WaitTooLong { .. }
        ));
        let once = RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        };
        let decision = once.decide(&first(&status(202, Some(1))));
        let requested = Duration::from_secs(1);
        assert_eq!(
            decision,
            RetryDecision::GiveUp {
                note: Some(GiveUpReason::PollingOff { requested })
            }
        );
        // If listed it needs no Retry-After, and is a retry like any other.
        let error = status(202, None);
        assert_eq!(
            listed("202").decide(&first(&error)),
            RetryDecision::Retry(ms(500))
        );
    }

    #[test]
    fn backoff_doubles_up_to_its_cap_and_ends() {
        let error = status(500, None);
        let policy = RetryPolicy {
            retries: 100,
            max_wait: Duration::MAX,
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = (0..8)
            .map(|used| {
                let mut context = first(&error);
                context.retries_used = used;
                policy.decide(&context)
            })
            .collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(
            waits,
            expected.map(|ms| RetryDecision::Retry(Duration::from_millis(ms)))
        );
        let mut context = first(&error);
        context.retries_used = 3;
        assert_eq!(decide(&context), GIVE_UP, "3 retries are the default");
    }

    #[test]
    fn retries_0_means_one_request_even_with_a_requested_delay() {
        let policy = RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.decide(&first(&status(429, Some(1)))), GIVE_UP);
    }

    #[test]
    fn a_requested_delay_uses_no_retry_is_never_below_the_backoff_and_has_limits() {
        let soon = status(503, Some(0));
        let mut context = first(&soon);
        context.retries_used = 3;
        context.throttles = 2;
        assert_eq!(
            decide(&context),
            RetryDecision::Hold(Duration::from_secs(2))
        );

        let hasty = RetryPolicy {
            delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = [0, 1, 9]
            .map(|throttles| {
                let mut context = first(&soon);
                context.throttles = throttles;
                hasty.decide(&context)
            })
            .into();
        let expected = [100, 200, 1000].map(|ms| RetryDecision::Hold(Duration::from_millis(ms)));
        assert_eq!(waits, expected, "a minimum hold applies");

        let late = status(503, Some(86_400));
        assert_eq!(
            decide(&first(&late)),
            RetryDecision::GiveUp {
                note: Some(GiveUpReason::DelayTooLong {
                    requested: Duration::from_secs(86_400),
                    max: Duration::from_secs(300),
                })
            }
        );
        let with_delay = status(429, Some(60));
        let mut context = first(&with_delay);
        context.waited = Duration::from_secs(14 * 60 + 30);
        assert_eq!(
            decide(&context),
            RetryDecision::GiveUp {
                note: Some(GiveUpReason::WaitTooLong {
                    wait: Duration::from_secs(60),
                    max: Duration::from_secs(900),
                })
            }
        );
    }

    #[test]
    fn throttling_without_retry_after_holds_the_host_longer_each_time() {
        let decide = |code, throttles, retries_used, jitter| {
            let error = status(code, None);
            let mut context = first(&error);
            context.throttles = throttles;
            context.retries_used = retries_used;
            context.jitter = jitter;
            super::tests::decide(&context)
        };
        let ms = Duration::from_millis;
        // A 429 is about the rate: at first it uses no retry.
        assert_eq!(decide(429, 0, 3, 0.0), RetryDecision::Hold(ms(250)));
        assert_eq!(decide(429, 0, 3, 1.0), RetryDecision::Hold(ms(500)));
        assert_eq!(decide(429, 1, 3, 1.0), RetryDecision::Hold(ms(1000)));
        assert_eq!(decide(429, 2, 0, 1.0), RetryDecision::BackOff(ms(2000)));
        assert_eq!(decide(429, 2, 3, 1.0), GIVE_UP, "it may never stop");
        let error = status(429, None);
        let mut context = first(&error);
        context.holds = 5;
        assert_eq!(
            super::tests::decide(&context),
            RetryDecision::BackOff(ms(500)),
            "it may be only this URL"
        );
        // The host serves its other URLs: it is only this one.
        for (code, delay, wait) in [
            (429, None, ms(500)),
            (503, Some(3), ms(3000)),
            (403, Some(3), ms(3000)),
        ] {
            let error = status(code, delay);
            let mut context = first(&error);
            (context.concerns_one_url, context.jitter) = (true, 1.0);
            let decision = super::tests::decide(&context);
            assert_eq!(decision, RetryDecision::Retry(wait), "{code}");
            context.retries_used = 3;
            assert_eq!(super::tests::decide(&context), GIVE_UP, "{code}");
        }
        // A 503 may concern only this URL.
        assert_eq!(decide(503, 0, 0, 0.0), RetryDecision::Retry(ms(0)));
        assert_eq!(decide(503, 6, 1, 0.0), RetryDecision::BackOff(ms(250)));
        assert_eq!(decide(503, 0, 3, 0.0), GIVE_UP);
        let error = status(503, None);
        let mut context = first(&error);
        context.throttles_with_503 = true;
        context.retries_used = 3;
        assert_eq!(super::tests::decide(&context), RetryDecision::Hold(ms(500)));
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_its_limits(
            used in 0u32..200, throttles in 0u32..200, jitter in 0.0f64..1.0,
            waited in 0u64..2000, delay in prop::option::of(0u64..1000), code in 100u16..600,
            all in any::<bool>(),
        ) {
            let error = status(code, delay);
            let rules = (if all { "status" } else { "!418" }).parse::<RetryRules>().unwrap();
            let policy = RetryPolicy { retries: 300, rules, ..RetryPolicy::default() };
            let context = FailureContext {
                error: &error, idempotent: true, retries_used: used, holds: 0, throttles, throttles_with_503: false, is_throttled: false,
                concerns_one_url: false, waited: Duration::from_secs(waited), jitter,
            };
            match policy.decide(&context) {
                RetryDecision::Retry(wait) => {
                    let most = if all { policy.retry_after_max } else { policy.max_delay };
                    prop_assert!(wait <= most);
                    prop_assert!(context.waited + wait <= policy.max_wait);
                }
                RetryDecision::Poll(wait) => {
                    prop_assert_eq!(code, 202);
                    prop_assert!(wait >= Duration::from_secs(delay.unwrap_or(0)).max(MIN_HOLD));
                    prop_assert!(wait <= policy.retry_after_max);
                    prop_assert!(context.waited + wait <= policy.max_wait);
                }
                RetryDecision::Hold(wait) | RetryDecision::BackOff(wait) => {
                    prop_assert!(matches!(code, 403 | 429 | 503));
                    prop_assert!(wait >= Duration::from_secs(delay.unwrap_or(0)));
                    prop_assert!(wait <= policy.retry_after_max.max(policy.max_delay));
                    prop_assert!(context.waited + wait <= policy.max_wait);
                }
                RetryDecision::GiveUp { .. } => {}
            }
        }
    }
}
