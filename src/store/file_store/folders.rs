//! Folders that are kept open, because more bodies may go there: opening one costs a sixth of
//! what saving a small body does.

use std::collections::HashMap;
use std::sync::Arc;

use cap_std::fs::Dir;

use crate::model::allowed_descriptors;

/// Folders that are kept open where descriptors abound.
const MAX_OPEN_FOLDERS: usize = 128;
/// And where they do not: one has room beside the file of the body.
const MIN_OPEN_FOLDERS: usize = 1;
/// Of the descriptors allowed, connections need most.
const FD_FRACTION: usize = 64;

/// Open folders by their path. Those used last stay.
#[derive(Debug)]
pub struct FolderCache {
    open: HashMap<Box<str>, CachedFolder>,
    most: usize,
    /// How often one was asked for.
    clock: u64,
}

#[derive(Debug)]
struct CachedFolder {
    dir: Arc<Dir>,
    /// When it was asked for.
    used: u64,
}

impl FolderCache {
    /// As many as the descriptors of this process allow.
    pub fn new() -> Self {
        Self::at_most(most_kept())
    }

    fn at_most(most: usize) -> Self {
        Self {
            open: HashMap::new(),
            most,
            clock: 0,
        }
    }

    /// A folder that is open.
    pub fn get(&mut self, path: &str) -> Option<Arc<Dir>> {
        self.clock += 1;
        let found = self.open.get_mut(path)?;
        found.used = self.clock;
        Some(Arc::clone(&found.dir))
    }

    /// Keeps a folder in place of the one that was not asked for the longest.
    pub fn keep(&mut self, path: &str, dir: Arc<Dir>) {
        if self.open.len() >= self.most {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
            if let Some(path) = oldest.map(|(path, _)| path.clone()) {
                self.open.remove(&path);
            }
        }
        let used = self.clock;
        self.open.insert(path.into(), CachedFolder { dir, used });
    }

    /// It is not there any more.
    pub fn forget(&mut self, path: &str) {
        self.open.remove(path);
    }

    /// Their descriptors are needed elsewhere.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// All that are open.
    #[cfg(not(target_os = "linux"))]
    pub fn all(&self) -> impl Iterator<Item = &Dir> {
        self.open.values().map(|open| &*open.dir)
    }
}

fn most_kept() -> usize {
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
    fn those_used_last_stay() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).unwrap();
        let dir = Arc::new(dir);
        let mut folders = FolderCache::at_most(2);
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
