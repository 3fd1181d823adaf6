//! The reading thread.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::list::{List, Origin, Rules, Step};
use super::source::{Content, Input};
use super::{Batch, InputError, text};
use crate::model::{Entry, LineBudget, Live};

/// Entries in one batch at most. A batch is sent early when the input has no whole line
/// ready, so that a slow pipe is not held up.
const BATCH: usize = 256;
/// And bytes of their lines, beyond which no more are added.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of a line from which on it takes its share of the budget. What lighter ones take is
/// bounded by how many of them are read ahead.
const HEAVY: usize = 64 * 1024;
/// Bytes that all heavy lines may take together, wherever they are: as much as is read ahead.
const MOST_HEAVY: usize = 32 << 20;

/// Why reading an input stopped.
enum Stop {
    /// Nobody takes batches any more: the run is ending.
    Unwanted,
    Broken(io::Error),
}

/// The reading thread.
pub struct Reader {
    sender: mpsc::Sender<Batch>,
    live: Arc<Live>,
    rules: Rules,
    heavy: Arc<LineBudget>,
    next_number: u64,
    batch: Vec<Entry>,
    /// Bytes of its lines.
    weight: usize,
    /// Set when an input was given up before its end.
    unread: bool,
}

impl Reader {
    pub fn new(sender: mpsc::Sender<Batch>, live: Arc<Live>, rules: Rules) -> Self {
        Self {
            sender,
            live,
            rules,
            heavy: LineBudget::new(MOST_HEAVY),
            next_number: 0,
            batch: Vec::new(),
            weight: 0,
            unread: false,
        }
    }

    pub fn run(mut self, inputs: Vec<Input>) {
        let mut wanted = true;
        for mut input in inputs {
            if wanted {
                match self.read(&mut input) {
                    Ok(()) => continue,
                    Err(Stop::Unwanted) => {
                        wanted = false;
                        if matches!(input.content, Content::Url(..)) {
                            // It was the whole input, and it is counted.
                            continue;
                        }
                    }
                    Err(Stop::Broken(cause)) => {
                        let error = InputError::new(&input.name, cause);
                        // If nobody listens, the run is over and knows it.
                        let _ = self.send();
                        let _ = self.sender.blocking_send(Err(error));
                        return;
                    }
                }
            }
            self.count_rest(&mut input);
        }
        // What was read is counted, whether anybody still takes it or not.
        let _ = self.send();
        if !self.unread {
            self.live.list_ended();
        }
    }

    fn read(&mut self, input: &mut Input) -> Result<(), Stop> {
        match &mut input.content {
            Content::Url(url, number) => {
                self.live.list_bytes_read(url.len() as u64);
                let origin = self.origin(&input.name);
                let entry = text::parse_argument(url, origin.line(*number), self.rules);
                self.take(entry)?;
                // What comes next sends it along: a full batch, a list, or the end.
                if self.is_full() { self.send() } else { Ok(()) }
            }
            Content::List(list) => self.read_list(&input.name, &mut **list),
        }
    }

    fn read_list(&mut self, name: &Arc<str>, list: &mut dyn List) -> Result<(), Stop> {
        // Reading may wait for long; the arguments before it need not.
        self.send()?;
        let mut told = 0;
        loop {
            let step = list.next(&self.origin(name)).map_err(Stop::Broken)?;
            let ended = matches!(step, Step::End);
            if let Step::Found(entry) = step {
                self.take(entry)?;
            }
            if ended || self.is_full() || (!self.batch.is_empty() && !list.is_ready()) {
                let position = list.position();
                self.live.list_bytes_read(position.saturating_sub(told));
                told = position;
                self.send()?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn origin<'a>(&self, input: &'a Arc<str>) -> Origin<'a> {
        Origin {
            input,
            number: self.next_number,
        }
    }

    fn take(&mut self, mut entry: Entry) -> Result<(), Stop> {
        // Where any line may name a file, every file is asked for by its line: it is told by
        // the wish, which lines that can't name one have not.
        if let Entry::Job(job) = &mut entry
            && self.rules.saves_files
            && self.rules.as_json
        {
            job.wish.get_or_insert_default();
        }
        let weight = match &entry {
            Entry::Job(job) => job.weight(),
            Entry::Invalid(line) => line.raw.len(),
        };
        if weight >= HEAVY {
            self.hold(&mut entry, weight)?;
        }
        self.next_number += 1;
        self.weight += weight;
        self.batch.push(entry);
        Ok(())
    }

    /// Waits until a heavy line has its place beside others. Those before it are sent: they may be
    /// the ones that are waited for.
    fn hold(&mut self, entry: &mut Entry, weight: usize) -> Result<(), Stop> {
        let line = match entry {
            Entry::Job(job) => job.raw.as_mut(),
            Entry::Invalid(line) => Some(&mut line.raw),
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
        self.batch.len() >= BATCH || self.weight >= BATCH_BYTES
    }

    fn send(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.live.list_read(self.batch.len() as u64);
        let batch = std::mem::take(&mut self.batch);
        self.weight = 0;
        self.sender
            .blocking_send(Ok(batch))
            .map_err(|_| Stop::Unwanted)
    }

    /// After an early end: how many lines a regular file still holds, so that what is
    /// left can be told exactly. A pipe is not waited for.
    fn count_rest(&mut self, input: &mut Input) {
        let list = match &mut input.content {
            Content::Url(..) => return self.live.list_read(1),
            Content::List(list) if input.length.is_some() => list,
            Content::List(_) => {
                self.unread = true;
                return;
            }
        };
        let mut count = 0;
        loop {
            match list.skip() {
                Ok(Step::Found(())) => count += 1,
                Ok(Step::Nothing) => {}
                Ok(Step::End) => break,
                Err(_) => {
                    self.unread = true;
                    break;
                }
            }
        }
        self.live.list_read(count);
    }
}
