//! The trait of list formats.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::base_url::BaseUrl;
use super::columns::ColumnRules;
use super::url::{DefaultScheme, UrlParser};
use crate::model::{EntryGuard, InputPosition, ListEntry, PartForm, ShardBy};

/// Rules for the lines of all inputs of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct ListRules {
    /// Whether bodies are saved to files.
    pub saves_files: bool,
    /// Whether lines of any input have fields besides the URL. Then all lines for `--failed FILE` are
    /// kept as JSON lines, so that one file can hold lines of several formats, and files are claimed
    /// line by line, because each line may set its own.
    pub has_fields: bool,
    /// The scheme of URLs without one; otherwise they are invalid.
    pub scheme: Option<DefaultScheme>,
    /// The URL of the folder with the files of a manifest.
    pub base_url: Option<BaseUrl>,
    /// Which columns are used.
    pub columns: Arc<ColumnRules>,
    /// Whether a list keeps the text of its last entry.
    pub keeps_source: bool,
    /// If entries are only divided among parts: what decides on the part of a URL. Nothing but that
    /// is needed of a valid entry then.
    pub parts_by: Option<ShardBy>,
}

impl ListRules {
    /// Returns a parser for the URLs of a list.
    pub(super) fn parser(&self) -> UrlParser {
        match self.parts_by {
            Some(ShardBy::Host) => UrlParser::of_origins(),
            Some(ShardBy::Url) | None => UrlParser::default(),
        }
    }

    /// Returns the URL as it is to be parsed.
    pub(super) fn complete<'a>(&self, url: &'a str) -> Cow<'a, str> {
        match self.scheme {
            Some(scheme) => scheme.complete(url),
            None => Cow::Borrowed(url),
        }
    }
}

/// Returns how parts of a list with an entry per line are written. The comment keeps an invalid line
/// from being taken for the beginning of another format.
pub(super) fn lines_form(extension: &'static str) -> PartForm {
    PartForm {
        extension,
        head: Vec::new(),
        tail: b"",
        end: b'\n',
        guard: Some(EntryGuard {
            first: b"#\n",
            behind: b"",
        }),
    }
}

/// The input and number of the next entry.
pub(super) struct EntryOrigin<'a> {
    pub input: &'a Arc<str>,
    pub number: u64,
}

impl EntryOrigin<'_> {
    pub(super) fn line(&self, line: u64) -> InputPosition {
        InputPosition {
            number: self.number,
            input: Arc::clone(self.input),
            line,
        }
    }
}

/// One step through a list.
pub(super) enum ListStep<T> {
    /// An entry.
    Found(T),
    /// A blank line, a comment, or a header row. Returned separately, because reading on may
    /// block.
    Nothing,
    End,
}

impl<T> ListStep<T> {
    pub(super) fn map<U>(self, use_entry: impl FnOnce(T) -> U) -> ListStep<U> {
        match self {
            Self::Found(entry) => ListStep::Found(use_entry(entry)),
            Self::Nothing => ListStep::Nothing,
            Self::End => ListStep::End,
        }
    }
}

/// A list in one of the formats.
///
/// Errors of either step concern the list as a whole: it cannot be read, or it has the wrong
/// format.
pub(super) trait InputList: Send {
    /// Reads the next line or row.
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>>;

    /// Skips the next line or row, for counting.
    fn skip(&mut self) -> io::Result<ListStep<()>>;

    /// Returns a warning about the list, once. Asked for after each step.
    fn take_warning(&mut self) -> Option<String> {
        None
    }

    /// Returns the text of the last entry as it was read, without its line end; empty unless
    /// [`keeps_source`](ListRules::keeps_source) is set.
    fn source(&self) -> &[u8];

    /// Returns how parts of the list are written. Asked for once an entry or the end was reached.
    fn form(&self) -> PartForm;

    /// Whether a complete line or row is in memory, so that a step cannot block.
    fn is_ready(&self) -> bool;

    /// Returns the number of bytes consumed from the file.
    fn position(&self) -> u64;
}
