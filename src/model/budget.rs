//! The memory that heavy lines of lists may take.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that heavy lines may take together, wherever they are: read ahead, running, parked, or
/// waiting to be reported. Each takes its share when it is read, and its [`RawLine`] gives that
/// back when it is dropped.
#[derive(Debug)]
pub struct LineBudget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

impl LineBudget {
    /// A budget of `limit` bytes. A line that is heavier than that has to be alone.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
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

    /// Takes a share if there is room for it.
    #[must_use]
    pub fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<LineReservation> {
        let mut used = self.lock();
        self.has_room(*used, bytes).then(|| {
            *used += bytes;
            LineReservation {
                budget: Arc::clone(self),
                bytes,
            }
        })
    }

    /// Takes a share; blocks until there is room for it. That ends: every line is settled, or
    /// dropped with the run.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> LineReservation {
        let used = self.lock();
        let room = self
            .freed
            .wait_while(used, |used| !self.has_room(*used, bytes));
        *room.unwrap_or_else(PoisonError::into_inner) += bytes;
        LineReservation {
            budget: Arc::clone(self),
            bytes,
        }
    }
}

/// A share of a [`LineBudget`], given back when it is dropped.
#[derive(Debug)]
pub struct LineReservation {
    budget: Arc<LineBudget>,
    bytes: usize,
}

impl Drop for LineReservation {
    fn drop(&mut self) {
        *self.budget.lock() -= self.bytes;
        self.budget.freed.notify_all();
    }
}

/// A line for `--failed FILE`: as it was, or as a JSON line that says the same. It may hold a
/// password, so it goes nowhere else, and `Debug` does not show it.
#[derive(Clone)]
pub struct RawLine {
    bytes: Box<[u8]>,
    /// What the whole line takes, where that is much.
    reservation: Option<Arc<LineReservation>>,
}

impl RawLine {
    /// Keeps the share of its line for as long as the line is somewhere.
    pub fn hold(&mut self, reservation: LineReservation) {
        self.reservation = Some(Arc::new(reservation));
    }

    /// Whether its line is so heavy that others may wait for it to go.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
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
    fn a_share_comes_back_and_a_line_above_the_limit_is_alone() {
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
    fn a_copy_of_a_line_holds_the_share_too() {
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
