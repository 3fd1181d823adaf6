//! Events that the engine sends to the reporters.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{
    AttemptTrace, FetchError, InputPosition, Outcome, OutcomeName, RawLine, Record, RecordError,
    RobotsBody, SitemapReply,
};

/// Initial capacity for a record as JSON; most records fit.
const TYPICAL_RECORD_BYTES: usize = 512;

/// A job that reached its end: fetched, failed or skipped.
#[derive(Debug)]
pub(crate) struct SettledJob {
    /// The position of its line.
    pub position: InputPosition,
    /// Its record, as written to outputs.
    pub record: Record,
    /// Its typed outcome.
    pub outcome: Outcome,
    /// The line for `--failed FILE`, if it differs from the record's `url`.
    pub raw: Option<Box<RawLine>>,
    /// The timing of its attempts; empty unless tracing is enabled.
    pub traces: Vec<AttemptTrace>,
    /// Whether the journal has its record already.
    pub is_journaled: bool,
    /// If it was skipped because of the record of an equal line: that, as the record of this line.
    pub past: Option<Box<Record>>,
    /// If it is a sitemap: where it goes instead of the reporters.
    pub sitemap: Option<SitemapReply>,
    /// If it is a robots.txt: its body.
    pub robots: Option<RobotsBody>,
    /// The record as JSON, made on first use.
    json: OnceCell<Vec<u8>>,
}

impl SettledJob {
    /// Creates a settled job without traces.
    #[must_use]
    pub(crate) fn new(
        position: InputPosition,
        record: Record,
        outcome: Outcome,
        raw: Option<Box<RawLine>>,
    ) -> Self {
        Self {
            position,
            record,
            outcome,
            raw,
            traces: Vec::new(),
            is_journaled: false,
            past: None,
            sitemap: None,
            robots: None,
            json: OnceCell::new(),
        }
    }

    /// Turns a fetched sitemap that cannot be read into a failure.
    #[must_use]
    pub(crate) fn into_failed(mut self, error: FetchError) -> Self {
        self.record.ok = false;
        self.record.bytes = None;
        self.record.outcome = OutcomeName::Failed;
        self.record.error = Some(RecordError::new(&error, ToString::to_string));
        self.outcome = Outcome::Failed(error);
        self
    }

    /// Returns the record as JSON without a line end. It is made once for all reporters.
    ///
    /// # Errors
    /// Errors of the serializer; serializing a record does not fail in practice.
    pub(crate) fn json(&self) -> serde_json::Result<&[u8]> {
        if self.json.get().is_none() {
            let mut json = Vec::with_capacity(TYPICAL_RECORD_BYTES);
            self.record.write_json(&mut json)?;
            return Ok(self.json.get_or_init(|| json));
        }
        Ok(self.json.get().map(Vec::as_slice).unwrap_or_default())
    }

    /// Frees the JSON of the record. Call it on the thread that made the JSON, after the last
    /// reporter has used it: freeing another thread's memory takes a lock of the allocator.
    pub(crate) fn forget_json(&mut self) {
        self.json = OnceCell::new();
    }

    /// Drops the raw line and the columns if they are heavy, so that reading can go on. Call it after
    /// the last reporter has used it.
    pub(crate) fn forget_heavy_line(&mut self) {
        if self.raw.take_if(|line| line.is_heavy()).is_some() {
            self.record.columns = None;
        }
    }

    /// Adds the body to the record.
    pub(crate) fn attach_body(&mut self, body: &Bytes) {
        self.record.attach_body(body);
        self.json = OnceCell::new();
    }
}

/// An event from the engine to the reporters.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum EngineEvent {
    /// A job reached its end. Sent exactly once for each job that is not left.
    Settled(Box<SettledJob>),
    /// The run resumes earlier ones. Counts the entries read before the feed first had to wait.
    Continuing {
        /// Jobs skipped because an earlier run fetched them.
        done: u64,
        /// Jobs read so far.
        of: u64,
        /// Whether that is the whole list.
        is_all: bool,
    },
}

/// Reported events, returned to the thread that made them to be dropped there: freeing memory of
/// another thread takes a lock of the allocator, on which both threads wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventReturnQueue(Arc<ReturnedEvents>);

#[derive(Debug, Default)]
struct ReturnedEvents {
    are_some: AtomicBool,
    events: Mutex<Vec<EngineEvent>>,
}

/// Maximum number of events waiting in the queue: it is unknown when, or if, the other thread
/// takes them.
const MAX_RETURNED_EVENTS: usize = 256;

impl EventReturnQueue {
    /// Returns events to their thread, and empties `spent`. Drops them here if the queue is full.
    pub(crate) fn give_back(&self, spent: &mut Vec<EngineEvent>) {
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

    /// Drops all returned events on the calling thread.
    pub(crate) fn drop_returned(&self) {
        if !self.0.are_some.swap(false, Ordering::Acquire) {
            return;
        }
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = std::mem::take(&mut *events);
        drop(events);
        drop(spent);
    }
}
