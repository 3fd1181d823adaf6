//! An attempt that ended, before it is known what follows.

use std::sync::Arc;
use std::time::Instant;

use http::Version;

use super::{Engine, RunClock};
use crate::model::{
    ArchiveOnlyBody, Attempt, AttemptTrace, ErrorKind, FetchError, JobHistory, ResendCause,
    ResponseHead, TraceOutcome, WireState, add_trace, now,
};

/// An attempt that ended, with what was observed of it.
pub(super) struct FinishedAttempt {
    /// The attempt.
    pub attempt: Box<Attempt>,
    /// The head of its response, if one was received.
    pub head: Option<ResponseHead>,
    /// The body of that response if it is not the job's body, for an archive.
    pub archive_only: Option<ArchiveOnlyBody>,
    /// The state of its connection.
    pub wire: Arc<WireState>,
}

impl FinishedAttempt {
    /// Returns a copy, without a body for an archive.
    pub(super) fn copy(&self) -> Self {
        Self {
            attempt: self.attempt.clone(),
            head: self.head.clone(),
            archive_only: None,
            wire: Arc::clone(&self.wire),
        }
    }

    /// Whether HTTP/2 failed: the server ended the connection or the stream early.
    pub(super) fn failed_over_http2(&self, error: &FetchError) -> bool {
        let head = self.head.as_ref();
        let over_http2 = head.map_or(self.wire.failed_over_http2(), |head| {
            head.version == Version::HTTP_2
        });
        let ended_early = matches!(error.kind(), ErrorKind::Reset | ErrorKind::Truncated);
        over_http2 && ended_early && !self.wire.is_throttled() && !self.wire.is_simulated()
    }

    /// Whether another address of the host may do better than the one that was asked.
    pub(super) fn blames_address(&self, error: &FetchError) -> bool {
        error.may_be_the_address()
            && self.wire.resend_cause().is_none()
            && !self.wire.is_simulated()
    }

    /// Closes this attempt; the job's next request may start now.
    pub(super) fn close_attempt_now<T, S>(
        &mut self,
        engine: &Engine<T, S>,
        outcome: TraceOutcome,
    ) -> &mut JobHistory {
        let now = now();
        self.close_attempt(engine, outcome, now, now)
    }

    /// Closes this attempt without counting it: the same request is sent again.
    pub(super) fn close_for_resend<T, S>(&mut self, engine: &Engine<T, S>) -> &mut JobHistory {
        self.attempt.number -= 1;
        // The records count requests to servers, and a CONNECT is one to the proxy.
        let was_sent = self.wire.resend_cause() != Some(ResendCause::BrokenTunnel);
        let history = self.close_attempt_now(engine, TraceOutcome::Resent);
        history.total_resends += u32::from(was_sent);
        history
    }

    /// Closes this attempt, which ended at `end`; the next may start at `again`. Returns the history to
    /// which the caller adds what the attempt used up.
    pub(super) fn close_attempt<T, S>(
        &mut self,
        engine: &Engine<T, S>,
        outcome: TraceOutcome,
        end: Instant,
        again: Instant,
    ) -> &mut JobHistory {
        if engine.options.trace_attempts {
            self.record_trace(outcome, end, &engine.clock);
            self.attempt.set_ready_at(engine.clock.since_start(again));
        }
        self.attempt.history_mut(self.wire.started())
    }

    /// Adds its rejection by a host that had accepted so many requests when it started. Returns
    /// whether that concerns this URL alone.
    pub(super) fn add_rejection(&mut self, accepted: u32) -> bool {
        let number = self.attempt.number;
        let history = self.attempt.history_mut(self.wire.started());
        history.rejections.add(number, accepted);
        history.rejections.concern_one_url()
    }

    /// Records the timing of this attempt.
    pub(super) fn record_trace(&mut self, outcome: TraceOutcome, end: Instant, clock: &RunClock) {
        let wire = &self.wire;
        let began = clock.since_start(wire.started());
        let end = clock.since_start(end);
        let connected = wire
            .opened_connection()
            .then(|| wire.connect_time().map_or(end, |took| began + took));
        let one = AttemptTrace {
            ready: self.attempt.history().ready,
            start: began,
            connected,
            head: wire.head_time().map(|took| began + took),
            end,
            status: self.head.as_ref().map(|head| head.status.as_u16()),
            outcome,
        };
        let history = self.attempt.history_mut(wire.started());
        add_trace(&mut history.traces, one);
    }
}
