//! The memory budget for heavy input lines.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Limits the total bytes of heavy lines anywhere in the run: read ahead, running, parked, or
/// waiting to be reported. A line reserves its bytes when it is read; dropping its [`RawLine`]
/// releases them, and with it what a connection still has of its body.
#[derive(Debug)]
pub(crate) struct LineBudget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

impl LineBudget {
    /// Creates a budget of `limit` bytes. A line above that limit is admitted only while no other
    /// heavy line is in memory.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: Mutex::new(0),
            freed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, used: usize, bytes: usize) -> bool {
        used == 0 || used.saturating_add(bytes) <= self.limit
    }

    /// Whether no more than `bytes` are reserved.
    #[must_use]
    pub(crate) fn is_within(&self, bytes: usize) -> bool {
        *self.lock() <= bytes
    }

    /// Blocks until no more than `bytes` are reserved. The wait ends as that of
    /// [`reserve`](Self::reserve).
    pub(crate) fn wait_until_within(&self, bytes: usize) {
        let used = self.lock();
        drop(self.freed.wait_while(used, |used| *used > bytes));
    }

    /// Reserves `bytes` if the budget allows it now.
    #[must_use]
    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<LineReservation> {
        let mut used = self.lock();
        self.has_room(*used, bytes).then(|| {
            *used += bytes;
            LineReservation {
                budget: Arc::clone(self),
                bytes,
            }
        })
    }

    /// Reserves `bytes`; blocks until the budget allows it. The wait ends, because every line is
    /// settled or dropped with the run, and a body that is still being sent then is dropped in time.
    #[must_use]
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> LineReservation {
        let used = self.lock();
        let used = self
            .freed
            .wait_while(used, |used| !self.has_room(*used, bytes));
        *used.unwrap_or_else(PoisonError::into_inner) += bytes;
        LineReservation {
            budget: Arc::clone(self),
            bytes,
        }
    }
}

/// Reserved bytes of a [`LineBudget`], released on drop.
#[derive(Debug)]
pub(crate) struct LineReservation {
    budget: Arc<LineBudget>,
    bytes: usize,
}

impl Drop for LineReservation {
    fn drop(&mut self) {
        *self.budget.lock() -= self.bytes;
        self.budget.freed.notify_all();
    }
}

/// A line for `--failed FILE`: the original, or an equivalent JSON line. It may contain a
/// password, so it is written nowhere else, and `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct RawLine {
    bytes: Box<[u8]>,
    /// The reservation of the whole entry, if it is heavy.
    reservation: Option<Arc<LineReservation>>,
}

impl RawLine {
    /// Attaches the reservation, to be released with the last copy of the line.
    pub(crate) fn hold(&mut self, reservation: LineReservation) {
        self.reservation = Some(Arc::new(reservation));
    }

    /// Returns the reservation, if the line is heavy.
    #[must_use]
    pub(crate) fn reservation(&self) -> Option<Arc<LineReservation>> {
        self.reservation.clone()
    }

    /// Whether the line has a reservation, so that reading may be waiting for its release.
    #[must_use]
    pub(crate) fn is_heavy(&self) -> bool {
        self.reservation.is_some()
    }
}

impl fmt::Debug for RawLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawLine({} bytes)", self.bytes.len())
    }
}

impl From<Box<[u8]>> for RawLine {
    fn from(bytes: Box<[u8]>) -> Self {
        Self {
            bytes,
            reservation: None,
        }
    }
}

impl Deref for RawLine {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_releases_bytes_and_a_line_above_the_limit_is_alone() {
        let budget = LineBudget::new(10);
        let big = budget.reserve(25);
        assert!(budget.try_reserve(1).is_none());
        drop(big);
        let first = budget.try_reserve(6).unwrap();
        assert!(budget.try_reserve(5).is_none() && budget.try_reserve(4).is_some());
        let waiting = std::thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.reserve(20).bytes
        });
        drop(first);
        assert_eq!(waiting.join().unwrap(), 20);
        assert_eq!(*budget.lock(), 0);
    }

    #[test]
    fn room_is_waited_for_until_little_enough_is_reserved() {
        let budget = LineBudget::new(10);
        let (one, other) = (budget.reserve(2), budget.reserve(4));
        assert!(budget.is_within(6) && !budget.is_within(5));
        let waiting = std::thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.wait_until_within(2)
        });
        drop(other);
        waiting.join().unwrap();
        assert!(budget.is_within(2));
        drop(one);
    }

    #[test]
    fn a_copy_of_a_line_keeps_the_reservation() {
        let budget = LineBudget::new(10);
        let mut line = RawLine::from(Box::from(b"x".as_slice()));
        line.hold(budget.reserve(10));
        let copy = line.clone();
        drop(line);
        assert!(copy.is_heavy() && budget.try_reserve(1).is_none());
        drop(copy);
        assert!(budget.try_reserve(1).is_some());
    }
}
