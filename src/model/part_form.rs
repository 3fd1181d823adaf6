//! How the parts of a list are written.

use std::borrow::Cow;
use std::io::{self, Write};

/// The format of a list, for its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartForm {
    /// The usual extension of its files.
    pub extension: &'static str,
    /// What each part begins with, such as a header row.
    pub head: Vec<u8>,
    /// What each part ends with.
    pub tail: &'static [u8],
    /// What ends an entry.
    pub end: u8,
    /// What keeps an invalid entry from being read as something else in its part.
    pub guard: Option<EntryGuard>,
}

/// Lines that are no entries, around an invalid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryGuard {
    /// Before one that begins a part, where a list is recognized by its first bytes.
    pub first: &'static [u8],
    /// Behind each: a quote that does not close must not close in a row of another place.
    pub behind: &'static [u8],
}

/// The compression of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ListCompression {
    /// None.
    #[default]
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl ListCompression {
    /// Returns the end of file names, with its dot.
    #[must_use]
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Compresses a piece of a list; pieces behind each other are one list. Quickly rather than well:
    /// it takes most of the time.
    ///
    /// # Errors
    /// The errors of the compressor.
    pub(crate) fn pack(self, bytes: &[u8]) -> io::Result<Cow<'_, [u8]>> {
        Ok(match self {
            Self::None => Cow::Borrowed(bytes),
            Self::Gzip => {
                let fast = flate2::Compression::fast();
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), fast);
                packer.write_all(bytes)?;
                Cow::Owned(packer.finish()?)
            }
            Self::Zstd => Cow::Owned(zstd::bulk::compress(bytes, 1)?),
        })
    }
}
