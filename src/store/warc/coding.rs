//! How records stand in the file: as they are, or each as a gzip member of its own
//! (WARC Annex D), so that one can be read alone.

use std::io;
use std::path::Path;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// How records stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordCompression {
    /// As they are.
    Plain,
    /// Each as a gzip member (RFC 1952).
    Gzip,
}

impl RecordCompression {
    /// What the name of a pack asks for; `None` when it ends neither in `.warc` nor in
    /// `.warc.gz`. Upper case counts as well.
    #[must_use]
    pub fn of_name(path: &Path) -> Option<Self> {
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

/// The fixed head of a member: deflate, no name, no time (RFC 1952 §2.3.1), system
/// unknown.
pub const MEMBER_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// What stands behind every block (§4).
const RECORD_END: &[u8] = b"\r\n\r\n";

/// Blocks below so many bytes are compressed the quick way. Each exchange has two of
/// them, and the thorough way would take 40 µs for each instead of 16, to save 2 %.
const STORED_BELOW_BYTES: u64 = 1024;

/// Spare room to compress into, at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// Codes one record after the other.
#[derive(Debug)]
pub enum RecordEncoder {
    /// Passes bytes on.
    Plain,
    /// Makes a member of each record.
    Gzip(Box<GzipMember>),
}

/// A gzip member in the making. flate2's own writer can't be used again for the next
/// member, and its state is 300 KB to allocate for each.
#[derive(Debug)]
pub struct GzipMember {
    /// For blocks below [`STORED_BELOW_BYTES`].
    quick: Compress,
    thorough: Compress,
    is_small: bool,
    crc: Crc,
}

impl RecordEncoder {
    pub fn new(coding: RecordCompression) -> Self {
        match coding {
            RecordCompression::Plain => Self::Plain,
            RecordCompression::Gzip => Self::Gzip(Box::new(GzipMember {
                quick: Compress::new(Compression::fast(), false),
                thorough: Compress::new(Compression::default(), false),
                is_small: false,
                crc: Crc::new(),
            })),
        }
    }

    /// Begins a record whose block has `length` bytes.
    pub fn begin(&mut self, length: u64, out: &mut Vec<u8>) {
        if let Self::Gzip(member) = self {
            member.is_small = length < STORED_BELOW_BYTES;
            member.deflate().reset();
            member.crc.reset();
            out.extend_from_slice(&MEMBER_HEAD);
        }
    }

    /// The next bytes of the record.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::Gzip(member) => member.feed(bytes, out),
        }
    }

    /// Ends the record.
    pub fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
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
            &mut self.quick
        } else {
            &mut self.thorough
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
            // There is room; so this would go on for ever.
            Ok(Status::BufError) => Err(io::Error::other("the compressor is stuck")),
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
    fn a_name_says_how_records_stand() {
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
    fn members_made_one_after_the_other_stand_alone() {
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
