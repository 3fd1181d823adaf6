//! What hosts need to be asked differently, as was found out by asking them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::model::HostKey;

/// Hosts that are remembered. When there are more, all are forgotten: each is found out again
/// with one more request.
const MAX_HOSTS: usize = 4096;

/// What a host needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostHabit {
    /// It answers over HTTP/1.1 only, although it offers HTTP/2.
    pub http1: bool,
    /// Its response heads break the rules.
    pub lenient: bool,
    /// It closes connections after a response and does not say so.
    pub closes: bool,
}

/// What hosts need. Most lists have no such host, and then nothing is looked up.
#[derive(Debug, Default)]
pub struct HostHabits {
    has_any: AtomicBool,
    hosts: Mutex<HashMap<HostKey, HostHabit>>,
}

impl HostHabits {
    /// What the host of this URL needs.
    pub fn of(&self, url: &Url) -> HostHabit {
        if !self.has_any.load(Relaxed) {
            return HostHabit::default();
        }
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts
            .get(HostKey::key_str(url))
            .copied()
            .unwrap_or_default()
    }

    /// Remembers what the host of this URL needs, too.
    pub fn add(&self, url: &Url, habit: HostHabit) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = HostKey::from(HostKey::key_str(url));
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&key) {
            hosts.clear();
        }
        let known = hosts.entry(key).or_default();
        known.http1 |= habit.http1;
        known.lenient |= habit.lenient;
        known.closes |= habit.closes;
        self.has_any.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_needs_adds_up_and_is_bounded() {
        let url = |n: usize| Url::parse(&format!("http://h{n}.test/")).unwrap();
        let habits = HostHabits::default();
        assert_eq!(habits.of(&url(0)), HostHabit::default());
        let (http1, lenient) = (true, true);
        let one = HostHabit {
            http1,
            ..HostHabit::default()
        };
        let other = HostHabit {
            lenient,
            ..HostHabit::default()
        };
        habits.add(&url(0), one);
        habits.add(&url(0), other);
        habits.add(&url(0), HostHabit::default());
        assert_eq!(habits.of(&url(0)), HostHabit { http1, ..other });
        assert_eq!(habits.of(&url(1)), HostHabit::default());
        for n in 0..2 * MAX_HOSTS {
            habits.add(&url(n), other);
            assert!(habits.of(&url(n)).lenient);
        }
        assert!(habits.hosts.lock().unwrap().len() <= MAX_HOSTS);
    }
}
