//! Where the results of a run go.

use std::fmt;
use std::path::PathBuf;

use crate::config::{RecordCallback, SaveOptions};
use crate::model::Record;

/// The output of [`Fetcher::run`](crate::Fetcher::run): a record for each URL, and, where it is
/// told to, its body in a file.
///
/// ```
/// use fetchall::Sink;
///
/// let sink = Sink::records(|record| println!("{}: {}", record.url, record.outcome))
///     .save_to("pages");
/// ```
#[derive(Default)]
pub struct Sink {
    on_record: Option<RecordCallback>,
    save: SaveOptions,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sink");
        shown.field("save", &self.save).finish_non_exhaustive()
    }
}

impl Sink {
    /// Calls `on_record` with every record as it settles, on a thread of the run. The run goes on
    /// only as fast as it returns.
    pub fn records(on_record: impl FnMut(&Record) + Send + 'static) -> Self {
        Self {
            on_record: Some(Box::new(on_record)),
            save: SaveOptions::default(),
        }
    }

    /// Saves each body below this directory, and a journal beside them: the next run with the same
    /// directory skips what is done. It takes the place of [`pack`](Self::pack) and
    /// [`journal`](Self::journal), as they do of each other.
    #[must_use]
    pub fn save_to(self, directory: impl Into<PathBuf>) -> Self {
        self.saving(|save| save.dir = Some(directory.into()))
    }

    /// Packs all bodies into one WARC file, whose name ends in `.warc` or `.warc.gz`, with its
    /// journal beside it. Redirects and failed responses are in it, too. With `{n}` in its name, it
    /// stands for several, of 1 GB each.
    #[must_use]
    pub fn pack(self, file: impl Into<PathBuf>) -> Self {
        self.saving(|save| save.pack = Some(file.into()))
    }

    /// Keeps a journal and no bodies: the next run with the same journal skips what is done.
    #[must_use]
    pub fn journal(self, file: impl Into<PathBuf>) -> Self {
        self.saving(|save| save.journal = Some(file.into()))
    }

    fn saving(mut self, set: impl FnOnce(&mut SaveOptions)) -> Self {
        self.save = SaveOptions {
            refresh: self.save.refresh,
            remote_time: self.save.remote_time,
            ..SaveOptions::default()
        };
        set(&mut self.save);
        self
    }

    /// Asks the servers whether what earlier runs saved has changed, instead of skipping it.
    #[must_use]
    pub fn refresh(mut self) -> Self {
        self.save.refresh = true;
        self
    }

    /// Gives each file of [`save_to`](Self::save_to) the time of its `Last-Modified`, where there
    /// is one.
    #[must_use]
    pub fn remote_time(mut self) -> Self {
        self.save.remote_time = true;
        self
    }

    pub(super) fn into_parts(self) -> (Option<RecordCallback>, SaveOptions) {
        (self.on_record, self.save)
    }
}
