//! Fuzzes the delays that servers request: `Retry-After` and rate-limit headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::ratelimit::exhausted_for;
use super::retry::{FailureContext, RetryDecision, RetryPolicy};
use super::retry_after::{parse_retry_after, parse_seconds};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::FetchError;

/// Returns a local clock that may be wrong.
fn clock(number: u64) -> SystemTime {
    let seconds = match number % 5 {
        0 => 784_111_777,
        1 => 0,
        2 => 253_402_300_799,
        3 => 1_800_000_000,
        _ => return UNIX_EPOCH - Duration::from_secs(number % 4_000_000_000),
    };
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Checks that a wait for a requested delay respects the limits.
fn check_wait(delay: Duration, number: u64) -> Result<(), String> {
    let error = FetchError::Status {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(delay),
        note: None,
    };
    let policy = RetryPolicy::default();
    let context = FailureContext {
        error: &error,
        idempotent: number & 1 == 1,
        retries_used: (number % 7) as u32,
        holds: (number % 11) as u32,
        throttles: (number % 64) as u32,
        throttles_with_503: number & 2 == 2,
        is_throttled: number & 4 == 4,
        concerns_one_url: false,
        waited: Duration::from_secs(number % 2000),
        jitter: (number % 100) as f64 / 100.0,
    };
    match policy.decide(&context) {
        RetryDecision::Poll(wait) => return Err(format!("a poll after 429, in {wait:?}")),
        RetryDecision::Hold(wait) | RetryDecision::Retry(wait) | RetryDecision::BackOff(wait) => {
            hold!(wait >= delay, "{wait:?} for {delay:?}");
            hold!(
                wait <= policy.retry_after_max.max(policy.max_delay)
                    && context.waited + wait <= policy.max_wait,
                "{wait:?} after {:?}",
                context.waited
            );
        }
        RetryDecision::GiveUp { note } => {
            hold!(note.is_some(), "no limit is named");
            hold!(
                delay > policy.retry_after_max
                    || context.waited + delay.max(policy.max_delay) > policy.max_wait,
                "{delay:?} is given up"
            );
        }
    }
    Ok(())
}

fn try_retry_after(input: &FuzzInput<'_>) -> FuzzVerdict {
    // Like the engine, ignore values that are not visible ASCII.
    let Ok(header) = HeaderValue::from_bytes(input.bytes) else {
        return Ok("no header");
    };
    let Ok(text) = header.to_str() else {
        return Ok("no text");
    };
    let now = clock(input.number);
    let delay = parse_retry_after(text, now);
    let trimmed = text.trim();
    let date = httpdate::parse_http_date(trimmed);
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        let plain = trimmed.bytes().fold(0_u64, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        hold!(
            delay == Some(Duration::from_secs(plain)),
            "{text}: {delay:?}"
        );
        check_wait(Duration::from_secs(plain), input.number)?;
        return Ok("seconds");
    }
    let Ok(date) = date else {
        let Some(delay) = delay else {
            return Ok("neither");
        };
        check_wait(delay, input.number)?;
        if text.contains(',') {
            // Each of several values, unless it is the year of a date.
            let seconds = text
                .split(',')
                .filter_map(|part| parse_seconds(part.trim()));
            let longest = seconds.max().unwrap_or_default();
            hold!(
                delay >= longest,
                "{text}: {delay:?} is less than {longest:?}"
            );
            return Ok("several, or another date");
        }
        return Ok(match parse_seconds(trimmed) {
            Some(seconds) => {
                hold!(seconds == delay, "{text}: {delay:?}");
                hold!(!trimmed.contains(['e', '-', '+']), "{text} is no number");
                "seconds with a fraction"
            }
            None => "another date",
        });
    };
    let Some(delay) = delay else {
        return Err(format!("{text} is a date, and was not taken"));
    };
    let written = httpdate::fmt_http_date(date);
    hold!(
        parse_retry_after(&written, now) == Some(delay),
        "{text} is another time than {written}"
    );
    hold!(
        parse_retry_after(text, date) == Some(Duration::ZERO),
        "{text} is not over when it is {written}"
    );
    check_wait(delay, input.number)?;
    if delay.is_zero() {
        hold!(date <= now, "{text} is not over at {now:?}");
        return Ok("date in the past");
    }
    hold!(now + delay == date, "{text}: {delay:?} from {now:?}");
    Ok("date to come")
}

/// Parses header lines, skipping invalid ones.
fn headers(bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|byte| *byte == b'\n');
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        Some((name, value))
    });
    headers.collect()
}

fn try_rate_limits(input: &FuzzInput<'_>) -> FuzzVerdict {
    let headers = headers(input.bytes);
    let now = clock(input.number);
    let delay = exhausted_for(&headers, now);
    hold!(exhausted_for(&headers, now) == delay, "the result changes");
    let is_about_rates = |name: &HeaderName| name.as_str().contains("rate");
    match delay {
        Some(delay) => {
            hold!(
                headers.keys().any(is_about_rates),
                "{delay:?} without a header"
            );
            check_wait(delay, input.number)?;
            Ok(if delay.is_zero() { "now" } else { "a delay" })
        }
        None if headers.keys().any(is_about_rates) => Ok("no delay"),
        None => Ok("no such header"),
    }
}

const TOKENS: &[&[u8]] = &[
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"Fri, 31 Dec 9999 23:59:59 GMT",
    b"Thu, 01 Jan 1970 00:00:00 GMT",
    b"29 Feb 2028",
    b"Feb 30",
    b"GMT",
    b"UTC",
    b"+0000",
    b"1994",
    b"2038",
    b"0000",
    b"24:00:00",
    b"23:59:60",
    b"Mon",
    b",",
    b" ",
    b"18446744073709551615",
    b"18446744073709551616",
    b"0",
    b"-1",
    b"+5",
    b"1.5",
    b"1e3",
    b"inf",
    b"NaN",
    b"ratelimit-remaining: 0\n",
    b"ratelimit-reset: ",
    b"x-ratelimit-remaining: 0\n",
    b"x-ratelimit-reset: 1800000060\n",
    b"x-ratelimit-reset-after: 0.25\n",
    b"x-rate-limit-reset: ",
    b"ratelimit: ",
    b"limit=100, remaining=0, reset=30",
    b"\"default\";r=0;t=30",
    b";r=0",
    b";t=",
    b"remaining=",
    b"reset=",
    b"1800000000000",
    b"1e9",
    b"1e12",
    b"1e308",
    b"\n",
    b": ",
    b"\"",
    b"=",
    b";",
];

#[test]
fn retry_after() {
    let fuzz = FuzzCampaign {
        corpus: "retry-after",
        tokens: TOKENS,
        inputs: 20_000,
        one_of: 1,
    };
    fuzz.run(try_retry_after);
}

#[test]
fn rate_limits() {
    let fuzz = FuzzCampaign {
        corpus: "rate-limits",
        tokens: TOKENS,
        inputs: 20_000,
        one_of: 1,
    };
    fuzz.run(try_rate_limits);
}
