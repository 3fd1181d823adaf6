//! The gate of a host: closed until it is known which of its items may run. Meanwhile they wait in
//! the queue of their host, without a slot.

use std::time::Instant;

use crate::model::FetchError;
use crate::schedule::host_change::HostChange;
use crate::schedule::robots::HostRules;

use super::{FairQueue, HostId};

/// An item that waited at a closed gate.
#[derive(Debug)]
pub(crate) struct GatedItem<T> {
    /// The item.
    pub item: T,
    is_returned: bool,
}

impl<T> FairQueue<T> {
    /// Sets which items a closed gate lets through: those that bring what it waits for.
    #[must_use]
    pub(crate) fn with_exempt(self, is_exempt: fn(&T) -> bool) -> Self {
        Self { is_exempt, ..self }
    }

    /// Closes the gate of a host. Returns whether it was open.
    pub(crate) fn close_gate(&mut self, host: HostId) -> bool {
        let host = self.host_mut(host.0);
        host.is_some_and(|host| !std::mem::replace(&mut host.is_gated, true))
    }

    /// Takes out some of what waits at the closed gate of a host, returned items first. Nothing is lost
    /// meanwhile: what is taken out counts as an item until [`open_gate`](Self::open_gate) or
    /// [`deny_gated`](Self::deny_gated).
    pub(crate) fn take_gated(&mut self, key: &str, most: usize) -> Vec<GatedItem<T>> {
        let id = self.ids.get(key).copied();
        let Some(host) = id
            .and_then(|id| self.host_mut(id))
            .filter(|host| host.is_gated)
        else {
            return Vec::new();
        };
        let gated = |is_returned| move |item| GatedItem { item, is_returned };
        let returned = host.returned.len().min(most);
        let fresh = host.fresh.len().min(most - returned);
        let returned = host.returned.drain(..returned).map(gated(true));
        let fresh = host.fresh.drain(..fresh).map(gated(false));
        let items: Vec<_> = returned.chain(fresh).collect();
        self.queued -= items.len();
        self.in_review += items.len();
        items
    }

    /// Opens the gate of a host for the items taken out before that it allows.
    pub(crate) fn open_gate(
        &mut self,
        key: &str,
        rules: HostRules,
        allowed: Vec<GatedItem<T>>,
        now: Instant,
    ) {
        if allowed.is_empty() && !self.ids.contains_key(key) {
            return;
        }
        let host = self.intern_host(key);
        self.set_host_rules(host, rules);
        if let Some(host) = self.host_mut(host.0) {
            host.is_gated = false;
        }
        self.in_review -= allowed.len();
        for GatedItem { item, is_returned } in allowed {
            match is_returned {
                true => self.push_returned(host, item, now),
                false => self.push(host, item, now),
            }
        }
        self.reschedule_host(host.0, now);
        self.forget_if_unused(host.0, now);
    }

    /// Fails an item taken out before.
    pub(crate) fn deny_gated(&mut self, gated: GatedItem<T>, error: FetchError) {
        self.in_review -= 1;
        self.deny(gated.item, error);
    }

    /// Fails an item that is not in the queue, before anything else happens.
    pub(crate) fn deny(&mut self, item: T, error: FetchError) {
        self.queued += 1;
        self.denied.push_back((item, error));
    }

    /// Sets what a host says about all its items.
    pub(crate) fn set_host_rules(&mut self, host: HostId, rules: HostRules) {
        let Some(entry) = self
            .host_mut(host.0)
            .filter(|host| host.rules != Some(rules))
        else {
            return;
        };
        let before = entry.rules.replace(rules).map(|rules| rules.interval);
        let interval = self.rules_of(host.0).host_interval;
        if let Some(control) = self.host_mut(host.0).and_then(|host| host.control.as_mut()) {
            control.set_interval(interval);
        }
        if before.unwrap_or_default() != rules.interval {
            self.record_changes(host.0, vec![HostChange::CrawlDelay(rules.interval)]);
        }
    }

    /// Whether what was known of a host when its items were let through no longer counts.
    pub(crate) fn has_expired_rules(&self, host: HostId, now: Instant) -> bool {
        let host = self.hosts.get(host.0).and_then(Option::as_ref);
        let rules = host.and_then(|host| host.rules);
        rules.is_some_and(|rules| rules.until <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Cause, Feedback, HostVerdict};
    use crate::schedule::queue::Turn;
    use crate::schedule::queue::tests::{add, queue};

    /// Items from here on pass a closed gate.
    const EXEMPT: u32 = 1000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn gated_queue() -> FairQueue<u32> {
        queue(3).with_exempt(|item| *item >= EXEMPT)
    }

    fn rules(now: Instant, interval: Duration) -> HostRules {
        HostRules {
            until: now + MINUTE,
            interval,
        }
    }

    fn denial() -> FetchError {
        FetchError::Denied(Cause::from_text("x"))
    }

    /// Runs all that can run, and returns it in order; failed items as negative numbers.
    fn drain(queue: &mut FairQueue<u32>, now: Instant) -> Vec<i64> {
        let mut out = Vec::new();
        loop {
            match queue.next(0, now) {
                Turn::Run(ticket, item) => {
                    let answered = Feedback::from_verdict(HostVerdict::Answered);
                    queue.release(&ticket, &answered, now);
                    out.push(i64::from(item));
                }
                Turn::Fail(item, _) => out.push(-i64::from(item)),
                _ => return out,
            }
        }
    }

    #[test]
    fn a_closed_gate_holds_back_all_but_what_brings_the_rules() {
        let (mut queue, now) = (gated_queue(), Instant::now());
        add(&mut queue, "a", 1, now);
        let host = queue.intern_host("a");
        assert!(queue.close_gate(host) && !queue.close_gate(host));
        queue.push(host, EXEMPT, now);
        queue.push_returned(host, 2, now);
        add(&mut queue, "b", 3, now);
        queue.park(host, 4, now);
        queue.park(host, EXEMPT + 1, now);
        queue.input_ended();
        assert_eq!(drain(&mut queue, now), [1000, 1001, 3]);
        assert!(!matches!(queue.next(0, now), Turn::Done), "some still wait");
        let mut gated = queue.take_gated("a", 2);
        assert_eq!(
            gated.iter().map(|gated| gated.item).collect::<Vec<_>>(),
            [2, 4]
        );
        gated.append(&mut queue.take_gated("a", 9));
        assert_eq!(queue.len(), 3, "what is taken out still counts");
        assert!(!matches!(queue.next(0, now), Turn::Done));
        queue.deny_gated(gated.remove(1), denial());
        queue.open_gate("a", rules(now, Duration::ZERO), gated, now);
        assert_eq!(drain(&mut queue, now), [-4, 2, 1]);
        assert!(matches!(queue.next(0, now), Turn::Done));
    }

    #[test]
    fn a_crawl_delay_is_the_interval_of_its_host_unless_that_is_longer() {
        let (mut queue, now) = (gated_queue(), Instant::now());
        for item in 0..3 {
            add(&mut queue, "a", item, now);
        }
        let host = queue.intern_host("a");
        queue.set_host_rules(host, rules(now, MINUTE));
        assert_eq!(
            queue.take_changes(),
            [("a".into(), HostChange::CrawlDelay(MINUTE))]
        );
        assert_eq!(drain(&mut queue, now), [0]);
        assert_eq!(drain(&mut queue, now + MINUTE), [1]);
        assert!(queue.has_expired_rules(host, now + MINUTE) && !queue.has_expired_rules(host, now));
        queue.set_host_rules(host, rules(now, Duration::ZERO));
        let last = drain(&mut queue, now + MINUTE + MINUTE);
        assert_eq!(last, [2]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_twice_at_a_gate(
            steps in prop::collection::vec((0u8..6, 0usize..3), 1..80)
        ) {
            let (mut queue, now) = (gated_queue(), Instant::now());
            let (mut pushed, mut out, mut held) = (0, Vec::new(), [vec![], vec![], vec![]]);
            let hosts = ["a", "b", "c"];
            for (step, at) in steps.into_iter().chain((0..3).map(|at| (5, at))) {
                let key = hosts[at];
                match step {
                    0 | 1 => {
                        add(&mut queue, key, pushed, now);
                        pushed += 1;
                    }
                    2 => {
                        let host = queue.intern_host(key);
                        queue.push_returned(host, pushed, now);
                        queue.close_gate(host);
                        pushed += 1;
                    }
                    3 => held[at].append(&mut queue.take_gated(key, 2)),
                    4 => out.append(&mut drain(&mut queue, now)),
                    _ => {
                        held[at].append(&mut queue.take_gated(key, usize::MAX));
                        if let Some(denied) = held[at].pop() {
                            queue.deny_gated(denied, denial());
                        }
                        let allowed = std::mem::take(&mut held[at]);
                        queue.open_gate(key, rules(now, Duration::ZERO), allowed, now);
                    }
                }
                let seen = queue.len() + out.len();
                prop_assert_eq!(seen, usize::try_from(pushed).unwrap());
            }
            out.append(&mut drain(&mut queue, now));
            let mut all: Vec<_> = out.iter().map(|item| item.unsigned_abs()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..u64::from(pushed)).collect::<Vec<_>>());
            prop_assert!(queue.is_empty());
        }
    }
}
