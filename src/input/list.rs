//! What every list format can do.

use std::io;
use std::sync::Arc;

use super::InputFormat;
use super::compressed::Stream;
use super::csv::Table;
use super::jsonl::JsonLines;
use super::lines::LineEnd;
use super::row::Delimiter;
use super::text::TextLines;
use crate::model::{Entry, Place};

/// What holds for the lines of all inputs of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// Bodies are saved to files.
    pub saves_files: bool,
    /// What is kept of a line for `--failed FILE` is a JSON line, whatever the line was:
    /// so that lines of several formats can be read again from one file.
    pub as_json: bool,
}

/// Where the next entry of a run stands.
pub struct Origin<'a> {
    pub input: &'a Arc<str>,
    pub number: u64,
}

impl Origin<'_> {
    pub fn line(&self, line: u64) -> Place {
        Place {
            number: self.number,
            input: Arc::clone(self.input),
            line,
        }
    }
}

/// One step through a list.
pub enum Step<T> {
    /// It brought something.
    Found(T),
    /// It was no input: a blank line, a comment. A step of its own, for the next one may
    /// have to wait.
    Nothing,
    End,
}

/// A list in one of its formats.
///
/// An error of either step is one of reading, or says that the list as a whole is not
/// what it should be.
pub trait List: Send {
    /// Takes the next line, or row.
    fn next(&mut self, origin: &Origin<'_>) -> io::Result<Step<Entry>>;

    /// Passes over the next line, or row, when it is only counted.
    fn skip(&mut self) -> io::Result<Step<()>>;

    /// Whether a whole line or row is in memory already, so that a step can't block.
    fn is_ready(&self) -> bool;

    /// Bytes of the file taken so far.
    fn position(&self) -> u64;
}

/// The list that a stream is in this format.
pub fn list(format: InputFormat, stream: Stream, rules: Rules) -> Box<dyn List> {
    match format {
        // By now `auto` was told by the name, and a stream has none.
        InputFormat::Auto | InputFormat::Text => {
            Box::new(TextLines::new(stream, LineEnd::Line, rules))
        }
        InputFormat::Nul => {
            let stream = stream.with_nuls();
            Box::new(TextLines::new(stream, LineEnd::Nul, rules))
        }
        InputFormat::JsonLines => Box::new(JsonLines::new(stream, rules)),
        InputFormat::Csv => Box::new(Table::new(stream, Delimiter::Comma, rules)),
        InputFormat::Tsv => Box::new(Table::new(stream, Delimiter::Tab, rules)),
    }
}

/// Whole lists, for the tests of the formats.
#[cfg(test)]
pub mod whole {
    use super::*;

    /// Every entry of a list, or why it can't be read.
    pub fn read(format: InputFormat, bytes: &[u8], rules: Rules) -> io::Result<Vec<Entry>> {
        let mut list = list(
            format,
            Stream::new(Box::new(io::Cursor::new(bytes.to_vec()))),
            rules,
        );
        let input: Arc<str> = "-".into();
        let mut found = Vec::new();
        loop {
            let origin = Origin {
                input: &input,
                number: found.len() as u64,
            };
            match list.next(&origin)? {
                Step::Found(entry) => found.push(entry),
                Step::Nothing => {}
                Step::End => return Ok(found),
            }
        }
    }

    /// As many as [`read`] finds, when they are only counted.
    pub fn count(format: InputFormat, bytes: &[u8]) -> io::Result<usize> {
        let stream = Stream::new(Box::new(io::Cursor::new(bytes.to_vec())));
        let mut list = list(format, stream, Rules::default());
        let mut count = 0;
        loop {
            match list.skip()? {
                Step::Found(()) => count += 1,
                Step::Nothing => {}
                Step::End => return Ok(count),
            }
        }
    }

    /// The one job of a list.
    pub fn job(format: InputFormat, list: &str) -> crate::model::Job {
        match read(format, list.as_bytes(), Rules::default())
            .unwrap()
            .pop()
        {
            Some(Entry::Job(job)) => job,
            other => panic!("{list}: {other:?}"),
        }
    }

    /// The last entry of a list, which is bad: how it is shown, why, and what is kept.
    pub fn bad(format: InputFormat, list: &[u8], rules: Rules) -> (String, String, String) {
        match read(format, list, rules).unwrap().pop() {
            Some(Entry::Invalid(bad)) => {
                let raw = String::from_utf8_lossy(&bad.raw).into_owned();
                (bad.shown, bad.error.to_string(), raw)
            }
            other => panic!("{other:?}"),
        }
    }
}
