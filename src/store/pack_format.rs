//! The format of a pack, which the end of its name decides.

use std::path::Path;

use super::warc::{PackError, RecordCompression};

/// The format of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackFormat {
    /// WARC 1.1: each exchange as it was.
    Warc(RecordCompression),
    /// A tar of samples: each fetched body with its record.
    Tar,
}

impl PackFormat {
    /// Returns the format of a finished pack with this name, in any case.
    ///
    /// # Errors
    /// [`PackError`] if there is none.
    pub(crate) fn of_name(path: &Path) -> Result<Self, PackError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase();
        if name.ends_with(".tar") {
            return Ok(Self::Tar);
        }
        match RecordCompression::of_name(path) {
            Some(coding) => Ok(Self::Warc(coding)),
            None if name.ends_with(".tgz") || name.contains(".tar.") => {
                Err(PackError::CompressedTar)
            }
            None => Err(PackError::Name),
        }
    }

    /// Returns how records are compressed; the files of a tar are not.
    pub(crate) fn compression(self) -> RecordCompression {
        match self {
            Self::Warc(coding) => coding,
            Self::Tar => RecordCompression::Plain,
        }
    }
}

/// Checks that the name of a pack says its format.
///
/// # Errors
/// [`PackError`] if it does not.
pub fn check_pack_name(path: &Path) -> Result<(), PackError> {
    PackFormat::of_name(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_name_decides() {
        let format = |name: &str| PackFormat::of_name(Path::new(name));
        assert_eq!(format("a.warc.x/A.TAR").unwrap(), PackFormat::Tar);
        let gzip = PackFormat::Warc(RecordCompression::Gzip);
        assert_eq!(format("a.tar/a.tar.warc.gz").unwrap(), gzip);
        for name in ["a.tar.gz", "a.TAR.zst", "a.tgz"] {
            assert!(
                matches!(format(name), Err(PackError::CompressedTar)),
                "{name}"
            );
        }
        for name in ["a.zip", "tar", "a.tar/a", ".."] {
            assert!(matches!(format(name), Err(PackError::Name)), "{name}");
        }
    }
}
