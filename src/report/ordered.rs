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
