//! Where bodies go. A store knows nothing of where they come from.

mod discard;
mod file_names;
mod file_store;
mod memory;
mod pack_store;
mod save_error;
mod warc;
mod worker_pool;

use std::fs::File;
use std::future::Future;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::model::{
    Attempt, BodyVersion, Cause, FetchError, Job, PartialBody, Record, RelPath, ResponseHead,
    SavedBody,
};

pub use discard::DiscardStore;
pub use file_names::{file_path_for, path_for_user};
pub use file_store::{FileStore, FilesOptions, FolderError, file_of};
pub use memory::MemoryStore;
pub use pack_store::{OpenedPack, PackOptions, PackStore};
pub use warc::{KnownEnd, PackError};

/// Flags to open a file with that may turn out to be a pipe or a device: it is not waited for.
#[cfg(unix)]
pub const NO_WAIT: i32 = {
    use rustix::fs::OFlags;
    OFlags::NONBLOCK.union(OFlags::NOCTTY).bits() as i32
};

/// Told once a body is final, or can't be: at once or later, on any thread. It must not block.
pub type SaveCallback = Box<dyn FnOnce(Result<SavedBody, FetchError>) + Send>;

/// A place for bodies.
pub trait BodyStore: Send + Sync + 'static {
    /// One body on its way in.
    type File: BodyWriter;

    /// A body begins: after the last byte of the part that it continues, or from its first
    /// one; a part of the attempt is of no use any more then. With a `version`, what comes of
    /// it is worth keeping when it is cut off.
    ///
    /// # Errors
    /// `save` when there is no place for it.
    fn create(
        &self,
        attempt: &Attempt,
        head: &ResponseHead,
        version: Option<BodyVersion>,
        continued: Option<&PartialBody>,
    ) -> Result<Self::File, FetchError>;

    /// The file that the body of this job goes to, where it goes to one of its own.
    fn file_of(&self, _job: &Job) -> Option<RelPath> {
        None
    }

    /// Whether the body that an earlier run saved, as this record says, is still here, whole.
    fn contains(&self, _file: Option<&RelPath>, _past: &Record) -> bool {
        true
    }

    /// What is here of the body of this job. It is nobody else's until it is given back, or a
    /// body has begun.
    fn take_part(&self, _attempt: &Attempt) -> Option<PartialBody> {
        None
    }

    /// A part was not needed; the next attempt may.
    fn return_part(&self, _attempt: &Attempt, _part: &PartialBody) {}

    /// A part is of no use to anybody.
    fn remove_part(&self, _attempt: &Attempt, _part: &PartialBody) {}

    /// Everything handed in becomes final, what can be continued is kept for the next run, and
    /// others may use the place again: nothing more comes. Once `abort` is cancelled it may not
    /// take long.
    ///
    /// # Errors
    /// `save` when it would have taken long: what was not final by then counts as left.
    fn close(
        &self,
        _abort: CancellationToken,
    ) -> impl Future<Output = Result<(), FetchError>> + Send {
        async { Ok(()) }
    }

    /// Opens a part to be read.
    fn read_part(
        &self,
        _attempt: &Attempt,
        _part: &PartialBody,
    ) -> impl Future<Output = Result<File, FetchError>> + Send {
        async {
            Err(FetchError::Save {
                cause: Cause::from_text("nothing is kept here"),
                ends_run: false,
            })
        }
    }

    /// A part turned out to be the whole body.
    fn commit_part(
        &self,
        _attempt: &Attempt,
        _part: &PartialBody,
        _done: SaveCallback,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// One body on its way in. It counts only once it is committed. Dropped before that, it was
/// cut off: what came is kept where it can be continued, else nothing is left behind.
pub trait BodyWriter: Send {
    /// The next decoded bytes.
    ///
    /// # Errors
    /// `save` when they can't be stored.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), FetchError>> + Send;

    /// The body is whole: it is made final, and `done` told.
    fn commit(self, done: SaveCallback) -> impl Future<Output = ()> + Send;

    /// The body is not what it should be: nothing of it is kept.
    fn discard(self);
}
