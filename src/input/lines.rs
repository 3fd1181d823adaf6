//! The lines of a list, for the formats that have one entry a line.

use std::io::{self, BufRead, Read};

use super::compressed::Stream;

/// Room for a line that is kept when the next one is shorter, in bytes.
const KEPT: usize = 1 << 20;

/// One line of a list, without its line end.
pub struct Line<'a> {
    pub bytes: &'a [u8],
    /// From 1.
    pub number: u64,
    /// Whether the line went on past the limit; the rest was dropped.
    pub too_long: bool,
    /// Whether it is one of lines, and not of what stands between NULs.
    has_comments: bool,
}

/// A line without its end, the first one without the mark that some editors begin files with.
fn content(line: &[u8], end: u8, is_first: bool) -> &[u8] {
    let line = line.strip_suffix(&[end]).unwrap_or(line);
    if end != b'\n' {
        return line;
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mark = b"\xef\xbb\xbf";
    line.strip_prefix(mark).filter(|_| is_first).unwrap_or(line)
}

impl Line<'_> {
    /// Whether the line is no input: blank, or a comment.
    pub fn is_comment(&self) -> bool {
        if !self.has_comments {
            return self.bytes.is_empty();
        }
        matches!(self.bytes.trim_ascii().first(), None | Some(b'#'))
    }
}

/// The lines of an input, read into one buffer that is used again and again.
pub struct Lines {
    stream: Stream,
    /// What a line ends with.
    end: u8,
    /// Longest line, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    pub fn new(stream: Stream, end: u8, limit: usize) -> Self {
        Self {
            stream,
            end,
            limit,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line, or `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        let reader = &mut self.stream.reader;
        // One byte more than allowed, so that a line of just the limit is told from a
        // longer one.
        let limit = self.limit as u64 + 1;
        let read = reader
            .by_ref()
            .take(limit)
            .read_until(self.end, &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = self.buffer.last() == Some(&self.end);
        let too_long = !ended && self.buffer.len() > self.limit;
        if too_long {
            reader.skip_until(self.end)?;
        }
        let bytes = if too_long {
            // As much as it takes for it to be too long once more.
            self.buffer.as_slice()
        } else {
            content(&self.buffer, self.end, self.number == 1)
        };
        Ok(Some(Line {
            bytes,
            number: self.number,
            too_long,
            has_comments: self.end == b'\n',
        }))
    }

    /// Whether a whole line is in memory already, so that reading on can't block.
    pub fn has_line_ready(&self) -> bool {
        memchr::memchr(self.end, self.stream.reader.buffer()).is_some()
    }

    /// Bytes of the file taken so far.
    pub fn position(&self) -> u64 {
        self.stream.position()
    }
}
