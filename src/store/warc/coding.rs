//! Record compression: none, or one gzip member per record (WARC Annex D), so that each record can
//! be read on its own.

use std::io;
use std::path::Path;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// How records are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordCompression {
    /// Uncompressed.
    Plain,
    /// Each record as a gzip member (RFC 1952).
    Gzip,
}

impl RecordCompression {
    /// Returns the compression for a file name: `.warc` or `.warc.gz`, in any case. `None` for
    /// other names.
    #[must_use]
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        if name.ends_with(".warc.gz") {
            Some(Self::Gzip)
        } else if name.ends_with(".warc") {
            Some(Self::Plain)
        } else {
            None
        }
    }
}

/// The header of every gzip member: deflate, no name, no time, unknown system (RFC 1952 §2.3.1).
pub(super) const MEMBER_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Ends every record (§4).
const RECORD_END: &[u8] = b"\r\n\r\n";

/// Blocks below this size are compressed at the fast level. Each exchange has two of them, and the
/// default level would take 40 µs for each instead of 16 µs, to save 2 %.
const FAST_BELOW_BYTES: u64 = 1024;

/// Output space reserved per call of the compressor.
const BUFFER_BYTES: usize = 16 * 1024;

/// Encodes records one at a time.
#[derive(Debug)]
pub(super) enum RecordEncoder {
    /// Copies bytes unchanged.
    Plain,
    /// Compresses each record as a gzip member.
    Gzip(Box<GzipMember>),
}

/// Compresses gzip members. Unlike flate2's `GzEncoder`, it is reusable for the next member, which
/// saves allocating 300 KB of state each time.
#[derive(Debug)]
pub(super) struct GzipMember {
    /// For blocks below [`FAST_BELOW_BYTES`].
    fast: Compress,
    default: Compress,
    is_small: bool,
    crc: Crc,
}

impl RecordEncoder {
    pub(super) fn new(coding: RecordCompression) -> Self {
        match coding {
            RecordCompression::Plain => Self::Plain,
            RecordCompression::Gzip => Self::Gzip(Box::new(GzipMember {
                fast: Compress::new(Compression::fast(), false),
                default: Compress::new(Compression::default(), false),
                is_small: false,
                crc: Crc::new(),
            })),
        }
    }

    /// Starts a record whose block has `length` bytes.
    pub(super) fn begin(&mut self, length: u64, out: &mut Vec<u8>) {
        if let Self::Gzip(member) = self {
            member.is_small = length < FAST_BELOW_BYTES;
            member.deflate().reset();
            member.crc.reset();
            out.extend_from_slice(&MEMBER_HEAD);
        }
    }

    /// Encodes the next bytes of the record.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::Gzip(member) => member.feed(bytes, out),
        }
    }

    /// Ends the record.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.feed(RECORD_END, out)?;
        match self {
            Self::Plain => Ok(()),
            Self::Gzip(member) => member.end(out),
        }
    }
}

impl GzipMember {
    fn deflate(&mut self) -> &mut Compress {
        if self.is_small {
            &mut self.fast
        } else {
            &mut self.default
        }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.crc.update(bytes);
        let mut left = bytes;
        while !left.is_empty() {
            let before = self.deflate().total_in();
            self.step(left, out, FlushCompress::None)?;
            let taken = usize::try_from(self.deflate().total_in() - before).unwrap_or(usize::MAX);
            left = left.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.step(&[], out, FlushCompress::Finish)? != Status::StreamEnd {}
        out.extend_from_slice(&self.crc.sum().to_le_bytes());
        // The length modulo 2^32 (RFC 1952 §2.3.1).
        out.extend_from_slice(&self.crc.amount().to_le_bytes());
        Ok(())
    }

    fn step(&mut self, left: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> io::Result<Status> {
        out.reserve(BUFFER_BYTES);
        match self.deflate().compress_vec(left, out, flush) {
            // Output space was reserved, so retrying would loop forever.
            Ok(Status::BufError) => Err(io::Error::other("the compressor makes no progress")),
            Ok(status) => Ok(status),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_name_determines_the_compression() {
        for (name, coding) in [
            ("a.warc", Some(RecordCompression::Plain)),
            ("dir.warc/a.warc.gz", Some(RecordCompression::Gzip)),
            ("A.WARC.GZ", Some(RecordCompression::Gzip)),
            ("a.gz", None),
            ("a.warc.zst", None),
            ("a.warc/", Some(RecordCompression::Plain)),
            ("warc", None),
            ("..", None),
        ] {
            assert_eq!(
                RecordCompression::of_name(Path::new(name)),
                coding,
                "{name}"
            );
        }
    }

    #[test]
    fn each_member_can_be_decoded_alone() {
        let mut coder = RecordEncoder::new(RecordCompression::Gzip);
        let noise: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        for body in [&noise[..], b"", b"short", &noise[..], b"short"] {
            let mut out = Vec::new();
            coder.begin(body.len() as u64, &mut out);
            for piece in body.chunks(7_001) {
                coder.feed(piece, &mut out).unwrap();
            }
            coder.end(&mut out).unwrap();
            let mut back = Vec::new();
            let mut decoder = flate2::bufread::GzDecoder::new(&out[..]);
            decoder.read_to_end(&mut back).unwrap();
            assert!(back == [body, RECORD_END].concat());
            assert!(decoder.into_inner().is_empty());
        }
    }
}
