//! Moves a body from the wire to its store: applies the stall timeout, checks the length,
//! decodes, enforces the size limit and verifies the expected content.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use tokio::time::sleep;

use super::attempt_outcome::PartialContent;
use super::body_verifier::BodyVerifier;
use super::coding::BodyFraming;
use super::decoder_budget::{DecoderBudget, DecoderReservation};
use crate::fetch::{ContentCoding, Decoder, ResponseBody, codings};
use crate::model::{Cause, FetchError, LiveStats, ResponseHead, WireState, now};
use crate::schedule::BodyPace;
use crate::store::BodyWriter;

/// Minimum bytes per stall window.
const STALL_BYTES: u64 = 1024;
/// Maximum overhead of a coding on incompressible data, in bytes; far more than any adds.
const CODING_COST: u64 = 1 << 20;

/// Bytes of a coded body that are gathered before decoding starts. Decoders take megabytes, and
/// most bodies are smaller than this, so that they need one only for a moment. Small, because a
/// body that waits for decoder memory also holds what the client has read: chunks that grow to
/// 400 KiB the longer it reads, and faster under load.
const GATHER_BYTES: u64 = 32 << 10;

/// Reads a body from the wire, decodes it, and writes it to the sink.
pub(super) async fn take_body<B: ResponseBody, F: BodyWriter>(
    mut wire: WireBody<'_, B>,
    head: &ResponseHead,
    sink: &mut BodySink<'_, F>,
) -> Result<(), FetchError> {
    match std::mem::replace(&mut wire.codings, Ok(Vec::new()))? {
        codings if !codings.is_empty() => {
            let mut decoder = Decoder::new(&codings)?;
            let mut share = sink.windows.reserve();
            let mut gathered = Vec::new();
            while let Some(chunk) = wire.next().await? {
                // Empty members, blocks, names and padding decode to nothing, so the limit on
                // decoded bytes alone would let a body go on forever.
                if wire.received > sink.limit.saturating_add(CODING_COST) {
                    return Err(sink.too_large());
                }
                if wire.received < GATHER_BYTES {
                    gathered.extend_from_slice(&chunk);
                    continue;
                }
                decoder.feed(std::mem::take(&mut gathered).into());
                decoder.feed(chunk);
                write_decoded(&mut decoder, &mut share, sink).await?;
            }
            decoder.feed(gathered.into());
            decoder.finish_input((!head.marks_end()).then_some(FetchError::Truncated {
                received: wire.received,
                expected: None,
            }));
            write_decoded(&mut decoder, &mut share, sink).await?;
        }
        // Nothing to decode.
        _ => {
            let mut watch = EndWatch::new(head, sink)?;
            while let Some(chunk) = wire.next().await? {
                if let Some(watch) = &mut watch {
                    watch.see(chunk.clone()).await?;
                }
                sink.write(chunk).await?;
            }
            if let Some(watch) = watch {
                watch.end(wire.received).await?;
            }
        }
    }
    Ok(())
}

/// Finds the end of a coded body that is stored without decoding. If only the end of the
/// connection delimits the body, nothing but the coding itself shows whether it is complete.
struct EndWatch<'a> {
    /// `None` once it cannot tell: the body is not what its coding says, or unpacks to more than
    /// the limit.
    decoder: Option<Decoder>,
    share: DecoderReservation<'a>,
    unpacked: u64,
    limit: u64,
}

impl<'a> EndWatch<'a> {
    fn new<F>(head: &ResponseHead, sink: &BodySink<'a, F>) -> Result<Option<Self>, FetchError> {
        let kept = head.kept_coding.as_ref().filter(|_| !head.marks_end());
        let Some(codings) = kept.and_then(|_| codings(&head.headers)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            decoder: Some(Decoder::new(&codings)?),
            share: sink.windows.reserve(),
            unpacked: 0,
            limit: sink.limit,
        }))
    }

    async fn see(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        if let Some(decoder) = &mut self.decoder {
            decoder.feed(chunk);
        }
        self.unpack().await
    }

    async fn end(mut self, received: u64) -> Result<(), FetchError> {
        if let Some(decoder) = &mut self.decoder {
            let expected = None;
            decoder.finish_input(Some(FetchError::Truncated { received, expected }));
        }
        self.unpack().await
    }

    async fn unpack(&mut self) -> Result<(), FetchError> {
        while let Some(decoder) = &mut self.decoder {
            if decoder.may_grow_window() {
                self.share.wait_for_room().await?;
            }
            match decoder.next() {
                Ok(Some(piece)) => self.unpacked += piece.len() as u64,
                Ok(None) => return Ok(()),
                Err(error @ FetchError::Truncated { .. }) => return Err(error),
                // The coded bytes are the file, so whether they decode is not our concern.
                Err(_) => self.unpacked = u64::MAX,
            }
            self.share.set_held(decoder.window_bytes()).await?;
            if self.unpacked > self.limit {
                self.decoder = None;
            }
            tokio::task::consume_budget().await;
        }
        Ok(())
    }
}

/// Writes everything that can be decoded so far.
async fn write_decoded<F: BodyWriter>(
    decoder: &mut Decoder,
    share: &mut DecoderReservation<'_>,
    sink: &mut BodySink<'_, F>,
) -> Result<(), FetchError> {
    loop {
        if decoder.may_grow_window() {
            share.wait_for_room().await?;
        }
        let piece = decoder.next()?;
        share.set_held(decoder.window_bytes()).await?;
        match piece {
            Some(piece) => sink.write(piece).await?,
            None => return Ok(()),
        }
    }
}

/// A body on the wire, with its stall clock and announced length.
pub(super) struct WireBody<'a, B> {
    body: B,
    stall: StallClock<'a>,
    pace: BodyPace<'a>,
    /// What was received and waits for its turn under a limit on the bandwidth.
    held: Bytes,
    received: u64,
    /// The codings to decode.
    codings: Result<Vec<ContentCoding>, FetchError>,
    expected: Option<u64>,
    /// Whether more bytes than expected are an error. The transport enforces `Content-Length`,
    /// but not the length of a range.
    is_exact: bool,
    /// Whether to stop at the expected length although the transport would read until the
    /// connection closes, as it does with `Transfer-Encoding: identity`.
    ends_at_length: bool,
}

impl<'a, B> WireBody<'a, B> {
    /// Creates the body of a response, or the `rest` of one.
    pub(super) fn new(
        body: B,
        framing: BodyFraming,
        rest: Option<PartialContent>,
        stall: StallClock<'a>,
        pace: BodyPace<'a>,
    ) -> Self {
        Self {
            body,
            stall,
            pace,
            held: Bytes::new(),
            received: 0,
            codings: framing.codings,
            expected: rest.map(|rest| rest.length).or(framing.length),
            is_exact: rest.is_some(),
            ends_at_length: framing.has_transfer_coding && framing.length.is_some(),
        }
    }
}

impl<'a, B> WireBody<'a, B> {
    /// Returns how many bytes it has, if that is announced.
    pub(super) fn length(&self) -> Option<u64> {
        self.expected
    }

    /// Returns the state of its connection.
    pub(super) fn wire(&self) -> &'a WireState {
        self.stall.wire
    }
}

impl<B: ResponseBody> WireBody<'_, B> {
    /// Returns the next bytes. Under a limit on the bandwidth, a chunk is handed out in pieces, and the
    /// next one is not received before.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if self.held.is_empty() {
            match self.receive().await? {
                Some(chunk) => self.held = chunk,
                None => return Ok(None),
            }
        }
        let granted = self.pace.take(self.held.len()).await;
        Ok(Some(self.held.split_to(granted.min(self.held.len()))))
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, FetchError> {
        let left = self.expected.filter(|_| self.ends_at_length);
        let left = left.map(|length| length.saturating_sub(self.received));
        if left == Some(0) {
            return Ok(None);
        }
        match self.stall.next(&mut self.body, &self.pace).await? {
            Some(mut chunk) => {
                if let Some(left) = left.and_then(|left| usize::try_from(left).ok()) {
                    chunk.truncate(left);
                }
                self.received += chunk.len() as u64;
                let is_more = self.expected.is_some_and(|most| self.received > most);
                if self.is_exact && is_more {
                    return Err(FetchError::Protocol {
                        cause: Cause::from_text("body is longer than its Content-Range"),
                    });
                }
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

/// Writes decoded bytes to the store while they respect the size limit and the expected content.
pub(super) struct BodySink<'a, F> {
    pub file: F,
    pub size: u64,
    pub limit: u64,
    pub verifier: BodyVerifier,
    pub live: &'a LiveStats,
    pub windows: &'a DecoderBudget,
}

impl<F> BodySink<'_, F> {
    fn too_large(&self) -> FetchError {
        FetchError::TooLarge {
            limit: self.limit,
            announced: None,
        }
    }

    /// Checks that a range completed the body: a server may send less than requested.
    ///
    /// # Errors
    /// `truncated` when bytes are still missing.
    pub(super) fn check_complete(&self, rest: Option<PartialContent>) -> Result<(), FetchError> {
        match rest {
            Some(rest) if self.size < rest.total => Err(FetchError::Truncated {
                received: self.size,
                expected: Some(rest.total),
            }),
            _ => Ok(()),
        }
    }
}

impl<F: BodyWriter> BodySink<'_, F> {
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), FetchError> {
        self.size += piece.len() as u64;
        if self.size > self.limit {
            return Err(self.too_large());
        }
        self.live.add_bytes(piece.len() as u64);
        self.verifier.update(&piece)?;
        // Decoding may run for long without awaiting anything: yield now and then, so that
        // other tasks run and aborts and timeouts take effect.
        tokio::task::consume_budget().await;
        self.file.write(piece).await
    }
}

/// Awaits a future for at most `limit` and returns how long it waited. A future that is ready
/// at once costs neither a timer nor a clock read.
pub(super) async fn within<R>(
    limit: Duration,
    mut future: Pin<&mut impl Future<Output = R>>,
) -> (Option<R>, Duration) {
    let mut start = None;
    let mut late = pin!(None);
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if start.is_none() {
            start = Some(now());
            late.set(Some(sleep(limit)));
        }
        let late = late.as_mut().as_pin_mut();
        late.map_or(Poll::Pending, |late| late.poll(cx).map(|()| None))
    });
    let result = result.await;
    let waited = start.map(|start| now().saturating_duration_since(start));
    (result, waited.unwrap_or_default())
}

/// Fails a body that delivers less than 1 KiB per window. Only time spent waiting for the
/// network counts: a slow disk or output is not the server's fault, nor is a limit on the bandwidth.
pub(super) struct StallClock<'a> {
    window: Option<Duration>,
    wire: &'a WireState,
    /// Whether bodies that are not read can hold up this one: the streams of an HTTP/2 connection
    /// share its window.
    is_shared: bool,
    waited: Duration,
    received: u64,
}

impl<'a> StallClock<'a> {
    pub(super) fn new(window: Option<Duration>, wire: &'a WireState, version: Version) -> Self {
        Self {
            window,
            wire,
            is_shared: version == Version::HTTP_2,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    async fn next<B: ResponseBody>(
        &mut self,
        body: &mut B,
        pace: &BodyPace<'_>,
    ) -> Result<Option<Bytes>, FetchError> {
        let Some(window) = self.window else {
            // It may have been.
            self.wire.mark_body_awaited();
            return body.chunk().await;
        };
        let mut next = pin!(body.chunk());
        let (chunk, waited) = loop {
            let left = window.saturating_sub(self.waited);
            let (chunk, waited) = within(left, next.as_mut()).await;
            if !waited.is_zero() {
                self.wire.mark_body_awaited();
            }
            match chunk {
                Some(chunk) => break (chunk?, waited),
                None if self.is_shared && pace.has_waiting() => self.waited = Duration::ZERO,
                None => {
                    self.wire.note_lateness(waited.saturating_sub(left));
                    return Err(FetchError::Stalled {
                        window,
                        received: self.received,
                    });
                }
            }
        };
        self.waited += waited;
        self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.received >= STALL_BYTES {
            self.waited = Duration::ZERO;
            self.received = 0;
        }
        Ok(chunk)
    }
}
