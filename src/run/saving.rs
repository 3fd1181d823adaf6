//! Where bodies go, and what the runs before have done.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Problem;
use crate::config::SaveOptions;
use crate::model::FetchError;
use crate::report::{Journal, JournalContents, JournalError, JournalReader};
use crate::store::{
    FileStore, FilesOptions, FolderError, KnownEnd, OpenedPack, PackError, PackOptions, PackStore,
};

/// Something can't be saved: the run can't go on.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The output folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal can't be used.
    #[error("cannot use the journal {}: {cause}", path.display())]
    Journal {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: JournalError,
    },
    /// The pack can't be used.
    #[error("cannot use the pack {}: {cause}", path.display())]
    Pack {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: PackError,
    },
    /// The disk is full, or broken.
    #[error("{0}; what was saved stays, and the same command goes on from there")]
    Disk(FetchError),
}

/// A journal, and what was found in it.
pub struct OpenedJournal {
    /// Its path, for errors.
    pub what: String,
    /// To be appended to.
    pub journal: Journal,
    /// What the runs before did.
    pub past: JournalReader,
    /// What people should know of it.
    pub warnings: Vec<String>,
}

/// Opens the output folder and its journal.
pub fn open_files(
    dir: &Path,
    options: &SaveOptions,
) -> Result<(FileStore, OpenedJournal), Problem> {
    let files = FilesOptions {
        dir: dir.to_owned(),
        sync: options.sync,
        compare: options.refresh,
    };
    let files = FileStore::open(&files).map_err(|error| Problem::Save(error.into()))?;
    let remembered = remember(files.journal_path(), files.open_journal(), options)?;
    Ok((files, remembered))
}

/// Opens a journal that stands for itself.
pub fn open_standalone_journal(
    path: &Path,
    options: &SaveOptions,
) -> Result<OpenedJournal, Problem> {
    remember(path.to_owned(), open_to_append(path), options)
}

/// A journal, opened to be read and appended to. What it is otherwise is looked at by whoever
/// takes it; opening waits for nothing.
fn open_to_append(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, crate::store::NO_WAIT);
    options.open(path)
}

/// Opens a pack and its journal.
pub fn open_pack(
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
    };
    let own = PackStore::journal_path(path);
    let journal = options.journal.as_deref().unwrap_or(&own);
    if !journal.exists() {
        // A pack without its journal is left alone, and gets none.
        let opened = PackStore::open(pack, KnownEnd::NoJournal).map_err(failed)?;
        return Ok((opened.packed, open_standalone_journal(journal, options)?));
    }
    let mut remembered = open_standalone_journal(journal, options)?;
    let unusable = |error: std::io::Error| {
        Problem::Save(SaveError::Journal {
            path: journal.to_owned(),
            cause: error.into(),
        })
    };
    let opened = match PackStore::open(pack.clone(), known_end(&remembered.past)) {
        Err(PackError::Short { length, .. }) => {
            remembered.past = remembered.journal.read_up_to(length).map_err(unusable)?;
            let opened = PackStore::open(pack, known_end(&remembered.past)).map_err(failed)?;
            // Before anything else takes its place.
            remembered
                .journal
                .mark_lost_beyond(length)
                .map_err(unusable)?;
            opened
        }
        opened => opened.map_err(failed)?,
    };
    let missing = remembered.past.beyond_limit();
    remembered
        .warnings
        .extend(pack_warnings(path, &opened, missing));
    Ok((opened.packed, remembered))
}

fn known_end(past: &JournalReader) -> KnownEnd {
    past.pack_end().map_or(KnownEnd::Nothing, KnownEnd::UpTo)
}

fn pack_warnings(path: &Path, opened: &OpenedPack, missing: usize) -> Vec<String> {
    let path = path.display();
    let mut warnings = Vec::new();
    if opened.cut > 0 {
        warnings.push(format!(
            "warning: {path}: {} bytes behind the last record that its journal knows were cut off (a run was killed?)",
            opened.cut
        ));
    }
    if missing > 0 {
        warnings.push(format!(
            "warning: {path}: {} bodies that its journal knows are not there (was it cut?) and are fetched again",
            missing
        ));
    }
    warnings
}

fn remember(
    path: PathBuf,
    file: std::io::Result<File>,
    options: &SaveOptions,
) -> Result<OpenedJournal, Problem> {
    let opened = file
        .map_err(JournalError::from)
        .and_then(|file| Journal::open(file, options.sync));
    match opened {
        Ok((journal, found)) => Ok(OpenedJournal {
            what: path.display().to_string(),
            warnings: warnings(&path, &found),
            journal,
            past: found.past,
        }),
        Err(cause) => Err(Problem::Save(SaveError::Journal { path, cause })),
    }
}

fn warnings(path: &Path, found: &JournalContents) -> Vec<String> {
    let path = path.display();
    let mut warnings = Vec::new();
    if found.torn {
        warnings.push(format!(
            "warning: {path}: its last line was torn (a run was killed?) and is ignored; its URL is fetched again"
        ));
    }
    match (found.garbage, found.first_garbage) {
        (0, _) => {}
        (1, line) => warnings.push(format!(
            "warning: {path}: line {line} is no record and is ignored"
        )),
        (n, line) => warnings.push(format!(
            "warning: {path}: {n} lines are no records and are ignored; the first is line {line}"
        )),
    }
    warnings
}
