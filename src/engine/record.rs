//! Builds the record of a settled job.

use std::time::Instant;

use http::{HeaderValue, StatusCode, header};

use super::clock::{RunClock, millis};
use super::disposition::file_name;
use super::finished_attempt::FinishedAttempt;
use super::request::digest_of;
use super::usage::UsageNotes;
use super::{Engine, EngineOptions};
use crate::model::{
    Attempt, AttemptTrace, ContentChange, FetchError, FetchSuccess, InvalidLine, Job, LineOptions,
    Outcome, OutcomeName, PackPosition, PartialBody, Record, RecordError, ResponseHead,
    Revalidation, SavedBody, SettledJob, TraceOutcome, now,
};

/// Settles an invalid input line.
pub(super) fn invalid(line: InvalidLine, options: &EngineOptions, clock: &RunClock) -> SettledJob {
    let record = Record {
        error: Some(RecordError::new(&line.error, options.error_text)),
        at: clock.rfc3339(now()),
        columns: line.columns,
        ..Record::for_line(&line.position, line.shown)
    };
    SettledJob::new(
        line.position,
        record,
        Outcome::Failed(line.error),
        Some(line.raw),
    )
}

/// Describes the error of a sitemap that was fetched but cannot be read.
pub(super) fn unreadable(mut settled: SettledJob, options: &EngineOptions) -> SettledJob {
    if let Outcome::Failed(error) = &settled.outcome {
        settled.record.error = Some(RecordError::new(error, options.error_text));
    }
    settled
}

/// Settles a job that an earlier run completed. The record repeats what that run recorded, except
/// its times, and what had changed since the run before. Columns are those of this run's list.
pub(super) fn skipped(mut job: Job, past: Record, clock: &RunClock) -> SettledJob {
    let place = &job.position;
    let is_of_line = past.line == place.line && past.input == place.input;
    let past = Record {
        line: place.line,
        input: std::sync::Arc::clone(&place.input),
        columns: job.take_columns(),
        ..past
    };
    let as_past = (!is_of_line).then(|| Box::new(past.clone()));
    let record = Record {
        outcome: OutcomeName::Skipped,
        change: None,
        at: clock.rfc3339(now()),
        started_ms: None,
        ttfb_ms: None,
        elapsed_ms: None,
        total_ms: None,
        body: None,
        body_base64: None,
        ..past
    };
    let mut settled = SettledJob::new(job.position, record, Outcome::Skipped, job.raw);
    settled.is_journaled = true;
    settled.past = as_past;
    settled
}

/// Settles a job whose file is on disk with the size and hash of its line, whoever put it there.
pub(super) fn adopted(
    mut job: Job,
    file: SavedBody,
    options: &EngineOptions,
    clock: &RunClock,
) -> SettledJob {
    let mut record = Record {
        columns: job.take_columns(),
        ok: true,
        outcome: OutcomeName::Skipped,
        adopted: true,
        at: clock.rfc3339(now()),
        request: digest_of(&job, options),
        ..Record::for_line(&job.position, job.url.into())
    };
    fill_location(&mut record, &file);
    SettledJob::new(job.position, record, Outcome::Skipped, job.raw)
}

/// Settles a job that fails without another attempt: its host was given up, or its file belongs
/// to another input line.
pub(super) fn failed_unsent<T, S>(
    engine: &Engine<T, S>,
    mut attempt: Box<Attempt>,
    error: FetchError,
) -> SettledJob {
    let Engine { options, clock, .. } = engine;
    let end = now();
    let traces = attempt.take_traces();
    let packed_to = attempt.history().packed_to;
    let mut record = Record {
        status: error.status().as_ref().map(StatusCode::as_u16),
        error: Some(error_of(&attempt, &error, options)),
        attempts: attempt.number,
        resends: attempt.history().total_resends,
        redirects: attempt.redirect_count(),
        mirror: attempt.mirror_number(),
        at: clock.rfc3339(end),
        total_ms: attempt
            .history()
            .first_start
            .map(|first| millis(end.saturating_duration_since(first))),
        simulated: attempt.simulated,
        request: digest_of(&attempt.job, options),
        columns: attempt.job.take_columns(),
        ..Record::for_line(&attempt.job.position, attempt.job.url.into())
    };
    record.set_place(None, packed_to);
    let outcome = Outcome::Failed(error);
    let mut settled = SettledJob::new(attempt.job.position, record, outcome, attempt.job.raw);
    complete(&mut settled, traces, attempt.job.options);
    settled
}

/// Settles a job whose last attempt ended at `end`.
pub(super) fn settled<T, S>(
    engine: &Engine<T, S>,
    mut ended: FinishedAttempt,
    result: Result<SavedBody, FetchError>,
    end: Instant,
) -> SettledJob {
    let Engine { options, clock, .. } = engine;
    if options.trace_attempts {
        ended.record_trace(trace_outcome(&result), end, clock);
    }
    let FinishedAttempt {
        mut attempt,
        head,
        wire,
        ..
    } = ended;
    let since = |start: Instant| millis(end.saturating_duration_since(start));
    let traces = attempt.take_traces();
    let error = result.as_ref().err();
    let packed_to = packed_to(&attempt, error);
    let usage = head
        .as_ref()
        .map(|head| UsageNotes::of(engine, &attempt, head));
    let part = completed_part(attempt.part.as_deref(), head.as_ref()).filter(|_| result.is_ok());
    let mut record = Record {
        ok: result.is_ok(),
        error: error.map(|error| error_of(&attempt, error, options)),
        attempts: attempt.number,
        resends: attempt.history().total_resends,
        final_url: head.as_ref().map(|_| attempt.shown_url().into_owned()),
        redirects: attempt.redirect_count(),
        mirror: attempt.mirror_number(),
        at: clock.rfc3339(now()),
        started_ms: Some(clock.elapsed_ms(wire.started())),
        ttfb_ms: wire.head_time().map(millis),
        elapsed_ms: Some(since(wire.started())),
        total_ms: first_start(&attempt).map(since),
        resumed_at: part.map(|part| part.length),
        segments: segments_of(&attempt),
        change: content_change(&attempt, &result, options.refresh),
        simulated: attempt.simulated,
        request: digest_of(&attempt.job, options),
        columns: attempt.job.take_columns(),
        ..Record::for_line(&attempt.job.position, attempt.job.url.into())
    };
    record.set_place(None, packed_to);
    if let Ok(saved) = &result {
        fill_location(&mut record, saved);
    }
    if let Some(head) = &head {
        fill_response(&mut record, head, part, attempt.known.as_deref());
    }
    fill_usage(&mut record, usage.unwrap_or_default());
    let outcome = outcome_of(result, head);
    set_outcome(&mut record, &outcome);
    let mut settled = SettledJob::new(attempt.job.position, record, outcome, attempt.job.raw);
    complete(&mut settled, traces, attempt.job.options);
    settled
}

/// Adds the timing of the attempts, and where the body goes if the job is a sitemap or a robots.txt, and
/// no line. In place, because a settled job is large.
fn complete(
    settled: &mut SettledJob,
    traces: Vec<AttemptTrace>,
    options: Option<Box<LineOptions>>,
) {
    settled.traces = traces;
    if let Some(own) = options {
        settled.sitemap = own.sitemap;
        settled.robots = own.robots;
    }
}

fn trace_outcome(result: &Result<SavedBody, FetchError>) -> TraceOutcome {
    match result {
        Ok(_) => TraceOutcome::Fetched,
        Err(error) => TraceOutcome::Failed(error.kind()),
    }
}

/// Sets the outcome, and the status of the response or of a proxy that refused to forward.
fn set_outcome(record: &mut Record, outcome: &Outcome) {
    let of_proxy = match outcome {
        Outcome::Failed(error) => error.proxy_status(),
        Outcome::Fetched(_) | Outcome::Skipped => None,
    };
    record.status = record.status.or(of_proxy.map(|status| status.as_u16()));
    record.outcome = outcome.name();
}

/// Describes the error of a job; that of a mirror says of which one.
fn error_of(attempt: &Attempt, error: &FetchError, options: &EngineOptions) -> RecordError {
    let mut described = RecordError::new(error, options.error_text);
    if let Some(number) = attempt.mirror_number() {
        let count = attempt.job.mirrors().len();
        described.message = format!("mirror {number} of {count}: {}", described.message);
    }
    described
}

/// Fills in where the last response of a failed job was archived.
pub(super) fn fill_archived(record: &mut Record, archived: &SavedBody) {
    fill_place(record, archived);
}

/// Returns where the records of a job end in the pack.
fn packed_to(attempt: &Attempt, error: Option<&FetchError>) -> Option<PackPosition> {
    // With a place in the pack, the journal would take it for the report of a loss.
    let is_save = matches!(error, Some(FetchError::Save { .. }));
    attempt.history().packed_to.filter(|_| !is_save)
}

/// Returns how many requests brought parts of a body in segments.
fn segments_of(attempt: &Attempt) -> Option<u32> {
    let count = attempt.history().segments;
    u32::try_from(count).ok().filter(|count| *count > 1)
}

/// Returns when the first request of a job started that has sent several.
fn first_start(attempt: &Attempt) -> Option<Instant> {
    let history = attempt.history();
    let requests = attempt.number + history.total_resends;
    history.first_start.filter(|_| requests > 1)
}

fn outcome_of(result: Result<SavedBody, FetchError>, head: Option<ResponseHead>) -> Outcome {
    match (result, head) {
        (Ok(saved), Some(head)) => {
            let head = saved.body.is_some().then_some(head);
            Outcome::Fetched(Box::new(FetchSuccess { head, saved }))
        }
        (Ok(_), None) => Outcome::Skipped,
        (Err(error), _) => Outcome::Failed(error),
    }
}

/// Returns the partial body that the response has completed. If it brought the whole body instead,
/// there is none.
fn completed_part<'a>(
    part: Option<&'a PartialBody>,
    head: Option<&ResponseHead>,
) -> Option<&'a PartialBody> {
    let completes = |status| {
        matches!(
            status,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
        )
    };
    part.filter(|_| head.is_some_and(|head| completes(head.status)))
}

/// Fills in the response fields. A 416 or 304 does not describe the saved body, so what is known
/// of that from earlier responses is used.
fn fill_response(
    record: &mut Record,
    head: &ResponseHead,
    part: Option<&PartialBody>,
    known: Option<&Revalidation>,
) {
    fill_headers(record, head);
    if record.ok && head.status.is_success() {
        record.content_encoding = kept_coding(head);
    }
    match (head.status, known) {
        (StatusCode::RANGE_NOT_SATISFIABLE, _) if record.ok => describe_part(record, part),
        (StatusCode::NOT_MODIFIED, Some(known)) if record.ok => fill_from_known(record, known),
        _ => {}
    }
}

/// Maximum bytes of a header value copied into a record; longer values are left out. Servers may
/// send 400 KiB of headers, too much for users that keep a record per URL.
const MAX_HEADER_BYTES: usize = 4096;

/// Fills in status, protocol and headers from the response head.
fn fill_headers(record: &mut Record, head: &ResponseHead) {
    let text = |name| {
        let text = head
            .header_str(name)
            .filter(|text| text.len() <= MAX_HEADER_BYTES);
        text.map(str::to_owned)
    };
    record.status = Some(head.status.as_u16());
    record.http = head.version_text().map(str::to_owned);
    record.content_type = text(header::CONTENT_TYPE);
    record.etag = text(header::ETAG);
    record.last_modified = text(header::LAST_MODIFIED);
    record.filename = head
        .headers
        .get(header::CONTENT_DISPOSITION)
        .filter(|value| value.len() <= MAX_HEADER_BYTES)
        .and_then(|value| file_name(value.as_bytes()));
}

/// Fills in what the site says about the use of the response.
fn fill_usage(record: &mut Record, notes: UsageNotes) {
    let short = |text: Option<String>| text.filter(|text| text.len() <= MAX_HEADER_BYTES);
    record.x_robots_tag = short(notes.x_robots_tag());
    record.content_usage = short(notes.content_usage);
    record.tdm_reservation = short(notes.tdm_reservation);
}

/// Returns the content coding that the saved body still has.
fn kept_coding(head: &ResponseHead) -> Option<String> {
    let value = &head.kept_coding.as_ref()?.value;
    let text = value.to_str().ok()?;
    (text.len() <= MAX_HEADER_BYTES).then(|| text.to_owned())
}

/// Describes a partial body that a 416 showed to be complete. The 416's own headers describe an
/// error page, so the validator comes from the response that sent the body.
fn describe_part(record: &mut Record, part: Option<&PartialBody>) {
    record.content_type = None;
    record.filename = None;
    let Some(version) = part.map(|part| &part.version) else {
        return;
    };
    let validator = version.validator.to_str().map(str::to_owned).ok();
    if version.is_tagged() {
        record.etag = validator;
    } else {
        record.last_modified = validator;
    }
}

/// Fills in where the body was saved.
fn fill_location(record: &mut Record, saved: &SavedBody) {
    record.bytes = Some(saved.bytes);
    record.set_hashes(saved.hashes.as_deref().copied().unwrap_or_default());
    record.file = saved.file.as_ref().map(ToString::to_string);
    fill_place(record, saved);
}

/// Fills in where the last response is in the pack, and where the records of this job end.
fn fill_place(record: &mut Record, saved: &SavedBody) {
    record.set_place(saved.pack, saved.pack_end.max(record.end_in_pack()));
}

/// Fills in the fields that a 304 left out because they have not changed.
fn fill_from_known(record: &mut Record, known: &Revalidation) {
    let keep = |field: &mut Option<String>, known: Option<&str>| {
        if field.is_none() {
            *field = known.map(str::to_owned);
        }
    };
    let text = |value: &Option<HeaderValue>| value.as_ref()?.to_str().ok().map(str::to_owned);
    let past = &known.past;
    keep(&mut record.content_type, past.content_type.as_deref());
    keep(&mut record.filename, past.filename.as_deref());
    keep(&mut record.etag, text(&known.etag).as_deref());
    keep(
        &mut record.last_modified,
        text(&known.last_modified).as_deref(),
    );
    if let Some(hashes) = &past.hashes {
        record.set_hashes(record.hashes().or(**hashes));
    }
}

/// Returns how the resource changed since the last run; `None` without `--refresh`.
fn content_change(
    attempt: &Attempt,
    result: &Result<SavedBody, FetchError>,
    refresh: bool,
) -> Option<ContentChange> {
    let was_known = attempt.known.is_some();
    match result {
        _ if !refresh => None,
        // If this URL was not fetched before, an identical file was that of another URL: New.
        Ok(saved) if saved.is_same && was_known => Some(ContentChange::Unchanged),
        Ok(_) if was_known => Some(ContentChange::Changed),
        Ok(_) => Some(ContentChange::New),
        Err(error) => {
            let is_gone = matches!(
                error.status(),
                Some(StatusCode::NOT_FOUND | StatusCode::GONE)
            );
            (was_known && is_gone).then_some(ContentChange::Gone)
        }
    }
}
