//! Reads rate-limit headers.
//!
//! None of them is standardised: `RateLimit` is an IETF draft (httpapi-ratelimit-headers) whose
//! syntax has changed, the others are conventions of large services. So only one thing is read, and
//! only if it is unambiguous: the quota is exhausted and renews after some time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};

use super::retry_after::parse_seconds;

/// Names of the headers with the remaining quota, and with the time of its renewal.
const PAIRS: [(&str, &[&str]); 4] = [
    ("ratelimit-remaining", &["ratelimit-reset"]),
    (
        "x-ratelimit-remaining",
        &["x-ratelimit-reset-after", "x-ratelimit-reset"],
    ),
    ("x-rate-limit-remaining", &["x-rate-limit-reset"]),
    ("rate-limit-remaining", &["rate-limit-reset"]),
];

/// From this value on a number is not a delay but a Unix time in seconds.
const EPOCH_SECONDS: Duration = Duration::from_secs(1_000_000_000);
/// From this value on a number is a Unix time in milliseconds.
const EPOCH_MILLIS: Duration = Duration::from_secs(1_000_000_000_000);
/// A remaining quota below one request is exhausted. Counts are parsed as seconds, because they
/// have the same syntax.
const ONE: Duration = Duration::from_secs(1);

/// Returns the time until the quota renews, if the headers say that it is exhausted.
#[must_use]
pub(crate) fn exhausted_for(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    // Most servers send none of them: one scan of the names is cheaper than a dozen lookups.
    if !headers.keys().any(is_about_rates) {
        return None;
    }
    combined(headers).or_else(|| {
        PAIRS.iter().find_map(|(remaining, resets)| {
            let left = numbers(headers, remaining)?;
            let longest = |reset: &&str| longest_wait(&left, &numbers(headers, reset)?, now);
            resets.iter().find_map(longest)
        })
    })
}

/// Returns the longest delay of exhausted quotas. A proxy with limits of its own adds its numbers
/// to those of the server. Numbers at the same position belong together, unless all quotas are
/// exhausted.
fn longest_wait(left: &[Duration], resets: &[Duration], now: SystemTime) -> Option<Duration> {
    let all_gone = left.iter().all(|left| *left < ONE);
    if !all_gone && left.len() != resets.len() {
        return None;
    }
    let left = left.iter().map(Some).chain(std::iter::repeat(None));
    let pairs = resets.iter().zip(left);
    let gone = pairs.filter(|(_, left)| left.is_none_or(|left| *left < ONE));
    gone.filter_map(|(reset, _)| until(*reset, now)).max()
}

/// Whether a header may be a rate-limit header.
fn is_about_rates(name: &HeaderName) -> bool {
    let name = name.as_str();
    let name = name.strip_prefix("x-").unwrap_or(name);
    name.starts_with("rate")
}

/// Parses `RateLimit: limit=100, remaining=0, reset=30` (up to draft 07) and `RateLimit:
/// "default";r=0;t=30` (from draft 08 on). The longest delay of several policies counts.
fn combined(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("ratelimit").iter();
    lines.filter_map(|line| policies(line.to_str().ok()?)).max()
}

fn policies(value: &str) -> Option<Duration> {
    if value.contains("remaining=") {
        return exhausted_delay(value.split(','), "remaining", "reset");
    }
    value
        .split(',')
        .filter_map(|policy| exhausted_delay(policy.split(';'), "r", "t"))
        .max()
}

fn exhausted_delay<'a>(
    parts: impl Iterator<Item = &'a str> + Clone,
    remaining: &str,
    reset: &str,
) -> Option<Duration> {
    let of = |name: &str| {
        parts.clone().find_map(|part| {
            let (key, value) = part.split_once('=')?;
            (key.trim() == name).then(|| parse_seconds(value.trim()))?
        })
    };
    (of(remaining)? < ONE).then(|| of(reset))?
}

/// Parses the numbers in all lines of a header; `None` if one of them is invalid.
fn numbers(headers: &HeaderMap, name: &str) -> Option<Vec<Duration>> {
    let mut numbers = Vec::new();
    for line in headers.get_all(name) {
        for number in line.to_str().ok()?.split(',') {
            numbers.push(parse_seconds(number.trim())?);
        }
    }
    (!numbers.is_empty()).then_some(numbers)
}

fn until(reset: Duration, now: SystemTime) -> Option<Duration> {
    if reset < EPOCH_SECONDS {
        return Some(reset);
    }
    let since = if reset < EPOCH_MILLIS {
        reset
    } else {
        reset / 1000
    };
    let at = UNIX_EPOCH.checked_add(since)?;
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn read(headers: &[(&str, &str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::try_from(*value).unwrap(),
            )
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        exhausted_for(&map, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn every_form_in_use_is_read() {
        let reset_at = (NOW + 9).to_string();
        let reset_at_ms = format!("{}000", NOW + 9);
        let x_reset = |reset| read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]);
        assert_eq!(x_reset("7"), seconds(7));
        assert_eq!(x_reset(&reset_at), seconds(9));
        assert_eq!(x_reset(&reset_at_ms), seconds(9));
        assert_eq!(x_reset("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(x_reset("1000000000"), seconds(0), "long past");
        assert_eq!(
            read(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "3")]),
            seconds(3)
        );
        assert_eq!(
            read(&[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "3")]),
            seconds(3)
        );
        assert_eq!(
            read(&[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", &reset_at),
                ("x-ratelimit-reset-after", "8.5")
            ]),
            Some(Duration::from_millis(8500)),
            "a delay does not depend on synchronised clocks"
        );
        assert_eq!(
            read(&[("ratelimit", "limit=100, remaining=0, reset=30")]),
            seconds(30)
        );
        assert_eq!(
            read(&[("ratelimit", r#""burst";r=0;t=2, "day";r=0;t=60"#)]),
            seconds(60)
        );
        assert_eq!(
            read(&[("ratelimit", r#""burst";r=0.5;t=0.0001"#)]),
            Some(Duration::from_millis(1))
        );
    }

    #[test]
    fn numbers_added_by_proxies_are_separated() {
        let x_limits = |left, reset| {
            read(&[
                ("x-ratelimit-remaining", left),
                ("x-ratelimit-reset", reset),
            ])
        };
        assert_eq!(x_limits("0, 0", "2, 2"), seconds(2));
        assert_eq!(x_limits("0, 0", "2,3.5"), Some(Duration::from_millis(3500)));
        assert_eq!(x_limits("9, 0", "3600, 1"), seconds(1), "its own delay");
        assert_eq!(x_limits("0, 0", "7"), seconds(7), "one delay for all");
        assert_eq!(x_limits("0", "2, 7"), seconds(7));
        let lines = [
            ("ratelimit-remaining", "0"),
            ("ratelimit-remaining", "4"),
            ("ratelimit-reset", "8"),
            ("ratelimit-reset", "60"),
        ];
        assert_eq!(read(&lines), seconds(8), "on separate lines");
    }

    #[test]
    fn a_remaining_quota_or_an_unclear_header_means_no_delay() {
        for headers in [
            &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "5")][..],
            &[("x-ratelimit-remaining", "0")],
            &[("x-ratelimit-reset", "5")],
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "soon"),
            ],
            &[
                ("x-ratelimit-remaining", "none"),
                ("x-ratelimit-reset", "5"),
            ],
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "-5")],
            &[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "5")],
            &[("x-ratelimit-remaining", "NaN"), ("x-ratelimit-reset", "5")],
            &[("x-ratelimit-remaining", ""), ("x-ratelimit-reset", "5")],
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1e3")],
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "inf")],
            &[
                ("x-ratelimit-remaining", "9, 0"),
                ("x-ratelimit-reset", "5"),
            ],
            &[("ratelimit", "limit=1, remaining=NaN, reset=30")],
            &[("ratelimit", r#""default";r=-1;t=30"#)],
            &[("ratelimit", r#""default";r=50;t=30"#)],
            &[("ratelimit", "limit=100, remaining=3, reset=30")],
            &[("ratelimit", "")],
        ] {
            assert_eq!(read(headers), None, "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "[ -~]*", reset in "[ -~]*") {
            let _ = read(&[("ratelimit", &value)]);
            let _ = read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)]);
        }
    }
}
