//! The bodies that earlier runs saved, and what may be wrong with them.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::SaveOptions;
use crate::engine::BodyVerifier;
use crate::model::{
    Cause, ContentChange, ErrorText, FetchError, Job, OutcomeName, PackHistory, Record,
    RecordError, RelPath,
};
use crate::report::ReportError;
use crate::run::saving::journal_path;
use crate::run::{Problem, SaveError};
use crate::store::{PackError, PackFiles, SavedFiles, SavedPack, file_of};

/// Where the bodies are.
pub(super) enum Shelf {
    Files(SavedFiles),
    Packs(SavedPacks),
    /// Only the journal was kept.
    None,
}

impl Shelf {
    pub(super) fn open(save: &SaveOptions) -> Result<Self, Problem> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| {
                Problem::Report(ReportError {
                    what: path.display().to_string(),
                    source: cause,
                })
            }
        };
        match (&save.dir, &save.pack) {
            // Without the directory there is no journal, and the error is about that.
            (Some(dir), _) if dir.exists() => {
                SavedFiles::open(dir).map(Self::Files).map_err(failed(dir))
            }
            (None, Some(pack)) if journal_path(save).exists() => {
                let packs = SavedPacks::open(pack).map(Self::Packs);
                packs.map_err(|cause| {
                    let path = pack.clone();
                    Problem::Save(SaveError::Pack { path, cause })
                })
            }
            _ => Ok(Self::None),
        }
    }

    /// Whether a record says that there is a body here.
    pub(super) fn has(&self, record: &Record) -> bool {
        match self {
            Self::Files(_) => record.file.is_some(),
            Self::Packs(_) => record.end_in_pack().is_some(),
            Self::None => false,
        }
    }

    pub(super) fn file_of(&self, job: &Job) -> Option<RelPath> {
        matches!(self, Self::Files(_)).then(|| file_of(job))
    }

    /// Whether there is a file of this name.
    pub(super) fn has_file(&self, file: &RelPath) -> bool {
        matches!(self, Self::Files(files) if files.open_file(file).is_ok())
    }

    /// Reads a body through the checks.
    pub(super) fn check(&self, record: &Record, mut checks: BodyVerifier) -> Result<(), Flaw> {
        let packed = match (self, record.pack) {
            (Self::Packs(packs), Some(place)) => packs.get(place.n).map(|pack| (pack, place)),
            _ => None,
        };
        match (self, &record.file, packed) {
            (Self::Files(files), Some(file), _) => {
                let file = RelPath::parse(file).map_err(|why| Flaw::changed(&why))?;
                let file = files.open_file(&file)?;
                let length = file.metadata()?.len();
                checks.check_announced(Some(length))?;
                let needed = checks.needed_of(length);
                checks.read_existing(file.take(needed))?;
                checks.skip(length - needed);
                checks.finish()?;
            }
            (Self::Packs(packs), _, None) if record.pack.is_some() => {
                packs.passed_over.fetch_add(1, Ordering::Relaxed);
            }
            (_, _, Some((pack, place))) => {
                let mut checked = Ok(());
                pack.read(place, |piece| {
                    if checked.is_ok() {
                        checked = checks.update(piece);
                    }
                })?;
                checked?;
                checks.finish()?;
            }
            _ => checks.check_recorded(record.bytes, record.hashes())?,
        }
        Ok(())
    }
}

/// A pack, or those of a series.
pub(super) struct SavedPacks {
    files: PackFiles,
    /// What the journal says of them.
    pub(super) history: PackHistory,
    /// Bodies that were not looked at, because their pack was delivered and is gone.
    pub(super) passed_over: AtomicU64,
}

impl SavedPacks {
    fn open(path: &Path) -> Result<Self, PackError> {
        let files = PackFiles::new(path);
        SavedPack::open(path)?;
        let history = PackHistory::default();
        Ok(Self {
            files,
            history,
            passed_over: AtomicU64::default(),
        })
    }

    /// Sets what the journal says of the packs.
    pub(super) fn take_history(&mut self, mut history: PackHistory) {
        history.deliver_gone(|n| self.files.has_file(n));
        self.history = history;
    }

    /// Returns the pack with this number; `None` if it was delivered and is gone.
    pub(super) fn get(&self, n: Option<u32>) -> Option<SavedPack> {
        let path = self.files.path(n);
        let (false, Some(number)) = (path.exists(), n) else {
            return Some(SavedPack::of(path));
        };
        let part = self.files.part(n);
        match part.exists() {
            true => Some(SavedPack::of(part)),
            false if self.history.is_delivered(number) => None,
            false => Some(SavedPack::of(path)),
        }
    }

    /// Returns the number of the pack that the next run would fill.
    pub(super) fn next(&self, last: Option<u32>) -> Option<u32> {
        self.files.are_series().then(|| self.history.next(last))
    }
}

/// What is wrong with a body.
pub(super) struct Flaw {
    pub(super) change: ContentChange,
    pub(super) error: FetchError,
}

impl Flaw {
    pub(super) fn changed(why: &str) -> Self {
        FetchError::Checksum(Cause::from_text(why)).into()
    }

    pub(super) fn missing(why: &str) -> Self {
        Self {
            change: ContentChange::Gone,
            error: FetchError::Checksum(Cause::from_text(why)),
        }
    }

    /// Makes the record of the body that of a failure.
    pub(super) fn describe(self, record: Record, text: ErrorText) -> Record {
        let mut error = RecordError::new(&self.error, text);
        if let (ContentChange::Gone, FetchError::Checksum(why)) = (self.change, &self.error) {
            // Nothing was compared.
            error.message = why.to_string();
        }
        Record {
            ok: false,
            outcome: OutcomeName::Failed,
            error: Some(error),
            change: Some(self.change),
            attempts: 0,
            resends: 0,
            at: format!("{:.3}", jiff::Timestamp::now()),
            started_ms: None,
            ttfb_ms: None,
            elapsed_ms: None,
            total_ms: None,
            ..record
        }
    }
}

impl From<FetchError> for Flaw {
    fn from(error: FetchError) -> Self {
        Self {
            change: ContentChange::Changed,
            error,
        }
    }
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Self::missing("the file is missing")
            }
            io::ErrorKind::UnexpectedEof => Self::missing("the pack ends before it"),
            io::ErrorKind::InvalidData | io::ErrorKind::Other => Self::changed(&error.to_string()),
            _ => Self::changed(&format!("cannot be read: {error}")),
        }
    }
}
