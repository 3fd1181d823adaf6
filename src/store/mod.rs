//! Stores for response bodies: files, a pack, memory, or none. They do not depend on how bodies
//! are fetched or scheduled.

mod discard;
mod file_names;
mod file_store;
mod memory;
mod pack_files;
mod pack_format;
mod pack_store;
#[cfg(feature = "cli")]
mod part_files;
mod robots;
mod save_error;
mod sitemap;
mod tar;
mod warc;
mod worker_pool;

use std::fs::File;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::model::{
    Attempt, BodyVersion, Cause, FetchError, Job, PartialBody, Record, RelPath, ResponseHead,
    SavedBody, Truncation,
};
use worker_pool::DISK_TIMEOUT;

pub(crate) use discard::DiscardStore;
pub use file_names::file_path_for;
pub(crate) use file_names::path_for_user;
pub use file_store::FolderError;
#[cfg(feature = "cli")]
pub(crate) use file_store::SavedFiles;
pub(crate) use file_store::{
    FileStore, FilesOptions, MAX_FILE_WRITERS, SegmentWriter, SegmentedFile, file_of,
};
pub(crate) use memory::MemoryStore;
pub(crate) use pack_files::PackFiles;
#[cfg(feature = "cli")]
pub use pack_format::check_pack_name;
pub(crate) use pack_store::{
    FinishCallback, FinishStage, KnownPack, PackOptions, PackStore, UnusablePack,
};
#[cfg(feature = "cli")]
pub use part_files::PartsError;
#[cfg(feature = "cli")]
pub(crate) use part_files::{PartFiles, PartSize};
pub(crate) use robots::RobotsWriter;
pub(crate) use sitemap::SitemapWriter;
pub(crate) use warc::KnownEnd;
pub use warc::PackError;
pub(crate) use warc::SavedPack;

/// Flags for opening a file that may turn out to be a pipe or a device: opening does not block, and
/// a terminal does not become the controlling one.
#[cfg(unix)]
pub(crate) const NO_WAIT: i32 = {
    use rustix::fs::OFlags;
    OFlags::NONBLOCK.union(OFlags::NOCTTY).bits() as i32
};

/// Flag for opening a file whose name is ours: a link there is an error.
#[cfg(unix)]
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Called once when a body has been saved, or saving has failed; possibly later and on any thread.
/// Must not block.
pub(crate) type SaveCallback = Box<dyn FnOnce(Result<SavedBody, FetchError>) + Send>;

/// Called with an opened file, on a thread of the store.
pub(crate) type FileCallback = Box<dyn FnOnce(std::io::Result<File>) + Send>;

/// Saves bodies.
pub(crate) trait BodyStore: Send + Sync + 'static {
    /// Writes one body.
    type File: BodyWriter;

    /// Starts a body, or continues the partial one of the writer `part`. With a `version`, the body is
    /// kept as a partial body if it is cut off; stores without partial bodies do not ask for it.
    fn create(
        &self,
        attempt: &Attempt,
        head: &ResponseHead,
        version: impl FnOnce() -> Option<BodyVersion>,
        part: Option<Self::File>,
    ) -> Self::File;

    /// Returns the memory for bodies of redirects and failures, in KiB, if the store archives those.
    fn archive_room(&self) -> Option<&Arc<Semaphore>> {
        None
    }

    /// Starts the body of a redirect or a final failure, with the reason why it is incomplete;
    /// `None` if the store does not archive those.
    fn create_archive_only(
        &self,
        _attempt: &Attempt,
        _head: &ResponseHead,
        _truncated: Option<Truncation>,
    ) -> Option<Self::File> {
        None
    }

    /// Returns the file for the body of this job; `None` if bodies have no files of their own.
    fn file_of(&self, _job: &Job) -> Option<RelPath> {
        None
    }

    /// Returns whether the body that an earlier run saved, according to `past`, still exists in
    /// full.
    fn contains(&self, _file: Option<&RelPath>, _past: &Record) -> bool {
        true
    }

    /// Returns the length of a file in bytes, whether or not a run of fetchall wrote it; `None` if it
    /// does not exist.
    fn file_length(&self, _file: &RelPath) -> Option<u64> {
        None
    }

    /// Opens a file on one of the threads that write, and calls `read` there. It should read for a
    /// moment only, since bodies wait meanwhile. Dropped without a call if there are no files.
    fn with_file(&self, _file: &RelPath, _read: FileCallback) {}

    /// Learns that the file of this job is still the current one, according to a 304 with this head.
    fn confirm(&self, _job: &Job, _head: &ResponseHead) {}

    /// Takes the partial body of this job out of the store, if there is one, with the writer that
    /// continues it. Dropping the writer puts the partial body back.
    fn take_part(&self, _attempt: &Attempt) -> Option<(PartialBody, Self::File)> {
        None
    }

    /// Completes all bodies that were handed in, keeps partial bodies for the next run, and unlocks
    /// the store for other processes. No body may follow. Once `abort` is cancelled, this takes
    /// about 1 s at most. What the next run would continue is kept for it, unless this one
    /// `is_complete`.
    ///
    /// # Errors
    /// Kind `save` if it did not finish in that time; bodies that are not final count as left.
    fn close(
        &self,
        _is_complete: bool,
        _abort: CancellationToken,
    ) -> impl Future<Output = Result<(), FetchError>> + Send {
        async { Ok(()) }
    }
}

/// Writes one body. Nothing is visible before commit. Dropping it earlier keeps a partial body that
/// can be continued, if possible, or nothing.
pub(crate) trait BodyWriter: Send + Sync {
    /// Writes the next decoded bytes.
    ///
    /// # Errors
    /// Kind `save` if they cannot be stored.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), FetchError>> + Send;

    /// Learns the record of the complete body, which `record` makes from its length. Only a store that
    /// saves records beside bodies asks for it.
    fn describe(&mut self, _record: impl FnOnce(u64) -> Record) {}

    /// Saves the complete body, then calls `done`.
    fn commit(self, done: SaveCallback) -> impl Future<Output = ()> + Send;

    /// Discards an invalid body completely.
    fn discard(self);

    /// Opens the file with what was written so far.
    ///
    /// # Errors
    /// Kind `save` if it cannot be read.
    fn read_back(&self) -> impl Future<Output = Result<File, FetchError>> + Send {
        async {
            Err(FetchError::Save {
                cause: Cause::from_text("this store keeps no partial files"),
                ends_run: false,
            })
        }
    }

    /// Returns the file for segments of the body that come at the same time; `None` if it has none, or
    /// the length of the body is not known. This writer goes on with the first segment, and is
    /// committed once all bytes are there.
    fn segments(&mut self) -> Option<SegmentedFile> {
        None
    }

    /// Returns the first [`MAX_ARCHIVE_ONLY_BYTES`](crate::model::MAX_ARCHIVE_ONLY_BYTES) of what was
    /// written, and whether that is all, for a store that archives failures.
    fn excerpt(&self) -> (Vec<u8>, bool) {
        (Vec::new(), false)
    }
}

/// Commits a body and waits for the result, at most [`DISK_TIMEOUT`].
///
/// # Errors
/// Kind `save` if it cannot be stored, or not in time.
pub(crate) async fn commit_and_wait<C: Future<Output = ()>>(
    commit: impl FnOnce(SaveCallback) -> C,
) -> Result<SavedBody, FetchError> {
    let (sender, saved) = oneshot::channel();
    // The receiver is gone if the wait has timed out.
    let done = Box::new(|result| drop(sender.send(result)));
    let committed = async {
        commit(done).await;
        saved.await
    };
    match timeout(DISK_TIMEOUT, committed).await {
        Ok(Ok(saved)) => saved,
        Ok(Err(_)) | Err(_) => Err(save_error::save_timeout("redirect")),
    }
}
