//! Content codings and their window sizes: how far back a stream may refer, and thus how much of its
//! output a decoder keeps in memory.

/// log2 of the largest zstd window: 8 MiB (RFC 9659 §3).
pub(super) const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// log2 of the largest brotli window that RFC 7932 allows.
const MAX_BROTLI_WINDOW_LOG: u32 = 24;
/// The lower seven bits of the first byte of a brotli stream with a large window: a code that
/// RFC 7932 §9.1 does not define.
const BROTLI_LARGE_WINDOW_BYTE: u8 = 0x11;

/// A content or transfer coding that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// The zlib format (RFC 1950), or the raw deflate that some servers send instead.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl ContentCoding {
    /// Returns the name used in `Content-Encoding`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Whether a brotli stream uses a large window, which RFC 7932 does not define.
pub(super) fn is_large_brotli(input: &[u8]) -> bool {
    input
        .first()
        .is_some_and(|byte| byte & 0x7f == BROTLI_LARGE_WINDOW_BYTE)
}

/// Returns the window that a stream announces in its first bytes, in bytes. If `input` is too
/// short to tell, this is the largest allowed window.
pub(super) fn announced(coding: ContentCoding, input: &[u8]) -> u64 {
    match (coding, input) {
        (ContentCoding::Gzip | ContentCoding::Deflate, _) => 32 << 10,
        (ContentCoding::Brotli, [first, ..]) => 1 << brotli_window_log(*first),
        (ContentCoding::Zstd, [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..]) => {
            let window = zstd_window(*descriptor, rest).unwrap_or(u64::MAX);
            window.min(1 << MAX_ZSTD_WINDOW_LOG)
        }
        (ContentCoding::Brotli, []) => 1 << MAX_BROTLI_WINDOW_LOG,
        (ContentCoding::Zstd, _) => 1 << MAX_ZSTD_WINDOW_LOG,
    }
}

/// Parses a zstd frame header (RFC 8878 §3.1.1.1): the window, or the content size of a
/// single-segment frame.
fn zstd_window(descriptor: u8, rest: &[u8]) -> Option<u64> {
    if descriptor & 0x20 == 0 {
        let window = rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    let length = 1_usize << (descriptor >> 6);
    let field = rest.get(*dictionary..dictionary + length)?;
    let size = field
        .iter()
        .rev()
        .fold(0, |size, byte| size << 8 | u64::from(*byte));
    Some(if length == 2 { size + 256 } else { size })
}

/// Parses the window size of a brotli stream (RFC 7932 §9.1), which is read from the lowest bit.
fn brotli_window_log(first: u8) -> u32 {
    let (short, long) = (u32::from(first >> 1 & 7), u32::from(first >> 4 & 7));
    match (first & 1, short, long) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, long) => 8 + long,
        (_, short, _) => 17 + short,
    }
}
