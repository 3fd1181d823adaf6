//! `--ordered`: holds events back until those before them have come.

use std::collections::BTreeMap;

use crate::model::{EngineEvent, ReorderWindow, SettledJob};

/// Puts events back into input order. What is held back is bounded by the [`ReorderWindow`].
#[derive(Debug)]
pub struct ReorderBuffer {
    window: ReorderWindow,
    next: u64,
    held: BTreeMap<u64, Box<SettledJob>>,
}

impl ReorderBuffer {
    /// Gives a credit back to `window` for each event whose turn has come.
    #[must_use]
    pub fn new(window: ReorderWindow) -> Self {
        Self {
            window,
            next: 0,
            held: BTreeMap::new(),
        }
    }

    /// Takes a settled job in.
    pub fn insert(&mut self, settled: Box<SettledJob>) {
        self.held.insert(settled.place.number, settled);
    }

    /// The one whose turn it is, if it is here.
    pub fn pop_ready(&mut self) -> Option<EngineEvent> {
        let settled = self.held.remove(&self.next)?;
        self.next += 1;
        self.window.release();
        Some(EngineEvent::Settled(settled))
    }

    /// After an early end there are gaps: what came is still given out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = EngineEvent> + use<> {
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
            EngineEvent::Settled(settled) => settled.place.number,
            EngineEvent::Continuing { .. } => panic!("never put"),
        }
    }

    #[test]
    fn events_come_in_input_order_and_give_their_credit_back() {
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
        let come: Vec<_> = std::iter::from_fn(|| order.pop_ready())
            .map(number)
            .collect();
        assert_eq!(come, [0, 1, 2]);
        for _ in 0..3 {
            assert!(window.acquire().now_or_never().is_some());
        }
        order.insert(event(9));
        order.insert(event(5));
        assert_eq!(order.drain().map(number).collect::<Vec<_>>(), [5, 9]);
    }
}
