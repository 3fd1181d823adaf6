//! Receives a large body in segments: further requests bring parts of it at the same time as the
//! first. `SegmentPlan` decides; this carries it out.

mod segmented_body;

use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{AbortHandle, Abortable};
use futures::stream::FuturesUnordered;
use http::{StatusCode, header};
use tokio::time::{MissedTickBehavior, interval};

use self::segmented_body::{OpenSegment, SegmentFailure, SegmentedBody};
use super::Engine;
use super::attempt_outcome::{MIN_PIECE_BYTES, discards_body};
use super::body::{BodySink, WireBody};
use super::body_target::BodyTarget;
use super::body_verifier::BodyVerifier;
use crate::fetch::{ResponseBody, Transport};
use crate::model::{Attempt, BodyVersion, ByteRanges, FetchError, PartialBody, ResponseHead, now};
use crate::schedule::{Lease, SegmentPlan, SegmentRequest, SegmentRules, SegmentSlots};
use crate::store::{BodyStore, BodyWriter};

/// How often it is decided whether requests are added or dropped.
const DECISION_INTERVAL: Duration = Duration::from_millis(50);

/// What an attempt may use for a body in segments, and what it has used.
#[derive(Debug, Default)]
pub(super) struct SegmentBudget {
    /// Where slots for further requests come from; `None`: there are none.
    pub slots: Option<Box<SegmentSlots>>,
    /// How many requests brought bytes of the body.
    pub used: usize,
    /// Whether a request for a range brought all of it.
    pub has_whole_range: bool,
}

/// A body that may come in segments.
pub(super) struct PlannedBody {
    version: BodyVersion,
    plan: SegmentPlan,
    /// End of the first gap in the bytes that were kept, if there is one.
    gap_end: Option<u64>,
}

/// How a body ended, whether it came in segments or in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentsEnd {
    /// No further request is needed. That a body in one piece is complete is checked afterwards.
    Whole,
    /// Bytes are missing, and nothing has failed: the next request of the job asks for them.
    Gap,
}

/// Returns the plan of a body that may come in segments, or already has; `None`: it has to come in
/// one piece. `length`: the bytes that this response brings.
pub(super) fn plan<T, S>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    head: &ResponseHead,
    version: impl FnOnce() -> Option<BodyVersion>,
    length: Option<u64>,
    budget: &SegmentBudget,
) -> Option<Box<PlannedBody>> {
    let rules = &engine.options.segments;
    let length = length?;
    let is_part = head.status == StatusCode::PARTIAL_CONTENT;
    let part = attempt.resumable_part().filter(|_| is_part);
    let is_split = part.is_some_and(|part| !part.beyond.is_empty());
    // A body that is already split goes on in segments, however short its gaps.
    let may_split = budget.slots.is_some()
        && (is_split || length / 2 >= rules.min_segment)
        && (is_part || accepts_ranges(head))
        && !attempt.history().without_range;
    if !is_split && !may_split {
        return None;
    }
    let version = version()?;
    let total = version.total?;
    let kept = part.map_or_else(ByteRanges::default, kept_of);
    let reach = kept.prefix().checked_add(length)?;
    // A body that is chunked may be longer or shorter than it says.
    if reach > total || (reach < total && !is_part) {
        return None;
    }
    let rules = match may_split {
        true => rules.clone(),
        false => SegmentRules {
            most: SegmentRules::default().most,
            ..rules.clone()
        },
    };
    let gap_end = kept.gaps(total).next().map(|(_, end)| end);
    let plan = SegmentPlan::new(rules, total, kept, reach, now());
    Some(Box::new(PlannedBody {
        version,
        plan,
        gap_end,
    }))
}

/// Receives a body as planned, its first segment from `body`. What has come stays, also if it fails.
pub(super) async fn take<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    planned: Box<PlannedBody>,
    body: WireBody<'_, T::Body>,
    sink: &mut BodySink<'_, BodyTarget<S::File>>,
    budget: &mut SegmentBudget,
) -> Result<SegmentsEnd, FetchError> {
    let PlannedBody {
        version,
        plan,
        gap_end,
    } = *planned;
    let before = sink.size;
    let segmented = SegmentedBody {
        engine,
        attempt,
        wire: body.wire(),
        version,
        file: sink.file.segments(),
        plan: Mutex::new(plan),
    };
    let ended = segmented
        .take_all(body, sink, budget.slots.as_deref())
        .await;
    let (total, there) = {
        let plan = segmented.plan();
        budget.used = plan.used();
        budget.has_whole_range = plan.has_whole_range();
        (plan.total(), plan.prefix())
    };
    sink.size = there;
    let cut_off = ended?;
    if there >= total {
        let checks = BodyVerifier::of_saved(None, None);
        let verifier = std::mem::replace(&mut sink.verifier, checks);
        sink.verifier = verifier.with_existing(&sink.file, total).await?;
        return Ok(SegmentsEnd::Whole);
    }
    // A server that sends a few bytes at a time must not be asked for ever.
    let goes_on = gap_end.is_some_and(|end| there >= end) || there - before >= MIN_PIECE_BYTES;
    match cut_off {
        Some(error) => Err(error),
        None if goes_on => Ok(SegmentsEnd::Gap),
        None => Err(FetchError::Truncated {
            received: there,
            expected: Some(total),
        }),
    }
}

fn accepts_ranges(head: &ResponseHead) -> bool {
    let values = head.header_str(header::ACCEPT_RANGES).unwrap_or_default();
    let mut units = values.split(',');
    units.any(|unit| unit.trim().eq_ignore_ascii_case("bytes"))
}

fn kept_of(part: &PartialBody) -> ByteRanges {
    let mut kept = part.beyond.clone();
    kept.add(0, part.length);
    kept
}

impl<T: Transport, S: BodyStore> SegmentedBody<'_, T, S> {
    /// Receives until no request is left. Returns why the first one was cut off, if it was.
    async fn take_all<B: ResponseBody, F: BodyWriter>(
        &self,
        first: WireBody<'_, B>,
        sink: &mut BodySink<'_, F>,
        slots: Option<&SegmentSlots>,
    ) -> Result<Option<FetchError>, FetchError> {
        let mut cut_off = None;
        let mut first = Some(Box::pin(self.take_first(first, sink)));
        let mut running = FuturesUnordered::new();
        let mut open = Vec::<OpenSegment>::new();
        let mut clock = interval(DECISION_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let of_first = async {
                match &mut first {
                    Some(first) => first.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                ended = of_first => {
                    first = None;
                    cut_off = self.end_first(ended)?;
                }
                Some(ended) = running.next() => {
                    // An aborted one was dropped by the plan.
                    if let Ok((id, ended)) = ended {
                        self.end_segment(id, ended)?;
                    }
                }
                _ = clock.tick() => self.plan().update(now()),
            }
            if self.plan().is_dropped(SegmentPlan::FIRST) {
                first = None;
            }
            self.abort_dropped(&mut open);
            if let (Some(slots), Some(file)) = (slots, &self.file) {
                for (request, lease) in self.requests(slots) {
                    let (abort, registration) = AbortHandle::new_pair();
                    let segment = self.segment(request, lease.thread(), abort);
                    let writer = file.open_segment(request.start);
                    let received = self.run(segment.target(), writer, lease);
                    running.push(Abortable::new(received, registration));
                    open.push(segment);
                }
            }
            let live = self.plan().live();
            self.wire.set_segments(live);
            if live == 0 && first.is_none() && running.is_empty() {
                return Ok(cut_off);
            }
        }
    }

    /// Receives the first segment, until it ends where another begins. That ends its connection, too.
    async fn take_first<B: ResponseBody, F: BodyWriter>(
        &self,
        mut body: WireBody<'_, B>,
        sink: &mut BodySink<'_, F>,
    ) -> Result<(), FetchError> {
        while self.plan().is_wanted(SegmentPlan::FIRST) {
            let Some(mut chunk) = body.next().await? else {
                break;
            };
            let room = self.plan().room(SegmentPlan::FIRST, chunk.len());
            chunk.truncate(room);
            sink.write(chunk).await?;
            self.plan().take(SegmentPlan::FIRST, room as u64, now());
        }
        Ok(())
    }

    /// Notes the end of the first request. Returns the error if the others may go on without it.
    fn end_first(&self, ended: Result<(), FetchError>) -> Result<Option<FetchError>, FetchError> {
        match ended {
            Err(error) if discards_body(&error) => Err(error),
            ended => {
                self.plan().end_request(SegmentPlan::FIRST);
                Ok(ended.err())
            }
        }
    }

    fn end_segment(&self, id: usize, ended: Result<(), SegmentFailure>) -> Result<(), FetchError> {
        match ended {
            Err(SegmentFailure::Failed(error @ FetchError::Save { .. })) => return Err(error),
            Err(SegmentFailure::Contradicted) => self.plan().end_others(),
            Ok(()) | Err(SegmentFailure::Failed(_)) => self.plan().end_request(id),
        }
        Ok(())
    }

    /// Ends the requests that the plan has dropped. A slow one is asked for elsewhere.
    fn abort_dropped(&self, open: &mut Vec<OpenSegment>) {
        let plan = self.plan();
        if plan.is_slow(SegmentPlan::FIRST) {
            self.engine.transport.avoid_address(self.attempt, self.wire);
        }
        open.retain(|segment| {
            let is_dropped = plan.is_dropped(segment.id);
            if is_dropped {
                segment.abort.abort();
            }
            if is_dropped && plan.is_slow(segment.id) {
                let transport = &self.engine.transport;
                transport.avoid_address(&segment.attempt, &segment.wire);
            }
            !is_dropped
        });
    }

    /// Returns the requests to send now, each with its slot.
    fn requests(&self, slots: &SegmentSlots) -> Vec<(SegmentRequest, Lease)> {
        let now = now();
        let wanted = self.plan().wanted(now);
        // Without the plan locked: a slot takes another lock.
        let leases: Vec<_> = (0..wanted).map_while(|_| slots.lease()).collect();
        let requests = self.plan().open(leases.len(), now);
        requests.into_iter().zip(leases).collect()
    }
}
