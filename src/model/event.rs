//! What the engine says while it runs.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{AttemptTrace, InputPosition, Outcome, RawLine, Record, write_json};

/// Bytes that most records need as JSON.
const TYPICAL_RECORD_BYTES: usize = 512;

/// A job that reached its end, for whatever reason.
#[derive(Debug)]
pub struct SettledJob {
    /// Where its line stood.
    pub place: InputPosition,
    /// What became of it, as it is written.
    pub record: Record,
    /// What became of it, as a type.
    pub outcome: Outcome,
    /// The line for `--failed FILE`, where it differs from the record's `url`.
    pub raw: Option<Box<RawLine>>,
    /// When its attempts did what, where somebody asked for that.
    pub tries: Vec<AttemptTrace>,
    /// The record as JSON, once somebody has asked for it.
    json: OnceCell<Vec<u8>>,
}

impl SettledJob {
    /// A job that reached its end.
    #[must_use]
    pub fn new(
        place: InputPosition,
        record: Record,
        outcome: Outcome,
        raw: Option<Box<RawLine>>,
    ) -> Self {
        Self {
            place,
            record,
            outcome,
            raw,
            tries: Vec::new(),
            json: OnceCell::new(),
        }
    }

    /// With what its attempts did when.
    #[must_use]
    pub fn with_traces(self, tries: Vec<AttemptTrace>) -> Self {
        Self { tries, ..self }
    }

    /// The record as a line of JSON, without a line end: made once for all who want it.
    ///
    /// # Errors
    /// Never, for records.
    pub fn json(&self) -> serde_json::Result<&[u8]> {
        if self.json.get().is_none() {
            let mut json = Vec::with_capacity(TYPICAL_RECORD_BYTES);
            write_json(&mut json, &self.record)?;
            return Ok(self.json.get_or_init(|| json));
        }
        Ok(self.json.get().map(Vec::as_slice).unwrap_or_default())
    }

    /// Forgets the record as JSON. To be called where it was made, after everybody had it.
    pub fn forget_json(&mut self) {
        self.json = OnceCell::new();
    }

    /// Drops a line that others may wait for. To be called once everybody had it.
    pub fn forget_heavy_line(&mut self) {
        self.raw.take_if(|line| line.is_heavy());
    }

    /// Puts the body into the record.
    pub fn attach_body(&mut self, body: &Bytes) {
        self.record.attach_body(body);
        self.json = OnceCell::new();
    }
}

/// What the engine says to the reporters.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineEvent {
    /// A job reached its end. Comes exactly once for each job that is not left.
    Settled(Box<SettledJob>),
    /// What earlier runs have done of the list, as far as it was read before the first wait.
    Continuing {
        /// Jobs that are skipped.
        done: u64,
        /// Jobs that were looked at.
        of: u64,
        /// Whether these are all of the list.
        is_all: bool,
    },
}

/// Events that were reported, on their way back to be dropped where they were made: memory that
/// one thread gives back for another goes through a lock of the allocator, and both wait for it.
#[derive(Debug, Clone, Default)]
pub struct EventReturnQueue(Arc<ReturnedEvents>);

#[derive(Debug, Default)]
struct ReturnedEvents {
    are_some: AtomicBool,
    events: Mutex<Vec<EngineEvent>>,
}

/// So many events may be on their way back; nobody needs to be there to drop them.
const MAX_RETURNED_EVENTS: usize = 256;

impl EventReturnQueue {
    /// Gives events back; they stay here when too many are on their way already.
    pub fn give_back(&self, spent: &mut Vec<EngineEvent>) {
        {
            let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
            if events.is_empty() {
                std::mem::swap(&mut *events, spent);
            } else if events.len() < MAX_RETURNED_EVENTS {
                events.append(spent);
            }
        }
        self.0.are_some.store(true, Ordering::Release);
        spent.clear();
    }

    /// Drops here what has come back.
    pub fn drop_returned(&self) {
        if !self.0.are_some.swap(false, Ordering::Acquire) {
            return;
        }
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = std::mem::take(&mut *events);
        drop(events);
        drop(spent);
    }
}
