//! CSV (RFC 4180) and TSV: a header row names the columns, every further row is an entry.
//! Rows that are all empty are no input; there are no comments.
//!
//! The rows are read by the core of the `csv` crate: the crate itself neither bounds a row
//! (after a quote that is never closed, the whole list is one) nor tells whether the next
//! one is there already.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr2_iter;
use serde_json::{Map, Value};

use super::compressed::Stream;
use super::entry::{Draft, Said, invalid, job};
use super::list::{List, Origin, Rules, Step};
use super::url::{shown, shown_url};
use crate::model::Entry;

/// Longest row, in bytes. A row may hold a body, and is held in memory with it.
const MAX_ROW: usize = 16 << 20;
/// Most cells of a row.
const MAX_CELLS: usize = 4096;
/// Room for a row that is kept when the next one is shorter, in bytes.
const KEPT: usize = 1 << 20;
/// As much of a longer row as is shown, in bytes.
const BEGINNING: usize = 256;
/// The byte order mark that spreadsheets put in front.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Columns that are named when the right one is missing.
const MAX_NAMED: usize = 10;

/// The columns that say something; others are passed over.
const COLUMNS: [&str; 6] = ["url", "file", "sha256", "size", "method", "body"];
/// What only JSON lines say. Columns of these names must not get a meaning when a row is
/// kept as a JSON line.
const JSON_ONLY: [&str; 4] = ["headers", "body_base64", "outcome", "request"];

/// A list of rows.
pub struct Table {
    stream: Stream,
    core: Reader,
    row: Row,
    /// What began as a byte order mark and is none: it comes before the rest. `None` as long
    /// as nothing was read.
    beginning: Option<&'static [u8]>,
    /// The line that comes next, from 1.
    line: u64,
    header: Option<Header>,
    rules: Rules,
}

/// One row, without its quotes; the buffers are used again and again.
#[derive(Default)]
struct Row {
    text: Vec<u8>,
    length: usize,
    ends: Vec<usize>,
    cells: usize,
    /// The line it begins on.
    line: u64,
    too_long: bool,
}

impl Row {
    fn clear(&mut self, line: u64) {
        if self.text.len() > KEPT {
            self.text.truncate(KEPT);
            self.text.shrink_to_fit();
        }
        self.length = 0;
        self.cells = 0;
        self.line = line;
        self.too_long = false;
    }

    /// Of a row that is too long, only its beginning is kept. This is looked at after every
    /// piece: there is often room for more than a row may have.
    fn limit(&mut self) {
        if self.length > MAX_ROW || self.cells > MAX_CELLS {
            self.too_long = true;
        }
        if self.too_long {
            self.length = self.length.min(BEGINNING);
            self.cells = self.cells.min(1);
        }
    }

    fn make_room(&mut self) {
        if self.text.len() == self.length {
            self.text.resize((2 * self.length).max(1024), 0);
        }
        if self.ends.len() == self.cells {
            self.ends.resize((2 * self.cells).max(16), 0);
        }
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.iter().take(self.cells);
        ends.scan(0, |start, end| {
            let cell = self.text.get(*start..*end).unwrap_or_default();
            *start = *end;
            Some(cell)
        })
    }

    fn is_empty(&self) -> bool {
        !self.too_long && self.cells().all(|cell| cell.trim_ascii().is_empty())
    }
}

impl Table {
    pub fn new(stream: Stream, delimiter: u8, rules: Rules) -> Self {
        let mut core = ReaderBuilder::new().delimiter(delimiter).build();
        // It takes a byte order mark away only when that comes in one piece, and takes the
        // list for ended when the piece holds nothing else. A first line end, which means
        // nothing to it, keeps it from that.
        core.read_record(b"\n", &mut [0], &mut [0]);
        Self {
            stream,
            core,
            row: Row::default(),
            beginning: None,
            line: 1,
            header: None,
            rules,
        }
    }

    /// Takes a byte order mark, however it comes.
    fn skip_mark(&mut self) -> io::Result<()> {
        let mut seen = 0;
        while seen < MARK.len() && self.stream.reader.fill_buf()?.first() == MARK.get(seen) {
            self.stream.reader.consume(1);
            seen += 1;
        }
        let is_none = seen < MARK.len();
        let beginning = MARK.get(..seen).filter(|_| is_none);
        self.beginning = Some(beginning.unwrap_or_default());
        Ok(())
    }

    /// Takes what stands between rows. The parser would do that, too, but the row begins
    /// after it.
    fn skip_line_ends(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.stream.reader.fill_buf()?;
            let ends = buffer.iter().take_while(|byte| is_line_end(**byte));
            let (count, lines) = ends.fold((0, 0), |(count, lines), byte| {
                (count + 1, lines + u64::from(*byte == b'\n'))
            });
            let all = count == buffer.len() && count > 0;
            self.line += lines;
            self.stream.reader.consume(count);
            if !all {
                return Ok(());
            }
        }
    }

    /// Reads the next row into `self.row`; false at the end.
    fn read_row(&mut self) -> io::Result<bool> {
        if self.beginning.is_none() {
            self.skip_mark()?;
        }
        let beginning = self.beginning.replace(&[]).unwrap_or_default();
        if beginning.is_empty() {
            self.skip_line_ends()?;
        }
        let row = &mut self.row;
        row.clear(self.line);
        row.make_room();
        if !beginning.is_empty() {
            // There is room for two bytes, and no row ends in them.
            let (_, _, written, _) = self
                .core
                .read_record(beginning, &mut row.text, &mut row.ends);
            row.length += written;
        }
        loop {
            row.make_room();
            let input = self.stream.reader.fill_buf()?;
            let text = row.text.get_mut(row.length..).unwrap_or_default();
            let ends = row.ends.get_mut(row.cells..).unwrap_or_default();
            let (result, read, written, ended) = self.core.read_record(input, text, ends);
            let taken = input.get(..read).unwrap_or(input);
            self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
            self.stream.reader.consume(read);
            row.length += written;
            row.cells += ended;
            row.limit();
            match result {
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    fn step<T>(&mut self, take: impl FnOnce(&Row, &Header, Rules) -> T) -> io::Result<Step<T>> {
        if !self.read_row()? {
            return Ok(Step::End);
        }
        if self.row.is_empty() {
            return Ok(Step::Nothing);
        }
        match &self.header {
            Some(header) => Ok(Step::Found(take(&self.row, header, self.rules))),
            None => {
                self.header = Some(Header::of(&self.row)?);
                Ok(Step::Nothing)
            }
        }
    }
}

impl List for Table {
    fn next(&mut self, origin: &Origin<'_>) -> io::Result<Step<Entry>> {
        self.step(|row, header, rules| entry(row, header, origin, rules))
    }

    fn skip(&mut self) -> io::Result<Step<()>> {
        self.step(|_, _, _| ())
    }

    fn is_ready(&self) -> bool {
        has_row(self.stream.reader.buffer())
    }

    fn position(&self) -> u64 {
        self.stream.position()
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Whether a whole row stands there: a line end outside of quotes, after something else. A
/// quote that has no business where it is may be misjudged; then the rows read so far are
/// handed on a moment too early, or too late.
fn has_row(buffer: &[u8]) -> bool {
    let start = buffer.iter().position(|byte| !is_line_end(*byte));
    let row = start
        .and_then(|start| buffer.get(start..))
        .unwrap_or_default();
    let mut quoted = false;
    for at in memchr2_iter(b'"', b'\n', row) {
        match row.get(at) {
            Some(b'"') => quoted = !quoted,
            _ if !quoted => return true,
            _ => {}
        }
    }
    false
}

/// The names of the columns.
struct Header {
    /// Those that say something in the one way they are written, others as they stand.
    names: Vec<String>,
    url: usize,
}

impl Header {
    fn of(row: &Row) -> io::Result<Self> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        if row.too_long {
            return Err(wrong("its header row has no end".to_owned()));
        }
        let names: Vec<_> = row.cells().map(column).collect();
        for known in COLUMNS {
            if names.iter().filter(|name| *name == known).count() > 1 {
                return Err(wrong(format!("several of its columns are called {known}")));
            }
        }
        match names.iter().position(|name| name == "url") {
            Some(url) => Ok(Self { names, url }),
            None => Err(wrong(format!(
                "its first row must name the columns, one of them url; it says: {}",
                names_shown(&names)
            ))),
        }
    }

    /// Whether a row can be told apart by these columns: spreadsheets add empty cells.
    fn fits(&self, row: &Row) -> bool {
        let mut further = row.cells().skip(self.names.len());
        row.cells >= self.names.len() && further.all(|cell| cell.trim_ascii().is_empty())
    }

    /// Whether all that says something is UTF-8.
    fn is_text(&self, row: &Row) -> bool {
        let mut cells = self.names.iter().zip(row.cells());
        cells.all(|(name, cell)| {
            !COLUMNS.contains(&name.as_str()) || std::str::from_utf8(cell).is_ok()
        })
    }
}

fn column(cell: &[u8]) -> String {
    let name = String::from_utf8_lossy(cell.trim_ascii());
    let known = COLUMNS
        .iter()
        .chain(&JSON_ONLY)
        .find(|known| known.eq_ignore_ascii_case(&name));
    known.map_or_else(|| name.into_owned(), |known| (*known).to_owned())
}

/// The first columns. Without a header row they are the first URL, with all it may hold.
fn names_shown(names: &[String]) -> String {
    let some = names.iter().take(MAX_NAMED);
    let mut text = some
        .map(|name| shown_url(name))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_NAMED {
        text.push_str(", …");
    }
    text
}

fn entry(row: &Row, header: &Header, origin: &Origin<'_>, rules: Rules) -> Entry {
    let place = origin.line(row.line);
    if row.too_long {
        let reason = format!(
            "longer than {} MiB or {MAX_CELLS} cells, or a quote is not closed",
            MAX_ROW >> 20
        );
        let first = row.ends.first().copied().filter(|_| row.cells > 0);
        let end = first.unwrap_or(BEGINNING).min(BEGINNING);
        let beginning = row.text.get(..end).filter(|_| header.url == 0);
        let beginning = shown(beginning.unwrap_or_default());
        let raw = serde_json::json!({ "cells": [&beginning] }).to_string();
        return invalid(place, beginning, raw.into_bytes().into(), reason);
    }
    match said(row, header, rules) {
        Ok(said) => job(place, said, Some(as_json(row, header))),
        Err(reason) => invalid(place, shown_row(row, header), as_json(row, header), reason),
    }
}

fn said(row: &Row, header: &Header, rules: Rules) -> Result<Said, String> {
    if !header.fits(row) {
        return Err(format!(
            "the row has {} cells and the header {} (a cell with the separator in it needs quotes)",
            row.cells,
            header.names.len()
        ));
    }
    let mut draft = Draft::default();
    for (name, cell) in header.names.iter().zip(row.cells()) {
        if !COLUMNS.contains(&name.as_str()) {
            continue;
        }
        let whole = std::str::from_utf8(cell).map_err(|_| format!("its {name} is not UTF-8"))?;
        let text = whole.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match name.as_str() {
            "url" => draft.url(text)?,
            "file" => draft.file(text)?,
            "sha256" => draft.sha256(text)?,
            "size" => draft.size(number(text))?,
            "method" => draft.method(text)?,
            _ => draft.body(whole.to_owned()),
        }
    }
    draft.finish(rules)
}

/// Digits only: Rust takes a plus sign, too.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

fn shown_row(row: &Row, header: &Header) -> String {
    let url = row.cells().nth(header.url).unwrap_or_default();
    match std::str::from_utf8(url) {
        Ok(url) => shown_url(url),
        Err(_) => shown(url),
    }
}

/// A row as a JSON line, which can be read again without its header. A row that does not
/// fit the header can't be either, so it is kept as its cells; so is one that is no UTF-8
/// where it counts, or it would come back as a URL that nobody wrote.
fn as_json(row: &Row, header: &Header) -> Box<[u8]> {
    let text = |cell| Value::from(String::from_utf8_lossy(cell));
    if !(header.fits(row) && header.is_text(row)) {
        let cells: Value = row.cells().map(text).collect();
        return serde_json::json!({ "cells": cells })
            .to_string()
            .into_bytes()
            .into();
    }
    let fields = header.names.iter().zip(row.cells());
    let object: Map<_, _> = fields
        .filter(|(name, cell)| {
            // A blank cell says nothing, but a blank field would.
            !cell.trim_ascii().is_empty() && !JSON_ONLY.contains(&name.as_str())
        })
        .map(|(name, cell)| {
            let number = std::str::from_utf8(cell)
                .ok()
                .and_then(|text| number(text.trim_ascii()));
            let value = match number {
                Some(number) if name == "size" => number.into(),
                _ if name == "body" || !COLUMNS.contains(&name.as_str()) => text(cell),
                _ => text(cell.trim_ascii()),
            };
            (name.clone(), value)
        })
        .collect();
    Value::Object(object).to_string().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputFormat;
    use crate::input::list::whole;
    use proptest::prelude::*;

    fn read(list: &str) -> Vec<Entry> {
        whole::read(InputFormat::Csv, list.as_bytes(), Rules::default()).unwrap()
    }

    fn urls(list: &str) -> Vec<(u64, String)> {
        let entries = read(list).into_iter();
        let urls = entries.map(|entry| match entry {
            Entry::Job(job) => (job.place.line, job.url.to_string()),
            Entry::Invalid(bad) => (bad.place.line, bad.shown),
        });
        urls.collect()
    }

    fn bad(list: &str) -> (String, String, String) {
        whole::bad(InputFormat::Csv, list.as_bytes(), Rules::default())
    }

    fn header_error(list: &str) -> String {
        let read = whole::read(InputFormat::Csv, list.as_bytes(), Rules::default());
        read.unwrap_err().to_string()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let list = format!(
            "\u{feff}id, File ,SHA256,Size,URL,method,body\n7, a/x ,{hash},3,http://a/,put,\" a\nb,\"\"c\"\n"
        );
        let job = whole::job(InputFormat::Csv, &list);
        let wish = job.wish.unwrap();
        assert_eq!(job.url.as_str(), "http://a/");
        assert_eq!(wish.file.unwrap().as_str(), "a/x");
        assert_eq!(wish.sha256.unwrap().to_string(), hash);
        assert_eq!((wish.size, wish.method.unwrap().as_str()), (Some(3), "PUT"));
        assert_eq!(wish.body.unwrap(), " a\nb,\"c");
        let job = whole::job(InputFormat::Tsv, "url\tfile\nhttp://a/?x=1,2\tx\n");
        assert_eq!(job.url.as_str(), "http://a/?x=1,2");
        assert_eq!(job.wish.unwrap().file.unwrap().as_str(), "x");
    }

    #[test]
    fn rows_have_the_number_of_the_line_they_begin_on() {
        let list = "url,file\n\nhttp://a/,\"x\n\ny\"\n,\nhttp://b/,\n\n\nhttp://c/,";
        for list in [list.to_owned(), list.replace('\n', "\r\n")] {
            let lines: Vec<_> = urls(&list).into_iter().map(|(line, _)| line).collect();
            assert_eq!(lines, [3, 7, 10], "{list:?}");
        }
    }

    #[test]
    fn empty_rows_are_no_input_and_empty_cells_are_absent() {
        let found = read("url,file,size\n\n,,\n  \nhttp://a/,,\n");
        assert!(matches!(&found[..], [Entry::Job(job)] if job.wish.is_none()));
        assert!(read("").is_empty() && read("url").is_empty() && read("\n\n").is_empty());
    }

    #[test]
    fn without_a_column_url_nothing_is_read() {
        let error = header_error("link,File\nhttp://a/,x\n");
        assert!(
            error.contains("one of them url; it says: link, file"),
            "{error}"
        );
        let error = header_error("http://me:s3cret@a/\nhttp://b/\n");
        assert!(
            error.contains("it says: http://a/") && !error.contains("s3cret"),
            "{error}"
        );
        assert!(header_error("url,URL\n").contains("several of its columns are called url"));
        let error = header_error(&"x,".repeat(1000));
        assert!(error.ends_with(", …") && error.len() < 200, "{error}");
    }

    #[test]
    fn a_row_of_another_length_fails_alone() {
        let list = "url,file\nhttp://a/?1,2,x\nhttp://b/\nhttp://c/,c,,\n";
        let found = read(list);
        assert!(
            matches!(&found[0], Entry::Invalid(bad) if bad.error.to_string().contains("3 cells and the header 2"))
        );
        assert!(
            matches!(&found[1], Entry::Invalid(bad) if bad.error.to_string().contains("1 cells and the header 2"))
        );
        assert!(
            matches!(&found[2], Entry::Job(_)),
            "spreadsheets add empty cells"
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (row, part) in [
            ("example.com,,", "did you mean https://example.com"),
            (",x,", "it has no url"),
            ("http://a/,/x,", "its file can't be used"),
            ("http://a/,,+5", "its size is no whole number"),
            ("http://a/,,many", "its size is no whole number"),
        ] {
            let (_, reason, _) = bad(&format!("url,file,size\n{row}\n"));
            assert!(reason.contains(part), "{row}: {reason}");
        }
        let latin = b"url,file\nhttp://a/,\xfc\n";
        let (shown, reason, _) = whole::bad(InputFormat::Csv, latin, Rules::default());
        assert!(reason.contains("its file is not UTF-8"), "{reason}");
        assert_eq!(shown, "http://a/");
    }

    #[test]
    fn a_row_is_kept_as_a_json_line_that_says_the_same() {
        let list =
            "URL,File,size,body,id,outcome,headers\nhttp://me:pw@a/, x ,007,\" b\n\",7,fetched,x\n";
        let job = whole::job(InputFormat::Csv, list);
        let raw = String::from_utf8(job.raw.unwrap().into()).unwrap();
        let again = whole::job(InputFormat::JsonLines, &raw);
        assert_eq!((again.url, again.credentials), (job.url, job.credentials));
        assert_eq!(again.wish, job.wish);
        assert!(raw.contains(r#""id":"7""#), "{raw}");

        // One that failed for what it is fails again.
        for row in ["http://a/,x,y", "http://a/,many", ",5"] {
            let (_, _, raw) = bad(&format!("url,size\n{row}\n"));
            let (_, reason, _) =
                whole::bad(InputFormat::JsonLines, raw.as_bytes(), Rules::default());
            assert!(reason.starts_with("not a URL to fetch"), "{raw}");
            assert!(row.split(',').all(|cell| raw.contains(cell)), "{raw}");
        }
    }

    #[test]
    fn an_endless_row_is_one_failed_row() {
        let start = "url,file\nhttp://a/,\"";
        let mut list = start.as_bytes().to_vec();
        list.resize(2 * MAX_ROW, b'\n');
        list.extend_from_slice(b"\"\nhttp://b/,\n");
        let found = whole::read(InputFormat::Csv, &list, Rules::default()).unwrap();
        assert!(matches!(&found[0], Entry::Invalid(bad) if bad.shown == "http://a/"));
        assert!(matches!(&found[1], Entry::Job(job) if job.url.as_str() == "http://b/"));
        let wide = format!("url\nhttp://a/{}\nhttp://b/\n", ",x".repeat(3 * MAX_CELLS));
        let found = urls(&wide);
        assert_eq!(
            found,
            [(2, "http://a/".to_owned()), (3, "http://b/".to_owned())]
        );
    }

    #[test]
    fn a_row_is_ready_once_its_line_end_is_there() {
        for (buffer, ready) in [
            ("", false),
            ("\r\n\n", false),
            ("a,b", false),
            ("\na,b\n", true),
            ("a,\"b\n", false),
            ("a,\"b\n\"\"c\"\n", true),
        ] {
            assert_eq!(has_row(buffer.as_bytes()), ready, "{buffer:?}");
        }
    }

    /// As the rows are written: quoted where it must be.
    fn written(cell: &str) -> String {
        if cell.contains(['"', ',', '\n', '\r']) || cell.is_empty() {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    }

    /// A reader that takes a shell's `printf` and `cat` gets it alone.
    #[test]
    fn a_byte_order_mark_may_come_alone_or_in_parts() {
        let list = "\u{feff}url,size\nhttp://a/,5\n";
        let marks = list.as_bytes();
        for split in 1..6 {
            let (first, rest) = marks.split_at(split);
            let raw = io::Read::chain(first, rest);
            let mut table = Table::new(Stream::new(Box::new(raw)), b',', Rules::default());
            assert!(
                matches!(table.skip(), Ok(Step::Nothing)),
                "split at {split}"
            );
            assert!(
                matches!(table.skip(), Ok(Step::Found(()))),
                "split at {split}"
            );
        }
        // What only begins like one belongs to the first name.
        let error = whole::read(InputFormat::Csv, b"\xef\xbburl\n", Rules::default());
        assert!(error.unwrap_err().to_string().ends_with("\u{fffd}url"));
        let only = whole::read(InputFormat::Csv, b"\xef\xbb\xbf", Rules::default());
        assert!(only.unwrap().is_empty());
    }

    #[test]
    fn a_row_is_too_long_however_it_is_read() {
        let cells = ",x".repeat(MAX_CELLS);
        let list = format!("url\n\"http://a/\"{cells}\nhttp://b/\n");
        let found = read(&list);
        assert!(matches!(&found[..], [Entry::Invalid(bad), Entry::Job(_)]
            if bad.error.to_string().contains("4096 cells") && bad.shown == "http://a/"));
    }

    #[test]
    fn what_is_kept_of_a_row_asks_for_the_same_again() {
        let list = "url,file,body,method\nhttp://a/\u{a0},x\u{a0}, ,\u{20}\n";
        let [Entry::Job(job)] = &read(list)[..] else {
            panic!("no job");
        };
        let kept = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
        let again = whole::job(InputFormat::JsonLines, kept);
        assert_eq!((&again.url, &again.wish), (&job.url, &job.wish));
        assert_eq!(job.url.as_str(), "http://a/%C2%A0");

        let (_, reason, kept) = whole::bad(
            InputFormat::Csv,
            b"url,note\nhttp://a/\xff,x\n",
            Rules::default(),
        );
        assert!(reason.contains("not UTF-8"), "{reason}");
        whole::bad(InputFormat::JsonLines, kept.as_bytes(), Rules::default());
    }

    proptest! {
        #[test]
        fn every_row_makes_one_entry_and_its_cells_come_out_whole(
            rows in prop::collection::vec(("[ -~\n\r]{0,20}", "[ -~\n\r]{0,20}"), 0..30),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let mut list = format!("body,url,file{end}");
            for (body, file) in &rows {
                list.push_str(&format!("{},http://a/,{}{end}", written(body), written(file)));
            }
            let found = whole::read(InputFormat::Csv, list.as_bytes(), Rules::default()).unwrap();
            prop_assert_eq!(found.len(), rows.len());
            prop_assert_eq!(whole::count(InputFormat::Csv, list.as_bytes()).unwrap(), rows.len());
            for (entry, (body, _)) in found.iter().zip(&rows) {
                if let Entry::Job(job) = entry {
                    let found = job.wish.as_ref().and_then(|wish| wish.body.clone());
                    let expected = Some(body).filter(|body| !body.trim().is_empty());
                    prop_assert_eq!(found.as_deref(), expected.map(|body| body.as_bytes()));
                }
            }
        }

        #[test]
        fn any_bytes_do_not_panic_and_are_counted_as_they_are_read(bytes in prop::collection::vec(prop::sample::select(b"ab\",\n\r\t\xff ".to_vec()), 0..300), tsv in any::<bool>()) {
            let format = if tsv { InputFormat::Tsv } else { InputFormat::Csv };
            let mut list = b"url\tx,url\n".to_vec();
            list.extend(bytes);
            let found = whole::read(format, &list, Rules::default()).unwrap();
            prop_assert_eq!(whole::count(format, &list).unwrap(), found.len());
        }
    }
}
