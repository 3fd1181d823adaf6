//! Fuzzes lists: checks what must hold for every entry and for the list as a whole.

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use memchr::memmem::find_iter;
use url::{Position, Url};

use super::columns::ColumnRules;
use super::compressed::packed;
use super::detected::open_list;
use super::list::{EntryOrigin, ListRules, ListStep};
use super::stream::InputStream;
use super::whole::ShortReader;
use super::{DefaultScheme, InputFormat};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{InvalidLine, Job, ListEntry, RelPath};

/// Maximum steps per list: a few bytes may decompress to many blank lines.
const STEPS: usize = 30_000;
/// The corpus contains it in places where it must not be shown.
const SECRET: &[u8] = b"s3cr3tZ";
/// In these contexts it is a secret.
const SECRETS: [&[u8]; 4] = [
    b":s3cr3tZ@",
    b"\"headers\":{\"authorization\":\"s3cr3tZ\"",
    b"\"body\":\"s3cr3tZ\"",
    b"\"body_base64\":\"s3cr3tZ\"",
];

struct FoundEntries {
    entries: Vec<ListEntry>,
    /// The error, if any; outer `None` if the list was too long to be read to its end.
    error: Option<Option<String>>,
}

fn read(format: InputFormat, bytes: &[u8], piece: usize, rules: &ListRules) -> FoundEntries {
    let pieces = ShortReader::new(bytes, piece);
    let mut list = open_list(format, InputStream::new(Box::new(pieces)), rules);
    let input: Arc<str> = "-".into();
    let mut entries = Vec::new();
    for _ in 0..STEPS {
        let origin = EntryOrigin {
            input: &input,
            number: entries.len() as u64,
        };
        let error = match list.next(&origin) {
            Ok(ListStep::Found(entry)) => {
                entries.push(entry);
                continue;
            }
            Ok(ListStep::Nothing) => continue,
            Ok(ListStep::End) => None,
            Err(error) => Some(error.to_string()),
        };
        let error = Some(error);
        return FoundEntries { entries, error };
    }
    let error = None;
    FoundEntries { entries, error }
}

/// Counts the entries without parsing them; `None` if that fails.
fn count(format: InputFormat, bytes: &[u8], rules: &ListRules) -> Option<usize> {
    let pieces = io::Cursor::new(bytes.to_vec());
    let mut list = open_list(format, InputStream::new(Box::new(pieces)), rules);
    let mut count = 0;
    loop {
        match list.skip().ok()? {
            ListStep::Found(()) => count += 1,
            ListStep::Nothing => {}
            ListStep::End => return Some(count),
        }
    }
}

/// Formats what must be the same for an entry, however it is read.
fn comparable(entry: &ListEntry) -> String {
    match entry {
        ListEntry::Job(job) => {
            let raw = job.raw.as_ref().map(|raw| raw.escape_ascii().to_string());
            format!("{:?} {raw:?} {}", job.position, request_text(job))
        }
        ListEntry::Invalid(bad) => {
            let raw = bad.raw.escape_ascii();
            format!("{:?} {raw} {} {}", bad.position, bad.shown, bad.error)
        }
        other => panic!("{other:?}"),
    }
}

/// Formats the request of a job, including secrets.
fn request_text(job: &Job) -> String {
    let credentials = job.credentials.as_ref();
    let credentials = credentials.map(|both| (&both.user, &both.password));
    let own_options = job.options.as_deref().cloned().unwrap_or_default();
    let headers: Vec<_> = own_options
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let mirrors = own_options.mirrors.iter().map(|mirror| {
        let credentials = mirror.credentials.as_ref();
        let credentials = credentials.map(|both| (&both.user, &both.password));
        format!("{} {credentials:?}", mirror.url)
    });
    let mirrors: Vec<_> = mirrors.collect();
    format!(
        "{} {credentials:?} {:?} {:?} {headers:?} {mirrors:?} {:?} {:?} {:?} {:?}",
        job.url,
        own_options.file,
        own_options.method,
        own_options.body,
        own_options.size,
        own_options.hashes,
        own_options.types
    )
}

fn same(found: &FoundEntries, other: &FoundEntries, how: &str) -> Result<(), String> {
    let (Some(error), Some(other_error)) = (&found.error, &other.error) else {
        return Ok(());
    };
    hold!(
        error.is_some() == other_error.is_some(),
        "{how}: {error:?} after {}, but {other_error:?} after {}",
        found.entries.len(),
        other.entries.len()
    );
    if error.is_some() {
        // How far a decoder gets before an error depends on the size of its reads.
        return Ok(());
    }
    hold!(
        found.entries.len() == other.entries.len(),
        "{how}: {} entries, but {}",
        found.entries.len(),
        other.entries.len()
    );
    for (one, two) in found.entries.iter().zip(&other.entries) {
        let (one, two) = (comparable(one), comparable(two));
        hold!(one == two, "{how}: {one}\nbut {two}");
    }
    Ok(())
}

fn look_at_url(url: &Url) -> Result<(), String> {
    hold!(matches!(url.scheme(), "http" | "https"), "scheme: {url}");
    hold!(
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none(),
        "userinfo or fragment: {url}"
    );
    hold!(url.host_str().is_some(), "no host: {url}");
    hold!(url.as_str().parse::<http::Uri>().is_ok(), "no Uri: {url}");
    hold!(
        Url::parse(url.as_str()).as_ref() == Ok(url),
        "another URL when parsed again: {url}"
    );
    Ok(())
}

fn look_at_job(job: &Job) -> Result<(), String> {
    look_at_url(&job.url)?;
    hold!(job.mirrors().len() <= 16, "{} mirrors", job.mirrors().len());
    for mirror in job.mirrors() {
        look_at_url(&mirror.url)?;
    }
    if let Some(file) = job.file_override() {
        look_at_file(file)?;
    }
    let debug = format!("{:?} {:?}", job.credentials, job.options);
    let is_named = job
        .file_override()
        .is_some_and(|file| find_iter(file.as_str().as_bytes(), SECRET).next().is_some());
    hold!(
        is_named || find_iter(debug.as_bytes(), SECRET).next().is_none() || has_method(job),
        "shown: {debug}"
    );
    Ok(())
}

/// Whether the secret may be in a method or header, which `Debug` shows.
fn has_method(job: &Job) -> bool {
    let own_options = job.options.as_ref();
    own_options
        .is_some_and(|own_options| own_options.method.is_some() || !own_options.headers.is_empty())
}

/// Checks independently that a path stays below its directory. Only on Windows a backslash is a
/// separator.
fn look_at_file(file: &RelPath) -> Result<(), String> {
    let text = file.as_str();
    let is_normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    hold!(
        Path::new(text).components().all(is_normal) && !text.is_empty(),
        "leads out: {text:?}"
    );
    for part in text.split('/').map(|part| part.trim_matches(' ')) {
        hold!(!matches!(part, "" | "." | ".."), "leads out: {text:?}");
    }
    let is_foreign = text.contains('\\') || text.get(1..2) == Some(":");
    hold!(!(cfg!(windows) && is_foreign), "leads out: {text:?}");
    hold!(!text.chars().any(char::is_control), "control: {text:?}");
    let top = text.split('/').next().unwrap().to_lowercase();
    hold!(
        top != ".fetchall" && top != "fetchall.jsonl",
        "ours: {text:?}"
    );
    Ok(())
}

fn look_at_bad(bad: &InvalidLine) -> Result<(), String> {
    let reason = bad.error.to_string();
    hold!(
        bad.error.kind() == crate::model::ErrorKind::InvalidUrl,
        "{reason}"
    );
    hold!(
        !bad.shown.chars().any(crate::model::is_control),
        "control: {:?}",
        bad.shown
    );
    hold!(bad.shown.chars().count() < 2100, "shown too long");
    hold!(reason.len() < 3000, "reason too long");
    let count = |text: &[u8]| find_iter(text, SECRET).count();
    let as_secret: usize = SECRETS
        .iter()
        .map(|place| find_iter(&bad.raw, place).count())
        .sum();
    // In a path or query it is not a secret; the line is invalid for another reason.
    let is_in_path = |word: &str| {
        Url::parse(word).is_ok_and(|url| {
            url.username().is_empty() && count(url[Position::BeforePath..].as_bytes()) > 0
        })
    };
    // Several words may be shown, and the reason may name a column.
    let mut words = [bad.shown.as_str(), &reason]
        .into_iter()
        .flat_map(str::split_ascii_whitespace);
    let in_path = is_in_path(&bad.shown) || words.any(is_in_path);
    if as_secret == count(&bad.raw) && !in_path {
        hold!(
            count(bad.shown.as_bytes()) == 0 && count(reason.as_bytes()) == 0,
            "a secret shows: {} {reason}",
            bad.shown
        );
    }
    Ok(())
}

/// Checks that the lines for `--failed FILE` give the same entries when read again.
fn feed_back(found: &FoundEntries, rules: &ListRules) -> Result<(), String> {
    let is_job = |entry: &ListEntry| matches!(entry, ListEntry::Job(_));
    // Starts at the first job: an invalid line may look like the start of another format.
    let Some(first) = found.entries.iter().position(is_job) else {
        return Ok(());
    };
    let entries = &found.entries[first..];
    let mut lines = Vec::new();
    for entry in entries {
        match entry {
            ListEntry::Job(job) => {
                let raw = job.raw.as_deref();
                lines.extend_from_slice(raw.map_or(job.url.as_str().as_bytes(), |raw| raw));
            }
            ListEntry::Invalid(bad) => lines.extend_from_slice(&bad.raw),
            other => panic!("{other:?}"),
        }
        lines.push(b'\n');
    }
    let format = if rules.has_fields {
        InputFormat::JsonLines
    } else {
        InputFormat::Text
    };
    let again = read(format, &lines, usize::MAX, rules);
    hold!(
        again.error == Some(None) && again.entries.len() == entries.len(),
        "fed back: {} entries become {}, {:?}: {:?}",
        entries.len(),
        again.entries.len(),
        again.error,
        lines.escape_ascii().to_string()
    );
    for (one, two) in entries.iter().zip(&again.entries) {
        let (one, two) = match (one, two) {
            (ListEntry::Job(one), ListEntry::Job(two)) => (request_text(one), request_text(two)),
            (ListEntry::Job(one), ListEntry::Invalid(bad)) => {
                (request_text(one), bad.error.to_string())
            }
            (ListEntry::Invalid(_), ListEntry::Invalid(_)) => continue,
            (ListEntry::Invalid(bad), ListEntry::Job(two)) => {
                (bad.error.to_string(), request_text(two))
            }
            _ => panic!("a sitemap"),
        };
        hold!(one == two, "fed back: {one}\nbecomes {two}");
    }
    Ok(())
}

fn try_list(input: &FuzzInput<'_>) -> FuzzVerdict {
    let format = match input.name.starts_with("sums") {
        true => InputFormat::Manifest,
        false => InputFormat::of_file(Path::new(input.name)),
    };
    let is_packed = input.name.ends_with("gz") || input.name.ends_with("zst");
    let rules = ListRules {
        keeps_source: false,
        parts_by: None,
        saves_files: input.number & 1 == 1,
        has_fields: format != InputFormat::Auto || input.number & 2 == 2,
        base_url: "http://a/b".parse().ok(),
        scheme: (input.number & 4 == 4).then_some(DefaultScheme::Https),
        columns: Arc::new(ColumnRules {
            url: (input.number & 16 == 16).then(|| "url".to_owned()),
            keep: ["*", "body"].map(str::to_owned)[..(input.number / 8 % 2) as usize].to_vec(),
        }),
    };
    let found = read(format, input.bytes, usize::MAX, &rules);
    let piece = [1, 7, 4096][(input.number % 3) as usize];
    let in_pieces = read(format, input.bytes, piece, &rules);
    // With reads that end there, libzstd may take a frame within another frame's header for a
    // separate one, so errors in corrupt data may differ.
    let failed = |found: &FoundEntries| matches!(found.error, Some(Some(_)));
    let is_damaged = failed(&found) || failed(&in_pieces);
    if !(is_damaged && input.name.ends_with("zst")) {
        same(&found, &in_pieces, "in pieces")?;
    }
    let Some(error) = &found.error else {
        return Ok("long");
    };
    let counted = count(format, input.bytes, &rules);
    hold!(
        counted == error.is_none().then_some(found.entries.len()),
        "counted {counted:?} of {} ({error:?})",
        found.entries.len()
    );
    let mut jobs = 0;
    for (number, entry) in found.entries.iter().enumerate() {
        let place = match entry {
            ListEntry::Job(job) => {
                jobs += 1;
                look_at_job(job)?;
                &job.position
            }
            ListEntry::Invalid(bad) => {
                look_at_bad(bad)?;
                &bad.position
            }
            other => panic!("{other:?}"),
        };
        hold!(place.number == number as u64, "not dense: {place:?}");
    }
    if error.is_none() {
        feed_back(&found, &rules)?;
        if input.number.is_multiple_of(16) && !is_packed {
            let pack = [packed::gzip, packed::zstd][(input.number >> 4 & 1) as usize];
            let unpacked = read(format, &pack(input.bytes), piece, &rules);
            // A list that starts like a compressed one was compressed already.
            if !matches!(input.bytes, [0x1f | 0x28 | 0x50..=0x5f, ..]) {
                same(&found, &unpacked, "packed")?;
            }
        }
    }
    Ok(match (error, jobs, found.entries.len()) {
        (Some(_), 0, _) => "refused as a whole",
        (Some(_), ..) => "refused after some jobs",
        (None, 0, 0) => "empty",
        (None, 0, _) => "only invalid lines",
        (None, jobs, all) if jobs == all => "only jobs",
        (None, ..) => "jobs and invalid lines",
    })
}

const TOKENS: &[&[u8]] = &[
    b"http://",
    b"https://",
    b"HTTP://",
    b"http:/",
    b"//",
    b"ftp://",
    b"http://a/",
    b"http://a:80/",
    b"https://me:s3cr3tZ@a/",
    b"me@",
    b"@",
    b"[::1]",
    b"xn--",
    b"127.1",
    b"%2e%2e/",
    b"%00",
    b"../",
    b"..\\",
    b"/etc/passwd",
    b".fetchall/x",
    b"fetchall.jsonl",
    b"C:",
    b"\n",
    b"\r\n",
    b"\r",
    b"\"",
    b"\"\"",
    b",",
    b"\t",
    b"#",
    b"\xef\xbb\xbf",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\x0b",
    b"\xff\xfe",
    b"\xff\xfeh\0t\0",
    b"\xfe\xff",
    b"h\0t\0",
    b",\"open",
    b"\"shut\"x,",
    b"\tcaption",
    b" # note",
    b" http://me:s3cr3tZ@b/",
    b"http://http://me:s3cr3tZ@b/",
    b"\xe2\x80\xae",
    b"{\"url\":\"http://a/\"}\n",
    b"{",
    b"}",
    b"[",
    b"\\u0000",
    b"\\u0040",
    b"\\ud800",
    b"\\\"",
    b",\"headers\":{\"authorization\":\"s3cr3tZ\"}",
    b",\"headers\":{\"a\":[\"b\",\"c\"]}",
    b",\"body\":\"s3cr3tZ\"",
    b",\"body_base64\":\"AAAA\"",
    b",\"file\":\"a/b\"",
    b",\"file\":\"../b\"",
    b",\"size\":5",
    b",\"method\":\"put\"",
    b",\"mirrors\":[\"http://me:s3cr3tZ@b/\",\"http://c/x\"]",
    b",\"mirrors\":\"http://b/\"",
    b"url,mirrors\n",
    b",http://b/ https://me:s3cr3tZ@c/\n",
    b",\"outcome\":\"failed\"",
    b",\"request\":\"00\"",
    b"null",
    b"url,file,size,sha256,method,body\n",
    b"url,type\n",
    b",\"image/*,text/css\"\n",
    b"URL",
    b"image_url",
    b"link;note\n",
    b"sep=;\n",
    b";",
    b",\"link\":\"http://a/\"",
    b",\"note\":[1,\t{\"a\":\"http://me:s3cr3tZ@a/\"}]",
    b"http://a/,x,5,,PUT,text\n",
    b"900150983cd24fb0d6963f7d28e17f72  a/b\n",
    b"\\900150983cd24fb0d6963f7d28e17f72 *a\\n\\\\b\n",
    b"MD5 (a) = 900150983cd24fb0d6963f7d28e17f72\n",
    b"SHA2-256(",
    b")= ",
    b",\"md5\":\"900150983cd24fb0d6963f7d28e17f72\"",
    b",\"checksum\":\"sha256:00\"",
    b" ",
    b"  ",
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"BZh91AY&SY",
    b"\xfd7zXZ\0",
    b"PAR1",
    b"<html>",
    b"<?xml version=\"1.0\"?>",
    b"\x28\xb5\x2f\xfd",
];

/// A list of known lines, each chosen by one byte. Well-formed lines must become jobs, whatever
/// precedes them.
struct WrittenList {
    format: InputFormat,
    end: &'static str,
    text: String,
    line: u64,
    /// Line number of each entry, and its URL if it is a job.
    expected: Vec<(u64, Option<String>)>,
}

impl WrittenList {
    fn of(input: &FuzzInput<'_>) -> Self {
        let of_number = |by: u64, count: u64| (input.number / by % count) as usize;
        let format = [InputFormat::Csv, InputFormat::Tsv, InputFormat::Text][of_number(1, 3)];
        let end = ["\n", "\r\n", "\r"][of_number(3, 3)];
        let mut written = Self {
            format,
            end,
            text: String::new(),
            line: 1,
            expected: Vec::new(),
        };
        match format {
            InputFormat::Csv => written.put("note,url"),
            InputFormat::Tsv => written.put("note\turl"),
            _ => {}
        }
        for (number, choice) in input.bytes.iter().take(300).enumerate() {
            written.add(&format!("http://h/{number}"), *choice);
        }
        written
    }

    fn put(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str(self.end);
        self.line += line.matches(self.end).count() as u64 + 1;
    }

    fn add(&mut self, url: &str, choice: u8) {
        let end = self.end;
        let (line, is_job) = match (self.format, choice % 8) {
            (_, 0) => return self.put(""),
            (InputFormat::Csv, 1) => (format!("\"open,{url}"), false),
            (InputFormat::Csv, 2) => (format!("\"shut\"text,{url}"), false),
            (InputFormat::Csv, 3) => (format!("\"twice \"\",{url}"), false),
            (InputFormat::Csv, 4) => (format!("\"two{end}{end}lines\",{url}"), true),
            (InputFormat::Csv, 5) => (format!("\"say \"\"hi\"\"\",\"{url}\""), true),
            (InputFormat::Csv, 6) => (format!("a\"b\tc,{url}"), true),
            (InputFormat::Csv, _) => (format!("plain,{url}"), true),
            (InputFormat::Tsv, 1) => (format!("\"open\t{url}"), true),
            (InputFormat::Tsv, 2) => (format!("\"shut\"text\t\"{url}\""), true),
            (InputFormat::Tsv, 3) => (format!("\"\t{url}"), true),
            (InputFormat::Tsv, 4) => (format!("\"a,b\"\t{url}\t"), true),
            (InputFormat::Tsv, 5) => (format!("x\t{url}\ty"), false),
            (InputFormat::Tsv, _) => (format!("plain\t{url}"), true),
            (_, 1) => (format!("{url}\ttitle"), false),
            (_, 2) => (format!("{url} {url}"), false),
            (_, 3) => (format!(" {url}\t# note"), true),
            (_, 4) => return self.put("# comment"),
            (_, _) => (url.to_owned(), true),
        };
        self.expected
            .push((self.line, is_job.then(|| url.to_owned())));
        self.put(&line);
    }

    /// The text in one of the supported encodings.
    fn coded(&self, number: u64) -> Vec<u8> {
        let marked = format!("\u{feff}{}", self.text);
        match number / 9 % 4 {
            0 => self.text.clone().into(),
            1 => marked.into(),
            2 => marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            _ => marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

fn try_written(input: &FuzzInput<'_>) -> FuzzVerdict {
    let written = WrittenList::of(input);
    let bytes = written.coded(input.number);
    for piece in [1, 7, 4096, usize::MAX] {
        let found = read(written.format, &bytes, piece, &ListRules::default());
        hold!(found.error == Some(None), "{:?}", found.error);
        let found = found.entries.iter().map(|entry| match entry {
            ListEntry::Job(job) => (job.position.line, Some(job.url.to_string())),
            ListEntry::Invalid(bad) => (bad.position.line, None),
            other => panic!("{other:?}"),
        });
        let found: Vec<_> = found.collect();
        hold!(
            found == written.expected,
            "pieces of {piece}: {:?}\n{:?}\nof {:?}",
            written.expected,
            found,
            written.text
        );
    }
    let counted = count(written.format, &bytes, &ListRules::default());
    hold!(
        counted == Some(written.expected.len()),
        "counted {counted:?}"
    );
    Ok(match written.format {
        InputFormat::Csv => "csv",
        InputFormat::Tsv => "tsv",
        _ => "text",
    })
}

#[test]
fn lists_whose_lines_are_known() {
    let fuzz = FuzzCampaign {
        corpus: "lists",
        tokens: TOKENS,
        inputs: 600,
        one_of: 4,
    };
    fuzz.run(try_written);
}

#[test]
fn lists() {
    let fuzz = FuzzCampaign {
        corpus: "lists",
        tokens: TOKENS,
        inputs: 3000,
        one_of: 1,
    };
    fuzz.run(try_list);
}
