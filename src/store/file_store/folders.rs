//! A cache of open directories: opening one costs a sixth of saving a small body.

use std::collections::HashMap;
use std::sync::Arc;

use cap_std::fs::Dir;

use crate::model::allowed_descriptors;

/// Maximum number of open directories.
const MAX_OPEN_FOLDERS: usize = 128;
/// Minimum when file descriptors are scarce: one directory besides the file of the body.
const MIN_OPEN_FOLDERS: usize = 1;
/// The cache may use this fraction of the allowed descriptors, since connections need most of them.
const FD_FRACTION: usize = 64;

/// Open directories by path. Evicts the least recently used.
#[derive(Debug)]
pub(super) struct FolderCache {
    open: HashMap<Box<str>, CachedFolder>,
    capacity: usize,
    /// Number of lookups so far.
    clock: u64,
}

#[derive(Debug)]
struct CachedFolder {
    dir: Arc<Dir>,
    /// Value of `clock` at its last use.
    used: u64,
}

impl FolderCache {
    /// Creates a cache sized by the descriptor limit of this process.
    pub(super) fn new() -> Self {
        Self::with_capacity(default_capacity())
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            open: HashMap::new(),
            capacity,
            clock: 0,
        }
    }

    /// Returns an open directory.
    pub(super) fn get(&mut self, path: &str) -> Option<Arc<Dir>> {
        self.clock += 1;
        let found = self.open.get_mut(path)?;
        found.used = self.clock;
        Some(Arc::clone(&found.dir))
    }

    /// Adds a directory, evicting the least recently used one if the cache is full.
    pub(super) fn keep(&mut self, path: &str, dir: Arc<Dir>) {
        if self.open.len() >= self.capacity {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
            if let Some(path) = oldest.map(|(path, _)| path.clone()) {
                self.open.remove(&path);
            }
        }
        let used = self.clock;
        self.open.insert(path.into(), CachedFolder { dir, used });
    }

    /// Removes a directory that no longer exists.
    pub(super) fn forget(&mut self, path: &str) {
        self.open.remove(path);
    }

    /// Closes all, because their descriptors are needed elsewhere.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// Returns all open directories.
    #[cfg(not(any(target_os = "linux", windows)))]
    pub fn all(&self) -> impl Iterator<Item = &Dir> {
        self.open.values().map(|open| &*open.dir)
    }
}

fn default_capacity() -> usize {
    let share = allowed_descriptors().map(|allowed| allowed / FD_FRACTION);
    share
        .unwrap_or(MAX_OPEN_FOLDERS)
        .clamp(MIN_OPEN_FOLDERS, MAX_OPEN_FOLDERS)
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn the_least_recently_used_is_evicted() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).unwrap();
        let dir = Arc::new(dir);
        let mut folders = FolderCache::with_capacity(2);
        folders.keep("a", Arc::clone(&dir));
        folders.keep("b", Arc::clone(&dir));
        assert!(folders.get("a").is_some());
        folders.keep("c", dir);
        let open = ["a", "b", "c"].map(|path| folders.get(path).is_some());
        assert_eq!(open, [true, false, true]);
        folders.forget("a");
        assert!(folders.get("a").is_none());
    }
}
