//! From an attempt that ended to the record that is written.

use std::time::Instant;

use http::header;

use super::clock::{RunClock, millis};
use super::worker::Ended;
use crate::model::{
    Attempt, FetchError, Fetched, InvalidLine, Outcome, Record, RecordError, ResponseHead, Saved,
    Settled, now,
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
        ..Record::of_line(&attempt.job.place, attempt.job.url.into())
    };
    Settled {
        place: attempt.job.place,
        record,
        outcome: Outcome::Failed(error),
        raw: attempt.job.raw,
    }
}

/// A job whose last attempt ended at `end`.
pub fn settled(
    ended: Ended,
    result: Result<Saved, FetchError>,
    end: Instant,
    clock: &RunClock,
) -> Settled {
    let Ended {
        attempt,
        head,
        wire,
    } = ended;
    let since = |start: Instant| millis(end.saturating_duration_since(start));
    let start = wire.started();
    let mut record = Record {
        ok: result.is_ok(),
        error: result.as_ref().err().map(RecordError::from),
        attempts: attempt.number,
        final_url: head.as_ref().map(|_| attempt.url().as_str().to_owned()),
        redirects: attempt.redirects(),
        at: clock.rfc3339(now()),
        started_ms: Some(clock.ms(start)),
        ttfb_ms: wire.head_time().map(millis),
        elapsed_ms: Some(since(start)),
        total_ms: attempt
            .first_start
            .filter(|_| attempt.number > 1)
            .map(since),
        resumed_at: attempt.part.as_ref().map(|part| part.length),
        simulated: attempt.simulated,
        ..Record::of_line(&attempt.job.place, attempt.job.url.into())
    };
    if let Some(head) = &head {
        describe(&mut record, head);
    }
    if let Ok(saved) = &result {
        place(&mut record, saved);
    }
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

/// What the head of the response says.
fn describe(record: &mut Record, head: &ResponseHead) {
    let text = |name| head.text(name).map(str::to_owned);
    record.status = Some(head.status.as_u16());
    record.http = head.version_text().map(str::to_owned);
    record.content_type = text(header::CONTENT_TYPE);
    record.etag = text(header::ETAG);
    record.last_modified = text(header::LAST_MODIFIED);
}

/// Where the body went.
fn place(record: &mut Record, saved: &Saved) {
    record.bytes = Some(saved.bytes);
    record.file = saved.file.as_ref().map(ToString::to_string);
    record.pack = saved.pack;
}
