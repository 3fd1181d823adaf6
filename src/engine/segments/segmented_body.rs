//! A body that is received in segments, and each further request for it: what that asks for, whether
//! its response is that, and what it brings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::AbortHandle;
use http::StatusCode;

use crate::engine::attempt_outcome::{AttemptOutcome, BodySource, PartialContent};
use crate::engine::body::{StallClock, WireBody};
use crate::engine::coding::BodyFraming;
use crate::engine::opening::open_in_time;
use crate::engine::{Engine, host_feedback, resume};
use crate::fetch::{RawResponse, Transport};
use crate::model::{
    Attempt, BodyVersion, FetchError, HostKey, LiveStats, PartialBody, ResponseHead, SendMode,
    WireState, now, wall_time,
};
use crate::schedule::{Lease, SegmentPlan, SegmentRequest, exhausted_for, retry_after};
use crate::store::{BodyStore, SegmentWriter, SegmentedFile};

/// A body that is received in segments.
pub(super) struct SegmentedBody<'a, T, S> {
    pub engine: &'a Engine<T, S>,
    pub attempt: &'a Attempt,
    /// The connection of the first request.
    pub wire: &'a WireState,
    pub version: BodyVersion,
    /// `None`: the store takes no segments, so there is only the first.
    pub file: Option<SegmentedFile>,
    pub plan: Mutex<SegmentPlan>,
}

/// Why a request did not bring its part.
pub(super) enum SegmentFailure {
    Failed(FetchError),
    /// The server sends something else than the body that the first request began.
    Contradicted,
}

impl From<FetchError> for SegmentFailure {
    fn from(error: FetchError) -> Self {
        Self::Failed(error)
    }
}

/// A further request.
pub(super) struct OpenSegment {
    pub id: usize,
    pub attempt: Arc<Attempt>,
    pub wire: Arc<WireState>,
    pub abort: AbortHandle,
}

impl OpenSegment {
    pub(super) fn target(&self) -> (usize, Arc<Attempt>, Arc<WireState>) {
        (self.id, Arc::clone(&self.attempt), Arc::clone(&self.wire))
    }
}

impl<T: Transport, S: BodyStore> SegmentedBody<'_, T, S> {
    pub(super) fn plan(&self) -> MutexGuard<'_, SegmentPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a request that is about to be sent.
    pub(super) fn segment(
        &self,
        request: SegmentRequest,
        thread: usize,
        abort: AbortHandle,
    ) -> OpenSegment {
        let attempt = self.attempt_for(request);
        let wire = WireState::new(now())
            .with_thread(thread)
            .with_useful_connections(self.engine.live.useful_connections());
        tracing::debug!(
            url = &*attempt.shown_url(),
            start = request.start,
            end = request.end,
            "requesting a segment",
        );
        OpenSegment {
            id: request.id,
            attempt: Arc::new(attempt),
            wire: Arc::new(wire),
            abort,
        }
    }

    fn attempt_for(&self, request: SegmentRequest) -> Attempt {
        let total = self.version.total.unwrap_or(request.end);
        let mut attempt = self.attempt.clone();
        attempt.part = Some(Box::new(PartialBody {
            version: self.version.clone(),
            length: request.start,
            beyond: [(request.end, total)].into_iter().collect(),
        }));
        attempt.send_mode = match request.is_repeated {
            true => SendMode::Fresh,
            false => SendMode::Usual,
        };
        attempt
    }

    /// Runs one request to its end, and tells the host's queue how it went.
    pub(super) async fn run(
        &self,
        (id, attempt, wire): (usize, Arc<Attempt>, Arc<WireState>),
        mut writer: SegmentWriter,
        lease: Lease,
    ) -> (usize, Result<(), SegmentFailure>) {
        let counted = CountedSegment::new(&self.engine.live, &wire);
        let mut head = None;
        let received = self
            .receive(id, &attempt, &wire, &mut writer, &mut head)
            .await;
        // What it brought is written before its part counts as there.
        drop(writer);
        drop(counted);
        let outcome = match &received {
            Err(SegmentFailure::Failed(error)) => Err(error.clone()),
            Ok(()) | Err(SegmentFailure::Contradicted) => Ok(AttemptOutcome::Body(())),
        };
        if let Err(error) = &outcome
            && error.may_be_the_address()
        {
            self.engine.transport.avoid_address(&attempt, &wire);
        }
        let longest = self.engine.retry.retry_after_max;
        let feedback = host_feedback::feedback(&wire, head.as_ref(), &outcome, longest);
        lease.release_segment(&feedback);
        (id, received)
    }

    /// Receives a segment.
    async fn receive(
        &self,
        id: usize,
        attempt: &Attempt,
        wire: &Arc<WireState>,
        writer: &mut SegmentWriter,
        response_head: &mut Option<ResponseHead>,
    ) -> Result<(), SegmentFailure> {
        let engine = self.engine;
        let RawResponse { head, body } = open_in_time(engine, attempt, wire).await?;
        wire.mark_head_received(now());
        if let Some(jar) = &engine.options.jar {
            jar.take(attempt.url(), &head.headers);
        }
        let head = response_head.insert(head);
        let rest = rest_in(attempt, head)?;
        let stall = StallClock::new(engine.options.stall_timeout, wire, head.version);
        let pace = engine.bandwidth.body_pace(HostKey::key_str(attempt.url()));
        let framing = BodyFraming::of(head);
        let mut body = WireBody::new(body, framing, Some(rest), stall, pace);
        self.plan().accept(id, now());
        while self.plan().is_wanted(id) {
            let Some(mut chunk) = body.next().await? else {
                break;
            };
            let room = self.plan().room(id, chunk.len());
            chunk.truncate(room);
            engine.live.add_bytes(room as u64);
            writer.write(chunk).await?;
            self.plan().take(id, room as u64, now());
        }
        Ok(())
    }
}

/// Returns the range in the response of a request for a segment.
fn rest_in(attempt: &Attempt, head: &ResponseHead) -> Result<PartialContent, SegmentFailure> {
    let part = attempt.resumable_part();
    let answer = part.map(|part| resume::classify_response(part, attempt.url(), head));
    match answer {
        Some(Ok(Some(BodySource::Response(Some(rest))))) => Ok(rest),
        Some(Ok(None)) if head.status != StatusCode::OK => {
            let now = wall_time();
            let delay = retry_after(&head.headers, now);
            Err(SegmentFailure::Failed(FetchError::Status {
                status: head.status,
                retry_after: delay.or_else(|| exhausted_for(&head.headers, now)),
                note: None,
            }))
        }
        _ => Err(SegmentFailure::Contradicted),
    }
}

/// Counts a further request as in flight until dropped.
struct CountedSegment<'a> {
    live: &'a LiveStats,
    wire: &'a WireState,
}

impl<'a> CountedSegment<'a> {
    fn new(live: &'a LiveStats, wire: &'a WireState) -> Self {
        live.begin_segment();
        Self { live, wire }
    }
}

impl Drop for CountedSegment<'_> {
    fn drop(&mut self) {
        let busy = now().saturating_duration_since(self.wire.started());
        self.live.end_request(None, busy);
    }
}
