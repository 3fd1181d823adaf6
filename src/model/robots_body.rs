//! The body of a robots.txt that is being fetched.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::robots_txt::MAX_ROBOTS_BYTES;

/// Takes the body of a robots.txt from the attempt that receives it to whoever reads the rules. It
/// outlives the attempt, because the beginning of a file that is too long counts.
#[derive(Clone, Default)]
pub(crate) struct RobotsBody(Arc<Mutex<Vec<u8>>>);

impl RobotsBody {
    /// Appends a chunk. Returns whether more would count.
    pub(crate) fn append(&self, chunk: &[u8]) -> bool {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_ROBOTS_BYTES.saturating_sub(body.len());
        body.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
        chunk.len() <= room
    }

    /// Takes the body out, which leaves none.
    #[must_use]
    pub(crate) fn take(&self) -> Vec<u8> {
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
