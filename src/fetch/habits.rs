//! Remembers which hosts deviate from the usual, as learned from earlier requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::model::HostKey;

/// Maximum number of remembered hosts. Beyond it all are forgotten; relearning a habit costs one
/// request per host.
const MAX_HOSTS: usize = 4096;

/// How a host deviates from the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HostHabit {
    /// It requires HTTP/1.1, although it offers HTTP/2.
    pub http1: bool,
    /// It sends more small HTTP/2 frames than the client accepts on one connection.
    pub overflows: bool,
    /// It does not speak HTTP/1.1.
    pub http2_only: bool,
    /// Its responses are invalid and need repair.
    pub lenient: bool,
    /// Its responses need a limit on 1xx responses, too.
    pub bounded: bool,
    /// It closes connections after a response without announcing it.
    pub closes: bool,
}

impl HostHabit {
    const NONE: Self = Self {
        http1: false,
        overflows: false,
        http2_only: false,
        lenient: false,
        bounded: false,
        closes: false,
    };
    pub(super) const HTTP1: Self = Self {
        http1: true,
        ..Self::NONE
    };
    pub(super) const OVERFLOWS: Self = Self {
        overflows: true,
        ..Self::NONE
    };
    pub(super) const HTTP2_ONLY: Self = Self {
        http2_only: true,
        ..Self::NONE
    };
    pub(super) const LENIENT: Self = Self {
        lenient: true,
        ..Self::NONE
    };
    pub(super) const BOUNDED: Self = Self {
        bounded: true,
        ..Self::NONE
    };
    pub(super) const CLOSES: Self = Self {
        closes: true,
        ..Self::NONE
    };
}

/// The habits of all hosts. Most lists have no such host, and then reading takes no lock.
#[derive(Debug, Default)]
pub(super) struct HostHabits {
    has_any: AtomicBool,
    hosts: Mutex<HashMap<HostKey, HostHabit>>,
}

impl HostHabits {
    /// Returns the habits of the host of this URL.
    pub(super) fn of(&self, url: &Url) -> HostHabit {
        if !self.has_any.load(Relaxed) {
            return HostHabit::default();
        }
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts
            .get(HostKey::key_str(url))
            .copied()
            .unwrap_or_default()
    }

    /// Adds `habit` to the habits of the host of this URL.
    pub(super) fn add(&self, url: &Url, habit: HostHabit) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = HostKey::from(HostKey::key_str(url));
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&key) {
            hosts.clear();
        }
        let known = hosts.entry(key).or_default();
        known.http1 |= habit.http1;
        known.overflows |= habit.overflows;
        known.http2_only |= habit.http2_only;
        known.lenient |= habit.lenient;
        known.bounded |= habit.bounded;
        known.closes |= habit.closes;
        self.has_any.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_add_up_and_their_number_is_bounded() {
        let url = |n: usize| Url::parse(&format!("http://h{n}.test/")).unwrap();
        let habits = HostHabits::default();
        assert_eq!(habits.of(&url(0)), HostHabit::default());
        let (one, other) = (HostHabit::HTTP1, HostHabit::LENIENT);
        habits.add(&url(0), one);
        habits.add(&url(0), other);
        habits.add(&url(0), HostHabit::default());
        assert_eq!(
            habits.of(&url(0)),
            HostHabit {
                http1: true,
                ..other
            }
        );
        assert_eq!(habits.of(&url(1)), HostHabit::default());
        for n in 0..2 * MAX_HOSTS {
            habits.add(&url(n), other);
            assert!(habits.of(&url(n)).lenient);
        }
        assert!(habits.hosts.lock().unwrap().len() <= MAX_HOSTS);
    }
}
