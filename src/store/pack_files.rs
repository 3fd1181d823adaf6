//! The names of a pack, or of a series of packs, each of which has a number.

use std::path::{Path, PathBuf};

use super::warc::PART_EXTENSION;
use crate::model::add_extension;

/// Stands for the number in the name of a series.
const NUMBER: &str = "{n}";

/// The file of a single pack, or those of a series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PackFiles {
    path: PathBuf,
    /// What precedes and follows the number in the file name.
    around_number: Option<(String, String)>,
}

impl PackFiles {
    /// Returns those of a name, which belongs to a series if it has `{n}`.
    pub(crate) fn new(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str());
        let around = name.and_then(|name| name.split_once(NUMBER));
        Self {
            path: path.to_owned(),
            around_number: around.map(|(before, after)| (before.to_owned(), after.to_owned())),
        }
    }

    /// Whether these are the packs of a series.
    pub(crate) fn are_series(&self) -> bool {
        self.around_number.is_some()
    }

    /// Returns the name that was given.
    pub(crate) fn name(&self) -> &Path {
        &self.path
    }

    /// Returns the file of a finished pack.
    pub(crate) fn path(&self, n: Option<u32>) -> PathBuf {
        match (&self.around_number, n) {
            (Some((before, after)), Some(n)) => {
                self.path.with_file_name(format!("{before}{n:05}{after}"))
            }
            _ => self.path.clone(),
        }
    }

    /// Returns the file of a pack that is being filled.
    pub(crate) fn part(&self, n: Option<u32>) -> PathBuf {
        let path = self.path(n);
        match self.are_series() {
            true => add_extension(&path, PART_EXTENSION),
            false => path,
        }
    }

    /// Whether the file of a pack of the series is there.
    pub(crate) fn has_file(&self, n: u32) -> bool {
        self.path(Some(n)).exists() || self.part(Some(n)).exists()
    }

    /// Returns the default path of the journal.
    pub(crate) fn journal(&self) -> PathBuf {
        add_extension(&self.path, "jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_in_the_name_of_the_file() {
        let files = PackFiles::new(Path::new("a{n}/x-{n}.warc.gz"));
        assert!(files.are_series());
        assert_eq!(files.path(Some(7)), Path::new("a{n}/x-00007.warc.gz"));
        assert_eq!(
            files.part(Some(123_456)),
            Path::new("a{n}/x-123456.warc.gz.part")
        );
        assert_eq!(files.journal(), Path::new("a{n}/x-{n}.warc.gz.jsonl"));
        let single = PackFiles::new(Path::new("a{n}/x.warc"));
        assert!(!single.are_series());
        assert_eq!(single.path(None), Path::new("a{n}/x.warc"));
        assert_eq!(single.part(None), single.path(None));
    }
}
