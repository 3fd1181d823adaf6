//! Decompresses lists: gzip and zstd, detected by their first bytes and not by a file name, since a
//! pipe has none.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::model::ListCompression;

/// The source of bytes: a file or a pipe.
pub(super) type RawReader = Box<dyn Read + Send>;

/// Size of the buffer before the decompressor, in bytes.
const COMPRESSED_BUFFER_BYTES: usize = 32 * 1024;
/// log2 of the largest zstd window: 128 MiB, the default limit of `zstd -d`. The user chose the
/// list, so the limit is against mistakes, not attacks.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Number of bytes that are enough to detect the compression and the text encoding.
pub(super) const MAGIC_BYTES: usize = 4;

/// Reads a list that may be compressed, as its first bytes indicate.
pub(super) enum Decompressor {
    Unread(RawReader),
    Plain(CountingReader),
    Gzip(Box<GzDecoder<CountingReader>>),
    Zstd(Box<ZstdDecoder<'static, CountingReader>>),
    /// The first read failed.
    Broken,
}

impl Decompressor {
    /// Returns the number of bytes read from the file, less `unused` decoded ones that are still
    /// buffered; for a compressed file they are included, so the result is a little higher.
    pub(super) fn position(&self, unused: u64) -> u64 {
        match self {
            Self::Unread(_) | Self::Broken => 0,
            Self::Plain(plain) => plain.taken.saturating_sub(unused),
            Self::Gzip(gzip) => gzip.get_ref().taken,
            Self::Zstd(zstd) => zstd.get_ref().taken,
        }
    }

    fn begin(raw: RawReader) -> io::Result<Self> {
        let mut raw = InterruptRetry(raw);
        let (head, length) = read_head::<MAGIC_BYTES>(&mut raw, is_open)?;
        let packing = detect(head.get(..length).unwrap_or_default());
        let mut first = Cursor::new(head.to_vec());
        first.get_mut().truncate(length);
        let counted = CountingReader {
            inner: BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, first.chain(raw)),
            taken: 0,
        };
        Ok(match packing {
            ListCompression::None => Self::Plain(counted),
            ListCompression::Gzip => Self::Gzip(Box::new(GzDecoder::new(counted))),
            ListCompression::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(counted)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }
}

impl Read for Decompressor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Plain(plain) => return plain.read(buffer),
                Self::Gzip(gzip) => {
                    let read = gzip.read(buffer).map_err(|e| damaged("gzip", e))?;
                    if read > 0 || buffer.is_empty() || !has_next_member(gzip.get_mut())? {
                        return Ok(read);
                    }
                    if let Self::Gzip(ended) = std::mem::replace(self, Self::Broken) {
                        *self = Self::Gzip(Box::new(GzDecoder::new(ended.into_inner())));
                    }
                }
                Self::Zstd(zstd) => return zstd.read(buffer).map_err(|e| damaged("zstd", e)),
                Self::Broken => return Err(io::Error::other("an earlier read failed")),
                Self::Unread(_) => {
                    if let Self::Unread(raw) = std::mem::replace(self, Self::Broken) {
                        *self = Self::begin(raw)?;
                    }
                }
            }
        }
    }
}

/// Whether another member follows (RFC 1952 §2.2). Zeros at the end are padding, as from a tape, and
/// pass as in gzip(1).
fn has_next_member(rest: &mut CountingReader) -> io::Result<bool> {
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros < bytes.len() {
            rest.consume(zeros);
            return Ok(true);
        }
        if zeros == 0 {
            return Ok(false);
        }
        rest.consume(zeros);
    }
}

/// Adds context to errors of the decompressors, which are terse ("incomplete frame"). Errors of the
/// operating system are returned unchanged.
fn damaged(format: &str, error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let text = format!("corrupt or truncated {format} data: {error}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Detects the compression by magic numbers: RFC 1952 §2.3.1 (deflate is the only method); RFC
/// 8878 §3.1.1, and §3.1.2 for a leading skippable frame, as written by pzstd.
pub(super) fn detect(head: &[u8]) -> ListCompression {
    match head {
        [0x1f, 0x8b, 8, ..] => ListCompression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => ListCompression::Zstd,
        _ => ListCompression::None,
    }
}

/// Whether more bytes are needed to decide.
fn is_open(head: &[u8]) -> bool {
    match head {
        [] => true,
        [first] => matches!(first, 0x1f | 0x28 | 0x50..=0x5f),
        [first, second] => match first {
            0x1f => *second == 0x8b,
            0x28 => *second == 0xb5,
            _ => *second == 0x2a,
        },
        [0x28, _, third] => *third == 0x2f,
        [0x50..=0x5f, _, third] => *third == 0x4d,
        _ => false,
    }
}

/// Reads the first bytes, only as many as are needed, so that a pipe with one short line does not
/// block.
pub(super) fn read_head<const N: usize>(
    raw: &mut impl Read,
    is_open: fn(&[u8]) -> bool,
) -> io::Result<([u8; N], usize)> {
    let mut head = [0; N];
    let mut length = 0;
    while length < N && is_open(head.get(..length).unwrap_or_default()) {
        match raw.read(head.get_mut(length..).unwrap_or_default())? {
            0 => break,
            read => length += read,
        }
    }
    Ok((head, length))
}

/// Retries reads that a signal interrupted.
struct InterruptRetry(RawReader);

impl Read for InterruptRetry {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// Counts the bytes read from it.
pub(super) struct CountingReader {
    inner: BufReader<Chain<Cursor<Vec<u8>>, InterruptRetry>>,
    taken: u64,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.taken += read as u64;
        Ok(read)
    }
}

impl BufRead for CountingReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        self.inner.consume(amount);
    }
}

/// Compresses lists, for the tests of this module.
#[cfg(test)]
pub(super) mod packed {
    use std::io::Write;

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
        // Like the program zstd.
        packer.include_checksum(true).unwrap();
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::stream::InputStream;
    use proptest::prelude::*;

    /// Returns one piece of its content per read, like a pipe.
    struct PieceReader(Vec<Vec<u8>>);

    impl Read for PieceReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            while self.0.first().is_some_and(Vec::is_empty) {
                self.0.remove(0);
            }
            let Some(piece) = self.0.first_mut() else {
                return Ok(0);
            };
            let length = piece.len().min(buffer.len());
            buffer[..length].copy_from_slice(&piece[..length]);
            piece.drain(..length);
            Ok(length)
        }
    }

    fn unpack(pieces: Vec<Vec<u8>>) -> io::Result<(Vec<u8>, u64)> {
        let mut stream = InputStream::new(Box::new(PieceReader(pieces)));
        let mut text = Vec::new();
        stream.reader.read_to_end(&mut text)?;
        Ok((text, stream.position(0)))
    }

    #[test]
    fn concatenated_members_or_frames_are_one_list() {
        for pack in [packed::gzip, packed::zstd] {
            let mut bytes = pack(b"http://a/\n");
            bytes.extend(pack(b"http://b/\n"));
            let length = bytes.len() as u64;
            let in_bytes = bytes.iter().map(|byte| vec![*byte]).collect();
            for pieces in [vec![bytes], in_bytes] {
                let (text, position) = unpack(pieces).unwrap();
                assert_eq!(text, b"http://a/\nhttp://b/\n");
                assert_eq!(position, length);
            }
        }
    }

    #[test]
    fn a_leading_skippable_frame_is_accepted() {
        let mut bytes = b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec();
        bytes.extend(packed::zstd(b"http://a/\n"));
        assert_eq!(unpack(vec![bytes]).unwrap().0, b"http://a/\n");
    }

    #[test]
    fn truncated_or_corrupt_data_is_an_error() {
        let text = b"http://a/\n".repeat(1000);
        for (name, pack) in [
            ("gzip", packed::gzip as fn(&[u8]) -> _),
            ("zstd", packed::zstd),
        ] {
            let whole: Vec<u8> = pack(&text);
            let cut = whole[..whole.len() - 5].to_vec();
            let mut garbled = whole;
            let middle = garbled.len() / 2;
            for byte in &mut garbled[middle..middle + 4] {
                *byte ^= 0xff;
            }
            for bytes in [cut, garbled] {
                let error = unpack(vec![bytes]).map(drop).unwrap_err().to_string();
                assert!(
                    error.starts_with(&format!("corrupt or truncated {name} data: ")),
                    "{error}"
                );
            }
        }
    }

    /// A window above the limit is rejected, not allocated.
    #[test]
    fn a_huge_window_is_rejected() {
        let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packer.window_log(30).unwrap();
        packer.include_contentsize(false).unwrap();
        io::Write::write_all(&mut packer, &b"http://a/\n".repeat(100)).unwrap();
        let bytes = packer.finish().unwrap();
        assert!(unpack(vec![bytes]).is_err());
    }

    #[test]
    fn a_short_line_does_not_block() {
        for line in ["h", "x\n", "(", "P\n"] {
            let mut raw = PieceReader(vec![line.as_bytes().to_vec(), b"!".to_vec()]);
            let (head, length) = read_head::<MAGIC_BYTES>(&mut raw, is_open).unwrap();
            let is_open = is_open(line.as_bytes());
            let expected = if is_open {
                format!("{line}!")
            } else {
                line.to_owned()
            };
            assert_eq!(&head[..length], expected.as_bytes(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_returned_unchanged_or_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0..4usize, cut in 1..7usize) {
            let magic: &[u8] = [b"".as_slice(), b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"][magic];
            let mut list = magic.to_vec();
            list.extend(bytes);
            // Excludes byte order marks and UTF-16, which are decoded.
            prop_assume!(!matches!(list[..], [0 | 0xef | 0xfe | 0xff, ..] | [_, 0, ..]));
            let pieces = list.chunks(cut).map(<[u8]>::to_vec).collect();
            let found = unpack(pieces);
            if detect(list.get(..MAGIC_BYTES).unwrap_or(&list)) == ListCompression::None {
                let (text, position) = found.unwrap();
                prop_assert_eq!(position, list.len() as u64);
                prop_assert_eq!(text, list);
            }
        }

        #[test]
        fn compressed_bytes_are_restored(bytes in prop::collection::vec(any::<u8>(), 0..3000), cut in 1..999usize) {
            // Excludes byte order marks and UTF-16, as above.
            prop_assume!(!matches!(bytes[..], [0 | 0xef | 0xfe | 0xff, ..] | [_, 0, ..]));
            for pack in [packed::gzip, packed::zstd] {
                let pieces = pack(&bytes).chunks(cut).map(<[u8]>::to_vec).collect();
                prop_assert_eq!(&unpack(pieces).unwrap().0, &bytes);
            }
        }
    }
}
