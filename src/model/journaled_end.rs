//! How far the packs are known to the journal.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::PackPosition;

/// How often a wait looks whether it is to end.
const WAIT_STEP: Duration = Duration::from_millis(50);

/// The greatest position in the packs that the journal has. The journal has everything before it,
/// too, since records are journaled in the order in which they are packed.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournaledEnd(Arc<(Mutex<Option<PackPosition>>, Condvar)>);

impl JournaledEnd {
    /// Notes that the journal has this position.
    pub(crate) fn advance(&self, to: PackPosition) {
        let (end, changed) = &*self.0;
        let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
        if *end < Some(to) {
            *end = Some(to);
            changed.notify_all();
        }
    }

    /// Waits until the journal has this position. Returns whether it has, as it may not within
    /// `limit`, or before `is_over`.
    pub(crate) fn wait_for(
        &self,
        position: PackPosition,
        limit: Duration,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let begun = Instant::now();
        let (end, changed) = &*self.0;
        let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
        while *end < Some(position) {
            if is_over() || begun.elapsed() > limit {
                return false;
            }
            let waited = changed.wait_timeout(end, WAIT_STEP);
            (end, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_position_or_a_later_one_and_with_the_run() {
        let end = JournaledEnd::default();
        let at = |n, offset| PackPosition { n: Some(n), offset };
        let limit = Duration::from_secs(60);
        assert!(!end.wait_for(at(0, 9), limit, || true));
        assert!(!end.wait_for(at(0, 9), Duration::ZERO, || false));
        let other = end.clone();
        let waiting = std::thread::spawn(move || other.wait_for(at(0, 9), limit, || false));
        end.advance(at(1, 3));
        end.advance(at(0, 4));
        assert!(waiting.join().unwrap());
        assert!(end.wait_for(at(1, 3), Duration::ZERO, || true));
        assert!(!end.wait_for(at(1, 4), limit, || true));
    }
}
