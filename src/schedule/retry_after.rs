//! Parses `Retry-After`, as servers and the proxies in front of them write it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use crate::model::parse_http_date;

/// Returns the delay that `Retry-After` requests (RFC 9110 §10.2.3). If a proxy has added its own,
/// the longest counts: earlier, one of the two would throttle again.
#[must_use]
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let lines = headers.get_all(header::RETRY_AFTER).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| parse_retry_after(line, now)).max()
}

/// Parses one header line: seconds, a date, or a list of these, of which the longest counts. A date
/// in the past means now; anything else is ignored.
#[must_use]
pub(super) fn parse_retry_after(line: &str, now: SystemTime) -> Option<Duration> {
    let mut longest = None;
    let mut parts = line.split(',').map(str::trim).peekable();
    while let Some(part) = parts.next() {
        let wait = parse_seconds(part).or_else(|| {
            // The comma may be part of a date.
            let date = parse_http_date(part).or_else(|| {
                let date = parse_http_date(&format!("{part}, {}", parts.peek()?))?;
                parts.next();
                Some(date)
            })?;
            Some(date.duration_since(now).unwrap_or(Duration::ZERO))
        });
        longest = longest.max(wait);
    }
    longest
}

/// Parses seconds, optionally with a fraction, which is rounded up to the millisecond. Values
/// beyond the range of [`Duration`] saturate. Signs and exponents are not accepted.
#[must_use]
pub(super) fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let seconds = match whole {
        "" => 0,
        whole => whole.parse().unwrap_or(u64::MAX),
    };
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let millis = digits.fold(0, |millis, digit| millis * 10 + u64::from(digit - b'0'));
    let has_more = fraction.bytes().skip(3).any(|digit| digit != b'0');
    let part = Duration::from_millis(millis + u64::from(has_more));
    Some(Duration::from_secs(seconds).saturating_add(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn millis(line: &str) -> Option<u128> {
        let now = httpdate::parse_http_date(NOW).unwrap();
        parse_retry_after(line, now).map(|wait| wait.as_millis())
    }

    #[test]
    fn seconds_may_have_a_fraction_which_is_rounded_up() {
        for (line, expected) in [
            ("120", 120_000),
            (" 0 ", 0),
            ("2.0", 2000),
            ("0.9", 900),
            ("2.", 2000),
            (".5", 500),
            ("0.0001", 1),
            ("1.0009", 1001),
            ("1.9999", 2000),
            ("007", 7000),
        ] {
            assert_eq!(millis(line), Some(expected), "{line}");
        }
        let huge = parse_seconds("99999999999999999999999.9").unwrap();
        assert_eq!(huge.as_secs(), u64::MAX);
    }

    #[test]
    fn dates_may_use_other_names_for_gmt() {
        for line in [
            "Sun, 06 Nov 1994 08:50:37 GMT",
            "Sun, 06 Nov 1994 08:50:37 UTC",
            "Sun, 06 Nov 1994 08:50:37 utc",
            "Sun, 06 Nov 1994 08:50:37 +0000",
            "Sun, 06 Nov 1994 08:50:37 -0000",
            "Sun, 06 Nov 1994 08:50:37 Z",
            "Sun, 6 Nov 1994 08:50:37 GMT",
            "Sun, 06 Nov 1994 10:50:37 +0200",
            "Sunday, 06-Nov-94 08:50:37 GMT",
            "Sunday, 06-Nov-94 08:50:37 UTC",
            "Sun Nov  6 08:50:37 1994",
        ] {
            assert_eq!(millis(line), Some(60_000), "{line}");
        }
        assert_eq!(millis("Sat, 05 Nov 1994 08:49:37 +0000"), Some(0));
    }

    #[test]
    fn of_several_the_longest_counts() {
        for (line, expected) in [
            ("2, 2", 2000),
            ("2,3 ,1.5", 3000),
            ("2, soon", 2000),
            (", 2,", 2000),
            ("-1, 2", 2000),
            ("2, Sun, 06 Nov 1994 08:50:37 GMT", 60_000),
            ("Sun, 06 Nov 1994 08:50:37 GMT, 90", 90_000),
            (
                "Sun, 06 Nov 1994 08:50:37 GMT, Sun, 06 Nov 1994 08:50:37 UTC",
                60_000,
            ),
        ] {
            assert_eq!(millis(line), Some(expected), "{line}");
        }
        let mut headers = HeaderMap::new();
        let wait = |headers: &HeaderMap| retry_after(headers, SystemTime::now());
        assert_eq!(wait(&headers), None);
        for line in ["2", "\u{fc}ber", "5", "3"] {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(header::RETRY_AFTER, line);
        }
        assert_eq!(wait(&headers), Some(Duration::from_secs(5)));
    }

    #[test]
    fn other_values_are_ignored() {
        for junk in [
            "",
            " ",
            ",",
            ".",
            "-1",
            "-0.5",
            "+5",
            "1e9",
            "1.5.2",
            "1_000",
            "0x10",
            "NaN",
            "inf",
            "infinity",
            "soon",
            "2s",
            "2 s",
            "\"2\"",
            "1994",
            "Sun",
            "GMT",
            " GMT",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:50:37 Mars",
        ] {
            let is_year = junk == "1994";
            assert_eq!(millis(junk).is_some(), is_year, "{junk:?}");
        }
    }

    proptest! {
        #[test]
        fn no_retry_after_makes_it_panic(line in ".*") {
            let _ = parse_retry_after(&line, SystemTime::UNIX_EPOCH);
        }

        #[test]
        fn seconds_are_never_read_as_less(whole in 0u64..1 << 40, fraction in "[0-9]{0,12}") {
            let read = parse_seconds(&format!("{whole}.{fraction}")).unwrap();
            let exact: f64 = format!("0.{fraction}0").parse().unwrap();
            let part = (read - Duration::from_secs(whole)).as_secs_f64();
            prop_assert!(part + 1e-9 >= exact && part < exact + 0.001 + 1e-9);
        }
    }
}
