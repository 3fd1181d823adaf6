use std::fs;
use std::path::PathBuf;

use fetchall::{PackPlace, Record};
use tempfile::TempDir;

use crate::support::{Done, Run, Server, WarcRecord, response, warcio_checks};

/// The same command again, also with `--refresh`.
mod again;
/// Redirects, failed responses and revisits.
mod archived;
/// `--verify` of a pack.
mod checked;
/// The content of a pack.
mod content;
/// `--pack-done`.
mod delivered;
/// A full disk.
mod full;
/// `--cdxj`.
mod index;
/// Runs killed at any time.
mod killed;
/// Packs and journals that do not match.
mod mismatched;
/// Files that are rejected as packs.
mod refused;
/// Delivery to a bucket.
mod s3;
/// Several packs, one after the other.
mod series;
/// A tar of samples.
mod tar;

const NAMES: [&str; 2] = ["pages.warc.gz", "pages.warc"];

/// A directory with a pack.
struct Packing {
    dir: TempDir,
    name: &'static str,
}

impl Packing {
    fn new(name: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, name }
    }

    /// A pack written by a run.
    fn of(name: &'static str, urls: &[String]) -> Self {
        let packing = Self::new(name);
        packing.run().urls(urls).expect_exit(0);
        packing
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join(format!("{}.jsonl", self.name))
    }

    fn run(&self) -> Run {
        Run::new().args(["--pack", self.path().to_str().unwrap()])
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn journaled(&self) -> Vec<Record> {
        let journal = fs::read_to_string(self.journal()).unwrap();
        let parse = |line| serde_json::from_str(line).unwrap();
        journal.lines().map(parse).collect()
    }

    /// Reads the response of a record alone. It must belong to the URL of the record, and be
    /// complete.
    fn response(&self, record: &Record) -> WarcRecord {
        let response = WarcRecord::alone(&self.path(), place(record));
        assert_eq!(response.field("WARC-Type"), Some("response"));
        response
    }

    /// Checks that every URL has its body in the pack, at the place in its record.
    fn expect_all(&self, done: &Done, urls: &[String]) {
        assert_eq!(done.records.len(), urls.len());
        for record in &done.records {
            assert!(urls.contains(&record.url), "{}", record.url);
            let response = self.response(record);
            assert_eq!(response.target(), record.url);
            let path = &record.url[record.url.rfind('/').unwrap()..];
            assert!(response.payload() == body_of(path), "{path}");
        }
        warcio_checks(&self.path(), urls.iter().map(String::as_str));
    }

    /// Returns the names in the directory.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

fn place(record: &Record) -> PackPlace {
    record
        .pack
        .unwrap_or_else(|| panic!("no place: {record:?}"))
}

/// Returns incompressible bytes, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut noise = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut noise);
    noise
}

/// Returns the body for a path: up to 4 KiB long, half of it text.
fn body_of(path: &str) -> Vec<u8> {
    let seed = path
        .bytes()
        .fold(7, |sum: u64, byte| sum * 31 + u64::from(byte));
    let length = fastrand::Rng::with_seed(seed).usize(..2048);
    let mut body = path.repeat(length / path.len()).into_bytes();
    body.extend_from_slice(&noise(seed, length));
    body
}

fn path_of(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

/// A server that sends `body_of` each path.
fn pages() -> Server {
    Server::http(|request| response("200 OK", &[], &body_of(path_of(request))))
}

fn urls(server: &Server, count: usize) -> Vec<String> {
    (0..count).map(|n| server.url(&format!("/{n}"))).collect()
}
