//! The right to run one attempt.

use std::sync::Arc;
use std::time::Instant;

use crate::model::{Attempt, Feedback, HostKey, HostVerdict};

use super::host_control::StartSnapshot;
use super::queue::Ticket;
use super::{Scheduler, SchedulerState};

/// The right to run one attempt. Dropping a lease (panic, abort) releases its slot; the job counts
/// as left.
#[derive(Debug)]
pub(crate) struct Lease {
    scheduler: Arc<Scheduler>,
    /// The slot; `None` once it was released.
    ticket: Option<Ticket>,
    attempt: Option<Box<Attempt>>,
    /// Heap bytes of the attempt that the scheduler counts for this lease.
    weight: usize,
    is_uncounted: bool,
}

impl Lease {
    pub(super) fn new(scheduler: &Arc<Scheduler>, ticket: Ticket, attempt: Box<Attempt>) -> Self {
        Self {
            scheduler: Arc::clone(scheduler),
            weight: attempt.heap_bytes(),
            ticket: Some(ticket),
            attempt: Some(attempt),
            is_uncounted: false,
        }
    }

    /// Takes the attempt out to run it. [`park`](Self::park) and [`requeue`](Self::requeue) return
    /// it to the queue.
    pub(crate) fn take(&mut self) -> Option<Box<Attempt>> {
        self.attempt.take()
    }

    /// Returns what further requests for the body of this attempt start with.
    #[must_use]
    pub(crate) fn segment_slots(&self) -> Option<SegmentSlots> {
        self.ticket.map(|ticket| SegmentSlots {
            scheduler: Arc::clone(&self.scheduler),
            ticket,
        })
    }

    /// Returns the thread that runs the attempt.
    #[must_use]
    pub(crate) fn thread(&self) -> usize {
        self.ticket.map_or(0, |ticket| ticket.thread)
    }

    /// Returns what was known of the host when this attempt started.
    #[must_use]
    pub(crate) fn start_snapshot(&self) -> Option<StartSnapshot> {
        self.ticket.map(|ticket| ticket.start)
    }

    /// Whether the attempt runs alone at its host until
    /// [`mark_connected`](Self::mark_connected): no connection to the host is known yet.
    #[must_use]
    pub(crate) fn is_first_connection(&self) -> bool {
        self.start_snapshot().is_some_and(|start| start.cold)
    }

    /// Marks the host as connected, so that other attempts may follow.
    pub(crate) fn mark_connected(&mut self) {
        self.resume_counting();
        if let Some(ticket) = self.ticket {
            self.scheduler
                .update(|state, now| state.queue.connected(&ticket, now));
        }
    }

    /// Stops counting against the total limit, while the attempt waits for a host that may never
    /// answer, unless too many have.
    pub(crate) fn stop_counting(&mut self) {
        if !self.is_uncounted {
            self.is_uncounted = self
                .scheduler
                .update(|state, _| state.queue.stop_counting());
        }
    }

    /// Counts against the total limit again.
    pub(crate) fn resume_counting(&mut self) {
        if std::mem::take(&mut self.is_uncounted) {
            self.scheduler
                .update(|state, _| state.queue.resume_counting());
        }
    }

    /// Releases the slot and parks the attempt until `until`. It is then queued ahead of the new
    /// attempts at its host, which need not be the host that it failed at.
    pub(crate) fn park(mut self, attempt: Box<Attempt>, until: Instant, feedback: &Feedback) {
        self.give_back(feedback, attempt.heap_bytes(), |state, _| {
            let host = state.queue.intern_host(HostKey::key_str(attempt.url()));
            state.queue.park(host, attempt, until);
        });
    }

    /// Releases the slot and queues the attempt ahead of the new ones at its host, which need not
    /// be the host that it came from.
    pub(crate) fn requeue(mut self, attempt: Box<Attempt>, feedback: &Feedback) {
        let scheduler = Arc::clone(&self.scheduler);
        let permission = scheduler.permission(&attempt);
        self.give_back(feedback, attempt.heap_bytes(), |state, now| {
            scheduler.admit(state, attempt, true, permission, now);
        });
    }

    /// Releases the slot: the job is settled.
    pub(crate) fn release(mut self, feedback: &Feedback) {
        self.give_back(feedback, 0, |_, _| {});
    }

    /// Releases the slot of a segment. No worker asks for it by itself.
    pub(crate) fn release_segment(self, feedback: &Feedback) {
        let (scheduler, thread) = (Arc::clone(&self.scheduler), self.thread());
        self.release(feedback);
        scheduler.wake(thread);
    }

    /// Releases the slot, after `change` has put the attempt where it goes next. `weight` is what
    /// remains of it in the queue, in heap bytes.
    fn give_back(
        &mut self,
        feedback: &Feedback,
        weight: usize,
        change: impl FnOnce(&mut SchedulerState, Instant),
    ) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let is_uncounted = std::mem::take(&mut self.is_uncounted);
        // No worker is woken for the freed slot: the one that frees it asks for its next lease at
        // once, and wakes another worker if there is more to do.
        self.scheduler.update_no_wake(|state, now| {
            state.change_weight(self.weight, weight);
            if is_uncounted {
                state.queue.resume_counting();
            }
            change(state, now);
            state.queue.release(&ticket, feedback, now);
        });
    }
}

/// Slots for further requests for the body that a running attempt brings.
#[derive(Debug)]
pub(crate) struct SegmentSlots {
    scheduler: Arc<Scheduler>,
    ticket: Ticket,
}

impl SegmentSlots {
    /// Returns a slot, if one is free that nothing else could use, and the host is willing. The attempt
    /// must still be running.
    #[must_use]
    pub(crate) fn lease(&self) -> Option<Lease> {
        let start = |state: &mut SchedulerState, now| match state.stopped {
            true => None,
            false => state.queue.start_segment(&self.ticket, now),
        };
        let ticket = self.scheduler.update_no_wake(start)?;
        Some(Lease {
            scheduler: Arc::clone(&self.scheduler),
            ticket: Some(ticket),
            attempt: None,
            weight: 0,
            is_uncounted: false,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let thread = self.thread();
        if self.ticket.is_some() {
            let feedback = Feedback::from_verdict(HostVerdict::Inconclusive);
            self.give_back(&feedback, 0, |_, _| {});
            // This worker may be gone, so wake another one for the slot.
            self.scheduler.wake(thread);
        }
    }
}
