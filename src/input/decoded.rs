//! Decodes lists to UTF-8. UTF-16 is accepted with a byte order mark, as written by Excel's
//! "Unicode Text" and PowerShell's `>`.

use std::io::{self, Read};

use super::compressed::{Decompressor, MAGIC_BYTES, read_head};
use super::foreign::{self, HEAD_BYTES};

/// Bytes of UTF-16 decoded at a time.
const CHUNK_BYTES: usize = 16 * 1024;
/// Replaces invalid UTF-16. It never occurs in UTF-8, so the line becomes invalid, too.
const INVALID_UTF8_BYTE: u8 = 0xff;

/// Reads a list as UTF-8, without its byte order mark.
pub(super) struct DecodedInput {
    pub unpacked: Decompressor,
    state: DecodeState,
    /// Whether NULs separate entries; then they do not indicate UTF-16.
    has_nuls: bool,
}

enum DecodeState {
    Unread,
    /// Unchanged, after the bytes read for detection.
    Plain(PendingBytes),
    Utf16(Box<Utf16Decoder>),
}

impl DecodedInput {
    pub(super) fn new(unpacked: Decompressor) -> Self {
        Self {
            unpacked,
            state: DecodeState::Unread,
            has_nuls: false,
        }
    }

    /// Sets that NULs end the entries of this list.
    pub(super) fn set_nuls(&mut self) {
        self.has_nuls = true;
    }

    /// Returns roughly how many bytes of the list one byte of text was decoded from.
    pub(super) fn width(&self) -> u64 {
        match self.state {
            DecodeState::Utf16(_) => 2,
            DecodeState::Unread | DecodeState::Plain(_) => 1,
        }
    }

    fn begin(&mut self) -> io::Result<DecodeState> {
        let is_open = if self.has_nuls {
            is_open
        } else {
            is_open_for_text
        };
        let (head, length) = read_head::<HEAD_BYTES>(&mut self.unpacked, is_open)?;
        let head = head.get(..length).unwrap_or_default();
        foreign::check(head)?;
        Ok(match head {
            [0xef, 0xbb, 0xbf, rest @ ..] => DecodeState::Plain(PendingBytes::new(rest)),
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] if !self.has_nuls => {
                return Err(unreadable("UTF-32", ""));
            }
            [0xff, 0xfe, rest @ ..] => {
                DecodeState::Utf16(Utf16Decoder::new(rest, u16::from_le_bytes))
            }
            [0xfe, 0xff, rest @ ..] => {
                DecodeState::Utf16(Utf16Decoder::new(rest, u16::from_be_bytes))
            }
            _ if self.has_nuls => DecodeState::Plain(PendingBytes::new(head)),
            [1..=255, 0, 1..=255, 0, ..] => return Err(unreadable("UTF-16LE", UNMARKED)),
            [0, 1..=255, 0, 1..=255, ..] => return Err(unreadable("UTF-16BE", UNMARKED)),
            [1..=255, 0, 0, 0, ..] => return Err(unreadable("UTF-32LE", UNMARKED)),
            [0, 0, 0, 1..=255, ..] => return Err(unreadable("UTF-32BE", UNMARKED)),
            _ => DecodeState::Plain(PendingBytes::new(head)),
        })
    }
}

impl Read for DecodedInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                DecodeState::Plain(head) if head.is_empty() => return self.unpacked.read(buffer),
                DecodeState::Plain(head) => return head.read(buffer),
                DecodeState::Utf16(utf16) => return utf16.read(&mut self.unpacked, buffer),
                DecodeState::Unread => self.state = self.begin()?,
            }
        }
    }
}

/// Whether more bytes are needed to detect a byte order mark or a foreign format. Waiting for the
/// end of the first entry is fine: it cannot be used before.
fn is_open(head: &[u8]) -> bool {
    !head.contains(&0) || foreign::is_open(head)
}

/// Like [`is_open`], where a line end ends the first entry. NULs tell UTF-16 without a mark.
fn is_open_for_text(head: &[u8]) -> bool {
    let has_line = memchr::memchr2(b'\n', b'\r', head).is_some();
    let seems_utf16 = matches!(head, [1..=255, 0, ..] | [0, 1..=255, ..]);
    !has_line
        || head.len() < 2
        || foreign::is_open(head)
        || (seems_utf16 && head.len() < MAGIC_BYTES)
}

const UNMARKED: &str = " without a byte order mark";

fn unreadable(coding: &str, unmarked: &str) -> io::Error {
    let text = format!("{coding}{unmarked}; convert it: iconv -f {coding} -t UTF-8 FILE");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Decoded bytes not yet read.
#[derive(Default)]
struct PendingBytes {
    bytes: Vec<u8>,
    taken: usize,
}

impl PendingBytes {
    fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            taken: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.bytes.get(self.taken..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

/// An incremental UTF-16 decoder.
struct Utf16Decoder {
    /// Converts two bytes to a code unit, by byte order.
    unit: fn([u8; 2]) -> u16,
    piece: Vec<u8>,
    /// The first byte of an incomplete code unit.
    odd: Option<u8>,
    /// A high surrogate whose low surrogate has not arrived.
    high: Option<u16>,
    ready: PendingBytes,
}

impl Utf16Decoder {
    fn new(begin: &[u8], unit: fn([u8; 2]) -> u16) -> Box<Self> {
        let mut this = Self {
            unit,
            piece: vec![0; CHUNK_BYTES],
            odd: None,
            high: None,
            ready: PendingBytes::default(),
        };
        this.decode(begin);
        Box::new(this)
    }

    fn read(&mut self, source: &mut Decompressor, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            self.ready.bytes.clear();
            self.ready.taken = 0;
            let mut piece = std::mem::take(&mut self.piece);
            let read = source.read(&mut piece);
            if let Ok(read) = read {
                self.decode(piece.get(..read).unwrap_or_default());
            }
            self.piece = piece;
            if read? == 0 {
                let is_cut = self.odd.take().is_some() || self.high.take().is_some();
                if !is_cut {
                    return Ok(0);
                }
                self.ready.bytes.push(INVALID_UTF8_BYTE);
            }
        }
        self.ready.read(buffer)
    }

    fn decode(&mut self, bytes: &[u8]) {
        let mut bytes = self.odd.take().into_iter().chain(bytes.iter().copied());
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        while let Some(first) = bytes.next() {
            match bytes.next() {
                Some(second) => units.push((self.unit)([first, second])),
                None => self.odd = Some(first),
            }
        }
        // The low surrogate may come with the next piece.
        self.high = units.pop_if(|last| matches!(last, 0xd800..=0xdbff));
        for c in char::decode_utf16(units) {
            match c {
                Ok(c) => {
                    let bytes = &mut [0; 4];
                    let text = c.encode_utf8(bytes);
                    self.ready.bytes.extend_from_slice(text.as_bytes());
                }
                Err(_) => self.ready.bytes.push(INVALID_UTF8_BYTE),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::compressed::packed;
    use crate::input::whole::ShortReader;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let pieces = ShortReader::new(bytes, piece);
        let mut text = Vec::new();
        DecodedInput::new(Decompressor::Unread(Box::new(pieces))).read_to_end(&mut text)?;
        Ok(text)
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn utf_16_without_a_mark_is_an_error_with_the_command_to_convert_it() {
        for (bytes, name) in [
            (utf16("http://a/\n", u16::to_le_bytes), "UTF-16LE"),
            (utf16("http://a/\n", u16::to_be_bytes), "UTF-16BE"),
        ] {
            for piece in [1, 3, 100] {
                let error = decode(&bytes, piece).unwrap_err().to_string();
                assert!(error.contains(name), "{error}");
                insta::assert_snapshot!(name, error);
                let packed = packed::gzip(&bytes);
                assert!(
                    decode(&packed, piece)
                        .unwrap_err()
                        .to_string()
                        .contains(name)
                );
            }
        }
    }

    #[test]
    fn utf_32_is_an_error_with_the_command_to_convert_it() {
        let utf32 = |text: &str, bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
            text.chars().flat_map(|c| bytes(c.into())).collect()
        };
        let (little, big) = (u32::to_le_bytes, u32::to_be_bytes);
        for (list, expected) in [
            (utf32("\u{feff}http://a/\n", little), "UTF-32; convert it"),
            (utf32("\u{feff}http://a/\n", big), "UTF-32; convert it"),
            (utf32("http://a/\n", little), "UTF-32LE without a byte"),
            (utf32("http://a/\n", big), "UTF-32BE without a byte"),
        ] {
            for piece in [1, 3, 100] {
                let error = decode(&list, piece).unwrap_err().to_string();
                assert!(error.starts_with(expected), "{error}");
            }
        }
    }

    #[test]
    fn an_incomplete_character_is_invalid() {
        for bytes in [
            b"\xff\xfea\0\0\xd8".as_slice(),
            b"\xff\xfea\0\0\xd8b\0",
            b"\xff\xfea\0\0\xdcb\0",
            b"\xff\xfea\0b",
        ] {
            for piece in [1, 2, 100] {
                let text = decode(bytes, piece).unwrap();
                assert!(text.starts_with(b"a\xff"), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn utf_16_is_decoded(text in "\\PC{1,40}", big in any::<bool>(), piece in 1..9usize) {
            let bytes = if big { u16::to_be_bytes } else { u16::to_le_bytes };
            let marked = utf16(&format!("\u{feff}{text}"), bytes);
            for list in [marked.clone(), packed::gzip(&marked), packed::zstd(&marked)] {
                let decoded = decode(&list, piece).unwrap();
                prop_assert_eq!(std::str::from_utf8(&decoded), Ok(text.as_str()));
            }
        }

        #[test]
        fn text_is_returned_without_its_mark(text in "\\PC{0,20}", piece in 1..9usize) {
            for list in [text.clone(), format!("\u{feff}{text}")] {
                prop_assume!(!list.starts_with("\u{feff}\u{feff}"));
                let expected = list.strip_prefix('\u{feff}').unwrap_or(&list);
                prop_assert_eq!(decode(list.as_bytes(), piece).unwrap(), expected.as_bytes());
            }
        }
    }
}
