//! `--ordered`: holds events back until those before them have come.

use std::collections::BTreeMap;

use crate::model::{Event, Window};

/// Puts events back into input order. What is held back is bounded by the [`Window`].
#[derive(Debug)]
pub struct Order {
    window: Window,
    next: u64,
    held: BTreeMap<u64, Event>,
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

    /// Takes an event in.
    pub fn put(&mut self, event: Event) {
        let Event::Settled(settled) = &event;
        self.held.insert(settled.place.number, event);
    }

    /// The event whose turn it is, if it is here.
    pub fn due(&mut self) -> Option<Event> {
        let event = self.held.remove(&self.next)?;
        self.next += 1;
        self.window.give_back();
        Some(event)
    }

    /// After an early end there are gaps: what came is still given out, in order.
    pub fn rest(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.held).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, Place, Record, Settled};
    use futures::FutureExt;

    fn event(number: u64) -> Event {
        let place = Place {
            number,
            input: "-".into(),
            line: number + 1,
        };
        Event::Settled(Box::new(Settled {
            record: Record::of_line(&place, String::new()),
            place,
            outcome: Outcome::Skipped,
            raw: None,
        }))
    }

    fn number(event: Event) -> u64 {
        let Event::Settled(settled) = event;
        settled.place.number
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
