//! Reads a list line by line, for the formats with one entry per line.

use std::io::{self, BufRead};

use memchr::{memchr, memchr2};

use super::list::ListStep;
use super::stream::InputStream;

/// Buffer capacity kept between lines, in bytes.
const RETAINED_BYTES: usize = 1 << 20;

/// The terminator of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// LF, CR, or CRLF.
    Line,
    /// NUL only.
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
pub(super) struct InputLine<'a> {
    buffer: &'a mut Vec<u8>,
    /// Line number, from 1.
    pub number: u64,
    /// Whether the line exceeds the limit; the rest was dropped.
    pub too_long: bool,
    end: LineEnd,
}

impl InputLine<'_> {
    /// Returns the bytes of the line. A line that is too long is cut to one byte above the limit,
    /// so that it is still too long when read again.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer
    }

    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.buffer
    }

    /// Returns the bytes of the line as owned memory. A long line is not copied, so that it is in
    /// memory only once.
    pub(super) fn into_bytes(self) -> Box<[u8]> {
        if self.buffer.len() > RETAINED_BYTES {
            std::mem::take(self.buffer).into()
        } else {
            self.buffer.as_slice().into()
        }
    }

    /// Whether blank lines and comments are skipped: in line-based input, not in NUL-separated.
    pub(super) fn has_comments(&self) -> bool {
        self.end == LineEnd::Line
    }

    /// Whether the line is skipped: blank or a comment; with NULs, only if empty.
    pub(super) fn is_comment(&self) -> bool {
        if !self.has_comments() {
            return self.buffer.is_empty();
        }
        matches!(self.buffer.trim_ascii().first(), None | Some(b'#'))
    }
}

/// Reads the lines of an input into one reused buffer.
pub(super) struct LineReader {
    stream: InputStream,
    end: LineEnd,
    /// Longest line, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// A copy of the last line, if it is to be kept: `buffer` may be changed.
    source: Option<Vec<u8>>,
    number: u64,
    /// Whether the last line ended with a CR at the end of the data read so far: a following LF
    /// belongs to it.
    after_cr: bool,
}

impl LineReader {
    pub(super) fn new(stream: InputStream, end: LineEnd, limit: usize) -> Self {
        Self {
            stream,
            end,
            limit,
            buffer: Vec::new(),
            source: None,
            number: 0,
            after_cr: false,
        }
    }

    /// Whether the last line was blank.
    pub(super) fn is_blank(&self) -> bool {
        self.buffer.trim_ascii().is_empty()
    }

    /// Returns what ends a line.
    pub(super) fn end(&self) -> LineEnd {
        self.end
    }

    /// Keeps the last line, if `keeps` is true.
    pub(super) fn keeping_source(mut self, keeps: bool) -> Self {
        self.source = keeps.then(Vec::new);
        self
    }

    /// Returns the last line, if it is kept.
    pub(super) fn source(&self) -> &[u8] {
        self.source.as_deref().unwrap_or_default()
    }

    /// Reads the next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<InputLine<'_>>> {
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
            // One byte above the limit, to distinguish a line of exactly the limit from a longer
            // one.
            let most = (self.limit + 1).saturating_sub(self.buffer.len());
            let kept = line.get(..most).unwrap_or(line);
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
        if let Some(source) = &mut self.source {
            source.clear();
            source.shrink_to(RETAINED_BYTES);
            source.extend_from_slice(&self.buffer);
        }
        Ok(Some(InputLine {
            buffer: &mut self.buffer,
            number: self.number,
            too_long,
            end: self.end,
        }))
    }

    /// Reads the next line, with blank lines and comments as [`ListStep::Nothing`].
    pub(super) fn step(&mut self) -> io::Result<ListStep<InputLine<'_>>> {
        Ok(match self.next()? {
            None => ListStep::End,
            Some(line) if line.is_comment() => ListStep::Nothing,
            Some(line) => ListStep::Found(line),
        })
    }

    /// Consumes the line terminator, but does not read on for the LF of a CRLF: that may block,
    /// and the line is complete.
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

    /// Whether a complete line is in memory, so that reading it cannot block.
    pub(super) fn has_line_ready(&self) -> bool {
        self.end.find(self.stream.reader.buffer()).is_some()
    }

    /// Returns the number of bytes consumed from the file.
    pub(super) fn position(&self) -> u64 {
        self.stream.position(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::whole::ShortReader;
    use proptest::prelude::*;
    use std::io::Read;

    fn read(text: &str, end: LineEnd, piece: usize) -> Vec<(u64, String)> {
        let pieces = ShortReader::new(text.as_bytes(), piece);
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

    /// Returns one piece per read, and fails the test if read beyond the last.
    struct ExactReader(Vec<&'static [u8]>);

    impl Read for ExactReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "reads beyond the last piece");
            let read = self.0[0].read(buffer)?;
            self.0.retain(|piece| !piece.is_empty());
            Ok(read)
        }
    }

    #[test]
    fn the_lf_of_a_crlf_is_not_waited_for_and_is_not_a_line() {
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
        fn lines_do_not_depend_on_the_size_of_reads(text in "[ab\r\n]{0,30}", piece in 1..9usize) {
            let same = text.replace("\r\n", "\n").replace('\r', "\n");
            let expected: Vec<_> = same.lines().map(str::to_owned).collect();
            let found = read(&text, LineEnd::Line, piece);
            let lines: Vec<_> = found.into_iter().map(|(_, line)| line).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
