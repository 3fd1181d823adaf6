//! The right to run one attempt.

use std::sync::Arc;
use std::time::Instant;

use crate::model::{Attempt, Feedback, HostKey, HostVerdict};

use super::Scheduler;
use super::host_control::StartSnapshot;
use super::queue::{HostQueue, Ticket};

/// The right to run one attempt. Dropped without a word (panic, abort) it gives its
/// slot back, and the job counts as left.
#[derive(Debug)]
pub struct Lease {
    scheduler: Arc<Scheduler>,
    /// Where the slot is; gone once it was given back.
    ticket: Option<Ticket>,
    attempt: Option<Box<Attempt>>,
    /// What the attempt weighs, as long as this is answerable for it.
    weight: usize,
    aside: bool,
}

impl Lease {
    pub(super) fn new(scheduler: &Arc<Scheduler>, ticket: Ticket, attempt: Box<Attempt>) -> Self {
        Self {
            scheduler: Arc::clone(scheduler),
            weight: attempt.heap_bytes(),
            ticket: Some(ticket),
            attempt: Some(attempt),
            aside: false,
        }
    }

    /// Takes the attempt out, to run it. It is put back by [`park`](Self::park) or
    /// [`requeue`](Self::requeue).
    pub fn take(&mut self) -> Option<Box<Attempt>> {
        self.attempt.take()
    }

    /// What was known of the host when this attempt started.
    #[must_use]
    pub fn start(&self) -> Option<StartSnapshot> {
        self.ticket.map(|ticket| ticket.start)
    }

    /// Whether it goes to its host alone, until a connection is known to stand:
    /// [`connected`](Self::connected).
    #[must_use]
    pub fn is_first_connection(&self) -> bool {
        self.start().is_some_and(|start| start.cold)
    }

    /// A connection stands; others may follow.
    pub fn mark_connected(&mut self) {
        self.resume_counting();
        if let Some(ticket) = self.ticket {
            self.scheduler
                .update(|queue, now| queue.connected(&ticket, now));
        }
    }

    /// Stops to count against the total: it only waits for a host that may never answer.
    pub fn stop_counting(&mut self) {
        if !self.aside {
            self.aside = true;
            self.scheduler.update(|queue, _| queue.set_aside());
        }
    }

    /// Counts against the total again.
    pub fn resume_counting(&mut self) {
        if std::mem::take(&mut self.aside) {
            self.scheduler.update(|queue, _| queue.count_again());
        }
    }

    /// The attempt waits until `until` and then goes to the front of its host, which need not be
    /// the one it has failed at.
    pub fn park(mut self, attempt: Box<Attempt>, until: Instant, feedback: &Feedback) {
        self.update_weight(&attempt);
        self.give_back(feedback, |queue, _| {
            let host = queue.intern_host(HostKey::key_str(attempt.url()));
            queue.park(host, attempt, until);
        });
    }

    /// The attempt goes on at another host (or the same), at the front of its queue.
    pub fn requeue(mut self, attempt: Box<Attempt>, feedback: &Feedback) {
        self.update_weight(&attempt);
        self.give_back(feedback, |queue, now| {
            let host = queue.intern_host(HostKey::key_str(attempt.url()));
            queue.push_returned(host, attempt, now);
        });
    }

    /// The job is settled.
    pub fn release(mut self, feedback: &Feedback) {
        self.give_back(feedback, |_, _| {});
    }

    /// The attempt goes back, with what came to it on its way.
    fn update_weight(&mut self, attempt: &Attempt) {
        let before = std::mem::take(&mut self.weight);
        let after = attempt.heap_bytes();
        if after != before {
            self.scheduler.weigh(after, before);
        }
    }

    /// Gives the slot back after `change` has put the attempt where it goes next.
    fn give_back(
        &mut self,
        feedback: &Feedback,
        change: impl FnOnce(&mut HostQueue<Box<Attempt>>, Instant),
    ) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let aside = std::mem::take(&mut self.aside);
        let weight = std::mem::take(&mut self.weight);
        if weight > 0 {
            self.scheduler.weigh(0, weight);
        }
        // Nobody else is woken for the freed slot: the worker that frees it asks for its
        // next lease at once, and wakes another one while there is more to do.
        self.scheduler.update_no_wake(|queue, now| {
            if aside {
                queue.count_again();
            }
            change(queue, now);
            queue.release(&ticket, feedback, now);
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.give_back(&Feedback::from_verdict(HostVerdict::Nothing), |_, _| {});
            // This worker may never come back.
            self.scheduler.work.notify_one();
        }
    }
}
