//! Rewrites the framing of a chunked body, so that the HTTP parser accepts what curl and browsers
//! tolerate: lines that end with a line feed alone, long chunk extensions, trailers of any kind.
//! Bounds what the parser does not: a chunk size with endless leading zeros.

use super::wire_lines::{MAX_HEAD_BYTES, without_line_end};

/// Length to which servers pad the size of a chunk, in bytes. Whatever exceeds it (zeros, blanks,
/// extensions) takes at most [`MAX_HEAD_BYTES`] in a body.
const PADDED_SIZE_BYTES: usize = 8;

/// Takes the received bytes of a chunked body, and returns them as well-formed chunks without
/// extensions and trailers.
#[derive(Debug, Default)]
pub(super) struct ChunkRepairer {
    position: ChunkPosition,
    /// The received part of the current line, if it matters what it says.
    line: Vec<u8>,
    /// Length of what was superfluous in earlier lines with a chunk's size, in bytes.
    superfluous: usize,
    has_bare_trailers: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ChunkPosition {
    #[default]
    SizeLine,
    /// This many bytes of the chunk are missing.
    Data(u64),
    /// In the line end after the data.
    DataEnd,
    /// In the trailers, of which this many bytes were received.
    Trailers(usize),
    End,
}

impl ChunkRepairer {
    /// Whether the body has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.position == ChunkPosition::End
    }

    /// Whether a line of the trailers ended with a line feed alone, after which the parser waits for
    /// ever.
    pub(super) fn has_bare_trailers(&self) -> bool {
        self.has_bare_trailers
    }

    /// Appends the data in the received `bytes` to `ready`, as one chunk. Bytes after the end of the
    /// body are dropped.
    ///
    /// # Errors
    /// When the framing is invalid. Data before that point is appended nevertheless.
    pub(super) fn push(&mut self, bytes: &[u8], ready: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut data = Vec::with_capacity(bytes.len());
        let parsed = self.parse(bytes, &mut data);
        if !data.is_empty() {
            ready.extend(format!("{:x}\r\n", data.len()).into_bytes());
            ready.extend(data);
            ready.extend(b"\r\n");
        }
        if self.has_ended() {
            ready.extend(b"0\r\n\r\n");
        }
        parsed
    }

    fn parse(&mut self, mut bytes: &[u8], data: &mut Vec<u8>) -> Result<(), &'static str> {
        while !bytes.is_empty() && !self.has_ended() {
            bytes = self.step(bytes, data)?;
        }
        Ok(())
    }

    /// Consumes bytes up to the end of a line or of the data. Returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8], data: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
        if let ChunkPosition::Data(missing) = self.position {
            let length = usize::try_from(missing).unwrap_or(usize::MAX);
            let (piece, rest) = bytes.split_at(length.min(bytes.len()));
            data.extend(piece);
            self.position = match missing - piece.len() as u64 {
                0 => ChunkPosition::DataEnd,
                missing => ChunkPosition::Data(missing),
            };
            return Ok(rest);
        }
        let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.add_to_line(piece)?;
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let is_trailer = matches!(self.position, ChunkPosition::Trailers(_));
            self.has_bare_trailers |= is_trailer && !line.ends_with(b"\r\n");
            self.end_line(without_line_end(&line))?;
        }
        Ok(rest)
    }

    fn add_to_line(&mut self, piece: &[u8]) -> Result<(), &'static str> {
        let most = match &mut self.position {
            ChunkPosition::Trailers(received) => {
                *received += piece.len();
                if *received > MAX_HEAD_BYTES {
                    return Err("the trailers are too large");
                }
                // What a trailer says does not matter, only whether it is empty and how it ends.
                let text = without_line_end(piece).len();
                self.line.extend((text > 0).then_some(b'x'));
                self.line.extend(piece.get(text..).unwrap_or_default());
                return Ok(());
            }
            ChunkPosition::DataEnd => b"\r\n".len(),
            _ => PADDED_SIZE_BYTES + MAX_HEAD_BYTES - self.superfluous,
        };
        self.line.extend(piece);
        match (self.line.len() > most, self.position) {
            (false, _) => Ok(()),
            (true, ChunkPosition::DataEnd) => Err("a chunk is longer than its size"),
            (true, _) => Err(match self.line.iter().all(u8::is_ascii_hexdigit) {
                true => "the size of a chunk has too many digits",
                false => "the chunk extensions are too large",
            }),
        }
    }

    /// Moves on after a line, which is given without its end.
    fn end_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        self.position = match self.position {
            ChunkPosition::Trailers(_) if line.is_empty() => ChunkPosition::End,
            ChunkPosition::DataEnd if line.is_empty() => ChunkPosition::SizeLine,
            ChunkPosition::DataEnd => return Err("a chunk is longer than its size"),
            ChunkPosition::SizeLine => {
                self.superfluous += line.len().saturating_sub(PADDED_SIZE_BYTES);
                match chunk_size(line) {
                    Some(0) => ChunkPosition::Trailers(0),
                    Some(size) => ChunkPosition::Data(size),
                    None => return Err("the size of a chunk is invalid"),
                }
            }
            other => other,
        };
        Ok(())
    }
}

/// Returns the size at the start of a line: hexadecimal digits. As in curl, what follows them is
/// ignored: if the size is wrong, no line end follows the data. Nothing shows that for a zero, so
/// `0x5` and `0 5` have no meaning.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (size, rest) = line.split_at(digits.count());
    let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
    let unknown = rest.split(|byte| *byte == b';').next()?;
    let is_clear = size > 0 || !unknown.iter().any(u8::is_ascii_alphanumeric);
    is_clear.then_some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pushes a body in pieces of this size. Returns the data of all returned chunks.
    fn repaired(sent: &[u8], size: usize) -> Result<(Vec<u8>, bool), &'static str> {
        let mut repairer = ChunkRepairer::default();
        let mut data = Vec::new();
        for piece in sent.chunks(size) {
            let mut ready = Vec::new();
            repairer.push(piece, &mut ready)?;
            let ready = match repairer.has_ended() {
                true => ready.strip_suffix(b"0\r\n\r\n").unwrap_or_default(),
                false => &ready,
            };
            if let Some(at) = memchr::memchr(b'\n', ready) {
                let (line, chunk) = ready.split_at(at + 1);
                let chunk = chunk.strip_suffix(b"\r\n").unwrap();
                assert_eq!(line, format!("{:x}\r\n", chunk.len()).as_bytes());
                data.extend(chunk);
            }
            if repairer.has_ended() {
                break;
            }
        }
        Ok((data, repairer.has_ended()))
    }

    #[test]
    fn lines_may_end_with_a_line_feed_and_extensions_and_trailers_are_dropped() {
        let trailers = "X-A: y\r\n".repeat(10_000);
        for (sent, expected, has_ended) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", true),
            ("5\nhello\n0\n\n", "hello", true),
            ("5\r\nhello\n1\nx\r\n0\r\n\n", "hellox", true),
            ("5,\r\nhello\r\n0,\r\n\r\n", "hello", true),
            ("5z\r\nhello\r\n0;z\r\n\r\n", "hello", true),
            ("5 5\r\nhello\r\n0 \r\n\r\n", "hello", true),
            ("5\u{1}\0\r\nhello\r\n0\0\r\n\r\n", "hello", true),
            ("5 \t\r\nhel\nl\r\n0\r\n\r\n", "hel\nl", true),
            (
                "05;a=b\rc\nhello\r\n000;x\r\nA: b\r\n\r\nrest",
                "hello",
                true,
            ),
            ("5\r\nhello\r\n0\r\nno colon\n \n\n", "hello", true),
            ("5\r\nhello\r\n0\r\n", "hello", false),
            ("5\r\nhello\r\n0\r\nX: y", "hello", false),
            ("5\r\nhel", "hel", false),
            (&format!("1\r\nx\r\n0\r\n{trailers}\r\n"), "x", true),
            (
                &format!("1;{trailers}\r\nx\r\n0\r\n\r\n").replace("y\r\n", "y"),
                "x",
                true,
            ),
        ] {
            for size in [1, 2, 3, 7, sent.len()] {
                let (data, ended) = repaired(sent.as_bytes(), size).unwrap();
                assert_eq!(String::from_utf8(data).unwrap(), expected, "{size}");
                assert_eq!(ended, has_ended, "{size}");
            }
        }
    }

    #[test]
    fn a_trailer_that_ends_with_a_line_feed_alone_is_noticed() {
        for (sent, expected) in [
            ("5\nhello\n0\r\n\r\n", false),
            ("0\r\nA: b\r\n\r\n", false),
            ("0\r\n\n", true),
            ("0\r\nA: b\n\r\n", true),
            ("0\r\nA: b\r\n\n", true),
        ] {
            for size in 1..sent.len() {
                let mut repairer = ChunkRepairer::default();
                for piece in sent.as_bytes().chunks(size) {
                    repairer.push(piece, &mut Vec::new()).unwrap();
                }
                assert!(repairer.has_ended(), "{sent:?} {size}");
                assert_eq!(repairer.has_bare_trailers(), expected, "{sent:?} {size}");
            }
        }
    }

    #[test]
    fn a_size_begins_with_hexadecimal_digits() {
        for size in [
            "",
            " 5",
            "+5",
            "-5",
            "0x5",
            "0 5",
            "0z",
            "\"5\"",
            "4,",
            "7,",
            ";",
            "g",
            "10000000000000000",
        ] {
            let sent = format!("{size}\r\nhello\r\n0\r\n\r\n");
            assert!(repaired(sent.as_bytes(), 3).is_err(), "{size:?}");
        }
        for sent in [
            "5\r\nhello!\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\r\r\n",
            "5\r\nhello \n0\r\n\r\n",
        ] {
            assert!(repaired(sent.as_bytes(), 1).is_err(), "{sent:?}");
        }
    }

    #[test]
    fn no_line_is_read_without_end() {
        let (size, extensions) = ("the size of a chunk", "the chunk extensions");
        let trailers = "the trailers";
        for (start, piece, most, named) in [
            ("", "0", MAX_HEAD_BYTES + PADDED_SIZE_BYTES, size),
            ("5", " ", MAX_HEAD_BYTES + PADDED_SIZE_BYTES, extensions),
            ("5;", "x", MAX_HEAD_BYTES + PADDED_SIZE_BYTES, extensions),
            (
                "",
                "1;an extension of a chunk\r\nx\r\n",
                3 * MAX_HEAD_BYTES,
                extensions,
            ),
            ("1\r\nx", "\r", 3, "a chunk is longer"),
            ("0\r\n", "x", MAX_HEAD_BYTES, trailers),
            ("0\r\n", "X: y\r\n", MAX_HEAD_BYTES, trailers),
        ] {
            let mut repairer = ChunkRepairer::default();
            let mut push = |bytes: &str| repairer.push(bytes.as_bytes(), &mut Vec::new());
            push(start).unwrap();
            let mut pushes = (0..=most).map(|_| push(piece));
            let at = pushes.position(|pushed| pushed.is_err_and(|text| text.starts_with(named)));
            assert!(at.unwrap() * piece.len() <= most, "{start:?} {piece:?}");
        }
    }

    proptest! {
        /// Whatever is sent, in whatever pieces, has one meaning.
        #[test]
        fn pieces_make_no_difference(sent in "[0-2a;x, \r\n]{0,40}", size in 1_usize..40) {
            let whole = repaired(sent.as_bytes(), 40);
            let pieces = repaired(sent.as_bytes(), size);
            prop_assert_eq!(whole, pieces);
        }
    }
}
