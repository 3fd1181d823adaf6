//! What every list format can do.

use std::io;
use std::sync::Arc;

use super::InputFormat;
use super::compressed::InputStream;
use super::csv::CsvList;
use super::jsonl::JsonlList;
use super::lines::LineEnd;
use super::row::CellDelimiter;
use super::text::TextList;
use crate::model::{InputPosition, ListEntry};

/// What holds for the lines of all inputs of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListRules {
    /// Bodies are saved to files.
    pub saves_files: bool,
    /// What is kept of a line for `--failed FILE` is a JSON line, whatever the line was:
    /// so that lines of several formats can be read again from one file.
    pub as_json: bool,
}

/// Where the next entry of a run stands.
pub struct EntryOrigin<'a> {
    pub input: &'a Arc<str>,
    pub number: u64,
}

impl EntryOrigin<'_> {
    pub fn line(&self, line: u64) -> InputPosition {
        InputPosition {
            number: self.number,
            input: Arc::clone(self.input),
            line,
        }
    }
}

/// One step through a list.
pub enum ListStep<T> {
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
pub trait InputList: Send {
    /// Takes the next line, or row.
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>>;

    /// Passes over the next line, or row, when it is only counted.
    fn skip(&mut self) -> io::Result<ListStep<()>>;

    /// Whether a whole line or row is in memory already, so that a step can't block.
    fn is_ready(&self) -> bool;

    /// Bytes of the file taken so far.
    fn position(&self) -> u64;
}

/// The list that a stream is in this format.
pub fn open_list(format: InputFormat, stream: InputStream, rules: ListRules) -> Box<dyn InputList> {
    match format {
        // By now `auto` was told by the name, and a stream has none.
        InputFormat::Auto | InputFormat::Text => {
            Box::new(TextList::new(stream, LineEnd::Line, rules))
        }
        InputFormat::Nul => {
            let stream = stream.with_nuls();
            Box::new(TextList::new(stream, LineEnd::Nul, rules))
        }
        InputFormat::JsonLines => Box::new(JsonlList::new(stream, rules)),
        InputFormat::Csv => Box::new(CsvList::new(stream, CellDelimiter::Comma, rules)),
        InputFormat::Tsv => Box::new(CsvList::new(stream, CellDelimiter::Tab, rules)),
    }
}

/// Whole lists, for the tests of the formats.
#[cfg(test)]
pub mod whole {
    use super::*;

    /// Every entry of a list, or why it can't be read.
    pub fn read(format: InputFormat, bytes: &[u8], rules: ListRules) -> io::Result<Vec<ListEntry>> {
        let mut list = open_list(
            format,
            InputStream::new(Box::new(io::Cursor::new(bytes.to_vec()))),
            rules,
        );
        let input: Arc<str> = "-".into();
        let mut found = Vec::new();
        loop {
            let origin = EntryOrigin {
                input: &input,
                number: found.len() as u64,
            };
            match list.next(&origin)? {
                ListStep::Found(entry) => found.push(entry),
                ListStep::Nothing => {}
                ListStep::End => return Ok(found),
            }
        }
    }

    /// As many as [`read`] finds, when they are only counted.
    pub fn count(format: InputFormat, bytes: &[u8]) -> io::Result<usize> {
        let stream = InputStream::new(Box::new(io::Cursor::new(bytes.to_vec())));
        let mut list = open_list(format, stream, ListRules::default());
        let mut count = 0;
        loop {
            match list.skip()? {
                ListStep::Found(()) => count += 1,
                ListStep::Nothing => {}
                ListStep::End => return Ok(count),
            }
        }
    }

    /// The one job of a list.
    pub fn job(format: InputFormat, list: &str) -> crate::model::Job {
        match read(format, list.as_bytes(), ListRules::default())
            .unwrap()
            .pop()
        {
            Some(ListEntry::Job(job)) => job,
            other => panic!("{list}: {other:?}"),
        }
    }

    /// The last entry of a list, which is bad: how it is shown, why, and what is kept.
    pub fn bad(format: InputFormat, list: &[u8], rules: ListRules) -> (String, String, String) {
        match read(format, list, rules).unwrap().pop() {
            Some(ListEntry::Invalid(bad)) => {
                let raw = String::from_utf8_lossy(&bad.raw).into_owned();
                (bad.shown, bad.error.to_string(), raw)
            }
            other => panic!("{other:?}"),
        }
    }
}
