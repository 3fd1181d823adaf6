//! Opens the output directory and the journal, and reads what earlier runs have done.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::problem::{Problem, SaveError};
use crate::config::SaveOptions;
use crate::model::{PackHistory, Shard, sync_name};
use crate::report::{Journal, JournalContents, JournalError, JournalReader};
use crate::store::{FileStore, FilesOptions};
#[cfg(feature = "cli")]
use crate::store::{PackFiles, SavedFiles};

/// A journal and its content.
pub(super) struct OpenedJournal {
    /// Its path, for errors.
    pub what: String,
    /// The journal, opened for appending.
    pub journal: Journal,
    /// The results of earlier runs.
    pub past: JournalReader,
    /// Whether a run of a pack has begun in the journal.
    pub has_begun_pack: bool,
    /// The packs that earlier runs have finished.
    pub packs: PackHistory,
    /// Warnings about damage in the journal or the pack.
    pub warnings: Vec<String>,
}

/// Opens the output directory and its journal.
pub(super) fn open_files(
    dir: &Path,
    options: &SaveOptions,
) -> Result<(FileStore, OpenedJournal), Problem> {
    let files = FilesOptions {
        dir: dir.to_owned(),
        sync: options.sync,
        compare: options.refresh,
        remote_time: options.remote_time,
    };
    let files = FileStore::open(&files).map_err(|error| Problem::Save(error.into()))?;
    let journal = read_journal(files.journal_path(), files.open_journal(), options)?;
    Ok((files, journal))
}

/// Opens the journal at `path`.
pub(super) fn open_standalone_journal(
    path: &Path,
    options: &SaveOptions,
) -> Result<OpenedJournal, Problem> {
    let file = open_to_append(path).and_then(|file| {
        if options.sync {
            sync_name(path)?;
        }
        Ok(file)
    });
    read_journal(path.to_owned(), file, options)
}

/// Opens a journal for reading and appending, without blocking on a pipe. [`Journal::open`] checks
/// that it is a regular file.
fn open_to_append(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, crate::store::NO_WAIT);
    options.open(path)
}

/// Opens a journal for reading, without blocking on a pipe.
#[cfg(feature = "cli")]
pub(super) fn open_to_read(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, crate::store::NO_WAIT);
    options.open(path)
}

/// Returns the path of the journal of a run; empty if it has none.
#[cfg(feature = "cli")]
pub(super) fn journal_path(save: &SaveOptions) -> PathBuf {
    match (&save.dir, &save.pack, &save.journal) {
        (Some(dir), ..) => SavedFiles::journal_path(dir),
        (None, _, Some(journal)) => journal.clone(),
        (None, Some(pack), None) => PackFiles::new(pack).journal(),
        (None, None, None) => PathBuf::new(),
    }
}

/// Checks that a run of this shard, or of the whole list, can use the journal, if there is one.
#[cfg(feature = "cli")]
pub(super) fn check_shard(path: &Path, shard: Option<Shard>) -> Result<(), Problem> {
    let checked = match open_to_read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened
            .map_err(JournalError::from)
            .and_then(|file| Journal::check_shard(&file, shard)),
    };
    checked.map_err(|cause| {
        let path = path.to_owned();
        Problem::Save(SaveError::Journal { path, cause })
    })
}

fn read_journal(
    path: PathBuf,
    file: std::io::Result<File>,
    options: &SaveOptions,
) -> Result<OpenedJournal, Problem> {
    let opened = file
        .map_err(JournalError::from)
        .and_then(|file| Journal::open(file, options.sync, options.shard));
    match opened {
        Ok((journal, found)) => Ok(OpenedJournal {
            what: path.display().to_string(),
            warnings: warnings(&path, &found),
            journal,
            has_begun_pack: found.has_begun_pack,
            packs: found.packs,
            past: found.past,
        }),
        Err(cause) => Err(Problem::Save(SaveError::Journal { path, cause })),
    }
}

/// Says what in a journal is not a record.
pub(super) fn warnings(path: &Path, found: &JournalContents) -> Vec<String> {
    let path = path.display();
    let mut warnings = Vec::new();
    if found.torn {
        warnings.push(format!(
            "warning: {path}: ignored an incomplete last line (was a run killed?); its URL is fetched again"
        ));
    }
    match (found.garbage, found.first_garbage) {
        (0, _) => {}
        (1, line) => warnings.push(format!(
            "warning: {path}: line {line} is not a record; ignored"
        )),
        (n, line) => warnings.push(format!(
            "warning: {path}: {n} lines are not records; ignored, the first is line {line}"
        )),
    }
    warnings
}
