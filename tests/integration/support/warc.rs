//! A strict WARC reader that shares no code with the writer.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use fetchall::PackPlace;
use flate2::read::{GzDecoder, MultiGzDecoder};

/// All records of a file.
pub struct Warc(pub Vec<WarcRecord>);

/// One record.
#[derive(Debug)]
pub struct WarcRecord {
    head: String,
    pub block: Vec<u8>,
}

impl Warc {
    /// Reads a file. Panics if any byte does not belong to a record.
    pub fn read(path: &Path) -> Self {
        let file = fs::read(path).unwrap();
        let mut text = Vec::new();
        if is_gzip(path) {
            let whole = MultiGzDecoder::new(&file[..]).read_to_end(&mut text);
            whole.unwrap();
        } else {
            text = file;
        }
        let (mut rest, mut records) = (&text[..], Vec::new());
        while !rest.is_empty() {
            let (record, behind) = WarcRecord::parse(rest);
            records.push(record);
            rest = behind;
        }
        Self(records)
    }

    pub fn of_kind(&self, kind: &str) -> Vec<&WarcRecord> {
        let of_kind = |record: &&WarcRecord| record.field("WARC-Type") == Some(kind);
        self.0.iter().filter(of_kind).collect()
    }

    /// Returns the only record of this kind whose target has this end.
    pub fn one(&self, kind: &str, end: &str) -> &WarcRecord {
        let mut found = self.of_kind(kind);
        found.retain(|record| record.target().ends_with(end));
        assert_eq!(found.len(), 1, "{kind} of {end}: {found:?}");
        found[0]
    }
}

impl WarcRecord {
    /// Reads the record at a place, which must contain exactly one record. Ignores the rest of the
    /// file.
    pub fn alone(path: &Path, place: PackPlace) -> Self {
        let mut file = File::open(path).unwrap();
        file.seek(SeekFrom::Start(place.offset)).unwrap();
        let mut piece = vec![0; usize::try_from(place.length).unwrap()];
        file.read_exact(&mut piece).unwrap();
        if !is_gzip(path) {
            return Self::parse_whole(&piece);
        }
        let (mut member, mut text) = (GzDecoder::new(&piece[..]), Vec::new());
        member.read_to_end(&mut text).unwrap();
        assert!(member.into_inner().is_empty(), "one gzip member");
        Self::parse_whole(&text)
    }

    fn parse_whole(text: &[u8]) -> Self {
        let (record, rest) = Self::parse(text);
        assert!(rest.is_empty(), "there is more than one record");
        record
    }

    fn parse(text: &[u8]) -> (Self, &[u8]) {
        let (head, rest) = split_head(text);
        assert!(head.starts_with("WARC/1.1\r\n"), "{head}");
        let mut record = Self {
            head,
            block: Vec::new(),
        };
        let length: usize = record.field("Content-Length").unwrap().parse().unwrap();
        record.block.extend_from_slice(&rest[..length]);
        (record, rest[length..].strip_prefix(b"\r\n\r\n").unwrap())
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Returns all values of a field.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .collect()
    }

    /// Returns the length of the head of the record in bytes.
    pub fn head_length(&self) -> usize {
        self.head.len()
    }

    pub fn target(&self) -> &str {
        self.field("WARC-Target-URI").unwrap_or_default()
    }

    /// Returns the head of the HTTP message in the record.
    pub fn http_head(&self) -> String {
        split_head(&self.block).0
    }

    pub fn http_field(&self, name: &str) -> Option<String> {
        field(&self.http_head(), name).map(str::to_owned)
    }

    /// Returns the body of the HTTP message in the record.
    pub fn payload(&self) -> &[u8] {
        split_head(&self.block).1
    }

    /// Returns the value of a field in a block of `application/warc-fields`.
    pub fn block_field(&self, name: &str) -> Option<String> {
        let text = String::from_utf8(self.block.clone()).unwrap();
        field(&text, name).map(str::to_owned)
    }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn split_head(text: &[u8]) -> (String, &[u8]) {
    let blank = text.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, rest) = text.split_at(blank.unwrap() + 4);
    (String::from_utf8(head.to_vec()).unwrap(), rest)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
