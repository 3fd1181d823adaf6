//! The lines of a list, for the formats that have one entry a line.

use std::io::{self, BufRead};

use memchr::{memchr, memchr2};

use super::compressed::InputStream;

/// Room for a line that is kept when the next one is shorter, in bytes.
const RETAINED_BYTES: usize = 1 << 20;

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// LF, CR, or both.
    Line,
    /// NUL, and nothing else.
    Nul,
}

impl LineEnd {
    fn find(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Line => memchr2(b'\n', b'\r', bytes),
            Self::Nul => memchr(0, bytes),
        }
    }
}

/// One line of a list, without its line end.
pub struct InputLine<'a> {
    buffer: &'a mut Vec<u8>,
    /// From 1.
    pub number: u64,
    /// Whether the line went on past the limit; the rest was dropped.
    pub too_long: bool,
    end: LineEnd,
}

impl InputLine<'_> {
    /// Its bytes; of a line that is too long, as many as it takes for it to be too long once more.
    pub fn bytes(&self) -> &[u8] {
        self.buffer
    }

    /// Its bytes, to be kept: a long line is not copied, so that it is in memory once.
    pub fn into_bytes(self) -> Box<[u8]> {
        if self.buffer.len() > RETAINED_BYTES {
            std::mem::take(self.buffer).into()
        } else {
            self.buffer.as_slice().into()
        }
    }

    /// Whether it is one of lines, and not of what stands between NULs: then blank ones and
    /// comments are no input.
    pub fn has_comments(&self) -> bool {
        self.end == LineEnd::Line
    }

    /// Whether the line is no input: blank, or a comment.
    pub fn is_comment(&self) -> bool {
        if !self.has_comments() {
            return self.buffer.is_empty();
        }
        matches!(self.buffer.trim_ascii().first(), None | Some(b'#'))
    }
}

/// The lines of an input, read into one buffer that is used again and again.
pub struct LineReader {
    stream: InputStream,
    end: LineEnd,
    /// Longest line, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    number: u64,
    /// The line before ended with a CR, and what followed was not there yet: an LF belongs to it.
    after_cr: bool,
}

impl LineReader {
    pub fn new(stream: InputStream, end: LineEnd, limit: usize) -> Self {
        Self {
            stream,
            end,
            limit,
            buffer: Vec::new(),
            number: 0,
            after_cr: false,
        }
    }

    /// The next line, or `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<InputLine<'_>>> {
        self.buffer.clear();
        self.buffer.shrink_to(RETAINED_BYTES);
        self.finish_crlf()?;
        let mut is_begun = false;
        loop {
            let piece = self.stream.reader.fill_buf()?;
            if piece.is_empty() && !is_begun {
                return Ok(None);
            }
            is_begun = true;
            let end = self.end.find(piece);
            let line = piece.get(..end.unwrap_or(piece.len())).unwrap_or(piece);
            // One byte more than allowed, so that a line of just the limit is told from a
            // longer one.
            let room = (self.limit + 1).saturating_sub(self.buffer.len());
            let kept = line.get(..room).unwrap_or(line);
            self.buffer.extend_from_slice(kept);
            let is_last = piece.is_empty();
            let taken = line.len();
            self.stream.reader.consume(taken);
            if end.is_some() {
                self.take_end();
            }
            if end.is_some() || is_last {
                break;
            }
        }
        self.number += 1;
        let too_long = self.buffer.len() > self.limit;
        Ok(Some(InputLine {
            buffer: &mut self.buffer,
            number: self.number,
            too_long,
            end: self.end,
        }))
    }

    /// Takes the line end that is there, but does not wait for the second half of one: the line
    /// is known already.
    fn take_end(&mut self) {
        let rest = self.stream.reader.buffer();
        let is_cr = self.end == LineEnd::Line && rest.first() == Some(&b'\r');
        self.after_cr = is_cr && rest.len() == 1;
        let length = if is_cr && rest.get(1) == Some(&b'\n') {
            2
        } else {
            1
        };
        self.stream.reader.consume(length);
    }

    fn finish_crlf(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.after_cr)
            && self.stream.reader.fill_buf()?.first() == Some(&b'\n')
        {
            self.stream.reader.consume(1);
        }
        Ok(())
    }

    /// Whether a whole line is in memory already, so that reading on can't block.
    pub fn has_line_ready(&self) -> bool {
        self.end.find(self.stream.reader.buffer()).is_some()
    }

    /// Bytes of the file taken so far.
    pub fn position(&self) -> u64 {
        self.stream.position(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    /// Brings a few bytes with each read, as a slow pipe does.
    struct TricklingReader(io::Cursor<Vec<u8>>, usize);

    impl Read for TricklingReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn read(text: &str, end: LineEnd, piece: usize) -> Vec<(u64, String)> {
        let pieces = TricklingReader(io::Cursor::new(text.into()), piece);
        let mut lines = LineReader::new(InputStream::new(Box::new(pieces)), end, 100);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let text = std::str::from_utf8(line.bytes()).unwrap();
            found.push((line.number, text.to_owned()));
        }
        found
    }

    #[test]
    fn each_kind_of_line_end_ends_one_line() {
        let text = "aa\r\nb\rc\n\r\rd\n\ne\r";
        let expected = ["aa", "b", "c", "", "", "d", "", "e"];
        for piece in 1..text.len() {
            let found = read(text, LineEnd::Line, piece);
            let lines: Vec<_> = found.iter().map(|(_, line)| line.as_str()).collect();
            assert_eq!(lines, expected, "pieces of {piece}");
            assert_eq!(found.last().unwrap().0, 8);
        }
        assert_eq!(read("a\r\nb\0c", LineEnd::Nul, 1).len(), 2);
    }

    /// Brings its pieces with a read each, and fails the test when more is asked for.
    struct ExactReader(Vec<&'static [u8]>);

    impl Read for ExactReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "it waits for more");
            let read = self.0[0].read(buffer)?;
            self.0.retain(|piece| !piece.is_empty());
            Ok(read)
        }
    }

    #[test]
    fn the_second_half_of_a_line_end_is_not_waited_for_and_is_no_line() {
        let pieces = ExactReader(vec![b"aaaa\r", b"\n", b"bbbb\r", b"\ncccc\n"]);
        let mut lines = LineReader::new(InputStream::new(Box::new(pieces)), LineEnd::Line, 100);
        let mut next = || {
            let number = lines.next().unwrap().unwrap().number;
            (number, lines.has_line_ready())
        };
        assert_eq!([next(), next()], [(1, false), (2, false)]);
        assert_eq!(next(), (3, false));
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text_in_whatever_pieces(text in "[ab\r\n]{0,30}", piece in 1..9usize) {
            let same = text.replace("\r\n", "\n").replace('\r', "\n");
            let expected: Vec<_> = same.lines().map(str::to_owned).collect();
            let found = read(&text, LineEnd::Line, piece);
            let lines: Vec<_> = found.into_iter().map(|(_, line)| line).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
