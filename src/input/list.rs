//! The trait of list formats.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::InputFormat;
use super::columns::ColumnRules;
use super::compressed::InputStream;
use super::csv::CsvList;
use super::jsonl::JsonlList;
use super::lines::LineEnd;
use super::row::CellDelimiter;
use super::text::TextList;
use super::url::DefaultScheme;
use crate::model::{InputPosition, ListEntry};

/// Rules for the lines of all inputs of a run.
#[derive(Debug, Clone, Default)]
pub struct ListRules {
    /// Whether bodies are saved to files.
    pub saves_files: bool,
    /// Whether lines for `--failed FILE` are kept as JSON lines, whatever their format, so that
    /// one file can hold lines of several formats.
    pub as_json: bool,
    /// The scheme of URLs without one; otherwise they are invalid.
    pub scheme: Option<DefaultScheme>,
    /// Which columns are used.
    pub columns: Arc<ColumnRules>,
}

impl ListRules {
    /// Returns the URL as it is to be parsed.
    pub fn complete<'a>(&self, url: &'a str) -> Cow<'a, str> {
        match self.scheme {
            Some(scheme) => scheme.complete(url),
            None => Cow::Borrowed(url),
        }
    }
}

/// The input and number of the next entry.
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
    /// An entry.
    Found(T),
    /// A blank line, a comment, or a header row. Returned separately, because reading on may
    /// block.
    Nothing,
    End,
}

/// A list in one of the formats.
///
/// Errors of either step concern the list as a whole: it cannot be read, or it has the wrong
/// format.
pub trait InputList: Send {
    /// Reads the next line or row.
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>>;

    /// Skips the next line or row, for counting.
    fn skip(&mut self) -> io::Result<ListStep<()>>;

    /// Whether a complete line or row is in memory, so that a step cannot block.
    fn is_ready(&self) -> bool;

    /// Returns the number of bytes consumed from the file.
    fn position(&self) -> u64;
}

/// Opens a stream as a list of this format.
pub fn open_list(
    format: InputFormat,
    stream: InputStream,
    rules: &ListRules,
) -> Box<dyn InputList> {
    let rules = rules.clone();
    match format {
        // `auto` has been resolved by the file name; what is left has none.
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

/// Helpers that read whole lists, for the tests of the formats.
#[cfg(test)]
pub mod whole {
    use super::*;

    /// Reads all entries of a list.
    pub fn read(format: InputFormat, bytes: &[u8], rules: ListRules) -> io::Result<Vec<ListEntry>> {
        let mut list = open_list(
            format,
            InputStream::new(Box::new(io::Cursor::new(bytes.to_vec()))),
            &rules,
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

    /// Counts the entries of a list with [`InputList::skip`].
    pub fn count(format: InputFormat, bytes: &[u8]) -> io::Result<usize> {
        let stream = InputStream::new(Box::new(io::Cursor::new(bytes.to_vec())));
        let mut list = open_list(format, stream, &ListRules::default());
        let mut count = 0;
        loop {
            match list.skip()? {
                ListStep::Found(()) => count += 1,
                ListStep::Nothing => {}
                ListStep::End => return Ok(count),
            }
        }
    }

    /// Returns the last entry of a list, which must be a job.
    pub fn job(format: InputFormat, list: &str) -> crate::model::Job {
        match read(format, list.as_bytes(), ListRules::default())
            .unwrap()
            .pop()
        {
            Some(ListEntry::Job(job)) => job,
            other => panic!("{list}: {other:?}"),
        }
    }

    /// Returns the last entry of a list, which must be invalid: displayed line, reason, raw line.
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
