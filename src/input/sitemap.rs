//! Sitemaps: a file, stdin, or one that is fetched; and the sitemaps of an index, which the run
//! fetches like any URL and which are then read in the order of the index.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use url::Url;

use super::flaw::ListFlaw;
use super::line_builder::{invalid, job, url_as_json};
use super::lines::LineEnd;
use super::list::{EntryOrigin, InputList, ListRules, ListStep, lines_form};
use super::sitemap_xml::{SitemapEntry, SitemapKind, SitemapReader, SitemapStep};
use super::stream::InputStream;
use super::text::TextList;
use super::url::{ParsedUrl, UrlParser, display_line};
use crate::model::{
    Cause, ColumnsBuilder, Credentials, FetchError, InputPosition, Job, LineOptions, ListEntry,
    PartForm, PendingSitemap, SettledJob, SitemapReply, is_same_origin,
};

/// Sitemaps of an index that are fetched ahead of the one being read.
const AHEAD: usize = 8;
/// Maximum number of entries of a fetched sitemap (sitemaps.org protocol).
const MAX_ENTRIES: u64 = 50_000;
/// Maximum size of a fetched sitemap once it is decompressed, in bytes (the same protocol).
const MAX_UNPACKED_BYTES: u64 = 50 << 20;

/// What a part of a sitemap begins with.
const SITEMAP_HEAD: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n";
/// What it ends with.
const SITEMAP_TAIL: &[u8] = b"</urlset>\n";

/// A sitemap, and those that it is an index of.
pub(super) struct SitemapList {
    rules: ListRules,
    parser: UrlParser,
    /// The URL to fetch before anything can be read, and its number among the arguments.
    argument: Option<(String, u64)>,
    /// The URL of the sitemap, or index, that was fetched first.
    site: Option<Url>,
    /// The sitemap itself, possibly an index.
    top: Option<OpenSitemap>,
    /// A sitemap of the index.
    child: Option<OpenSitemap>,
    /// Sitemaps that are being fetched, in their order.
    pending: VecDeque<RequestedSitemap>,
    /// The last entry as an element, if it is to be kept.
    source: Vec<u8>,
}

struct RequestedSitemap {
    pending: PendingSitemap,
    is_child: bool,
}

impl SitemapList {
    /// Reads a sitemap from a stream.
    pub(super) fn new(stream: InputStream, rules: ListRules) -> Self {
        let mut list = Self::fetched(String::new(), 0, rules);
        list.argument = None;
        list.top = Some(OpenSitemap::new(stream, None, &list.rules));
        list
    }

    /// Reads a sitemap that is fetched first.
    pub(super) fn fetched(url: String, argument: u64, rules: ListRules) -> Self {
        Self {
            parser: rules.parser(),
            rules,
            argument: Some((url, argument)),
            site: None,
            top: None,
            child: None,
            pending: VecDeque::new(),
            source: Vec::new(),
        }
    }

    /// Asks the run to fetch a sitemap.
    fn request(&mut self, url: &str, position: InputPosition, is_child: bool) -> ListEntry {
        match self.parser.parse(url) {
            Ok((url, credentials)) => {
                let (reply, pending) = SitemapReply::new();
                if !is_child {
                    self.site = Some(url.clone());
                }
                self.pending
                    .push_back(RequestedSitemap { pending, is_child });
                let own = LineOptions {
                    is_foreign: is_child && self.is_foreign(&url),
                    sitemap: Some(reply),
                    ..LineOptions::default()
                };
                ListEntry::Sitemap(Job {
                    position,
                    url,
                    credentials,
                    raw: None,
                    options: Some(Box::new(own)),
                })
            }
            Err(reason) => self.invalid(url, position, reason),
        }
    }

    fn invalid(&self, url: &str, position: InputPosition, flaw: impl Into<ListFlaw>) -> ListEntry {
        let raw = match self.rules.has_fields {
            true => url_as_json(url, &self.rules),
            false => invalid_line(url).into_bytes().into(),
        };
        invalid(position, display_line(url.as_bytes()), raw, flaw)
    }

    /// Whether a URL has another origin than the sitemap that the user named.
    fn is_foreign(&self, url: &Url) -> bool {
        let site = self.site.as_ref();
        site.is_some_and(|site| !is_same_origin(site, url))
    }

    /// Keeps an entry as an element of a sitemap, if it is to be kept.
    fn keep_source(&mut self, entry: &SitemapEntry) {
        self.source.clear();
        if self.rules.keeps_source {
            self.source.extend_from_slice(entry.element().as_bytes());
        }
    }

    fn entry(&mut self, entry: &SitemapEntry, position: InputPosition) -> ListEntry {
        let url = &*entry.location;
        let parsed = match &entry.flaw {
            Some(flaw) => Err(flaw.clone().into()),
            None if url.is_empty() => Err("the entry has no URL".into()),
            None => self.parser.parse(url),
        };
        match parsed {
            Ok(parsed) => {
                let differs = self.rules.has_fields || url != parsed.0.as_str();
                let raw = differs.then(|| match self.rules.has_fields {
                    true => url_as_json(url, &self.rules),
                    false => line_of(url, &parsed).into_bytes().into(),
                });
                let mut columns = ColumnsBuilder::default();
                if let Some(modified) = &entry.modified {
                    columns.push_text("lastmod", modified);
                }
                // Never too long: the date is short.
                let columns = columns.build().ok().flatten();
                let is_foreign = self.is_foreign(&parsed.0);
                let own = (is_foreign || columns.is_some()).then(|| {
                    Box::new(LineOptions {
                        columns,
                        is_foreign,
                        ..LineOptions::default()
                    })
                });
                job(position, (parsed, own), raw)
            }
            Err(reason) => self.invalid(url, position, reason),
        }
    }

    /// Returns the sitemap to read on in.
    fn current(&mut self) -> Option<&mut OpenSitemap> {
        let may_request = self.pending.len() < AHEAD;
        let top = self.top.as_mut().filter(|_| may_request);
        self.child.as_mut().or(top)
    }

    /// Opens the next sitemap that was requested, once it is there.
    fn open_next(&mut self, origin: &EntryOrigin<'_>) -> ListStep<ListEntry> {
        let Some(RequestedSitemap { pending, is_child }) = self.pending.pop_front() else {
            return ListStep::End;
        };
        // Without an answer the run has ended: the reader notices that before the next step.
        let Some((settled, body)) = pending.wait() else {
            self.pending.clear();
            self.top = None;
            return ListStep::Nothing;
        };
        let Some(body) = body else {
            return ListStep::Found(failed(settled, origin));
        };
        let opened = OpenSitemap::new(InputStream::new(body), Some(settled), &self.rules);
        match is_child {
            true => self.child = Some(opened),
            false => self.top = Some(opened),
        }
        ListStep::Nothing
    }

    /// Closes the sitemap that was read.
    fn close(&mut self) -> Option<OpenSitemap> {
        self.child.take().or_else(|| self.top.take())
    }
}

impl InputList for SitemapList {
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>> {
        if let Some((url, argument)) = self.argument.take() {
            return Ok(ListStep::Found(self.request(
                &url,
                origin.line(argument),
                false,
            )));
        }
        let is_child = self.child.is_some();
        let Some(sitemap) = self.current() else {
            return Ok(self.open_next(origin));
        };
        let error = match sitemap.step(origin) {
            Ok(DocumentStep::Nothing) => return Ok(ListStep::Nothing),
            Ok(DocumentStep::Line(mut entry)) => {
                let line = sitemap.line().to_owned();
                self.source = line;
                if let ListEntry::Job(job) = &mut entry
                    && self.is_foreign(&job.url)
                {
                    job.options.get_or_insert_default().is_foreign = true;
                }
                return Ok(ListStep::Found(entry));
            }
            Ok(DocumentStep::Page(entry, position)) => {
                self.keep_source(&entry);
                return Ok(ListStep::Found(self.entry(&entry, position)));
            }
            Ok(DocumentStep::Sitemap(entry, position)) if !is_child => {
                self.keep_source(&entry);
                return Ok(ListStep::Found(match entry.flaw {
                    None => self.request(&entry.location, position, true),
                    Some(flaw) => self.invalid(&entry.location, position, flaw),
                }));
            }
            Ok(DocumentStep::Sitemap(..)) => {
                unreadable("it is an index inside an index, which is not followed")
            }
            Ok(DocumentStep::End) => {
                self.close();
                return Ok(ListStep::Nothing);
            }
            Err(error) => error,
        };
        match self.close().and_then(|sitemap| sitemap.settled) {
            // A fetched sitemap fails alone; the list goes on.
            Some(settled) => {
                let error = FetchError::Decode {
                    coding: "sitemap".to_owned(),
                    cause: Cause::from_text(error.to_string()).with_hint(ListFlaw::hint_of(&error)),
                };
                Ok(ListStep::Found(failed(settled.into_failed(error), origin)))
            }
            None => Err(error),
        }
    }

    fn skip(&mut self) -> io::Result<ListStep<()>> {
        let input = "".into();
        let origin = EntryOrigin {
            input: &input,
            number: 0,
        };
        match self.next(&origin)? {
            ListStep::Found(ListEntry::Sitemap(_)) => Err(io::ErrorKind::Unsupported.into()),
            ListStep::Found(_) => Ok(ListStep::Found(())),
            ListStep::Nothing => Ok(ListStep::Nothing),
            ListStep::End => Ok(ListStep::End),
        }
    }

    fn source(&self) -> &[u8] {
        &self.source
    }

    fn form(&self) -> PartForm {
        let open = self.child.as_ref().or(self.top.as_ref());
        match open.map(|sitemap| &sitemap.content) {
            Some(SitemapContent::Text(list)) => list.form(),
            _ => PartForm {
                head: SITEMAP_HEAD.into(),
                tail: SITEMAP_TAIL,
                guard: None,
                ..lines_form("xml")
            },
        }
    }

    fn is_ready(&self) -> bool {
        let top = self.top.as_ref().filter(|_| self.pending.len() < AHEAD);
        let current = self.child.as_ref().or(top);
        current.is_some_and(OpenSitemap::is_ready)
    }

    fn position(&self) -> u64 {
        self.top.as_ref().map_or(0, OpenSitemap::position)
    }
}

/// Returns the URL of an entry as a line of a text list, where blanks end it and `#` may begin a
/// comment.
fn line_of(url: &str, (parsed, credentials): &ParsedUrl) -> String {
    if is_line(url) {
        return url.to_owned();
    }
    let mut whole = parsed.clone();
    if let Some(Credentials { user, password }) = credentials.as_deref() {
        let coded = |text: &str| text.replace('%', "%25");
        // Both calls fail only for URLs without a host.
        let _ = whole.set_username(&coded(user));
        let _ = whole.set_password((!password.is_empty()).then(|| coded(password)).as_deref());
    }
    whole.into()
}

/// Returns a line of a text list for the text of an entry that is no URL. Nothing else is skipped
/// there, and no line is more than one.
fn invalid_line(text: &str) -> String {
    match is_line(text) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("<loc>{}</loc>", text.replace(|c| c < ' ', " ")),
    }
}

fn is_line(text: &str) -> bool {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    !text.starts_with('#') && !text.contains(is_blank)
}

/// Emits a sitemap that failed as an entry of the list.
fn failed(mut settled: SettledJob, origin: &EntryOrigin<'_>) -> ListEntry {
    settled.position.number = origin.number;
    ListEntry::Failed(Box::new(settled))
}

fn unreadable(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// One step through a sitemap.
enum DocumentStep {
    Page(SitemapEntry, InputPosition),
    Sitemap(SitemapEntry, InputPosition),
    /// An entry of a sitemap that is a text list.
    Line(ListEntry),
    Nothing,
    End,
}

/// A sitemap being read.
struct OpenSitemap {
    content: SitemapContent,
    rules: ListRules,
    /// For a fetched one: its settled job, and its URL as the name of the input.
    settled: Option<SettledJob>,
    input: Option<Arc<str>>,
    /// Entries so far.
    entries: u64,
}

enum SitemapContent {
    Unread(Option<SitemapStream>),
    Xml(Box<SitemapReader<SitemapStream>>),
    Text(Box<TextList>),
}

impl OpenSitemap {
    fn new(stream: InputStream, settled: Option<SettledJob>, rules: &ListRules) -> Self {
        let left = settled.is_some().then_some(MAX_UNPACKED_BYTES);
        let input = settled.as_ref();
        Self {
            input: input.map(|settled| Arc::from(&*settled.record.url)),
            content: SitemapContent::Unread(Some(SitemapStream { stream, left })),
            rules: rules.clone(),
            settled,
            entries: 0,
        }
    }

    fn step(&mut self, origin: &EntryOrigin<'_>) -> io::Result<DocumentStep> {
        let origin = EntryOrigin {
            input: self.input.as_ref().unwrap_or(origin.input),
            number: origin.number,
        };
        let step = match &mut self.content {
            SitemapContent::Unread(stream) => {
                if let Some(stream) = stream.take() {
                    self.content = SitemapContent::detect(stream, &self.rules)?;
                }
                DocumentStep::Nothing
            }
            SitemapContent::Text(list) => match list.next(&origin)? {
                ListStep::Found(entry) => DocumentStep::Line(entry),
                ListStep::Nothing => DocumentStep::Nothing,
                ListStep::End => DocumentStep::End,
            },
            SitemapContent::Xml(reader) => {
                let step = reader.step()?;
                let position = || origin.line(self.entries + 1);
                match step {
                    SitemapStep::Found(entry) if reader.kind() == Some(SitemapKind::Index) => {
                        DocumentStep::Sitemap(entry, position())
                    }
                    SitemapStep::Found(entry) => DocumentStep::Page(entry, position()),
                    SitemapStep::Nothing => DocumentStep::Nothing,
                    SitemapStep::End => DocumentStep::End,
                }
            }
        };
        if !matches!(step, DocumentStep::Nothing | DocumentStep::End) {
            self.entries += 1;
            if self.settled.is_some() && self.entries > MAX_ENTRIES {
                return Err(unreadable(
                    "it has more than 50,000 entries; the rest is not read",
                ));
            }
        }
        Ok(step)
    }

    /// Returns the last line of a sitemap that is a text list, if it is to be kept.
    fn line(&self) -> &[u8] {
        match &self.content {
            SitemapContent::Text(list) => list.source(),
            SitemapContent::Unread(_) | SitemapContent::Xml(_) => &[],
        }
    }

    fn is_ready(&self) -> bool {
        match &self.content {
            SitemapContent::Unread(_) => false,
            SitemapContent::Text(list) => list.is_ready(),
            SitemapContent::Xml(reader) => {
                reader.has_entry_ready(reader.stream().stream.reader.buffer())
            }
        }
    }

    fn position(&self) -> u64 {
        match &self.content {
            SitemapContent::Unread(_) => 0,
            SitemapContent::Text(list) => list.position(),
            SitemapContent::Xml(reader) => reader.stream().stream.position(0),
        }
    }
}

impl SitemapContent {
    /// The protocol allows a sitemap to be a list of URLs, one per line.
    fn detect(mut stream: SitemapStream, rules: &ListRules) -> io::Result<Self> {
        let head = stream.fill_buf()?;
        let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
        Ok(match first {
            Some(b'<') | None => Self::Xml(Box::new(SitemapReader::new(stream))),
            Some(_) => Self::Text(Box::new(TextList::new(
                stream.stream,
                LineEnd::Line,
                rules.clone(),
            ))),
        })
    }
}

/// A stream that ends in an error after too many bytes.
struct SitemapStream {
    stream: InputStream,
    left: Option<u64>,
}

impl Read for SitemapStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for SitemapStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == Some(0) {
            return Err(unreadable("it exceeds 50 MiB; the rest is not read"));
        }
        self.stream.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count as u64);
        }
        self.stream.reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{InputFormat, whole};

    const XML: &[u8] = b"<urlset><url><loc>http://a.test/1</loc></url><url/>\
        <url><loc>http://a.test/2 3</loc></url><url><loc>http://a.test/4</loc></url></urlset>";

    fn shown(entries: &[ListEntry]) -> Vec<String> {
        let shown = |entry: &ListEntry| match entry {
            ListEntry::Job(job) => format!("{} {}", job.position.line, job.url),
            ListEntry::Invalid(bad) => format!("{} {}", bad.position.line, bad.error),
            ListEntry::Sitemap(job) => format!("{} sitemap {}", job.position.line, job.url),
            ListEntry::Failed(settled) => format!("failed {}", settled.record.url),
        };
        entries.iter().map(shown).collect()
    }

    #[test]
    fn every_entry_of_a_file_is_a_job_or_an_invalid_line() {
        let read = whole::read(InputFormat::Sitemap, XML, ListRules::default()).unwrap();
        let shown = shown(&read);
        assert_eq!(shown.len(), 4, "{shown:?}");
        assert_eq!(shown[0], "1 http://a.test/1");
        assert_eq!(shown[1], "2 invalid input: the entry has no URL");
        assert!(shown[2].starts_with("3 "), "{shown:?}");
        assert_eq!(shown[3], "4 http://a.test/4");
        assert_eq!(whole::count(InputFormat::Sitemap, XML).unwrap(), 4);
    }

    #[test]
    fn a_sitemap_may_be_a_text_list() {
        let read = whole::read(
            InputFormat::Sitemap,
            b"http://a.test/1\n\nhttp://a.test/2",
            ListRules::default(),
        );
        assert_eq!(
            shown(&read.unwrap()),
            ["1 http://a.test/1", "3 http://a.test/2"]
        );
    }

    #[test]
    fn a_file_that_is_no_sitemap_cannot_be_read() {
        for xml in [&b"<html/>"[..], b"", b"<urlset><url>"] {
            whole::read(InputFormat::Sitemap, xml, ListRules::default()).unwrap_err();
        }
    }

    /// Reads a sitemap that the run has fetched. If it is an index, each of its sitemaps has one
    /// page.
    fn fetched(xml: String) -> Vec<ListEntry> {
        let list = SitemapList::fetched("http://a.test/map".into(), 3, ListRules::default());
        entries(list, Some(xml))
    }

    fn entries(mut list: SitemapList, mut xml: Option<String>) -> Vec<ListEntry> {
        let input: Arc<str> = "argument".into();
        let mut found = Vec::new();
        loop {
            let origin = EntryOrigin {
                input: &input,
                number: found.len() as u64,
            };
            match list.next(&origin).unwrap() {
                ListStep::Found(ListEntry::Sitemap(job)) => {
                    let page = format!("<urlset><url><loc>{}/page</loc></url></urlset>", job.url);
                    let body = match xml.take() {
                        Some(xml) => {
                            let place = (job.position.line, job.url.as_str());
                            assert_eq!(place, (3, "http://a.test/map"));
                            xml
                        }
                        None => page,
                    };
                    let reply = job.sitemap().unwrap();
                    reply.set_body(Box::new(io::Cursor::new(body)));
                    let record = crate::model::Record::for_line(&job.position, job.url.to_string());
                    let outcome = crate::model::Outcome::Skipped;
                    reply.send(SettledJob::new(job.position.clone(), record, outcome, None));
                }
                ListStep::Found(entry) => found.push(entry),
                ListStep::Nothing => {}
                ListStep::End => return found,
            }
        }
    }

    fn index(of: usize) -> String {
        let sitemaps = (1..=of).map(|n| format!("<sitemap><loc>http://a.test/{n}</loc></sitemap>"));
        format!(
            "<sitemapindex>{}</sitemapindex>",
            sitemaps.collect::<String>()
        )
    }

    /// Beyond the limit is one failure, that of the index: what is read before it is not lost.
    #[test]
    fn a_fetched_index_is_read_up_to_the_limit_of_the_protocol() {
        let pages = |found: &[ListEntry]| {
            let is_page = |entry: &&ListEntry| matches!(entry, ListEntry::Job(_));
            found.iter().filter(is_page).count()
        };
        let found = fetched(index(60_000));
        assert_eq!((found.len(), pages(&found)), (50_001, 50_000));
        let failed = found
            .iter()
            .find(|entry| matches!(entry, ListEntry::Failed(_)));
        let Some(ListEntry::Failed(failed)) = failed else {
            panic!("the index has not failed");
        };
        assert_eq!(failed.record.url, "http://a.test/map");
        let message = &failed.record.error.as_ref().unwrap().message;
        assert!(
            message.ends_with("it has more than 50,000 entries; the rest is not read"),
            "{message}"
        );
        let last = shown(&found[50_000..]);
        assert_eq!(last, ["1 http://a.test/50000/page"]);
        assert_eq!(fetched(index(50_000)).len(), 50_000);
    }

    #[test]
    fn an_index_in_a_file_has_no_limit() {
        let stream = InputStream::new(Box::new(io::Cursor::new(index(60_000))));
        let list = SitemapList::new(stream, ListRules::default());
        assert_eq!(entries(list, None).len(), 60_000);
    }

    #[test]
    fn a_fetched_sitemap_is_read_up_to_the_limits_of_the_protocol() {
        let url = "<url><loc>http://a.test/</loc></url>";
        let found = fetched(format!("<urlset>{}", url.repeat(50_001)));
        assert_eq!(found.len(), 50_001);
        let last = shown(&found[49_999..]);
        assert_eq!(last, ["50000 http://a.test/", "failed http://a.test/map"]);
        let found = fetched(format!(
            "<urlset>{url}{}",
            "<x>some text</x>".repeat(4 << 20)
        ));
        assert_eq!(
            shown(&found),
            ["1 http://a.test/", "failed http://a.test/map"]
        );
        let ListEntry::Failed(failed) = &found[1] else {
            panic!("{found:?}");
        };
        let message = &failed.record.error.as_ref().unwrap().message;
        assert!(
            message.ends_with("it exceeds 50 MiB; the rest is not read"),
            "{message}"
        );
        assert_eq!(failed.position.number, 1);
    }
}
