//! The reader thread.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::list::{EntryOrigin, InputList, ListRules, ListStep};
use super::shard_filter::ShardFilter;
use super::source::{InputContent, OpenInput};
use super::{Batch, InputError, UrlIterator, WarningCallback, shown, text};
use crate::model::{Columns, LineBudget, ListEntry, LiveStats};

/// Maximum number of entries in a batch. A batch is sent earlier if the input has no complete
/// line ready, so that lines of a slow pipe are not delayed.
const BATCH_ENTRIES: usize = 256;
/// Bytes of lines after which no more are added to a batch.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes from which a line counts against the budget of heavy lines. Lighter ones are bounded by
/// the number of jobs read ahead.
const HEAVY_BYTES: usize = 64 * 1024;
/// Maximum total bytes of heavy lines in the run: the same as the look-ahead in bytes.
const MAX_HEAVY_BYTES: usize = 32 << 20;
/// Bytes of heavy lines with which another line is read: while its entry is built, a line of
/// megabytes takes several times as much.
const MAX_HEAVY_BEHIND: usize = MAX_HEAVY_BYTES / 2;

/// Why reading an input stopped.
enum ReadStop {
    /// The receiver was dropped: the run is ending.
    Unwanted,
    Broken(io::Error),
}

/// The state of the reader thread.
pub(super) struct InputReader {
    sender: mpsc::Sender<Batch>,
    live: Arc<LiveStats>,
    rules: ListRules,
    filter: Option<ShardFilter>,
    on_warning: Option<WarningCallback>,
    heavy: Arc<LineBudget>,
    next_number: u64,
    batch: Vec<ListEntry>,
    /// Bytes of the lines in `batch`.
    weight: usize,
    /// Whether a heavy line was read since there was room for another one.
    needs_room: bool,
    /// Whether an input was not read to its end.
    unread: bool,
}

impl InputReader {
    pub(super) fn new(
        sender: mpsc::Sender<Batch>,
        live: Arc<LiveStats>,
        rules: ListRules,
        filter: Option<ShardFilter>,
        on_warning: Option<WarningCallback>,
    ) -> Self {
        Self {
            sender,
            live,
            rules,
            filter,
            on_warning,
            heavy: LineBudget::new(MAX_HEAVY_BYTES),
            next_number: 0,
            batch: Vec::new(),
            weight: 0,
            needs_room: false,
            unread: false,
        }
    }

    pub(super) fn run(mut self, inputs: Vec<OpenInput>) {
        let mut wanted = true;
        for mut input in inputs {
            if wanted {
                match self.read(&mut input) {
                    Ok(()) => continue,
                    Err(ReadStop::Unwanted) => {
                        wanted = false;
                        if matches!(input.content, InputContent::Url(..)) {
                            // The argument was the whole input and is counted already.
                            continue;
                        }
                    }
                    Err(ReadStop::Broken(cause)) => {
                        let error = InputError::new(&input.name, cause);
                        // If the receiver is gone, the run is over anyway.
                        let _ = self.send();
                        let _ = self.sender.blocking_send(Err(error));
                        return;
                    }
                }
            }
            self.count_remaining(&mut input);
        }
        // Sending also counts the entries, even if the receiver is gone.
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
                let entry = text::parse_argument(url, origin.line(*number), &self.rules);
                if self.is_wanted(&entry, url.as_bytes()) {
                    self.push(entry)?;
                }
                // Otherwise sent later: with a full batch, before a list, or at the end.
                if self.is_full() { self.send() } else { Ok(()) }
            }
            InputContent::Urls(urls) => self.read_urls(&input.name, urls),
            InputContent::List(list) => self.read_list(&input.name, &mut **list),
        }
    }

    /// Sends each URL at once, because producing the next one may depend on earlier results.
    fn read_urls(&mut self, name: &Arc<str>, urls: &mut UrlIterator) -> Result<(), ReadStop> {
        self.send()?;
        for (number, url) in (1..).zip(&mut urls.0) {
            let line = self.origin(name).line(number);
            let entry = text::parse_argument(&url, line, &self.rules);
            if self.is_wanted(&entry, url.as_bytes()) {
                self.push(entry)?;
                self.send()?;
            } else if self.sender.is_closed() {
                return Err(ReadStop::Unwanted);
            }
        }
        Ok(())
    }

    fn read_list(&mut self, name: &Arc<str>, list: &mut dyn InputList) -> Result<(), ReadStop> {
        // Reading may block for long; arguments before the list must not wait for it.
        self.send()?;
        let mut counted = 0;
        loop {
            self.make_room()?;
            let step = list.next(&self.origin(name)).map_err(ReadStop::Broken)?;
            let ended = matches!(step, ListStep::End);
            match step {
                ListStep::Found(entry) if self.is_wanted(&entry, list.source()) => {
                    self.push(entry)?;
                }
                ListStep::Found(_) | ListStep::Nothing if self.sender.is_closed() => {
                    return Err(ReadStop::Unwanted);
                }
                ListStep::Found(_) | ListStep::Nothing | ListStep::End => {}
            }
            self.warn(name, list.take_warning());
            if ended || self.is_full() || (!self.batch.is_empty() && !list.is_ready()) {
                let position = list.position();
                self.live.add_list_bytes(position.saturating_sub(counted));
                counted = position;
                self.send()?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Whether an entry is input of this run, and not of another shard.
    fn is_wanted(&mut self, entry: &ListEntry, source: &[u8]) -> bool {
        let filter = self.filter.as_mut();
        let is_wanted = filter.is_none_or(|filter| filter.takes(entry, source));
        if !is_wanted {
            self.live.add_other_line();
        }
        is_wanted
    }

    fn warn(&self, name: &str, warning: Option<String>) {
        if let (Some(text), Some(callback)) = (warning, &self.on_warning) {
            (callback.0)(&format!("{}: {text}", shown(name)));
        }
    }

    fn origin<'a>(&self, input: &'a Arc<str>) -> EntryOrigin<'a> {
        EntryOrigin {
            input,
            number: self.next_number,
        }
    }

    fn push(&mut self, mut entry: ListEntry) -> Result<(), ReadStop> {
        // If any input can set `file`, names are claimed per line, not only by URL. Options on the
        // job mark that, also for lines that set none.
        if let ListEntry::Job(job) = &mut entry
            && self.rules.saves_files
            && self.rules.has_fields
        {
            job.options.get_or_insert_default();
        }
        let (weight, has_columns) = match &entry {
            ListEntry::Job(job) | ListEntry::Sitemap(job) => {
                let own_options = job.options.as_ref();
                (
                    job.weight(),
                    own_options.is_some_and(|own_options| own_options.columns.is_some()),
                )
            }
            ListEntry::Invalid(line) => {
                let columns = line.columns.as_ref();
                (
                    line.raw.len() + columns.map_or(0, Columns::weight),
                    columns.is_some(),
                )
            }
            ListEntry::Failed(settled) => (settled.record.url.len(), false),
        };
        // Kept columns are in memory until the record is reported, which may be long after with
        // `--ordered`, so they count in any line.
        if weight >= HEAVY_BYTES || has_columns {
            self.reserve(&mut entry, weight)?;
        }
        self.next_number += u64::from(!matches!(entry, ListEntry::Sitemap(_)));
        self.weight += weight;
        self.batch.push(entry);
        Ok(())
    }

    /// Waits until the budget admits a heavy line. The batch is sent first: its lines may be the
    /// ones that have to be released.
    fn reserve(&mut self, entry: &mut ListEntry, weight: usize) -> Result<(), ReadStop> {
        let line = match entry {
            ListEntry::Job(job) | ListEntry::Sitemap(job) => job.raw.as_mut(),
            ListEntry::Invalid(line) => Some(&mut line.raw),
            ListEntry::Failed(settled) => settled.raw.as_mut(),
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
        self.needs_room = true;
        Ok(())
    }

    /// Waits until there is room to build the entry of another heavy line.
    fn make_room(&mut self) -> Result<(), ReadStop> {
        if std::mem::take(&mut self.needs_room) && !self.heavy.is_within(MAX_HEAVY_BEHIND) {
            self.send()?;
            self.heavy.wait_until_within(MAX_HEAVY_BEHIND);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_ENTRIES || self.weight >= BATCH_BYTES
    }

    fn send(&mut self) -> Result<(), ReadStop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let is_input = |entry: &&ListEntry| !matches!(entry, ListEntry::Sitemap(_));
        let listed = self.batch.iter().filter(is_input).count();
        self.live.add_listed(listed as u64);
        let batch = std::mem::take(&mut self.batch);
        self.weight = 0;
        self.sender
            .blocking_send(Ok(batch))
            .map_err(|_| ReadStop::Unwanted)
    }

    /// Counts the remaining lines of an input after the run ended early, so that the number of
    /// jobs left is exact. Only for regular files and arguments: a pipe might block.
    fn count_remaining(&mut self, input: &mut OpenInput) {
        let name = &input.name;
        match &mut input.content {
            InputContent::Url(url, number) => {
                let entry = text::parse_argument(url, self.origin(name).line(*number), &self.rules);
                let is_wanted = self.is_wanted(&entry, url.as_bytes());
                self.live.add_listed(u64::from(is_wanted));
            }
            InputContent::List(list) if input.length.is_some() => {
                self.count_lines(name, &mut **list);
            }
            InputContent::List(_) | InputContent::Urls(_) => self.unread = true,
        }
    }

    fn count_lines(&mut self, name: &Arc<str>, list: &mut dyn InputList) {
        let mut count = 0;
        loop {
            match self.count_step(name, list) {
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

    /// Skips one line. To tell whose it is, it has to be read.
    fn count_step(
        &mut self,
        name: &Arc<str>,
        list: &mut dyn InputList,
    ) -> io::Result<ListStep<()>> {
        if self.filter.is_none() {
            return list.skip();
        }
        Ok(match list.next(&self.origin(name))? {
            ListStep::Found(ListEntry::Sitemap(_)) => return Err(io::ErrorKind::Unsupported.into()),
            ListStep::Found(entry) if self.is_wanted(&entry, list.source()) => ListStep::Found(()),
            ListStep::Found(_) | ListStep::Nothing => ListStep::Nothing,
            ListStep::End => ListStep::End,
        })
    }
}
