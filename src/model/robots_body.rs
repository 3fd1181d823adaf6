//! The body of a robots.txt that is being fetched.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::robots_txt::MAX_ROBOTS_BYTES;

/// Bytes up to which a robots.txt needs no room. Nearly all are shorter.
const SHORT_BYTES: usize = 16 * 1024;

/// Maximum number of longer ones in memory, at 500 KiB each, until their rules are read.
const MAX_LONG_TEXTS: usize = 8;

/// How long one more waits for them.
const MAX_ROOM_WAIT: Duration = Duration::from_secs(20);

/// Room for the long ones.
#[derive(Debug, Clone)]
pub(crate) struct RobotsRoom(Arc<Semaphore>);

impl Default for RobotsRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LONG_TEXTS)))
    }
}

impl RobotsRoom {
    /// Waits until one more long text may be in memory, but not for ever: servers that send theirs byte
    /// by byte must not keep other hosts from being fetched.
    pub(crate) async fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        let reserved = timeout(MAX_ROOM_WAIT, Arc::clone(&self.0).acquire_owned());
        reserved.await.ok()?.ok()
    }
}

/// Takes the body of a robots.txt from the attempt that receives it to whoever reads the rules. It
/// outlives the attempt, because the beginning of a file that is too long counts.
#[derive(Clone, Default)]
pub(crate) struct RobotsBody(Arc<Mutex<RobotsText>>);

/// The text of a robots.txt, with what it holds of the room for long ones.
#[derive(Default)]
pub(crate) struct RobotsText {
    pub bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl RobotsText {
    /// Whether it is so long that few such texts may be in memory.
    #[must_use]
    pub(crate) fn is_long(&self) -> bool {
        self.bytes.len() > SHORT_BYTES
    }
}

impl RobotsBody {
    /// Whether a chunk of this length makes the body a long one.
    #[must_use]
    pub(crate) fn is_long_with(&self, length: usize) -> bool {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.bytes.len() + length > SHORT_BYTES
    }

    /// Makes room for a long body, and keeps the permit for it until its text is dropped.
    pub(crate) fn make_room(&self, room: Option<OwnedSemaphorePermit>) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text._room = room;
        // At once and always as much: what grows step by step leaves holes of many sizes behind.
        let rest = MAX_ROBOTS_BYTES.saturating_sub(text.bytes.len());
        text.bytes.reserve_exact(rest);
    }

    /// Appends a chunk. Returns whether more would count.
    pub(crate) fn append(&self, chunk: &[u8]) -> bool {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_ROBOTS_BYTES.saturating_sub(text.bytes.len());
        text.bytes
            .extend_from_slice(chunk.get(..room).unwrap_or(chunk));
        chunk.len() <= room
    }

    /// Takes the text out, which leaves none.
    #[must_use]
    pub(crate) fn take(&self) -> RobotsText {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for RobotsBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RobotsBody(…)")
    }
}

impl PartialEq for RobotsBody {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RobotsBody {}
