//! Which names are those of compressed files.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

use super::coding_window::ContentCoding;

/// File extensions and the coding of such a file: those of gzip(1), tar(1), brotli(1), zstd(1) and
/// pigz(1), and image formats that are gzip files.
const EXTENSIONS: &[(&str, ContentCoding)] = &[
    ("gz", ContentCoding::Gzip),
    ("gzip", ContentCoding::Gzip),
    ("tgz", ContentCoding::Gzip),
    ("taz", ContentCoding::Gzip),
    ("bgz", ContentCoding::Gzip),
    ("svgz", ContentCoding::Gzip),
    ("emz", ContentCoding::Gzip),
    ("wmz", ContentCoding::Gzip),
    ("br", ContentCoding::Brotli),
    ("tbr", ContentCoding::Brotli),
    ("zst", ContentCoding::Zstd),
    ("zstd", ContentCoding::Zstd),
    ("tzst", ContentCoding::Zstd),
    ("zz", ContentCoding::Deflate),
    ("zlib", ContentCoding::Deflate),
];

impl ContentCoding {
    /// Returns the coding of a file with this extension, in any case.
    pub(crate) fn of_extension(name: &str) -> Option<Self> {
        let mut known = EXTENSIONS.iter();
        let found = known.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, coding)| *coding)
    }
}

/// Whether a URL has the name of a compressed file. No coding is asked for: the server would apply it
/// to the file, and it could not be told from the file's own.
pub(super) fn is_compressed(url: &Url) -> bool {
    extension(url).is_some_and(|name| ContentCoding::of_extension(&name).is_some())
}

/// Returns the file extension in the path of a URL.
pub(crate) fn extension(url: &Url) -> Option<Cow<'_, str>> {
    let name = url.path().rsplit('/').next()?;
    let name = percent_decode_str(name).decode_utf8().ok()?;
    match name {
        Cow::Borrowed(name) => Some(Cow::Borrowed(ending(name)?)),
        Cow::Owned(name) => Some(Cow::Owned(ending(&name)?.to_owned())),
    }
}

fn ending(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(ending)
}
