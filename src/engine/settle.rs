//! From an attempt that ended to the record that is written.

use std::time::Instant;

use http::header;

use super::attempt::Seen;
use super::clock::{RunClock, millis, now};
use crate::model::{
    Attempt, FetchError, Fetched, InvalidLine, Outcome, Record, RecordError, ResponseHead, Saved,
    Settled,
};

/// A line that was no URL.
pub fn invalid(line: InvalidLine, clock: &RunClock) -> Settled {
    let record = Record {
        error: Some(RecordError::from(&line.error)),
        at: clock.rfc3339(now()),
        ..Record::of_line(&line.place, line.shown)
    };
    Settled {
        place: line.place,
        record,
        outcome: Outcome::Failed(line.error),
        raw: Some(line.raw),
    }
}

/// A job whose last attempt started at `start` and ends now.
pub fn settled(
    attempt: Attempt,
    result: Result<Saved, FetchError>,
    mut seen: Seen,
    start: Instant,
    clock: &RunClock,
) -> Settled {
    let end = now();
    let head = seen.head.as_ref();
    let text = |name| head.and_then(|head| head.text(name)).map(str::to_owned);
    let error = result.as_ref().err().map(RecordError::from);
    let bytes = result.as_ref().ok().map(|saved| saved.bytes);
    let final_url = head.map(|_| attempt.url().as_str().to_owned());
    let redirects = attempt.redirects();
    let several = attempt.number > 1;
    let mut record = Record {
        ok: result.is_ok(),
        status: head.map(|head| head.status.as_u16()),
        error,
        attempts: attempt.number,
        final_url,
        redirects,
        http: head.and_then(ResponseHead::version_text).map(str::to_owned),
        content_type: text(header::CONTENT_TYPE),
        bytes,
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
        at: clock.rfc3339(end),
        started_ms: Some(clock.ms(start)),
        ttfb_ms: seen.ttfb.map(millis),
        elapsed_ms: Some(millis(end.saturating_duration_since(start))),
        total_ms: attempt
            .first_start
            .filter(|_| several)
            .map(|first| millis(end.saturating_duration_since(first))),
        simulated: attempt.simulated,
        ..Record::of_line(&attempt.job.place, attempt.job.url.into())
    };
    let outcome = match (result, seen.head.take()) {
        (Ok(saved), Some(head)) => Outcome::Fetched(Box::new(Fetched { head, saved })),
        (Ok(_), None) => Outcome::Skipped,
        (Err(error), _) => Outcome::Failed(error),
    };
    record.outcome = outcome.name();
    Settled {
        place: attempt.job.place,
        record,
        outcome,
        raw: attempt.job.raw,
    }
}
