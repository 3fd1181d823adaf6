//! `-o DIR`: one file per body. It is written below `DIR/.fetchall/` and renamed once complete, so
//! a file under its final name is always complete.

mod body;
mod folder;
mod folders;
mod parts;
mod same;
#[cfg(feature = "cli")]
mod saved_files;
mod segment_log;
mod segment_writer;
mod shared;
mod writer;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::header;
use tokio_util::sync::CancellationToken;

use super::{BodyStore, FileCallback, path_for_user, save_error};
use crate::model::{
    Attempt, BodyVersion, FetchError, Job, PartialBody, Record, RelPath, ResponseHead,
};
use body::FileBodyWriter;
use folder::Folder;
use parts::PartIndex;
use shared::FileStoreShared;
use writer::{CommitOptions, FinalFile, WriteOrder, set_time};

pub use folder::FolderError;
#[cfg(feature = "cli")]
pub(crate) use saved_files::SavedFiles;
pub(crate) use segment_writer::{SegmentWriter, SegmentedFile};
pub(crate) use writer::MAX_WRITERS as MAX_FILE_WRITERS;

/// How long `close` waits for the disk once the run is aborted.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where and how bodies are saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FilesOptions {
    /// The output directory, created if missing.
    pub dir: PathBuf,
    /// Whether a body and its directory are synced to disk before it counts as saved.
    pub sync: bool,
    /// Whether a body is compared with the existing file.
    pub compare: bool,
    /// Whether a file gets the time of its `Last-Modified`.
    pub remote_time: bool,
}

/// Saves each body as a file.
pub(crate) struct FileStore {
    shared: Arc<FileStoreShared>,
}

impl FileStore {
    /// Opens the output directory, removes files left by a crash, and starts the writer threads.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub(crate) fn open(options: &FilesOptions) -> Result<Self, FolderError> {
        let folder = Arc::new(Folder::open(&options.dir)?);
        let unusable = |cause| FolderError::Unusable {
            path: options.dir.clone(),
            cause,
        };
        let (parts, next_id) = PartIndex::read(&folder).map_err(unusable)?;
        let commit = CommitOptions {
            sync: options.sync,
            compare: options.compare,
        };
        let writers = writer::start(&folder, commit).map_err(unusable)?;
        let shared = Arc::new(FileStoreShared {
            folder,
            writers,
            parts,
            next_id: AtomicU64::new(next_id),
            remote_time: options.remote_time,
            sync: options.sync,
        });
        Ok(Self { shared })
    }

    /// Opens the journal of the output directory for reading and appending.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open_journal(&self) -> io::Result<File> {
        self.shared.folder.open_journal()
    }

    /// Returns the path of the journal.
    #[must_use]
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.shared.folder.journal_path()
    }
}

/// Returns the file of a job: the one its input line names, or the one derived from its URL.
#[must_use]
pub(crate) fn file_of(job: &Job) -> RelPath {
    match job.file_override() {
        Some(file) => file.clone(),
        None => path_for_user(&job.url, job.user()),
    }
}

impl BodyStore for FileStore {
    type File = FileBodyWriter;

    fn create(
        &self,
        attempt: &Attempt,
        head: &ResponseHead,
        version: impl FnOnce() -> Option<BodyVersion>,
        part: Option<FileBodyWriter>,
    ) -> FileBodyWriter {
        let version = version();
        let time = self
            .shared
            .file_time(head.headers.get(header::LAST_MODIFIED));
        let file = FinalFile {
            path: file_of(&attempt.job),
            time,
        };
        match part {
            Some(part) => part.resume(file, version),
            None => FileBodyWriter::new(Arc::clone(&self.shared), file, version),
        }
    }

    fn file_of(&self, job: &Job) -> Option<RelPath> {
        Some(file_of(job))
    }

    fn contains(&self, file: Option<&RelPath>, past: &Record) -> bool {
        file.is_some_and(|file| self.shared.folder.length(file) == past.bytes)
    }

    fn file_length(&self, file: &RelPath) -> Option<u64> {
        self.shared.folder.length(file)
    }

    fn with_file(&self, file: &RelPath, read: FileCallback) {
        let writers = &self.shared.writers;
        let order = WriteOrder::ReadFinal(file.clone(), read);
        writers.send_to(writers.pick_idle(), order, None);
    }

    fn confirm(&self, job: &Job, head: &ResponseHead) {
        let last_modified = head.headers.get(header::LAST_MODIFIED);
        let time = self.shared.file_time(last_modified);
        if time.is_some() {
            let apply = move |file: io::Result<File>| {
                if let Ok(file) = file {
                    set_time(&file, time);
                }
            };
            self.with_file(&file_of(job), Box::new(apply));
        }
    }

    fn take_part(&self, attempt: &Attempt) -> Option<(PartialBody, FileBodyWriter)> {
        if self.shared.parts.is_empty() {
            return None;
        }
        let path = file_of(&attempt.job);
        let taken = self.shared.parts.take(&path)?;
        let part = taken.part.clone();
        // If nothing is missing, no response will tell the time of the body.
        let validator = (!part.version.is_tagged()).then_some(&part.version.validator);
        let time = self.shared.file_time(validator);
        let file = FinalFile { path, time };
        let shared = Arc::clone(&self.shared);
        Some((part, FileBodyWriter::from_part(shared, file, taken)))
    }

    async fn close(&self, _: bool, abort: CancellationToken) -> Result<(), FetchError> {
        let all = async {
            self.shared.writers.flush().await;
            let shared = Arc::clone(&self.shared);
            let written = tokio::task::spawn_blocking(move || shared.parts.persist(&shared.folder));
            if let Ok(Err(error)) = written.await {
                tracing::warn!("could not keep partial files for the next run: {error}");
            }
        };
        let timeout = async {
            abort.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            () = all => {
                self.shared.folder.unlock();
                Ok(())
            }
            () = timeout => Err(save_error::save_timeout(&self.shared.folder.path())),
        }
    }
}

#[cfg(test)]
mod tests;
