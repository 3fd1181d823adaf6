//! One body with its record, as files of a tar.

use std::io::{self, Read, Write};
use std::time::SystemTime;

use super::extension::extension_of;
use super::head::{BLOCK_BYTES, TarOrigin, pad, push_head};
use crate::model::{Columns, PackPlace, Record, Sha256Context, column_text};

/// Digits of the hash in a key: 64 bits, beside the number of the line.
const HASH_DIGITS: usize = 16;
const RECORD: &str = "json";
const CAPTION: &str = "txt";

/// What is beside a body.
#[derive(Debug, Clone)]
pub(crate) struct TarSample {
    key: String,
    extension: String,
    json: Vec<u8>,
    caption: Option<String>,
    time: u64,
}

impl TarSample {
    /// Describes the body of a record, which was requested at this time. The caption is the value of
    /// a column.
    pub(crate) fn new(record: &Record, at: SystemTime, caption_column: Option<&str>) -> Self {
        let mut json = Vec::new();
        // Serializing a record does not fail.
        let _ = record.write_json(&mut json);
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let mut extension = extension_of(record);
        if extension == RECORD || extension == CAPTION && caption_column.is_some() {
            extension = format!("body.{extension}");
        }
        Self {
            key: key_of(record, since.as_nanos()),
            extension,
            json,
            caption: caption_column.and_then(|name| caption(record.columns.as_ref()?, name)),
            time: since.as_secs(),
        }
    }

    /// Returns the estimated memory in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.json.len() + self.caption.as_ref().map_or(0, String::len)
    }

    /// Appends the sample with a body in memory. Returns where the body begins, which extends to the
    /// end.
    pub(crate) fn render(
        &self,
        pack: &[u8],
        body: &[impl AsRef<[u8]>],
        length: u64,
        out: &mut Vec<u8>,
    ) -> usize {
        let at = self.before_body(pack, length, out);
        body.iter()
            .for_each(|piece| out.extend_from_slice(piece.as_ref()));
        pad(out, length);
        at
    }

    /// Writes the sample with a large body. Returns where the body is, which extends to the end.
    ///
    /// # Errors
    /// If reading or writing fails, or the body does not have the given length; the output is then
    /// unusable.
    pub(crate) fn stream(
        &self,
        pack: &[u8],
        body: impl Read,
        length: u64,
        out: &mut impl Write,
    ) -> io::Result<PackPlace> {
        let mut before = Vec::new();
        let at = self.before_body(pack, length, &mut before);
        out.write_all(&before)?;
        // Read one byte more, to notice a body that is too long.
        if io::copy(&mut body.take(length.saturating_add(1)), out)? != length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut zeros = Vec::with_capacity(BLOCK_BYTES);
        pad(&mut zeros, length);
        out.write_all(&zeros)?;
        let head = (before.len() - at) as u64;
        Ok(PackPlace {
            n: None,
            offset: at as u64,
            length: head + length + zeros.len() as u64,
        })
    }

    /// Appends everything up to the body. Returns where its head is.
    fn before_body(&self, pack: &[u8], length: u64, out: &mut Vec<u8>) -> usize {
        let origin = TarOrigin {
            pack,
            time: self.time,
        };
        let name = |extension: &str| format!("{}.{extension}", self.key);
        let caption = self.caption.as_ref().map(String::as_bytes);
        let files = [(RECORD, Some(&*self.json)), (CAPTION, caption)];
        for (extension, text) in files {
            let Some(text) = text else { continue };
            push_head(out, &name(extension), text.len() as u64, origin);
            out.extend_from_slice(text);
            pad(out, text.len() as u64);
        }
        let at = out.len();
        push_head(out, &name(&self.extension), length, origin);
        at
    }
}

/// Returns the key of a sample: the line, and a hash of what distinguishes it from the same line of
/// other lists and from other downloads of the same URL.
fn key_of(record: &Record, nanos: u128) -> String {
    let mut hash = Sha256Context::default();
    let request = record.request.as_deref().unwrap_or_default();
    for part in [&*record.input, &record.url, request, &nanos.to_string()] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finish().to_string();
    let hash = hash.get(..HASH_DIGITS).unwrap_or(&hash);
    format!("{:09}-{hash}", record.line)
}

/// Returns the text of a column; `None` if its cell is missing or empty.
fn caption(columns: &Columns, name: &str) -> Option<String> {
    let columns = columns.values().into_iter();
    let mut named = columns.filter(|(column, _)| column.eq_ignore_ascii_case(name));
    let (_, value) = named.next().filter(|(_, value)| value.get() != "null")?;
    Some(column_text(value)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnsBuilder, InputPosition};

    fn record(line: u64, input: &str, url: &str) -> Record {
        let position = InputPosition {
            line,
            input: input.into(),
            ..InputPosition::first()
        };
        Record::for_line(&position, url.to_owned())
    }

    #[test]
    fn keys_differ_by_line_list_url_request_and_time_and_have_no_dots() {
        let base = record(7, "a.txt", "http://a/x.png");
        let other = Record {
            request: Some("1".to_owned()),
            ..base.clone()
        };
        let mut keys = vec![
            key_of(&base, 1),
            key_of(&base, 2),
            key_of(&record(8, "a.txt", "http://a/x.png"), 1),
            key_of(&record(7, "b.txt", "http://a/x.png"), 1),
            key_of(&record(7, "a.txt", "http://a/y.png"), 1),
            key_of(&other, 1),
        ];
        assert!(keys[0].starts_with("000000007-"));
        assert!(keys.iter().all(|key| key.len() == 26 && !key.contains('.')));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn no_two_files_of_a_sample_have_one_name() {
        let at = SystemTime::UNIX_EPOCH;
        let extension = |url, caption| {
            let sample = TarSample::new(&record(1, "-", url), at, caption);
            sample.extension
        };
        assert_eq!(extension("http://a/x.json", None), "body.json");
        assert_eq!(extension("http://a/x.txt", None), "txt");
        assert_eq!(extension("http://a/x.txt", Some("c")), "body.txt");
    }

    #[test]
    fn a_missing_cell_is_no_caption() {
        let mut columns = ColumnsBuilder::default();
        for (name, json) in [("A", "\"x\""), ("b", "null"), ("c", "\"\""), ("d", "[1]")] {
            columns.push_json(name, json);
        }
        let columns = columns.build().unwrap().unwrap();
        let found = ["a", "b", "c", "d", "e"].map(|name| caption(&columns, name));
        let expected = [Some("x"), None, None, Some("[1]"), None];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn a_large_body_is_written_as_a_small_one_is() {
        let sample = TarSample::new(&record(1, "-", "http://a/x.png"), SystemTime::now(), None);
        for length in [0, 1, 511, 512, 70_000] {
            let body = vec![7; length];
            let (mut small, mut large) = (Vec::new(), Vec::new());
            let at = sample.render(b"id", &[&body], length as u64, &mut small);
            let place = sample
                .stream(b"id", &*body, length as u64, &mut large)
                .unwrap();
            assert!(small == large);
            assert_eq!(place.offset, at as u64);
            assert_eq!(place.end(), large.len() as u64);
            let short = sample.stream(b"id", &*body, length as u64 + 1, &mut large);
            assert!(short.is_err());
        }
    }
}
