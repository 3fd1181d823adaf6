//! Verifies packs with Python's warcio. `FETCHALL_PYTHON` names a Python that has it; without one
//! the tests are skipped, or fail if `FETCHALL_NEEDS_WARCIO` is set.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;

use flate2::Crc;
use http::{HeaderValue, Method, StatusCode, Version, header};
use url::Url;

use super::SampleExchange;
use super::warcio_tool::{python, warcio};
use crate::model::PackPlace;
use crate::store::warc::{KnownEnd, OpenedFile, Pack, PayloadHasher, RecordGroup, SpooledBody};

fn set(sample: &mut SampleExchange, name: header::HeaderName, value: &[u8]) {
    let value = HeaderValue::from_bytes(value).unwrap();
    std::sync::Arc::make_mut(&mut sample.head.headers).insert(name, value);
}

/// Returns small pages of all kinds, with their bodies.
fn pages() -> Vec<(SampleExchange, Vec<u8>)> {
    let page = |path: &str| SampleExchange::get(&format!("http://example.com/{path}"));

    let mut coded = page("coded");
    set(&mut coded, header::CONTENT_ENCODING, b"gzip");
    set(&mut coded, header::TRANSFER_ENCODING, b"chunked");
    set(&mut coded, header::CONTENT_LENGTH, b"17");

    let mut second = SampleExchange::get("https://example.com:8443/h2?a=b%20c");
    second.head.version = Version::HTTP_2;
    second.head.status = StatusCode::from_u16(299).unwrap();

    let mut post = page("form");
    post.method = Method::POST;
    post.body = b"a=b&c=d".to_vec();

    let mut purge = page("purge");
    purge.method = Method::from_bytes(b"PURGE").unwrap();
    purge.head.version = Version::HTTP_10;

    let mut moved = page("moved/here");
    moved.visited = vec![Url::parse("http://example.com/moved").unwrap()];

    let mut latin = page("latin");
    set(&mut latin, header::SERVER, b"caf\xe9\t\xff");

    let mut missing = page("missing");
    missing.head.status = StatusCode::NOT_FOUND;

    let text = b"<p>hello</p>".to_vec();
    vec![
        (page(""), text.clone()),
        (page("empty"), Vec::new()),
        (page("binary"), (0..=255).cycle().take(70_000).collect()),
        (page("blank"), b"\r\n\r\nWARC/1.1\r\n\r\n".to_vec()),
        (coded, text.repeat(100)),
        (second, text.clone()),
        (post, text.clone()),
        (purge, text.clone()),
        (moved, text.clone()),
        (latin, text.clone()),
        (missing, text),
    ]
}

fn open(path: &Path, known: KnownEnd) -> OpenedFile {
    Pack::open(path, known, "2026-11-22T10:00:00Z").unwrap()
}

/// Appends small pages of all kinds. Returns their locations and bodies.
fn append_pages(pack: &mut Pack) -> Vec<(PackPlace, Vec<u8>)> {
    let mut renderer = pack.renderer();
    let mut group = RecordGroup::default();
    let mut append = |(sample, body): (SampleExchange, Vec<u8>)| {
        let exchange = sample.exchange();
        renderer.render(&exchange, &body, &mut group).unwrap();
        (pack.append(&group).unwrap(), body)
    };
    pages().into_iter().map(&mut append).collect()
}

/// Appends a streamed body of 20 MiB.
fn append_large(pack: &mut Pack) -> (PackPlace, Vec<u8>) {
    let large: Vec<u8> = (0..5_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let mut hasher = PayloadHasher::default();
    large.chunks(60_000).for_each(|piece| hasher.update(piece));
    let spooled = SpooledBody {
        from: &large[..],
        length: large.len() as u64,
        digest: hasher.finish(),
    };
    let sample = SampleExchange::get("http://example.com/large");
    let mut renderer = pack.renderer();
    let place = pack
        .append_with(|file| renderer.stream(&sample.exchange(), spooled, file))
        .unwrap();
    (place, large)
}

/// Simulates two runs, the first of which left an incomplete group.
fn two_runs(path: &Path) -> Vec<(PackPlace, Vec<u8>)> {
    let mut pack = open(path, KnownEnd::NoJournal).pack;
    let mut written = append_pages(&mut pack);
    let (last, _) = written.last().unwrap();
    let end = last.offset + last.length;
    append_pages(&mut pack);
    drop(pack);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(end + 300).unwrap();

    let OpenedFile { mut pack, cut } = open(path, KnownEnd::UpTo(end));
    assert_eq!(cut, 300);
    written.push(append_large(&mut pack));
    written.extend(append_pages(&mut pack));
    written
}

fn check(python: &str, path: &Path, pages: usize) {
    let checked = warcio(python, &["check", "-v"], path);
    let count = |text: &str| checked.lines().filter(|line| line.contains(text)).count();
    // A group is three records, and each run wrote a warcinfo.
    assert_eq!(count("digest pass"), 3 * pages + 2, "{checked}");
    assert_eq!(count("WARC-Record-ID"), 3 * pages + 2, "{checked}");
}

/// Checks that warcio's index lists the responses that were written.
fn check_index(python: &str, path: &Path, written: &[(PackPlace, Vec<u8>)]) {
    let fields = "warc-type,offset,length,http:content-length";
    let index = warcio(python, &["index", "-f", fields], path);
    let lines: Vec<serde_json::Value> = index
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["warc-type"] == "response")
        .collect();
    assert_eq!(lines.len(), written.len());
    for (line, (place, body)) in lines.iter().zip(written) {
        let number = |name: &str| line[name].as_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(number("offset"), place.offset);
        // For uncompressed records, warcio does not count the two line ends after the block.
        let counted = if path.ends_with("pages.warc") { 4 } else { 0 };
        assert_eq!(number("length") + counted, place.length);
        assert_eq!(number("http:content-length"), body.len() as u64);
    }
}

/// Reads single records at given offsets and prints the CRC-32 of each body.
const READ_ALONE: &str = "
import sys, zlib
from warcio.archiveiterator import ArchiveIterator
for place in sys.argv[2:]:
    with open(sys.argv[1], 'rb') as file:
        file.seek(int(place))
        record = next(ArchiveIterator(file))
        print(zlib.crc32(record.content_stream().read()))
";

fn check_payloads(python: &str, path: &Path, written: &[(PackPlace, Vec<u8>)]) {
    let output = Command::new(python)
        .args(["-c", READ_ALONE])
        .arg(path)
        .args(written.iter().map(|(place, _)| place.offset.to_string()))
        .output()
        .unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    let expected: String = written
        .iter()
        .map(|(_, body)| {
            let mut crc = Crc::new();
            crc.update(body);
            format!("{}\n", crc.sum())
        })
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn warcio_reads_and_verifies_what_two_runs_wrote() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["pages.warc", "pages.warc.gz"] {
        let path = dir.path().join(name);
        let written = two_runs(&path);
        check(&python, &path, written.len());
        check_index(&python, &path, &written);
        check_payloads(&python, &path, &written);
    }
}
