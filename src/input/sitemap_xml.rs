//! Reads the entries of a sitemap or feed, as a stream: sitemaps and their indexes (sitemaps.org
//! protocol 0.9), RSS 2.0 and 1.0, and Atom (RFC 4287). Entities are only those of XML itself:
//! nothing is loaded, and nothing a document defines is expanded.

#[cfg(test)]
mod fuzz;

use std::io::{self, BufRead, Read};

use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Error, Reader, XmlVersion};

use super::url::shown_cut;
use crate::model::prefix_within;

/// Maximum bytes of one tag, text, comment or document type, which is in memory as a whole.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// Maximum nesting. Sitemaps with extensions have 5.
const MAX_DEPTH: usize = 64;
/// Maximum bytes of a location, as of a line in a text list.
const MAX_LOCATION_BYTES: usize = 64 * 1024;
/// Maximum bytes of a date; a W3C one has 35 at most.
const MAX_DATE_BYTES: usize = 64;
/// Maximum bytes of the parser's error in a message.
const MAX_ERROR_BYTES: usize = 120;
/// Maximum bytes of a name in a message.
const MAX_NAME_BYTES: usize = 40;

/// Said of text behind a sitemap, such as a list that was appended to it.
const BEHIND_ROOT: &str = "unexpected text after its last element; move it to another file";

/// The type of a document, by its root element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SitemapKind {
    Pages,
    Index,
    Rss,
    Atom,
}

impl SitemapKind {
    fn of(root: &str) -> Option<Self> {
        match root {
            "urlset" => Some(Self::Pages),
            "sitemapindex" => Some(Self::Index),
            "rss" | "RDF" => Some(Self::Rss),
            "feed" => Some(Self::Atom),
            _ => None,
        }
    }

    fn entry(self) -> &'static str {
        match self {
            Self::Pages => "url",
            Self::Index => "sitemap",
            Self::Rss => "item",
            Self::Atom => "entry",
        }
    }

    /// Returns which field an element of an entry is. `prefix` is that of the entry: `image:loc` is
    /// another location.
    fn field(self, start: &BytesStart<'_>, prefix: &str) -> Option<SitemapField> {
        let is_own = prefix_of(start).is_none_or(|own| own == prefix);
        match (self, start.local_name().into_inner()) {
            (Self::Pages | Self::Index, "loc") if is_own => Some(SitemapField::Location),
            (Self::Pages | Self::Index, "lastmod") => Some(SitemapField::Modified),
            // `atom:link` in a feed of RSS is another one, without text.
            (Self::Rss, "link") if start.name().prefix().is_none() => Some(SitemapField::Location),
            (Self::Rss, "guid") if !is_opaque(start) => Some(SitemapField::Permalink),
            (Self::Rss, "pubDate" | "date") => Some(SitemapField::Modified),
            (Self::Atom, "updated") => Some(SitemapField::Modified),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SitemapField {
    Location,
    Permalink,
    Modified,
}

/// An entry of a sitemap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SitemapEntry {
    /// Its URL; empty if it has none.
    pub location: String,
    /// When it was modified, as the document says.
    pub modified: Option<String>,
    /// Why its location cannot be read.
    pub flaw: Option<String>,
}

impl SitemapEntry {
    /// Returns it as an element of a sitemap. One that cannot be read stays so.
    pub(super) fn element(&self) -> String {
        let flaw = match self.flaw {
            Some(_) => "&invalid;",
            None => "",
        };
        let location = escape(&self.location);
        let modified = self.modified.as_deref().map(escape);
        let modified = modified.map(|date| format!("<lastmod>{date}</lastmod>"));
        let modified = modified.unwrap_or_default();
        format!("<url><loc>{location}{flaw}</loc>{modified}</url>")
    }
}

/// One step through a sitemap.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SitemapStep {
    Found(SitemapEntry),
    /// Something else than the end of an entry.
    Nothing,
    End,
}

/// An entry being read.
#[derive(Default)]
struct EntryDraft {
    location: String,
    permalink: String,
    modified: String,
    flaw: Option<String>,
    /// The prefix of its name; empty if it has none.
    prefix: String,
    /// How deep in the document the entry is.
    depth: usize,
    field: Option<SitemapField>,
}

/// Reads a sitemap.
pub(super) struct SitemapReader<R> {
    reader: Reader<EventLimit<R>>,
    buffer: Vec<u8>,
    kind: Option<SitemapKind>,
    depth: usize,
    entry: Option<EntryDraft>,
}

/// Whether a character behind a document is only what some systems pad files with.
fn is_padding(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '\u{feff}'
}

impl<R: BufRead> SitemapReader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            reader: Reader::from_reader(EventLimit {
                inner: stream,
                taken: 0,
            }),
            buffer: Vec::new(),
            kind: None,
            depth: 0,
            entry: None,
        }
    }

    /// Returns the type of the document, once its root element was read.
    pub(super) fn kind(&self) -> Option<SitemapKind> {
        self.kind
    }

    /// Returns the stream.
    pub(super) fn stream(&self) -> &R {
        &self.reader.get_ref().inner
    }

    /// Whether the end of another entry is in the buffer of the stream.
    pub(super) fn has_entry_ready(&self, buffered: &[u8]) -> bool {
        let Some(kind) = self.kind else {
            return false;
        };
        let end = format!("</{}>", kind.entry());
        memchr::memmem::find(buffered, end.as_bytes()).is_some()
    }

    /// Reads on to the next tag or text.
    ///
    /// # Errors
    /// If the stream cannot be read, or is no sitemap or feed.
    pub(super) fn step(&mut self) -> io::Result<SitemapStep> {
        self.buffer.clear();
        self.reader.get_mut().taken = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        let step = match self.reader.read_event_into(&mut buffer) {
            Ok(event) => self.take(&event),
            Err(error) => Err(self.explain(error)),
        };
        self.buffer = buffer;
        step
    }

    fn take(&mut self, event: &Event<'_>) -> io::Result<SitemapStep> {
        match event {
            Event::Start(start) => {
                self.begin(start)?;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(invalid(format!(
                        "elements are nested more than {MAX_DEPTH} deep"
                    )));
                }
            }
            Event::Empty(start) => {
                self.begin(start)?;
                return Ok(self.end(self.depth));
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(self.end(self.depth));
            }
            Event::Text(text) => self.add(&text.xml10_content())?,
            Event::CData(text) => self.add(&text.xml10_content())?,
            Event::GeneralRef(entity) => self.add_entity(entity)?,
            Event::Eof if self.kind.is_none() => return Err(invalid("it is empty".to_owned())),
            Event::Eof if self.depth > 0 => {
                return Err(invalid("it ends before its last element does".to_owned()));
            }
            Event::Eof => return Ok(SitemapStep::End),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
        }
        Ok(SitemapStep::Nothing)
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> io::Result<()> {
        let name = start.local_name().into_inner();
        // Also that of a document behind another one, as `cat` makes them.
        if self.depth == 0 {
            let kind = SitemapKind::of(name);
            self.kind = Some(kind.ok_or_else(|| not_a_sitemap(name))?);
            return Ok(());
        }
        let Some(kind) = self.kind else {
            return Ok(());
        };
        match &mut self.entry {
            None if name == kind.entry() => {
                self.entry = Some(EntryDraft {
                    depth: self.depth,
                    prefix: prefix_of(start).unwrap_or_default().to_owned(),
                    ..EntryDraft::default()
                });
            }
            Some(entry) if self.depth == entry.depth + 1 => {
                let field = kind.field(start, &entry.prefix);
                // Of several, the first one counts.
                entry.field = field.filter(|field| entry.text(*field).is_empty());
                if kind == SitemapKind::Atom && name == "link" {
                    entry.take_link(start);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the element at this depth.
    fn end(&mut self, depth: usize) -> SitemapStep {
        if let Some(entry) = &mut self.entry
            && depth == entry.depth + 1
        {
            entry.field = None;
        }
        match self.entry.take_if(|entry| entry.depth == depth) {
            None => SitemapStep::Nothing,
            Some(entry) => entry.finish(
                self.kind == Some(SitemapKind::Rss) || self.kind == Some(SitemapKind::Atom),
            ),
        }
    }

    /// Fails for text behind the document: it would be lost without a word.
    fn check_within(&self, text: &str) -> io::Result<()> {
        let is_behind = self.depth == 0 && self.kind.is_some();
        match is_behind && !text.chars().all(is_padding) {
            true => Err(invalid(BEHIND_ROOT.to_owned())),
            false => Ok(()),
        }
    }

    fn add(&mut self, text: &str) -> io::Result<()> {
        self.check_within(text)?;
        if let Some(entry) = &mut self.entry {
            entry.add(text);
        }
        Ok(())
    }

    fn add_entity(&mut self, entity: &BytesRef<'_>) -> io::Result<()> {
        self.check_within("&")?;
        let Some(entry) = self.entry.as_mut().filter(|entry| entry.field.is_some()) else {
            return Ok(());
        };
        match (entity.resolve_char_ref(), resolve_predefined_entity(entity)) {
            (Ok(Some(character)), _) => entry.add(character.encode_utf8(&mut [0; 4])),
            (Ok(None), Some(text)) => entry.add(text),
            _ => {
                let entity = prefix_within(entity, MAX_NAME_BYTES);
                entry.flaw = Some(format!("unknown entity &{entity};"));
            }
        }
        Ok(())
    }

    fn explain(&self, error: Error) -> io::Error {
        match error {
            Error::Io(cause) => io::Error::new(cause.kind(), cause),
            Error::Encoding(_) => invalid("it is not valid UTF-8".to_owned()),
            error => {
                let at = self.reader.error_position();
                let error = error.to_string();
                // It may repeat a whole tag.
                let error = shown_cut(prefix_within(&error, MAX_ERROR_BYTES).as_bytes());
                // Escaped, it may be several times as long.
                let error = prefix_within(&error, MAX_ERROR_BYTES);
                invalid(format!("invalid XML at byte {at}: {error}"))
            }
        }
    }
}

impl EntryDraft {
    fn text(&mut self, field: SitemapField) -> &mut String {
        match field {
            SitemapField::Location => &mut self.location,
            SitemapField::Permalink => &mut self.permalink,
            SitemapField::Modified => &mut self.modified,
        }
    }

    fn add(&mut self, text: &str) {
        let Some(field) = self.field else { return };
        let limit = match field {
            SitemapField::Location | SitemapField::Permalink => MAX_LOCATION_BYTES,
            SitemapField::Modified => MAX_DATE_BYTES,
        };
        let field = self.text(field);
        if field.len() + text.len() <= limit {
            field.push_str(text);
        } else if self.field != Some(SitemapField::Modified) {
            self.flaw = Some(format!("URL exceeds {} KiB", MAX_LOCATION_BYTES >> 10));
        }
    }

    /// Takes the first link of an Atom entry to the page itself (RFC 4287 §4.2.7.2).
    fn take_link(&mut self, start: &BytesStart<'_>) {
        let value = |name: &str| {
            let mut attributes = start.attributes();
            let mut found = attributes.with_checks(false).flatten();
            let found = found.find(|attribute| attribute.key.into_inner() == name)?;
            let value = found.normalized_value(XmlVersion::Implicit1_0);
            Some(value.map(std::borrow::Cow::into_owned))
        };
        let is_alternate = match value("rel") {
            None => true,
            Some(rel) => rel.is_ok_and(|rel| rel == "alternate"),
        };
        if !is_alternate || !self.location.is_empty() {
            return;
        }
        match value("href") {
            None => {}
            Some(Ok(href)) if href.len() <= MAX_LOCATION_BYTES => self.location = href,
            Some(Ok(_)) => {
                self.flaw = Some(format!("URL exceeds {} KiB", MAX_LOCATION_BYTES >> 10))
            }
            Some(Err(error)) => self.flaw = Some(format!("invalid href: {error}")),
        }
    }

    /// An item of a feed may be without a link; a sitemap's entry may not.
    fn finish(self, may_lack_location: bool) -> SitemapStep {
        let mut location = self.location.trim_ascii();
        if location.is_empty() {
            location = self.permalink.trim_ascii();
        }
        if location.is_empty() && self.flaw.is_none() && may_lack_location {
            return SitemapStep::Nothing;
        }
        let modified = self.modified.trim_ascii();
        SitemapStep::Found(SitemapEntry {
            location: location.to_owned(),
            modified: (!modified.is_empty()).then(|| modified.to_owned()),
            flaw: self.flaw,
        })
    }
}

/// Whether a `guid` of RSS says that it is no URL.
fn is_opaque(start: &BytesStart<'_>) -> bool {
    let attribute = start.try_get_attribute("isPermaLink");
    attribute.is_ok_and(|found| found.is_some_and(|found| found.as_bool() == Some(false)))
}

fn not_a_sitemap(root: &str) -> io::Error {
    invalid(format!(
        "its root element is <{}>, not that of a sitemap or feed",
        prefix_within(root, MAX_NAME_BYTES)
    ))
}

/// Returns the prefix of the name of an element.
fn prefix_of<'s>(start: &'s BytesStart<'_>) -> Option<&'s str> {
    Some(start.name().prefix()?.into_inner())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Bounds the bytes that the parser takes for one event.
struct EventLimit<R> {
    inner: R,
    taken: usize,
}

impl<R: BufRead> Read for EventLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl<R: BufRead> BufRead for EventLimit<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken > MAX_EVENT_BYTES {
            return Err(invalid(format!(
                "a tag or text exceeds {} MiB",
                MAX_EVENT_BYTES >> 20
            )));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pieces of sitemaps, right and wrong.
    const PIECES: [&str; 26] = [
        "<urlset>",
        "</urlset>",
        "<url>",
        "</url>",
        "<loc>",
        "</loc>",
        "<url/>",
        "<sitemapindex>",
        "<sitemap>",
        "</sitemap>",
        "<rss>",
        "<item>",
        "</item>",
        "<link>",
        "</link>",
        "<feed>",
        "<entry><link href=\"http://a/&amp;&x;\"/></entry>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "&amp;",
        "&x;&#0;&#65;",
        "<lastmod>",
        "</lastmod>",
        "http://a/\u{e9}<\"'>",
    ];

    proptest! {
        #[test]
        fn entries_do_not_depend_on_the_size_of_reads(
            pieces in proptest::collection::vec(0..PIECES.len(), 0..40), capacity in 1..60_usize
        ) {
            let xml: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
            let whole = read_through(&xml, 1 << 16).map_err(|error| error.to_string());
            let parts = read_through(&xml, capacity).map_err(|error| error.to_string());
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn no_entry_is_lost_or_changed(
            urls in proptest::collection::vec(("[!-~\u{e4}\u{6c34}]{1,20}", 0..4_usize), 0..30),
            kind in 0..4_usize,
        ) {
            let xml = written(&urls, kind);
            let found = read_through(&xml, 7).unwrap();
            let found: Vec<_> = found.iter().map(|entry| entry.location.as_str()).collect();
            let expected: Vec<_> = urls.iter().map(|(url, _)| url.as_str()).collect();
            prop_assert_eq!(found, expected, "{}", xml);
        }
    }

    pub(super) fn read_through(
        xml: impl AsRef<[u8]>,
        capacity: usize,
    ) -> io::Result<Vec<SitemapEntry>> {
        let mut reader = SitemapReader::new(io::BufReader::with_capacity(capacity, xml.as_ref()));
        let mut found = Vec::new();
        loop {
            match reader.step()? {
                SitemapStep::Found(entry) => found.push(entry),
                SitemapStep::Nothing => {}
                SitemapStep::End => return Ok(found),
            }
        }
    }

    /// Writes a sitemap, an index or a feed, each URL in one of several ways.
    fn written(urls: &[(String, usize)], kind: usize) -> String {
        let (root, entry) = [
            ("urlset", "url"),
            ("sitemapindex", "sitemap"),
            ("rss", "item"),
            ("feed", "entry"),
        ][kind];
        let mut xml = format!("<?xml version='1.0'?>\n<{root}>");
        for (url, how) in urls {
            let escaped = url
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('"', "&#34;");
            let text = match how {
                0 => format!(" {escaped}\n"),
                1 if !url.contains("]]>") => format!("<![CDATA[{url}]]>"),
                2 => format!("<!-- <loc>x</loc> -->{escaped}"),
                _ => url
                    .chars()
                    .map(|c| format!("&#{};", u32::from(c)))
                    .collect(),
            };
            let link = match kind {
                0 | 1 => format!("<image:loc>x</image:loc><loc>{text}</loc><loc>x</loc>"),
                2 => format!("<title>x</title><link>{text}</link><link>x</link>"),
                _ => format!("<link href=\"{escaped}\"/><link rel='self' href='x'/>"),
            };
            xml += &format!("<{entry}>{link}</{entry}>\n<!-- & -->");
        }
        xml + &format!("</{root}>")
    }

    fn read(xml: impl AsRef<[u8]>) -> io::Result<Vec<SitemapEntry>> {
        read_through(xml, 7)
    }

    fn locations(xml: &str) -> Vec<String> {
        let entries = read(xml).unwrap();
        entries.into_iter().map(|entry| entry.location).collect()
    }

    #[test]
    fn a_sitemap_gives_its_locations_and_dates() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<sm:urlset xmlns:sm="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="i" xmlns:xhtml="x">
  <sm:url><sm:loc> http://a.test/?a=1&amp;b=2 </sm:loc><sm:lastmod>2026-01-02</sm:lastmod></sm:url>
  <sm:url><image:image><image:loc>http://a.test/i.png</image:loc></image:image>
    <xhtml:link rel="alternate" hreflang="de" href="http://a.test/de"/>
    <sm:loc><![CDATA[http://a.test/x&y]]></sm:loc></sm:url>
  <sm:url><sm:loc>http://a.test/&#xe9;&#10;</sm:loc></sm:url>
  <sm:url/>
</sm:urlset>"#;
        let entries = read(xml).unwrap();
        let urls: Vec<_> = entries.iter().map(|entry| &*entry.location).collect();
        assert_eq!(
            urls,
            [
                "http://a.test/?a=1&b=2",
                "http://a.test/x&y",
                "http://a.test/é",
                ""
            ]
        );
        assert_eq!(entries[0].modified.as_deref(), Some("2026-01-02"));
        assert_eq!(entries[1].modified, None);
    }

    #[test]
    fn feeds_give_the_links_of_their_items() {
        let rss = r#"<rss version="2.0" xmlns:atom="a"><channel><link>http://a.test/</link>
            <image><link>http://a.test/logo</link></image>
            <item><title>1</title><atom:link href="http://a.test/no"/><link>http://a.test/1</link></item>
            <item><guid isPermaLink="false">17</guid><title>no link</title></item>
            <item><guid>http://a.test/2</guid><pubDate>Mon, 01 Jun 2026 00:00:00 GMT</pubDate></item>
            </channel></rss>"#;
        assert_eq!(locations(rss), ["http://a.test/1", "http://a.test/2"]);
        let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><link href="http://a.test/"/>
            <entry><link rel="edit" href="/e"/><link href="http://a.test/1?a=1&amp;b"/><content><link href="x"/></content></entry>
            <entry><link rel="alternate" href="http://a.test/2"/><link href="http://a.test/3"/></entry>
            </feed>"#;
        assert_eq!(
            locations(atom),
            ["http://a.test/1?a=1&b", "http://a.test/2"]
        );
    }

    /// Files that the generators have written, or in their form.
    #[test]
    fn sitemaps_are_read_as_generators_write_them() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/fuzz/sitemaps");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mut page = String::new();
        for path in paths {
            page += &format!("{}\n", path.file_name().unwrap().to_str().unwrap());
            for entry in read(std::fs::read(path).unwrap()).unwrap() {
                let date = entry.modified.unwrap_or_default();
                let flaw = entry.flaw.unwrap_or_default();
                page += format!("  {} {date} {flaw}", entry.location).trim_end();
                page += "\n";
            }
        }
        insta::assert_snapshot!("sitemaps_of_generators", page);
    }

    #[test]
    fn entities_that_a_document_defines_are_not_expanded() {
        let bomb = r#"<!DOCTYPE urlset [<!ENTITY a "http://a.test/"><!ENTITY f SYSTEM "file:///etc/passwd">]>
            <urlset><url><loc>&a;</loc></url><url><loc>http://a.test/&f;</loc></url>
            <url><loc>http://a.test/ok</loc></url></urlset>"#;
        let entries = read(bomb).unwrap();
        assert_eq!(entries[0].flaw.as_deref(), Some("unknown entity &a;"));
        assert_eq!(entries[1].flaw.as_deref(), Some("unknown entity &f;"));
        assert_eq!(entries[2].flaw, None);
    }

    #[test]
    fn what_is_no_sitemap_is_an_error() {
        for (xml, message) in [
            (String::new(), "it is empty"),
            (
                "<html></html>".into(),
                "its root element is <html>, not that of a sitemap or feed",
            ),
            (
                "<urlset><url>".into(),
                "it ends before its last element does",
            ),
            ("<urlset></url>".into(), "invalid XML at byte 8"),
            (
                format!("<urlset>{}", "<a>".repeat(70)),
                "elements are nested more than 64 deep",
            ),
            (
                format!("<urlset><!--{}", "x".repeat(2 << 20)),
                "a tag or text exceeds 1 MiB",
            ),
            (
                format!("<urlset>{}", "x".repeat(2 << 20)),
                "a tag or text exceeds 1 MiB",
            ),
        ] {
            let error = read(&xml).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert!(
            read(b"<urlset><url><loc>\xff</loc></url></urlset>")
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
        let long = format!(
            "<urlset><url><loc>{}</loc></url></urlset>",
            "x".repeat(70_000)
        );
        assert_eq!(
            read(long).unwrap()[0].flaw.as_deref(),
            Some("URL exceeds 64 KiB")
        );
    }
}
