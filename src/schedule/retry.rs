//! Whether to try again, and when: a pure decision.

use std::time::Duration;

use crate::model::{ErrorKind, FetchError, format_duration};

use super::retry_on::RetryRules;

/// Longest back-off exponent; beyond it every cap has long been met.
const MAX_DOUBLINGS: u32 = 30;

/// Shortest first wait that a refusal leads to; it doubles with every further one.
const MIN_HOLD: Duration = Duration::from_millis(100);
/// And what it doubles up to at least.
const MIN_MAX_HOLD: Duration = Duration::from_secs(1);
/// A 429 that does not say when to come back uses up a retry once its host has refused so
/// often in a row: it may never stop.
const FREE_THROTTLES: u32 = 2;
/// And once the job itself has waited so often: the host may refuse only this URL.
const FREE_HOLDS: u32 = 5;
/// A 503 that does not say when to come back holds its host once that has refused so
/// often in a row: before, it may be only that URL.
const THROTTLES_BEFORE_HOLD: u32 = 6;

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Further tries after the first. With 0 there is one request, whatever the server asks for.
    pub retries: u32,
    /// Upper bound of the first wait; it doubles with every retry.
    pub delay: Duration,
    /// Upper bound of every wait that a server did not ask for.
    pub max_delay: Duration,
    /// Longest `Retry-After` that is waited for.
    pub retry_after_max: Duration,
    /// Longest time one job waits for its retries in all. What it waits in the queue of a
    /// held host does not count; a host that lets nothing through for so long is given up.
    pub max_wait: Duration,
    /// What is retried besides the usual failures, and what is not.
    pub rules: RetryRules,
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
        }
    }
}

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct FailureContext<'a> {
    /// What went wrong.
    pub error: &'a FetchError,
    /// Whether the method is idempotent (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// Retries used so far.
    pub retries_used: u32,
    /// Waits for the host that used up no retry so far.
    pub holds: u32,
    /// How often the host had refused in a row, before this attempt started.
    pub refusals: u32,
    /// Whether the bare 503s of the host are known to speak of the pace, as a 429 does.
    pub limits_by_503: bool,
    /// Whether the server said, below HTTP, that it is asked too much: as good as a 429.
    pub is_throttled: bool,
    /// Time waited so far.
    pub waited: Duration,
    /// In 0..1: where in its range the back-off falls.
    pub jitter: f64,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this wait; it uses up a retry.
    Retry(Duration),
    /// Try again after this wait, which holds the whole host and uses up no retry.
    Hold(Duration),
    /// Try again after this wait, which holds the whole host and uses up a retry.
    BackOff(Duration),
    /// Ask again after this wait: what was asked for is still being made. It uses up no retry and
    /// holds nothing but this job.
    Poll(Duration),
    /// The failure is final. The note says why the server's wish was not met.
    GiveUp {
        /// For the error message.
        note: Option<String>,
    },
}

impl RetryPolicy {
    /// What to do after a failed attempt.
    #[must_use]
    pub fn decide(&self, situation: &FailureContext<'_>) -> RetryDecision {
        let final_ = RetryDecision::GiveUp { note: None };
        let error = situation.error;
        let status = error.status().map(|status| status.as_u16());
        if self.retries == 0 || !self.rules.is_retried(error) {
            let note = error.retry_after().filter(|_| status == Some(202));
            return RetryDecision::GiveUp {
                note: note.map(still_made),
            };
        }
        match (status, error.retry_after()) {
            (Some(429 | 503), Some(asked)) => return self.honour_delay(asked, situation),
            (Some(403), Some(asked)) if situation.idempotent => {
                return self.honour_delay(asked, situation);
            }
            (Some(202), Some(asked)) => return self.poll(asked, situation),
            // On other statuses it does not speak of the host (RFC 9110 §10.2.3, RFC 6585 §4).
            _ => {}
        }
        let may_resend = situation.idempotent || error.is_before_request();
        if !may_resend {
            return final_;
        }
        let status = match status {
            Some(503) if situation.limits_by_503 => Some(429),
            None if situation.is_throttled => Some(429),
            status => status,
        };
        let has_retry = situation.retries_used < self.retries_for(error);
        let (wait, decision): (_, fn(Duration) -> RetryDecision) = match status {
            Some(429) if situation.refusals < FREE_THROTTLES && situation.holds < FREE_HOLDS => (
                self.hold(situation.refusals, situation),
                RetryDecision::Hold,
            ),
            Some(429) if has_retry => (
                self.hold(situation.refusals, situation),
                RetryDecision::BackOff,
            ),
            Some(503) if has_retry && situation.refusals >= THROTTLES_BEFORE_HOLD => (
                self.hold(situation.refusals - THROTTLES_BEFORE_HOLD, situation),
                RetryDecision::BackOff,
            ),
            _ if has_retry => match self.asked_of_listed(error) {
                Some(asked) => return self.wait_at_least(asked, situation),
                None => (self.retry_wait(situation), RetryDecision::Retry),
            },
            _ => return final_,
        };
        if situation.waited.saturating_add(wait) > self.max_wait {
            return final_;
        }
        decision(wait)
    }

    /// A wrong checksum is most likely wrong for good, unless the user knows better.
    fn retries_for(&self, error: &FetchError) -> u32 {
        match error.kind() {
            ErrorKind::Checksum if self.rules.listed(error).is_none() => self.retries.min(1),
            _ => self.retries,
        }
    }

    /// What `Retry-After` asks for on a status that only the user wants to be retried.
    fn asked_of_listed(&self, error: &FetchError) -> Option<Duration> {
        let asked = error.retry_after()?;
        (!error.is_transient()).then_some(asked)
    }

    /// The bound of the wait before retry number `retry`, counted from 0.
    fn back_off(&self, retry: u32) -> Duration {
        doubled(self.delay, retry, self.max_delay)
    }

    /// Full jitter: anywhere between now and the bound, so that many failures of one
    /// moment do not come back in one moment.
    fn retry_wait(&self, situation: &FailureContext<'_>) -> Duration {
        let bound = self.back_off(situation.retries_used);
        part(bound, situation.jitter.clamp(0.0, 1.0))
    }

    /// How long a host is held that refused without a word: it doubles with each time, and
    /// the jitter lies between half of it and the whole.
    fn hold(&self, times: u32, situation: &FailureContext<'_>) -> Duration {
        let bound = self.with_minimum(times);
        part(bound, 0.5 + situation.jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// A host that refuses again and again must not meet a storm, not even when the user
    /// wants no back-off.
    fn with_minimum(&self, times: u32) -> Duration {
        let first = self.delay.max(MIN_HOLD);
        doubled(first, times, self.max_delay.max(MIN_MAX_HOLD))
    }

    /// Meets what the server asks of everything that goes to its host.
    fn honour_delay(&self, asked: Duration, situation: &FailureContext<'_>) -> RetryDecision {
        let wait = asked.max(self.with_minimum(situation.refusals));
        self.within(asked, wait, situation, RetryDecision::Hold)
    }

    /// Meets what the server asks of this job. The shortest wait grows with what the job has
    /// waited: a server that always says "now" is not asked without end.
    fn poll(&self, asked: Duration, situation: &FailureContext<'_>) -> RetryDecision {
        let least = (situation.waited / 8).clamp(MIN_HOLD, MIN_MAX_HOLD);
        match self.within(asked, asked.max(least), situation, RetryDecision::Poll) {
            RetryDecision::GiveUp { note: Some(note) } => RetryDecision::GiveUp {
                note: Some(format!("still being made; {note}")),
            },
            decision => decision,
        }
    }

    fn wait_at_least(&self, asked: Duration, situation: &FailureContext<'_>) -> RetryDecision {
        let wait = asked.max(self.retry_wait(situation));
        self.within(asked, wait, situation, RetryDecision::Retry)
    }

    /// A wait that a server asks for, if it is not too long.
    fn within(
        &self,
        asked: Duration,
        wait: Duration,
        situation: &FailureContext<'_>,
        decision: fn(Duration) -> RetryDecision,
    ) -> RetryDecision {
        let give_up = |note| RetryDecision::GiveUp { note: Some(note) };
        if asked > self.retry_after_max {
            return give_up(format!(
                "the server asks to wait {}, longer than --retry-after-max {}",
                format_duration(asked),
                format_duration(self.retry_after_max),
            ));
        }
        if situation.waited.saturating_add(wait) > self.max_wait {
            return give_up(format!(
                "waiting {} more would be longer than --max-wait {} in all",
                format_duration(wait),
                format_duration(self.max_wait),
            ));
        }
        decision(wait)
    }
}

/// `first`, doubled so many times, but no more than `most`.
pub(super) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first
        .saturating_mul(1 << times.min(MAX_DOUBLINGS))
        .min(most)
}

fn part(whole: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(whole)
}

fn still_made(asked: Duration) -> String {
    format!(
        "still being made; the server asks to wait {}, and --retries 0 sends one request",
        format_duration(asked)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, RedirectProblem, TimeLimit};
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
            refusals: 0,
            limits_by_503: false,
            is_throttled: false,
            waited: Duration::ZERO,
            jitter: 1.0,
        }
    }

    fn decide(situation: &FailureContext<'_>) -> RetryDecision {
        RetryPolicy::default().decide(situation)
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

            let asked = status(code, Some(2));
            let two = Duration::from_secs(2);
            let expected = match code {
                403 | 429 | 503 => RetryDecision::Hold(two),
                202 => RetryDecision::Poll(two),
                _ if transient => RetryDecision::Retry(half_second),
                _ => GIVE_UP,
            };
            assert_eq!(decide(&first(&asked)), expected, "{code} with Retry-After");
            if code == 202 {
                // After a POST it is no error.
                continue;
            }
            let mut unsafe_method = first(&asked);
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
            (FetchError::Denied(cause()), false, false),
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
            why: "it is down".into(),
        };
        assert_eq!(given_up.kind(), ErrorKind::Refused, "no kind of its own");
        for (error, retried, retried_post) in &table {
            let is_retry = |idempotent| {
                let mut situation = first(error);
                situation.idempotent = idempotent;
                matches!(decide(&situation), RetryDecision::Retry(_))
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
    fn a_wrong_checksum_is_tried_once_more() {
        let error = FetchError::Checksum(Cause::from_text("x"));
        let mut situation = first(&error);
        situation.retries_used = 1;
        assert_eq!(decide(&situation), GIVE_UP);
    }

    fn listed(list: &str) -> RetryPolicy {
        RetryPolicy {
            rules: RetryRules::parse(list).unwrap(),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn what_a_list_adds_uses_retries_and_what_it_takes_out_is_final() {
        let ms = Duration::from_millis;
        let policy = listed("404,!500,!429");
        let decide = |code, retry_after| policy.decide(&first(&status(code, retry_after)));
        assert_eq!(decide(404, None), RetryDecision::Retry(ms(500)));
        assert_eq!(decide(500, None), GIVE_UP);
        assert_eq!(decide(429, Some(1)), GIVE_UP);
        assert_eq!(decide(502, None), RetryDecision::Retry(ms(500)), "as usual");
        // Retry-After makes that URL wait, and uses up a retry.
        assert_eq!(decide(404, Some(7)), RetryDecision::Retry(ms(7000)));
        assert_eq!(decide(404, Some(0)), RetryDecision::Retry(ms(500)));
        let note = |decision| match decision {
            RetryDecision::GiveUp { note: Some(note) } => note,
            other => panic!("{other:?}"),
        };
        let too_long = note(decide(404, Some(301)));
        insta::assert_snapshot!("retry_after_too_long", too_long);
        let error = status(404, Some(7));
        let mut situation = first(&error);
        situation.retries_used = 3;
        assert_eq!(policy.decide(&situation), GIVE_UP);
        situation.retries_used = 0;
        situation.idempotent = false;
        assert_eq!(policy.decide(&situation), GIVE_UP, "a POST");

        let error = FetchError::Checksum(Cause::from_text("x"));
        let mut situation = first(&error);
        situation.retries_used = 2;
        let by_hand = listed("checksum").decide(&situation);
        assert_eq!(by_hand, RetryDecision::Retry(ms(2000)), "not only once");
    }

    #[test]
    fn a_202_is_asked_again_without_a_storm_and_within_its_bounds() {
        let ms = Duration::from_millis;
        let decide = |asked, waited: Duration| {
            let error = status(202, Some(asked));
            let mut situation = first(&error);
            // They do not count.
            situation.retries_used = 3;
            situation.waited = waited;
            super::tests::decide(&situation)
        };
        assert_eq!(decide(0, ms(0)), RetryDecision::Poll(ms(100)));
        assert_eq!(decide(0, ms(4000)), RetryDecision::Poll(ms(500)));
        assert_eq!(decide(0, ms(60_000)), RetryDecision::Poll(ms(1000)));
        assert_eq!(decide(20, ms(60_000)), RetryDecision::Poll(ms(20_000)));
        for (asked, waited, flag) in [
            (301, 0, "--retry-after-max"),
            (60, 14 * 60 + 1, "--max-wait"),
        ] {
            match decide(asked, Duration::from_secs(waited)) {
                RetryDecision::GiveUp { note: Some(note) } => {
                    assert!(
                        note.starts_with("still being made; ") && note.contains(flag),
                        "{note}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        let once = RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        };
        let decision = once.decide(&first(&status(202, Some(1))));
        let note =
            "still being made; the server asks to wait 1s, and --retries 0 sends one request";
        assert_eq!(
            decision,
            RetryDecision::GiveUp {
                note: Some(note.into())
            }
        );
        // Listed, it needs no Retry-After; then it is a retry like any other.
        let error = status(202, None);
        assert_eq!(
            listed("202").decide(&first(&error)),
            RetryDecision::Retry(ms(500))
        );
    }

    #[test]
    fn back_off_doubles_up_to_its_cap_and_ends() {
        let error = status(500, None);
        let policy = RetryPolicy {
            retries: 100,
            max_wait: Duration::MAX,
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = (0..8)
            .map(|used| {
                let mut situation = first(&error);
                situation.retries_used = used;
                policy.decide(&situation)
            })
            .collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(
            waits,
            expected.map(|ms| RetryDecision::Retry(Duration::from_millis(ms)))
        );
        let mut situation = first(&error);
        situation.retries_used = 3;
        assert_eq!(decide(&situation), GIVE_UP, "3 retries are the default");
    }

    #[test]
    fn retries_0_means_one_request_even_when_the_server_asks_for_more() {
        let policy = RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.decide(&first(&status(429, Some(1)))), GIVE_UP);
    }

    #[test]
    fn a_wait_the_server_asks_for_uses_no_retry_is_never_below_the_back_off_and_has_bounds() {
        let soon = status(503, Some(0));
        let mut situation = first(&soon);
        situation.retries_used = 3;
        situation.refusals = 2;
        assert_eq!(
            decide(&situation),
            RetryDecision::Hold(Duration::from_secs(2))
        );

        let hasty = RetryPolicy {
            delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = [0, 1, 9]
            .map(|refusals| {
                let mut situation = first(&soon);
                situation.refusals = refusals;
                hasty.decide(&situation)
            })
            .into();
        let expected = [100, 200, 1000].map(|ms| RetryDecision::Hold(Duration::from_millis(ms)));
        assert_eq!(waits, expected, "no storm");

        let late = status(503, Some(86_400));
        assert_eq!(
            decide(&first(&late)),
            RetryDecision::GiveUp {
                note: Some(
                    "the server asks to wait 24h 0m, longer than --retry-after-max 5m".into()
                )
            }
        );
        let asked = status(429, Some(60));
        let mut situation = first(&asked);
        situation.waited = Duration::from_secs(14 * 60 + 30);
        assert_eq!(
            decide(&situation),
            RetryDecision::GiveUp {
                note: Some("waiting 1m more would be longer than --max-wait 15m in all".into())
            }
        );
    }

    #[test]
    fn a_refusal_without_a_word_holds_its_host_longer_and_longer() {
        let decide = |code, refusals, retries_used, jitter| {
            let error = status(code, None);
            let mut situation = first(&error);
            situation.refusals = refusals;
            situation.retries_used = retries_used;
            situation.jitter = jitter;
            super::tests::decide(&situation)
        };
        let ms = Duration::from_millis;
        // A 429 is about the pace: at first it costs no retry.
        assert_eq!(decide(429, 0, 3, 0.0), RetryDecision::Hold(ms(250)));
        assert_eq!(decide(429, 0, 3, 1.0), RetryDecision::Hold(ms(500)));
        assert_eq!(decide(429, 1, 3, 1.0), RetryDecision::Hold(ms(1000)));
        assert_eq!(decide(429, 2, 0, 1.0), RetryDecision::BackOff(ms(2000)));
        assert_eq!(decide(429, 2, 3, 1.0), GIVE_UP, "it may never stop");
        let error = status(429, None);
        let mut situation = first(&error);
        situation.holds = 5;
        assert_eq!(
            super::tests::decide(&situation),
            RetryDecision::BackOff(ms(500)),
            "it may be only this URL"
        );
        // A 503 may be about this URL only.
        assert_eq!(decide(503, 0, 0, 0.0), RetryDecision::Retry(ms(0)));
        assert_eq!(decide(503, 6, 1, 0.0), RetryDecision::BackOff(ms(250)));
        assert_eq!(decide(503, 0, 3, 0.0), GIVE_UP);
        let error = status(503, None);
        let mut situation = first(&error);
        situation.limits_by_503 = true;
        situation.retries_used = 3;
        assert_eq!(
            super::tests::decide(&situation),
            RetryDecision::Hold(ms(500))
        );
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bounds(
            used in 0u32..200, refusals in 0u32..200, jitter in 0.0f64..1.0,
            waited in 0u64..2000, asked in prop::option::of(0u64..1000), code in 100u16..600,
            all in any::<bool>(),
        ) {
            let error = status(code, asked);
            let rules = RetryRules::parse(if all { "status" } else { "!418" }).unwrap();
            let policy = RetryPolicy { retries: 300, rules, ..RetryPolicy::default() };
            let situation = FailureContext {
                error: &error, idempotent: true, retries_used: used, holds: 0, refusals, limits_by_503: false, is_throttled: false,
                waited: Duration::from_secs(waited), jitter,
            };
            match policy.decide(&situation) {
                RetryDecision::Retry(wait) => {
                    let most = if all { policy.retry_after_max } else { policy.max_delay };
                    prop_assert!(wait <= most);
                    prop_assert!(situation.waited + wait <= policy.max_wait);
                }
                RetryDecision::Poll(wait) => {
                    prop_assert_eq!(code, 202);
                    prop_assert!(wait >= Duration::from_secs(asked.unwrap_or(0)).max(MIN_HOLD));
                    prop_assert!(wait <= policy.retry_after_max);
                    prop_assert!(situation.waited + wait <= policy.max_wait);
                }
                RetryDecision::Hold(wait) | RetryDecision::BackOff(wait) => {
                    prop_assert!(matches!(code, 403 | 429 | 503));
                    prop_assert!(wait >= Duration::from_secs(asked.unwrap_or(0)));
                    prop_assert!(wait <= policy.retry_after_max.max(policy.max_delay));
                    prop_assert!(situation.waited + wait <= policy.max_wait);
                }
                RetryDecision::GiveUp { .. } => {}
            }
        }
    }
}
