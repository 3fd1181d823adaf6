//! Reads whole lists, for the tests of the formats.

use std::io;
use std::sync::Arc;

use super::InputFormat;
use super::detected::open_list;
use super::list::{EntryOrigin, ListRules, ListStep};
use super::stream::InputStream;
use crate::model::ListEntry;

/// Returns at most `most` bytes per read, like a slow pipe.
pub(super) struct ShortReader {
    bytes: io::Cursor<Vec<u8>>,
    most: usize,
}

impl ShortReader {
    pub(super) fn new(bytes: &[u8], most: usize) -> Self {
        let bytes = io::Cursor::new(bytes.to_vec());
        Self { bytes, most }
    }
}

impl io::Read for ShortReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.most);
        self.bytes.read(&mut buffer[..length])
    }
}

/// Reads all entries of a list.
pub(super) fn read(
    format: InputFormat,
    bytes: &[u8],
    rules: ListRules,
) -> io::Result<Vec<ListEntry>> {
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

/// Reads all entries of a list as a run does whose bodies are saved, or not.
pub(crate) fn read_list(
    format: InputFormat,
    bytes: &[u8],
    saves_files: bool,
) -> io::Result<Vec<ListEntry>> {
    let has_fields = !format.is_text();
    let rules = ListRules {
        saves_files,
        has_fields,
        ..ListRules::default()
    };
    let mut entries = read(format, bytes, rules)?;
    for entry in &mut entries {
        if let ListEntry::Job(job) = entry
            && saves_files
            && has_fields
        {
            job.options.get_or_insert_default();
        }
    }
    Ok(entries)
}

/// Counts the entries of a list with [`InputList::skip`].
pub(super) fn count(format: InputFormat, bytes: &[u8]) -> io::Result<usize> {
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
pub(super) fn job(format: InputFormat, list: &str) -> crate::model::Job {
    match read(format, list.as_bytes(), ListRules::default())
        .unwrap()
        .pop()
    {
        Some(ListEntry::Job(job)) => job,
        other => panic!("{list}: {other:?}"),
    }
}

/// Returns the last entry of a list, which must be invalid: displayed line, reason, raw line.
pub(super) fn bad(format: InputFormat, list: &[u8], rules: ListRules) -> (String, String, String) {
    match read(format, list, rules).unwrap().pop() {
        Some(ListEntry::Invalid(bad)) => {
            let raw = String::from_utf8_lossy(&bad.raw).into_owned();
            (bad.shown, bad.error.to_string(), raw)
        }
        other => panic!("{other:?}"),
    }
}
