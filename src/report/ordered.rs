//! `--ordered`: holds events back until those before them have come.

use std::collections::BTreeMap;

use crate::model::{Event, Settled, Window};

/// Puts events back into input order. What is held back is bounded by the [`Window`].
#[derive(Debug)]
pub struct Order {
    window: Window,
    next: u64,
    held: BTreeMap<u64, Box<Settled>>,
}

impl Order {
    /// Gives a credit back to `window` for each event whose turn has come.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            window,
            next: 0,
            held: BTreeMap::new(),
        }
    }

    /// Takes a settled job in.
    pub fn put(&mut self, settled: Box<Settled>) {
        self.held.insert(settled.place.number, settled);
    }

    /// The one whose turn it is, if it is here.
    pub fn due(&mut self) -> Option<Event> {
        let settled = self.held.remove(&self.next)?;
        self.next += 1;
        self.window.give_back();
        Some(Event::Settled(settled))
    }

    /// After an early end there are gaps: what came is still given out, in order.
    pub fn rest(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.held)
            .into_values()
            .map(Event::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, Place, Record};
    use futures::FutureExt;

    fn event(number: u64) -> Box<Settled> {
        let place = Place {
            number,
            input: "-".into(),
            line: number + 1,
        };
        let record = Record::of_line(&place, String::new());
        Box::new(Settled::new(place, record, Outcome::Skipped, None))
    }

    fn number(event: Event) -> u64 {
        match event {
            Event::Settled(settled) => settled.place.number,
            Event::Continuing { .. } => panic!("never put"),
        }
    }

    #[test]
    fn events_come_in_input_order_and_give_their_credit_back() {
        let window = Window::new(3);
        let mut order = Order::new(window.clone());
        for _ in 0..3 {
            assert!(window.take().now_or_never().is_some());
        }
        order.put(event(2));
        order.put(event(1));
        assert!(order.due().is_none());
        assert!(
            window.take().now_or_never().is_none(),
            "all three are held back"
        );
        order.put(event(0));
        let come: Vec<_> = std::iter::from_fn(|| order.due()).map(number).collect();
        assert_eq!(come, [0, 1, 2]);
        for _ in 0..3 {
            assert!(window.take().now_or_never().is_some());
        }
        order.put(event(9));
        order.put(event(5));
        assert_eq!(order.rest().map(number).collect::<Vec<_>>(), [5, 9]);
    }
}
