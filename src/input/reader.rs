//! The reading thread.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::list::{EntryOrigin, InputList, ListRules, ListStep};
use super::source::{InputContent, OpenInput};
use super::{Batch, InputError, UrlIterator, text};
use crate::model::{LineBudget, ListEntry, LiveStats};

/// Entries in one batch at most. A batch is sent early when the input has no whole line
/// ready, so that a slow pipe is not held up.
const BATCH_ENTRIES: usize = 256;
/// And bytes of their lines, beyond which no more are added.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of a line from which on it takes its share of the budget. What lighter ones take is
/// bounded by how many of them are read ahead.
const HEAVY_BYTES: usize = 64 * 1024;
/// Bytes that all heavy lines may take together, wherever they are: as much as is read ahead.
const MAX_HEAVY_BYTES: usize = 32 << 20;

/// Why reading an input stopped.
enum ReadStop {
    /// Nobody takes batches any more: the run is ending.
    Unwanted,
    Broken(io::Error),
}

/// The reading thread.
pub struct InputReader {
    sender: mpsc::Sender<Batch>,
    live: Arc<LiveStats>,
    rules: ListRules,
    heavy: Arc<LineBudget>,
    next_number: u64,
    batch: Vec<ListEntry>,
    /// Bytes of its lines.
    weight: usize,
    /// Set when an input was given up before its end.
    unread: bool,
}

impl InputReader {
    pub fn new(sender: mpsc::Sender<Batch>, live: Arc<LiveStats>, rules: ListRules) -> Self {
        Self {
            sender,
            live,
            rules,
            heavy: LineBudget::new(MAX_HEAVY_BYTES),
            next_number: 0,
            batch: Vec::new(),
            weight: 0,
            unread: false,
        }
    }

    pub fn run(mut self, inputs: Vec<OpenInput>) {
        let mut wanted = true;
        for mut input in inputs {
            if wanted {
                match self.read(&mut input) {
                    Ok(()) => continue,
                    Err(ReadStop::Unwanted) => {
                        wanted = false;
                        if matches!(input.content, InputContent::Url(..)) {
                            // It was the whole input, and it is counted.
                            continue;
                        }
                    }
                    Err(ReadStop::Broken(cause)) => {
                        let error = InputError::new(&input.name, cause);
                        // If nobody listens, the run is over and knows it.
                        let _ = self.send();
                        let _ = self.sender.blocking_send(Err(error));
                        return;
                    }
                }
            }
            self.count_remaining(&mut input);
        }
        // What was read is counted, whether anybody still takes it or not.
        let _ = self.send();
        if !self.unread {
            self.live.mark_list_ended();
        }
    }

    fn read(&mut self, input: &mut OpenInput) -> Result<(), ReadStop> {
        match &mut input.content {
            InputContent::Url(url, number) => {
                self.live.add_list_bytes(url.len() as u64);
                let origin = self.origin(&input.name);
                let entry = text::parse_argument(url, origin.line(*number), self.rules);
                self.push(entry)?;
                // What comes next sends it along: a full batch, a list, or the end.
                if self.is_full() { self.send() } else { Ok(()) }
            }
            InputContent::Urls(urls) => self.read_urls(&input.name, urls),
            InputContent::List(list) => self.read_list(&input.name, &mut **list),
        }
    }

    /// Each is sent at once: the next one may wait for what becomes of those before it.
    fn read_urls(&mut self, name: &Arc<str>, urls: &mut UrlIterator) -> Result<(), ReadStop> {
        self.send()?;
        for (number, url) in (1..).zip(&mut urls.0) {
            let line = self.origin(name).line(number);
            self.push(text::parse_argument(&url, line, self.rules))?;
            self.send()?;
        }
        Ok(())
    }

    fn read_list(&mut self, name: &Arc<str>, list: &mut dyn InputList) -> Result<(), ReadStop> {
        // Reading may wait for long; the arguments before it need not.
        self.send()?;
        let mut told = 0;
        loop {
            let step = list.next(&self.origin(name)).map_err(ReadStop::Broken)?;
            let ended = matches!(step, ListStep::End);
            if let ListStep::Found(entry) = step {
                self.push(entry)?;
            }
            if ended || self.is_full() || (!self.batch.is_empty() && !list.is_ready()) {
                let position = list.position();
                self.live.add_list_bytes(position.saturating_sub(told));
                told = position;
                self.send()?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn origin<'a>(&self, input: &'a Arc<str>) -> EntryOrigin<'a> {
        EntryOrigin {
            input,
            number: self.next_number,
        }
    }

    fn push(&mut self, mut entry: ListEntry) -> Result<(), ReadStop> {
        // Where any line may name a file, every file is asked for by its line: it is told by
        // the wish, which lines that can't name one have not.
        if let ListEntry::Job(job) = &mut entry
            && self.rules.saves_files
            && self.rules.as_json
        {
            job.wish.get_or_insert_default();
        }
        let weight = match &entry {
            ListEntry::Job(job) => job.weight(),
            ListEntry::Invalid(line) => line.raw.len(),
        };
        if weight >= HEAVY_BYTES {
            self.hold(&mut entry, weight)?;
        }
        self.next_number += 1;
        self.weight += weight;
        self.batch.push(entry);
        Ok(())
    }

    /// Waits until a heavy line has its place beside others. Those before it are sent: they may be
    /// the ones that are waited for.
    fn hold(&mut self, entry: &mut ListEntry, weight: usize) -> Result<(), ReadStop> {
        let line = match entry {
            ListEntry::Job(job) => job.raw.as_mut(),
            ListEntry::Invalid(line) => Some(&mut line.raw),
        };
        let Some(line) = line else {
            return Ok(());
        };
        let reservation = match self.heavy.try_reserve(weight) {
            Some(reservation) => reservation,
            None => {
                self.send()?;
                self.heavy.reserve(weight)
            }
        };
        line.hold(reservation);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_ENTRIES || self.weight >= BATCH_BYTES
    }

    fn send(&mut self) -> Result<(), ReadStop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.live.add_listed(self.batch.len() as u64);
        let batch = std::mem::take(&mut self.batch);
        self.weight = 0;
        self.sender
            .blocking_send(Ok(batch))
            .map_err(|_| ReadStop::Unwanted)
    }

    /// After an early end: how many lines a regular file still holds, so that what is
    /// left can be told exactly. A pipe is not waited for.
    fn count_remaining(&mut self, input: &mut OpenInput) {
        let list = match &mut input.content {
            InputContent::Url(..) => return self.live.add_listed(1),
            InputContent::List(list) if input.length.is_some() => list,
            InputContent::List(_) | InputContent::Urls(_) => {
                self.unread = true;
                return;
            }
        };
        let mut count = 0;
        loop {
            match list.skip() {
                Ok(ListStep::Found(())) => count += 1,
                Ok(ListStep::Nothing) => {}
                Ok(ListStep::End) => break,
                Err(_) => {
                    self.unread = true;
                    break;
                }
            }
        }
        self.live.add_listed(count);
    }
}
