//! Entry point of the micro-benchmarks into the host queue.

use std::num::NonZeroUsize;
use std::time::Instant;

use super::queue::{FairQueue, Turn};
use super::{PerHostLimit, RetryPolicy, ScheduleOptions, rules};
use crate::model::{Feedback, HostVerdict};

/// Queues `items` items per host, round-robin, runs them all one after another, and returns how
/// many ran.
pub fn take_turns(hosts: usize, items: usize) -> usize {
    let options = ScheduleOptions {
        per_host: PerHostLimit::Fixed(NonZeroUsize::MIN.saturating_add(9)),
        ..ScheduleOptions::default()
    };
    let total = NonZeroUsize::MIN.saturating_add(63);
    let rules = rules(&options, &RetryPolicy::default(), total);
    let (mut queue, now) = (FairQueue::new(rules, None), Instant::now());
    for item in 0..hosts * items {
        let host = queue.intern_host(&format!("host{}.test:80", item % hosts));
        queue.push(host, item, now);
    }
    queue.input_ended();
    let answered = Feedback::from_verdict(HostVerdict::Answered);
    let mut ran = 0;
    while let Turn::Run(ticket, _) = queue.next(0, now) {
        queue.connected(&ticket, now);
        queue.release(&ticket, &answered, now);
        ran += 1;
    }
    ran
}
