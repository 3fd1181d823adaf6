//! Points in time.

use std::cell::RefCell;
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
    #[cfg(all(test, interleaved))]
    if let Some(now) = super::sync::virtual_now() {
        return now;
    }
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
/// `Timestamp` takes five times as many instructions. Most records are of the same second as the one
/// before.
#[must_use]
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let (second, ns) = match time.subsec_nanosecond() {
        // Before 1970, both count backwards.
        ns if ns < 0 => (time.as_second() - 1, ns + 1_000_000_000),
        ns => (time.as_second(), ns),
    };
    let mut text = String::with_capacity("2000-01-01T00:00:00.000Z".len());
    LAST_SECOND.with_borrow_mut(|(last, begin)| {
        if *last != second || begin.is_empty() {
            *last = second;
            begin.clear();
            push_second(begin, time);
        }
        text.push_str(begin);
    });
    push_number(&mut text, ns.unsigned_abs() / 1_000_000, 100, 'Z');
    text
}

thread_local! {
    /// A second since 1970, and how it is formatted.
    static LAST_SECOND: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) };
}

fn push_second(text: &mut String, time: Timestamp) {
    let time = Offset::UTC.to_datetime(time);
    for (number, highest_place, end) in [
        (time.year(), 1000, '-'),
        (time.month().into(), 10, '-'),
        (time.day().into(), 10, 'T'),
        (time.hour().into(), 10, ':'),
        (time.minute().into(), 10, ':'),
        (time.second().into(), 10, '.'),
    ] {
        push_number(text, number.unsigned_abs().into(), highest_place, end);
    }
}

fn push_number(text: &mut String, number: u32, highest_place: u32, end: char) {
    let mut place = highest_place;
    while place > 0 {
        let digit = number / place % 10;
        text.push(char::from(b'0' + digit as u8));
        place /= 10;
    }
    text.push(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_formatted_as_by_its_library(
            seconds in -1_000..253_402_207_200i64, ns in 0..1_000_000_000i32,
        ) {
            // The same second again, and one before 1970.
            for time in [(seconds, ns), (seconds, ns / 2), (-(seconds.abs() % 1_000_000), -ns)] {
                let time = Timestamp::new(time.0, time.1).unwrap();
                prop_assert_eq!(rfc3339(time), format!("{time:.3}"));
            }
        }
    }
}
