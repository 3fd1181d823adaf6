//! One attempt: the request, and every check on what comes back. The checks stand here,
//! above the transport, so that a simulated fault meets the real ones.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use tokio::time::timeout;

use super::expect::Expectation;
use super::redirect::{self, Redirect};
use super::{Engine, EngineOptions};
use crate::fetch::{Body, Decoder, Response, Transport, codings};
use crate::model::{
    Attempt, Cause, FetchError, Live, ResponseHead, Saved, TimeLimit, Wire, after, now,
};
use crate::schedule::{budget_gone, parse_retry_after};
use crate::store::{BodyFile, BodyStore};

/// A body must bring this many bytes in every stall window.
const STALL_BYTES: u64 = 1024;
/// Of a body that nobody wants (a 404 page), so much is read to keep the connection.
const DRAIN_BYTES: u64 = 64 * 1024;
/// And for so long.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How an attempt ended well.
pub enum Step {
    /// The whole body came.
    Fetched(Saved),
    /// It goes on elsewhere.
    Redirected(Redirect),
}

/// Runs one attempt to its end, within its time.
pub async fn run<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    wire: &Arc<Wire>,
    seen: &mut Option<ResponseHead>,
) -> Result<Step, FetchError> {
    let inner = request(engine, attempt, wire, seen);
    let (outcome, rest) = match engine.options.max_time {
        None => inner.await,
        Some(limit) => timeout(limit, inner).await.unwrap_or({
            let limit = TimeLimit::Attempt(limit);
            (Err(FetchError::Timeout { limit }), None)
        }),
    };
    // The outcome is known: what is left of the body can't change it any more.
    if let (Some(mut rest), Some(head)) = (rest, seen.as_ref()) {
        drain(&mut rest, head).await;
    }
    outcome
}

async fn request<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    wire: &Arc<Wire>,
    seen: &mut Option<ResponseHead>,
) -> (Result<Step, FetchError>, Option<T::Body>) {
    let options = &engine.options;
    let opening = engine.transport.open(attempt, wire);
    let opened = head_in_time(opening, options.stall_timeout, wire).await;
    let Response { head, body } = match opened {
        Ok(response) => response,
        Err(error) => return (Err(error), None),
    };
    wire.head_came(now());
    let verdict = judge(attempt, &head, options);
    let head = seen.insert(head);
    match verdict {
        Ok(None) => (keep(engine, attempt, head, body).await, None),
        Ok(Some(redirect)) => (Ok(Step::Redirected(redirect)), Some(body)),
        Err(error) => (Err(error), Some(body)),
    }
}

/// Takes a body that is wanted.
async fn keep<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    head: &ResponseHead,
    body: T::Body,
) -> Result<Step, FetchError> {
    let file = engine.store.begin(attempt, head)?;
    let mut sink = Sink {
        file,
        size: 0,
        limit: engine.options.max_size,
        expectation: Expectation::new(attempt, engine.options.sha256),
        live: &engine.live,
    };
    if has_body(attempt, head) {
        take_body(body, head, &mut sink, engine.options.stall_timeout).await?;
    }
    // What a HEAD is answered with says nothing about the body.
    let sha256 = match attempt.method {
        Method::HEAD => None,
        _ => sink.expectation.finish()?,
    };
    let mut saved = sink.file.commit().await?;
    saved.sha256 = sha256;
    Ok(Step::Fetched(saved))
}

/// Waits for the head. The clock does not run while the connection is being made: that
/// has its own.
async fn head_in_time<R>(
    opening: impl Future<Output = Result<R, FetchError>>,
    limit: Option<Duration>,
    wire: &Wire,
) -> Result<R, FetchError> {
    let Some(limit) = limit else {
        return opening.await;
    };
    tokio::pin!(opening);
    let start = wire.started();
    let mut deadline = after(start, limit);
    loop {
        if let Ok(opened) = tokio::time::timeout_at(deadline.into(), &mut opening).await {
            return opened;
        }
        let later = match wire.connect_time() {
            Some(connected) => after(start + connected, limit),
            None if wire.is_fresh() => after(now(), limit),
            None => deadline,
        };
        if later <= deadline {
            return Err(FetchError::Timeout {
                limit: TimeLimit::Head(limit),
            });
        }
        deadline = later;
    }
}

/// What the head says: take the body, go elsewhere, or it failed.
fn judge(
    attempt: &Attempt,
    head: &ResponseHead,
    options: &EngineOptions,
) -> Result<Option<Redirect>, FetchError> {
    if redirect::is_redirect(head.status) {
        return redirect::follow(attempt, head, options.max_redirects)
            .map(Some)
            .map_err(|problem| FetchError::Redirect { problem });
    }
    if !head.status.is_success() {
        return Err(FetchError::Status {
            status: head.status,
            retry_after: asked_to_wait(head),
            note: None,
        });
    }
    let partial_is_fine = options.partial_is_fine || asks_for_part(attempt);
    if head.status == StatusCode::PARTIAL_CONTENT && !partial_is_fine {
        return Err(FetchError::Protocol {
            cause: Cause::words("206 Partial Content, but the whole was asked for"),
        });
    }
    let plain = !head.headers.contains_key(header::CONTENT_ENCODING);
    let length = head.content_length();
    if let Some(length) = length.filter(|_| plain && has_body(attempt, head)) {
        if length > options.max_size {
            return Err(FetchError::TooLarge {
                limit: options.max_size,
                announced: Some(length),
            });
        }
        Expectation::new(attempt, false).announced(length)?;
    }
    Ok(None)
}

/// Whether the line itself asks for a part only.
fn asks_for_part(attempt: &Attempt) -> bool {
    let wish = attempt.job.wish.as_ref();
    wish.is_some_and(|wish| wish.headers.contains_key(header::RANGE))
}

/// When the server wants to be asked again: it says so, or it says that nothing is left of
/// what it allows.
fn asked_to_wait(head: &ResponseHead) -> Option<Duration> {
    let now = SystemTime::now();
    head.text(header::RETRY_AFTER)
        .and_then(|value| parse_retry_after(value, now))
        .or_else(|| budget_gone(&head.headers, now))
}

/// RFC 9110 §6.4.1: whose responses have no body whatever their headers say.
fn has_body(attempt: &Attempt, head: &ResponseHead) -> bool {
    attempt.method != Method::HEAD && head.status != StatusCode::NO_CONTENT
}

async fn take_body<B: Body, F: BodyFile>(
    body: B,
    head: &ResponseHead,
    sink: &mut Sink<'_, F>,
    stall_timeout: Option<Duration>,
) -> Result<(), FetchError> {
    let mut wire = WireBody {
        body,
        stall: StallClock::new(stall_timeout),
        received: 0,
        expected: head.content_length(),
    };
    match codings(&head.headers) {
        Some(codings) if !codings.is_empty() => {
            let mut decoder = Decoder::new(&codings)?;
            while let Some(chunk) = wire.next().await? {
                decoder.feed(chunk);
                while let Some(piece) = decoder.next()? {
                    sink.write(piece).await?;
                }
            }
            decoder.end();
            while let Some(piece) = decoder.next()? {
                sink.write(piece).await?;
            }
        }
        // No coding, or one that is not known here: the body is taken as it comes.
        _ => {
            while let Some(chunk) = wire.next().await? {
                sink.write(chunk).await?;
            }
        }
    }
    Ok(())
}

/// A body on the wire, with its clock and its announced length.
struct WireBody<B> {
    body: B,
    stall: StallClock,
    received: u64,
    expected: Option<u64>,
}

impl<B: Body> WireBody<B> {
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        match self.stall.next(&mut self.body).await? {
            Some(chunk) => {
                self.received += chunk.len() as u64;
                Ok(Some(chunk))
            }
            None if self
                .expected
                .is_some_and(|expected| self.received < expected) =>
            {
                Err(FetchError::Truncated {
                    received: self.received,
                    expected: self.expected,
                })
            }
            None => Ok(None),
        }
    }
}

/// Where decoded bytes go, up to the limit, and as long as they may be what is expected.
struct Sink<'a, F> {
    file: F,
    size: u64,
    limit: u64,
    expectation: Expectation,
    live: &'a Live,
}

impl<F: BodyFile> Sink<'_, F> {
    async fn write(&mut self, piece: Bytes) -> Result<(), FetchError> {
        self.size += piece.len() as u64;
        if self.size > self.limit {
            return Err(FetchError::TooLarge {
                limit: self.limit,
                announced: None,
            });
        }
        self.live.received(piece.len() as u64);
        self.expectation.update(&piece)?;
        // Decoding can go on for long without waiting for anything: others get their
        // turn, and an abort or a time limit its chance.
        tokio::task::consume_budget().await;
        self.file.write(piece).await
    }
}

/// Ends a body that brings less than 1 KiB in a window. Only the time spent waiting for
/// the network counts: a slow disk or a slow reader is not the server's fault.
struct StallClock {
    window: Option<Duration>,
    waited: Duration,
    received: u64,
}

impl StallClock {
    fn new(window: Option<Duration>) -> Self {
        Self {
            window,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    async fn next<B: Body>(&mut self, body: &mut B) -> Result<Option<Bytes>, FetchError> {
        let Some(window) = self.window else {
            return body.chunk().await;
        };
        let start = now();
        let left = window.saturating_sub(self.waited);
        let Ok(chunk) = timeout(left, body.chunk()).await else {
            return Err(FetchError::Stalled {
                window,
                received: self.received,
            });
        };
        let chunk = chunk?;
        self.waited += now().saturating_duration_since(start);
        self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.received >= STALL_BYTES {
            self.waited = Duration::ZERO;
            self.received = 0;
        }
        Ok(chunk)
    }
}

/// Reads a small body to its end, so that its connection can be used again. A large or
/// slow one costs more than a new connection.
async fn drain<B: Body>(body: &mut B, head: &ResponseHead) {
    if head
        .content_length()
        .is_some_and(|length| length > DRAIN_BYTES)
    {
        return;
    }
    let reading = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = body.chunk().await {
            read += chunk.len() as u64;
            if read > DRAIN_BYTES {
                break;
            }
        }
    };
    // Whether it ended or not makes no difference here.
    let _ = timeout(DRAIN_TIME, reading).await;
}
