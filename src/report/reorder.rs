//! `--ordered`: restores input order.

use std::collections::BTreeMap;

use crate::model::{EngineEvent, ReorderWindow, SettledJob};

/// Holds settled jobs back until all before them in the input have settled. The number held back is
/// bounded by the [`ReorderWindow`].
#[derive(Debug)]
pub(super) struct ReorderBuffer {
    window: ReorderWindow,
    next: u64,
    held: BTreeMap<u64, Box<SettledJob>>,
}

impl ReorderBuffer {
    /// Creates a buffer that returns a credit to `window` for each event released in order.
    #[must_use]
    pub(super) fn new(window: ReorderWindow) -> Self {
        Self {
            window,
            next: 0,
            held: BTreeMap::new(),
        }
    }

    /// Adds a settled job.
    pub(super) fn insert(&mut self, settled: Box<SettledJob>) {
        self.held.insert(settled.position.number, settled);
    }

    /// Removes the next job in input order, if it has settled.
    pub(super) fn pop_ready(&mut self) -> Option<EngineEvent> {
        let settled = self.held.remove(&self.next)?;
        self.next += 1;
        self.window.release();
        Some(EngineEvent::Settled(settled))
    }

    /// Removes all remaining jobs in input order, skipping the gaps that an early end leaves.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = EngineEvent> + use<> {
        std::mem::take(&mut self.held)
            .into_values()
            .map(EngineEvent::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InputPosition, Outcome, Record};
    use futures::FutureExt;

    fn event(number: u64) -> Box<SettledJob> {
        let place = InputPosition {
            number,
            input: "-".into(),
            line: number + 1,
        };
        let record = Record::for_line(&place, String::new());
        Box::new(SettledJob::new(place, record, Outcome::Skipped, None))
    }

    fn number(event: EngineEvent) -> u64 {
        match event {
            EngineEvent::Settled(settled) => settled.position.number,
            EngineEvent::Continuing { .. } => panic!("never inserted"),
        }
    }

    #[test]
    fn events_are_released_in_input_order_and_return_their_credits() {
        let window = ReorderWindow::new(3);
        let mut order = ReorderBuffer::new(window.clone());
        for _ in 0..3 {
            assert!(window.acquire().now_or_never().is_some());
        }
        order.insert(event(2));
        order.insert(event(1));
        assert!(order.pop_ready().is_none());
        assert!(
            window.acquire().now_or_never().is_none(),
            "all three are held back"
        );
        order.insert(event(0));
        let released: Vec<_> = std::iter::from_fn(|| order.pop_ready())
            .map(number)
            .collect();
        assert_eq!(released, [0, 1, 2]);
        for _ in 0..3 {
            assert!(window.acquire().now_or_never().is_some());
        }
        order.insert(event(9));
        order.insert(event(5));
        assert_eq!(order.drain().map(number).collect::<Vec<_>>(), [5, 9]);
    }
}
