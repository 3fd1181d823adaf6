//! From an attempt that ended to the record that is written.

use std::time::Instant;

use http::header;

use super::clock::{RunClock, millis};
use crate::model::{
    Attempt, FetchError, Fetched, InvalidLine, Outcome, Record, RecordError, ResponseHead, Saved,
    Settled, Wire, now,
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

/// A job that fails without another attempt, because its host was given up.
pub fn given_up(attempt: Attempt, error: FetchError, clock: &RunClock) -> Settled {
    let end = now();
    let record = Record {
        error: Some(RecordError::from(&error)),
        attempts: attempt.number,
        redirects: attempt.redirects(),
        at: clock.rfc3339(end),
        total_ms: attempt
            .first_start
            .map(|first| millis(end.saturating_duration_since(first))),
        simulated: attempt.simulated,
        request: request_digest(&attempt),
        ..Record::of_line(&attempt.job.place, attempt.job.url.into())
    };
    Settled {
        place: attempt.job.place,
        record,
        outcome: Outcome::Failed(error),
        raw: attempt.job.raw,
    }
}

/// A job whose last attempt ends now.
pub fn settled(
    attempt: Attempt,
    result: Result<Saved, FetchError>,
    head: Option<ResponseHead>,
    wire: &Wire,
    clock: &RunClock,
) -> Settled {
    let end = now();
    let since = |start: Instant| millis(end.saturating_duration_since(start));
    let start = wire.started();
    let seen = head.as_ref();
    let text = |name| seen.and_then(|head| head.text(name)).map(str::to_owned);
    let error = result.as_ref().err().map(RecordError::from);
    let bytes = result.as_ref().ok().map(|saved| saved.bytes);
    let final_url = seen.map(|_| attempt.url().as_str().to_owned());
    let redirects = attempt.redirects();
    let mut record = Record {
        ok: result.is_ok(),
        status: seen.map(|head| head.status.as_u16()),
        error,
        attempts: attempt.number,
        final_url,
        redirects,
        http: seen.and_then(ResponseHead::version_text).map(str::to_owned),
        content_type: text(header::CONTENT_TYPE),
        bytes,
        sha256: result.as_ref().ok().and_then(|saved| saved.sha256),
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
        at: clock.rfc3339(end),
        started_ms: Some(clock.ms(start)),
        ttfb_ms: wire.head_time().map(millis),
        elapsed_ms: Some(since(start)),
        total_ms: attempt
            .first_start
            .filter(|_| attempt.number > 1)
            .map(since),
        simulated: attempt.simulated,
        request: request_digest(&attempt),
        ..Record::of_line(&attempt.job.place, attempt.job.url.into())
    };
    let outcome = match (result, head) {
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

fn request_digest(attempt: &Attempt) -> Option<String> {
    attempt.job.wish.as_ref()?.request_digest()
}
