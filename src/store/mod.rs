//! Where bodies go. A store knows nothing of where they come from.

mod discard;
mod memory;
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "not joined to `BodyStore` yet")
)]
mod pack;

use std::future::Future;

use bytes::Bytes;

use crate::model::{Attempt, FetchError, ResponseHead, Saved};

pub use discard::Discard;
pub use memory::Memory;

/// A place for bodies.
pub trait BodyStore: Send + Sync + 'static {
    /// One body on its way in.
    type File: BodyFile;

    /// A body begins.
    ///
    /// # Errors
    /// `save` when there is no place for it.
    fn begin(&self, attempt: &Attempt, head: &ResponseHead) -> Result<Self::File, FetchError>;
}

/// One body on its way in. It counts only once it is committed; dropped before that, it
/// leaves nothing behind.
pub trait BodyFile: Send {
    /// The next decoded bytes.
    ///
    /// # Errors
    /// `save` when they can't be stored.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), FetchError>> + Send;

    /// The body is whole.
    ///
    /// # Errors
    /// `save` when it can't be made final.
    fn commit(self) -> impl Future<Output = Result<Saved, FetchError>> + Send;
}
