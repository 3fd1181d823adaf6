//! Opens the output directory, the pack and the journal, and reads what earlier runs have done.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::problem::{Problem, SaveError};
use crate::config::SaveOptions;
use crate::report::{Journal, JournalContents, JournalError, JournalReader};
use crate::store::{FileStore, FilesOptions, KnownEnd, PackError, PackOptions, PackStore};

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
    read_journal(path.to_owned(), open_to_append(path), options)
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

/// Opens a pack and its journal.
pub(super) fn open_pack(
    path: &Path,
    options: &SaveOptions,
    request_body: Option<Bytes>,
) -> Result<(PackStore, OpenedJournal), Problem> {
    let failed = |cause| {
        Problem::Save(SaveError::Pack {
            path: path.to_owned(),
            cause,
        })
    };
    let pack = PackOptions {
        path: path.to_owned(),
        sync: options.sync,
        request_body,
        only_fetched: options.pack_only_fetched,
    };
    let own = PackStore::journal_path(path);
    let journal = options.journal.as_deref().unwrap_or(&own);
    let unusable = |error: std::io::Error| {
        Problem::Save(SaveError::Journal {
            path: journal.to_owned(),
            cause: error.into(),
        })
    };
    if !journal.exists() {
        // If there is a pack already, this fails before a journal is created for it.
        let opened = PackStore::open(pack, KnownEnd::NoJournal).map_err(failed)?;
        let mut opened_journal = open_standalone_journal(journal, options)?;
        opened_journal.journal.mark_pack_begun().map_err(unusable)?;
        return Ok((opened.packed, opened_journal));
    }
    let is_gone = !path.exists();
    let mut opened_journal = open_standalone_journal(journal, options)?;
    let has_begun = opened_journal.has_begun_pack;
    let known = known_end(&opened_journal.past, has_begun);
    let opened = match PackStore::open(pack.clone(), known) {
        Err(PackError::Short { length, .. }) => {
            let lost = &mut opened_journal;
            lost.past = lost.journal.read_up_to(length).map_err(unusable)?;
            let known = known_end(&lost.past, true);
            let opened = PackStore::open(pack, known).map_err(failed)?;
            // Before new records are written to the offsets of the lost ones.
            lost.journal.mark_lost_beyond(length).map_err(unusable)?;
            opened
        }
        opened => opened.map_err(failed)?,
    };
    if opened_journal.past.pack_end().is_none() {
        opened_journal.journal.mark_pack_begun().map_err(unusable)?;
    }
    let missing = opened_journal.past.beyond_limit();
    let cut = cut_warning(path, opened.cut);
    let lost = lost_warning(path, missing, is_gone);
    opened_journal.warnings.extend(cut.into_iter().chain(lost));
    Ok((opened.packed, opened_journal))
}

/// Says that a pack had more than its journal lists.
fn cut_warning(path: &Path, cut: u64) -> Option<String> {
    let path = path.display();
    (cut > 0).then(|| {
        format!(
            "warning: {path}: discarded {cut} bytes after the last journaled record (was a run killed?)"
        )
    })
}

/// Says how far a pack is known, in whose journal a run `has_begun`.
pub(super) fn known_end(past: &JournalReader, has_begun: bool) -> KnownEnd {
    match past.pack_end() {
        Some(end) => KnownEnd::UpTo(end),
        None if has_begun => KnownEnd::Nothing,
        None => KnownEnd::NoJournal,
    }
}

/// Says that the journal lists more than the pack has, which may be gone.
pub(super) fn lost_warning(path: &Path, missing: usize, is_gone: bool) -> Option<String> {
    let path = path.display();
    let (bodies, are) = match missing {
        1 => ("body", "is"),
        _ => ("bodies", "are"),
    };
    (missing > 0).then(|| match is_gone {
        true => format!(
            "warning: {path}: the pack is gone, but its journal is there: {missing} journaled {bodies} \
             will be fetched again; if you moved the pack, move its journal along"
        ),
        false => format!(
            "warning: {path}: {missing} journaled {bodies} {are} missing (was it truncated?) and will \
             be fetched again"
        ),
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
