//! One attempt: sends a request and checks the response. The checks are above the transport
//! so that simulated faults face the real ones.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, header};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::archive_only;
use super::attempt_outcome::{
    AttemptOutcome, BodySource, MIN_PIECE_BYTES, NextRequest, PartialContent, ReceivedBody,
    discards_body,
};
use super::body::{BodySink, StallClock, WireBody, take_body, within};
use super::body_target::BodyTarget;
use super::body_verifier::BodyVerifier;
use super::coding::{self, BodyFraming};
use super::content_type;
use super::opening::open_in_time;
use super::redirect;
use super::response_digests::announced;
use super::resume::{self, RangeMismatch};
use super::segments::{self, SegmentBudget, SegmentsEnd};
use super::usage;
use super::{Engine, EngineOptions};
use crate::fetch::{RawResponse, ResponseBody, Transport};
use crate::model::{
    ArchiveOnlyBody, Attempt, BodyHashes, BodyVersion, Cause, FetchError, HostKey, PartialBody,
    ResponseHead, TimeLimit, Truncation, WireState, now, wall_time,
};
use crate::schedule::{BodyPace, RetryRules, exhausted_for, retry_after};
use crate::store::{BodyStore, BodyWriter, RobotsWriter, SitemapWriter};

/// Maximum bytes read of a body that is not saved (such as a 404 page) to keep its connection reusable.
const DRAIN_BYTES: u64 = 64 * 1024;
/// Maximum time spent reading it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of an attempt that outlives its timeout.
pub(super) struct AttemptState<F> {
    /// The partial body that it may continue. Boxed, because few attempts have one.
    pub part_file: Option<Box<F>>,
    /// The head of the response.
    pub head: Option<ResponseHead>,
    /// The body of the response if that is not the job's, for an archive.
    pub archive_only: Option<ArchiveOnlyBody>,
    /// The requests for its body, if that comes in segments.
    pub segments: SegmentBudget,
}

impl<F> AttemptState<F> {
    /// Creates the state of an attempt that has not begun.
    pub(super) fn new(part_file: Option<Box<F>>) -> Self {
        Self {
            part_file,
            head: None,
            archive_only: None,
            segments: SegmentBudget::default(),
        }
    }
}

/// Runs one attempt within `--max-time`.
pub(super) async fn run<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    wire: &Arc<WireState>,
    state: &mut AttemptState<S::File>,
) -> Result<AttemptOutcome<ReceivedBody<BodyTarget<S::File>>>, FetchError> {
    let (outcome, rest) = match engine.options.max_time {
        None => request(engine, attempt, wire, state).await,
        Some(limit) => {
            let inner = request(engine, attempt, wire, state);
            timeout(limit, inner).await.unwrap_or({
                let limit = TimeLimit::Attempt(limit);
                (Err(FetchError::Timeout { limit }), None)
            })
        }
    };
    // Drained outside the timeout: the outcome is known and the rest cannot change it.
    if let (Some(mut rest), Some(head)) = (rest, state.head.as_ref()) {
        let mut pace = body_pace(engine, attempt);
        match engine.store.archive_room() {
            Some(room) if may_be_archived(attempt, &outcome) => {
                state.archive_only = Some(archive_only::read(&mut rest, &mut pace, room).await);
            }
            _ => {
                wire.mark_body_awaited();
                drain(&mut rest, &mut pace, head).await;
            }
        }
    }
    outcome
}

/// Whether the response may be archived without bringing its job a body.
fn may_be_archived<B>(attempt: &Attempt, outcome: &Result<AttemptOutcome<B>, FetchError>) -> bool {
    match outcome {
        Err(FetchError::Robots { .. }) => false,
        _ if attempt.job.robots().is_some() => false,
        Ok(AttemptOutcome::Continue(next)) => matches!(next, NextRequest::Redirect(_)),
        Ok(AttemptOutcome::Body(_)) => false,
        Err(_) => true,
    }
}

async fn request<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    wire: &Arc<WireState>,
    state: &mut AttemptState<S::File>,
) -> (
    Result<AttemptOutcome<ReceivedBody<BodyTarget<S::File>>>, FetchError>,
    Option<T::Body>,
) {
    let options = &engine.options;
    let RawResponse { mut head, body } = match open_in_time(engine, attempt, wire).await {
        Ok(response) => response,
        Err(error) => return (Err(error), None),
    };
    if let Some(jar) = &options.jar {
        jar.take(attempt.url(), &head.headers);
    }
    head.kept_coding = coding::kept(attempt, &head, options.raw);
    wire.mark_head_received(now());
    let framing = BodyFraming::of(&head);
    let action = classify_head(engine, attempt, &head, &framing);
    let head = state.head.insert(head);
    let outcome = match action {
        Ok(AttemptOutcome::Body(BodySource::Response(rest))) => {
            let stall = StallClock::new(options.stall_timeout, wire, head.version);
            let body = WireBody::new(body, framing, rest, stall, body_pace(engine, attempt));
            let part_file = (&mut state.part_file, &mut state.segments);
            let saved = save_body(engine, attempt, head, body, rest, part_file).await;
            let saved = saved.map_err(|failed| {
                state.archive_only = failed.archive_only;
                failed.error
            });
            return (saved, None);
        }
        Ok(AttemptOutcome::Body(BodySource::Part(part))) => {
            complete_part(part, &mut state.part_file, verifier(attempt, options)).await
        }
        Ok(AttemptOutcome::Body(BodySource::Saved)) => {
            Ok(AttemptOutcome::Body(ReceivedBody::Saved))
        }
        Ok(AttemptOutcome::Continue(next)) => Ok(AttemptOutcome::Continue(next)),
        Err(error) => Err(error),
    };
    (outcome, Some(body))
}

/// Returns the pace of the bodies that an attempt receives.
fn body_pace<'a, T, S>(engine: &'a Engine<T, S>, attempt: &'a Attempt) -> BodyPace<'a> {
    engine.bandwidth.body_pace(HostKey::key_str(attempt.url()))
}

/// Why a body could not be saved, and the start of it, for an archive.
struct FailedBody {
    error: FetchError,
    archive_only: Option<ArchiveOnlyBody>,
}

impl From<FetchError> for FailedBody {
    fn from(error: FetchError) -> Self {
        Self {
            error,
            archive_only: None,
        }
    }
}

/// Reads a body into a new file of the store, or onto its partial one.
async fn save_body<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    head: &ResponseHead,
    body: WireBody<'_, T::Body>,
    rest: Option<PartialContent>,
    (part_file, budget): (&mut Option<Box<S::File>>, &mut SegmentBudget),
) -> Result<AttemptOutcome<ReceivedBody<BodyTarget<S::File>>>, FailedBody> {
    let options = &engine.options;
    let continued = attempt.resumable_part().zip(rest);
    if !has_body(attempt, head) {
        let file = open_target(engine, attempt, head, continued, part_file.take());
        let hashes = check_empty(attempt, options).map_err(|error| FailedBody {
            error,
            archive_only: Some(ArchiveOnlyBody::nothing(None)),
        })?;
        return Ok(AttemptOutcome::Body(ReceivedBody::New(file, hashes)));
    }
    let mut verifier = verifier(attempt, options).with_announced(announced(head, rest.is_some()));
    if let (Some((part, _)), Some(file)) = (continued, part_file.as_deref()) {
        verifier = verifier.with_existing(file, part.length).await?;
    }
    let mut sink = BodySink {
        file: open_target(engine, attempt, head, continued, part_file.take()),
        size: continued.map_or(0, |(part, _)| part.length),
        limit: max_size(attempt, options),
        verifier,
        live: &engine.live,
        windows: &engine.windows,
    };
    let version = || version(attempt, head, continued, options);
    let taken = match segments::plan(engine, attempt, head, version, body.length(), budget) {
        None => {
            let before = sink.size;
            let taken = take_body(body, head, &mut sink).await;
            budget.used = usize::from(sink.size > before);
            taken.map(|()| segments_end(sink.size, rest))
        }
        // Boxed, because few bodies come in segments and its state would enlarge that of all.
        Some(plan) => {
            Box::pin(segments::take(
                engine, attempt, plan, body, &mut sink, budget,
            ))
            .await
        }
    };
    if let Ok(SegmentsEnd::Gap) = taken {
        // Dropping the sink keeps the bytes received so far as a partial body.
        return Ok(AttemptOutcome::Continue(NextRequest::NextPiece));
    }
    let cut_off = taken.as_ref().err().map(Truncation::by);
    let whole = taken.and_then(|_| sink.check_complete(rest));
    let BodySink { file, verifier, .. } = sink;
    match whole.and_then(|()| verifier.finish()) {
        Ok(hashes) => Ok(AttemptOutcome::Body(ReceivedBody::New(file, hashes))),
        Err(error) => Err(fail_body(engine, file, error, cut_off)),
    }
}

/// Ends a body that is not saved. A store may keep what has come of it.
fn fail_body<T, S: BodyStore>(
    engine: &Engine<T, S>,
    file: BodyTarget<S::File>,
    error: FetchError,
    cut_off: Option<Truncation>,
) -> FailedBody {
    let room = engine.store.archive_room();
    let archive_only = room.map(|room| start_of(&file, room, cut_off));
    if discards_body(&error) {
        file.discard();
    }
    FailedBody {
        error,
        archive_only,
    }
}

/// Returns how a body in one piece ended: `Gap` if the server sent less than it was asked for, so
/// that the next request is to bring the rest.
fn segments_end(size: u64, rest: Option<PartialContent>) -> SegmentsEnd {
    match rest {
        Some(rest) if size < rest.total && rest.length >= MIN_PIECE_BYTES => SegmentsEnd::Gap,
        _ => SegmentsEnd::Whole,
    }
}

/// Opens what the body is written to. A partial body that the response does not continue is
/// discarded.
fn open_target<T, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    head: &ResponseHead,
    continued: Option<(&PartialBody, PartialContent)>,
    mut part: Option<Box<S::File>>,
) -> BodyTarget<S::File> {
    if let Some(reply) = attempt.job.sitemap() {
        return BodyTarget::Sitemap(SitemapWriter::new(reply.clone()));
    }
    if let Some(body) = attempt.job.robots() {
        let room = engine.robots_room.clone();
        let kept = head.kept_coding.as_ref().map(|kept| kept.value.clone());
        return BodyTarget::Robots(RobotsWriter::new(body.clone(), room, kept));
    }
    if let Some(useless) = part.take_if(|_| continued.is_none()) {
        useless.discard();
    }
    let version = || version(attempt, head, continued, &engine.options);
    let part = part.map(|part| *part);
    BodyTarget::Store(engine.store.create(attempt, head, version, part))
}

/// Checks the body of a response without one. The expected size and hashes are those of the body,
/// which a HEAD does not return.
fn check_empty(
    attempt: &Attempt,
    options: &EngineOptions,
) -> Result<Option<Box<BodyHashes>>, FetchError> {
    match attempt.is_head_only() {
        true => Ok(None),
        false => verifier(attempt, options).finish(),
    }
}

/// Returns the start of a body that turned out to be invalid or incomplete.
fn start_of(
    file: &impl BodyWriter,
    room: &Arc<Semaphore>,
    cut_off: Option<Truncation>,
) -> ArchiveOnlyBody {
    let (start, is_all) = file.excerpt();
    let beyond = (!is_all).then_some(Truncation::Length);
    archive_only::decoded(&start, room, beyond.or(cut_off))
}

/// The version of the body in this response, if it can be resumed after an interruption.
fn version(
    attempt: &Attempt,
    head: &ResponseHead,
    continued: Option<(&PartialBody, PartialContent)>,
    options: &EngineOptions,
) -> Option<BodyVersion> {
    match continued {
        Some((part, rest)) => Some(BodyVersion {
            total: Some(rest.total),
            ..part.version.clone()
        }),
        None if accepts_partial(attempt, options) => None,
        None => resume::version(attempt, head),
    }
}

/// Returns the checks of the body of an attempt.
fn verifier(attempt: &Attempt, options: &EngineOptions) -> BodyVerifier {
    let types = content_type::expected(&attempt.job, options);
    BodyVerifier::new(attempt, &options.hashes).with_types(types)
}

/// Checks and takes a partial body that turned out to be the whole one.
async fn complete_part<F: BodyWriter>(
    part: &PartialBody,
    part_file: &mut Option<Box<F>>,
    verifier: BodyVerifier,
) -> Result<AttemptOutcome<ReceivedBody<BodyTarget<F>>>, FetchError> {
    let hashes = match part_file.as_deref() {
        Some(file) => verifier.with_existing(file, part.length).await?.finish()?,
        None => None,
    };
    Ok(match part_file.take() {
        Some(file) => AttemptOutcome::Body(ReceivedBody::New(BodyTarget::Store(*file), hashes)),
        // Does not happen: an attempt has a partial body and its file, or neither.
        None => AttemptOutcome::Continue(NextRequest::FromFirstByte),
    })
}

/// Decides from the head where the body is taken from, or which request to send instead.
fn classify_head<'a, T, S>(
    engine: &Engine<T, S>,
    attempt: &'a Attempt,
    head: &ResponseHead,
    framing: &BodyFraming,
) -> Result<AttemptOutcome<BodySource<'a>>, FetchError> {
    let options = &engine.options;
    if let Some(part) = attempt.resumable_part() {
        match resume::classify_response(part, attempt.url(), head) {
            Ok(Some(source)) => {
                if let BodySource::Response(Some(rest)) = &source {
                    usage::check(engine, attempt, head)?;
                    content_type::check(attempt, head, options)?;
                    check_size(options.max_size, Some(rest.total))?;
                    BodyVerifier::new(attempt, &[]).check_announced(Some(rest.total))?;
                }
                return Ok(AttemptOutcome::Body(source));
            }
            Ok(None) => {}
            Err(RangeMismatch) => return Ok(AttemptOutcome::Continue(NextRequest::FromFirstByte)),
        }
    }
    if redirect::is_redirect(head) {
        return redirect::follow(attempt, head, options)
            .map(|to| AttemptOutcome::Continue(NextRequest::Redirect(to)))
            .map_err(|problem| FetchError::Redirect { problem });
    }
    if head.status == StatusCode::NOT_MODIFIED && attempt.revalidation().is_some() {
        usage::check(engine, attempt, head)?;
        return Ok(AttemptOutcome::Body(BodySource::Saved));
    }
    if *attempt.method() == Method::HEAD && rejects_method(head.status) {
        return Ok(AttemptOutcome::Continue(NextRequest::GetForHead));
    }
    if let Some(error) = failed_status(attempt, head, &engine.retry.rules) {
        return Err(error);
    }
    if head.status == StatusCode::PARTIAL_CONTENT
        && !accepts_partial(attempt, options)
        && !resume::is_whole(head)
    {
        return Err(FetchError::Protocol {
            cause: Cause::from_text("unexpected 206 Partial Content: no range was requested"),
        });
    }
    usage::check(engine, attempt, head)?;
    content_type::check(attempt, head, options)?;
    if has_body(attempt, head) && framing.codings.as_ref().map_err(Clone::clone)?.is_empty() {
        check_size(max_size(attempt, options), framing.length)?;
        BodyVerifier::new(attempt, &[]).check_announced(framing.length)?;
    }
    Ok(AttemptOutcome::Body(BodySource::Response(None)))
}

/// Returns the maximum size of a body. That of a robots.txt is cut by what takes it.
fn max_size(attempt: &Attempt, options: &EngineOptions) -> u64 {
    match attempt.job.robots() {
        Some(_) => u64::MAX,
        None => options.max_size,
    }
}

fn check_size(limit: u64, announced: Option<u64>) -> Result<(), FetchError> {
    if announced.is_some_and(|length| length > limit) {
        return Err(FetchError::TooLarge { limit, announced });
    }
    Ok(())
}

/// Whether the run or the input line sets its own `Range`, so that a 206 is expected.
pub(super) fn accepts_partial(attempt: &Attempt, options: &EngineOptions) -> bool {
    let own_options = attempt.job.options.as_ref();
    options.partial_is_fine && !attempt.job.is_auxiliary()
        || own_options.is_some_and(|own_options| own_options.headers.contains_key(header::RANGE))
}

/// Whether a status says that the method is not supported (RFC 9110 §15.5.6, §15.6.2).
fn rejects_method(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    )
}

/// The error for a status whose body is not wanted; `None` for a success.
fn failed_status(attempt: &Attempt, head: &ResponseHead, rules: &RetryRules) -> Option<FetchError> {
    if head.status.is_success() && head.status != StatusCode::ACCEPTED {
        return None;
    }
    let now = wall_time();
    let delay = retry_after(&head.headers, now);
    let retry_after = match head.status {
        StatusCode::ACCEPTED if is_still_processing(attempt, delay, rules) => delay,
        StatusCode::ACCEPTED => return None,
        // Servers that omit Retry-After may still announce an exhausted rate limit.
        _ => delay.or_else(|| exhausted_for(&head.headers, now)),
    };
    Some(FetchError::Status {
        status: head.status,
        retry_after,
        note: None,
    })
}

/// Whether a 202 means that the resource is not ready and should be polled. A 202 to an unsafe
/// method is a success: the server has accepted the change (RFC 9110 §15.3.3).
fn is_still_processing(attempt: &Attempt, delay: Option<Duration>, rules: &RetryRules) -> bool {
    attempt.method().is_safe() && rules.listed_accepted().unwrap_or(delay.is_some())
}

/// Whether to read a body. Responses to HEAD and 204 have none, whatever their headers say
/// (RFC 9110 §6.4.1); a GET that replaces a HEAD has one that is not wanted.
fn has_body(attempt: &Attempt, head: &ResponseHead) -> bool {
    !attempt.is_head_only() && head.status != StatusCode::NO_CONTENT
}

/// Reads a small body to its end, so that its connection can be reused. For a large or slow
/// body a new connection is cheaper.
async fn drain<B: ResponseBody>(body: &mut B, pace: &mut BodyPace<'_>, head: &ResponseHead) {
    if head
        .content_length()
        .is_some_and(|length| length > DRAIN_BYTES)
    {
        return;
    }
    let (mut read, mut left) = (0, DRAIN_TIMEOUT);
    while read <= DRAIN_BYTES {
        // Out of time is fine: the connection is just not reused.
        let (Some(Ok(Some(chunk))), waited) = within(left, pin!(body.chunk())).await else {
            return;
        };
        left = left.saturating_sub(waited);
        read += chunk.len() as u64;
        pace.take_all(chunk.len()).await;
    }
}
