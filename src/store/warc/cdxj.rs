//! The sorted index of a pack, as pywb reads it: for each response, its key, its time and, as JSON,
//! its place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Lines, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;

use super::read::{RecordHeads, SavedPack, ScannedRecord, value_of};
use super::surt::surt;
use crate::model::add_extension;
use crate::model::write_json;

/// Bytes of lines that are sorted in memory; more go to temporary files.
const SORTED_BYTES: usize = if cfg!(test) { 2000 } else { 16 << 20 };

/// Collects the lines of an index.
pub(crate) struct CdxjBuilder {
    filename: String,
    lines: Vec<String>,
    bytes: usize,
    /// Sorted lines that have left memory.
    runs: Vec<File>,
}

/// The fields of a line.
#[derive(Serialize)]
struct CdxjFields<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mime: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'a str,
    length: String,
    offset: String,
    filename: &'a str,
}

impl CdxjBuilder {
    /// Begins the index of a pack with this name.
    pub(crate) fn new(pack: &Path) -> Self {
        let name = pack.file_name().unwrap_or_default();
        Self {
            filename: name.to_string_lossy().into_owned(),
            lines: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
        }
    }

    /// Adds a record, if it is a response or refers to one.
    ///
    /// # Errors
    /// If a temporary file cannot be written.
    pub(crate) fn add(&mut self, record: &ScannedRecord<'_>) -> io::Result<()> {
        let Some(line) = self.line(record) else {
            return Ok(());
        };
        self.bytes += line.len();
        self.lines.push(line);
        if self.bytes >= SORTED_BYTES {
            self.spill()?;
        }
        Ok(())
    }

    fn line(&self, record: &ScannedRecord<'_>) -> Option<String> {
        let RecordHeads { head, http } = record.heads;
        let text = |field: &[u8]| std::str::from_utf8(value_of(head, field)?).ok();
        let is_revisit = match text(b"\r\nWARC-Type: ")? {
            "response" => false,
            "revisit" => true,
            _ => return None,
        };
        let url = text(b"\r\nWARC-Target-URI: ")?;
        let date = text(b"\r\nWARC-Date: ")?;
        let timestamp: String = date.chars().filter(char::is_ascii_digit).take(14).collect();
        let http = String::from_utf8_lossy(http);
        let (mime, status) = match is_revisit {
            true => ("warc/revisit", ""),
            false => (mime_of(&http), http.split(' ').nth(1).unwrap_or_default()),
        };
        let fields = CdxjFields {
            url,
            mime,
            status: status.split(['\r', '\n']).next().unwrap_or_default(),
            digest: text(b"\r\nWARC-Payload-Digest: sha1:").unwrap_or_default(),
            length: record.length.to_string(),
            offset: record.offset.to_string(),
            filename: &self.filename,
        };
        let mut json = Vec::new();
        write_json(&mut json, &fields).ok()?;
        let json = String::from_utf8(json).ok()?;
        Some(format!("{} {timestamp} {json}", surt(url)))
    }

    fn spill(&mut self) -> io::Result<()> {
        self.lines.sort_unstable();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for line in self.lines.drain(..) {
            writeln!(run, "{line}")?;
        }
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.seek(SeekFrom::Start(0))?;
        self.runs.push(run);
        self.bytes = 0;
        Ok(())
    }

    /// Writes the sorted index to `path`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(mut self, path: &Path) -> io::Result<()> {
        // A pipe, device or link stays what it is.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("not a regular file; remove it"));
        }
        let part = add_extension(path, "part");
        // That of an earlier run, or a link that someone else put there.
        let _ = fs::remove_file(&part);
        let mut out = BufWriter::new(File::create_new(&part)?);
        if self.runs.is_empty() {
            self.lines.sort_unstable();
            for line in &self.lines {
                writeln!(out, "{line}")?;
            }
        } else {
            self.spill()?;
            merge(self.runs, &mut out)?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(part, path)
    }
}

/// Merges sorted files.
fn merge(runs: Vec<File>, out: &mut impl Write) -> io::Result<()> {
    let mut runs: Vec<Lines<BufReader<File>>> = runs
        .into_iter()
        .map(|run| BufReader::new(run).lines())
        .collect();
    let mut heads = BinaryHeap::new();
    for (number, run) in runs.iter_mut().enumerate() {
        if let Some(line) = run.next() {
            heads.push(Reverse((line?, number)));
        }
    }
    while let Some(Reverse((line, number))) = heads.pop() {
        writeln!(out, "{line}")?;
        if let Some(next) = runs.get_mut(number).and_then(Iterator::next) {
            heads.push(Reverse((next?, number)));
        }
    }
    Ok(())
}

/// Returns the media type in the head of a response.
fn mime_of(http: &str) -> &str {
    let name = "content-type:";
    let field = http.lines().find_map(|line| {
        let begin = line.get(..name.len())?;
        let value = line.get(name.len()..)?;
        begin.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    match field.filter(|value| !value.is_empty()) {
        Some(value) => value.split([';', ' ']).next().unwrap_or_default(),
        None => "unk",
    }
}

/// Writes the index of the pack at `path` beside it.
///
/// # Errors
/// If the pack is damaged, or the index cannot be written.
pub(crate) fn write_index(path: &Path) -> io::Result<()> {
    let mut index = CdxjBuilder::new(path);
    SavedPack::of(path.to_owned()).scan(|record| index.add(record))?;
    index.write(&add_extension(path, CDXJ_EXTENSION))
}

/// Extension of the index of a pack.
pub(crate) const CDXJ_EXTENSION: &str = "cdxj";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_are_sorted_in_temporary_files() {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("x.warc");
        let mut index = CdxjBuilder::new(&pack);
        let mut numbers: Vec<u64> = (0..300).collect();
        fastrand::Rng::with_seed(3).shuffle(&mut numbers);
        for number in numbers {
            let head = format!(
                "WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/{number:03}\r\n\
                 WARC-Date: 2026-11-28T10:00:00Z\r\n\r\n"
            );
            let heads = RecordHeads {
                head: head.into_bytes(),
                http: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            };
            let record = ScannedRecord {
                heads: &heads,
                offset: number,
                length: 9,
            };
            index.add(&record).unwrap();
        }
        assert!(index.runs.len() > 5, "{} files", index.runs.len());
        let path = dir.path().join("x.warc.cdxj");
        index.write(&path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let expected: Vec<_> = (0..300)
            .map(|number| format!("a)/{number:03} 20261128100000 "))
            .collect();
        let found: Vec<_> = text
            .lines()
            .map(|line| line.split('{').next().unwrap())
            .collect();
        assert_eq!(found, expected);
        #[cfg(unix)]
        {
            let link = dir.path().join("y.warc.cdxj");
            std::os::unix::fs::symlink("elsewhere", &link).unwrap();
            let refused = CdxjBuilder::new(&pack).write(&link).unwrap_err();
            assert_eq!(refused.to_string(), "not a regular file; remove it");
            assert!(link.is_symlink());
        }
        assert!(text.starts_with(
            "a)/000 20261128100000 {\"url\":\"http://a/000\",\"mime\":\"unk\",\"status\":\"200\",\
             \"length\":\"9\",\"offset\":\"0\",\"filename\":\"x.warc\"}\n"
        ));
    }

    #[test]
    fn what_a_server_said_is_harmless_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.warc.cdxj");
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&victim, add_extension(&path, "part")).unwrap();
        let mut index = CdxjBuilder::new(Path::new("x.warc"));
        let heads = RecordHeads {
            head: b"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/\r\n\
                WARC-Date: 2026-11-28T10:00:00Z\r\n\r\n"
                .to_vec(),
            http: "HTTP/1.1 200 OK\r\nContent-Type: text/\u{9b}31m\r\n\r\n".into(),
        };
        let (offset, length) = (0, 9);
        index
            .add(&ScannedRecord {
                heads: &heads,
                offset,
                length,
            })
            .unwrap();
        index.write(&path).unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("\"mime\":\"text/\\u009b31m\"")
        );
        assert_eq!(fs::read_to_string(victim).unwrap(), "mine");
    }
}
