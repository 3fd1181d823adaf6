//! The headers by which a server tells how much it still allows.
//!
//! None of them is a standard: `RateLimit` is a draft of the IETF (httpapi-ratelimit-headers)
//! whose form has changed, the others are habits of large services. So only one thing is
//! read from them, and only when it is said without doubt: nothing is left, and more comes
//! after so long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};

/// Names of the headers with what is left, and with when more comes.
const PAIRS: [(&str, &[&str]); 4] = [
    ("ratelimit-remaining", &["ratelimit-reset"]),
    (
        "x-ratelimit-remaining",
        &["x-ratelimit-reset-after", "x-ratelimit-reset"],
    ),
    ("x-rate-limit-remaining", &["x-rate-limit-reset"]),
    ("rate-limit-remaining", &["rate-limit-reset"]),
];

/// From here on a number is no wait but a point in time, in seconds since 1970.
const EPOCH_SECONDS: f64 = 1e9;
/// And from here on in milliseconds.
const EPOCH_MILLIS: f64 = 1e12;

/// When the headers say that nothing is left of what the server allows: how long until
/// there is more.
#[must_use]
pub fn budget_gone(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    // Most servers send none of them: one look at each name is cheaper than a dozen searches.
    if !headers.keys().any(is_about_rates) {
        return None;
    }
    combined(headers).or_else(|| {
        PAIRS.iter().find_map(|(remaining, resets)| {
            if number(headers, remaining)? >= 1.0 {
                return None;
            }
            resets
                .iter()
                .find_map(|reset| until(number(headers, reset)?, now))
        })
    })
}

/// Whether a header can be one of those above.
fn is_about_rates(name: &HeaderName) -> bool {
    let name = name.as_str();
    let name = name.strip_prefix("x-").unwrap_or(name);
    name.starts_with("rate")
}

/// `RateLimit: limit=100, remaining=0, reset=30` (to draft 07) and
/// `RateLimit: "default";r=0;t=30` (from draft 08 on). Of several policies the longest
/// wait counts.
fn combined(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("ratelimit")?.to_str().ok()?;
    if value.contains("remaining=") {
        return gone(value.split(','), "remaining", "reset");
    }
    value
        .split(',')
        .filter_map(|policy| gone(policy.split(';'), "r", "t"))
        .max()
}

fn gone<'a>(
    parts: impl Iterator<Item = &'a str> + Clone,
    remaining: &str,
    reset: &str,
) -> Option<Duration> {
    let of = |name: &str| {
        parts.clone().find_map(|part| {
            let (key, value) = part.split_once('=')?;
            (key.trim() == name).then(|| value.trim().parse::<f64>().ok())?
        })
    };
    if of(remaining)? >= 1.0 {
        return None;
    }
    Duration::try_from_secs_f64(of(reset)?).ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

fn until(reset: f64, now: SystemTime) -> Option<Duration> {
    if reset < EPOCH_SECONDS {
        return Duration::try_from_secs_f64(reset).ok();
    }
    let seconds = if reset < EPOCH_MILLIS {
        reset
    } else {
        reset / 1000.0
    };
    let since = Duration::try_from_secs_f64(seconds).ok()?;
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
        budget_gone(&headers.collect(), UNIX_EPOCH + Duration::from_secs(NOW))
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
            "the clocks need not agree for this one"
        );
        assert_eq!(
            read(&[("ratelimit", "limit=100, remaining=0, reset=30")]),
            seconds(30)
        );
        assert_eq!(
            read(&[("ratelimit", r#""burst";r=0;t=2, "day";r=0;t=60"#)]),
            seconds(60)
        );
    }

    #[test]
    fn what_is_left_or_unclear_means_nothing() {
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
