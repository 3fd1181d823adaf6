//! Points in time.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::tz::Offset;

/// Longer than any run; a longer wait counts as endless. Keeps `Instant` from overflowing.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Returns `start + wait`, capped at 30 years so that it cannot overflow.
#[must_use]
pub(crate) fn deadline_after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(FAR_FUTURE)
}

/// Returns the time from one time stamp of a record to another.
#[must_use]
pub(crate) fn timestamp_span(start: &str, end: &str) -> Option<Duration> {
    let parse = |at: &str| at.parse::<Timestamp>().ok();
    let span = parse(end)?.duration_since(parse(start)?);
    Duration::try_from(span).ok()
}

/// Returns the current time of tokio's clock, which tests can pause.
#[must_use]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns the current time of the wall clock. That of a simulated run goes with tokio's clock.
#[must_use]
pub(crate) fn wall_time() -> SystemTime {
    #[cfg(test)]
    if let Some(time) = super::virtual_time::virtual_wall_time() {
        return time;
    }
    SystemTime::now()
}

/// Formats a time as RFC 3339 in UTC with milliseconds. Each record has one, and the formatter of
/// `Timestamp` takes three times as many instructions.
#[must_use]
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let time = Offset::UTC.to_datetime(time);
    let fields = [
        (time.year().unsigned_abs(), 1000, '-'),
        (time.month().unsigned_abs().into(), 10, '-'),
        (time.day().unsigned_abs().into(), 10, 'T'),
        (time.hour().unsigned_abs().into(), 10, ':'),
        (time.minute().unsigned_abs().into(), 10, ':'),
        (time.second().unsigned_abs().into(), 10, '.'),
        (time.millisecond().unsigned_abs(), 100, 'Z'),
    ];
    let mut text = String::with_capacity("2000-01-01T00:00:00.000Z".len());
    for (number, first_digit, end) in fields {
        let mut place = first_digit;
        while place > 0 {
            let digit = number / place % 10;
            text.push(char::from(b'0' + digit as u8));
            place /= 10;
        }
        text.push(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_formatted_as_by_its_library(
            seconds in -1_000..253_402_207_200i64, ns in 0..1_000_000_000,
        ) {
            let time = Timestamp::new(seconds, ns).unwrap();
            prop_assert_eq!(rfc3339(time), format!("{time:.3}"));
        }
    }
}
