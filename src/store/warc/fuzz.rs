//! Fuzzes opening and reading of packs that were truncated, overwritten or never ours.

use std::fs::{self, File};
use std::path::PathBuf;

use memchr::memmem::find_iter;

use super::coding::MEMBER_HEAD;
use super::tests::SampleExchange;
use super::{
    KnownEnd, Pack, PackError, RecordCompression, RecordGroup, ResponseRecordHead, payload,
    read_record,
};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::PackPlace;

const DATE: &str = "2026-11-22T10:00:00.123Z";
/// Maximum decompressed size of a record in a test, against decompression bombs.
const MAX_RECORD_BYTES: usize = 64 << 20;

struct PackBench {
    folder: tempfile::TempDir,
}

impl PackBench {
    fn check(&self, input: &FuzzInput<'_>) -> FuzzVerdict {
        let is_plain = input.name.ends_with(".warc");
        let (name, coding) = if is_plain {
            ("p.warc", RecordCompression::Plain)
        } else {
            ("p.warc.gz", RecordCompression::Gzip)
        };
        let path = self.folder.path().join(name);
        fs::write(&path, input.bytes).unwrap();
        let place = place(input, coding);
        let read = read_anywhere(&path, place, coding)?;
        let known = match input.number % 8 {
            0 => KnownEnd::Nothing,
            1 => KnownEnd::NoJournal,
            _ => KnownEnd::UpTo(place.offset),
        };
        let opened = match Pack::open(&path, known, DATE) {
            Ok(opened) => opened,
            Err(error) => {
                hold!(
                    fs::read(&path).unwrap() == input.bytes,
                    "{error}, but the file has changed"
                );
                return Ok(match error {
                    PackError::Short { .. } => "too short",
                    PackError::NoJournal | PackError::Unknown | PackError::Added { .. } => {
                        "not ours"
                    }
                    error => return Err(error.to_string()),
                });
            }
        };
        let end = match known {
            KnownEnd::UpTo(end) => end,
            KnownEnd::Nothing | KnownEnd::NoJournal => 0,
        };
        let length = input.bytes.len() as u64;
        hold!(
            end <= length && opened.cut == length - end,
            "{} of {length} bytes cut after {end}",
            opened.cut
        );
        check_appended(opened.pack, &path, input, end)?;
        Ok(if read {
            "continued, digest found"
        } else {
            "continued"
        })
    }
}

/// Picks a location, mostly at the start of a record, with any end.
fn place(input: &FuzzInput<'_>, coding: RecordCompression) -> PackPlace {
    let begin: &[u8] = match coding {
        RecordCompression::Plain => b"WARC/1.1\r\n",
        RecordCompression::Gzip => &MEMBER_HEAD,
    };
    let length = input.bytes.len() as u64;
    let number = input.number / 8;
    let starts: Vec<_> = find_iter(input.bytes, begin)
        .chain([input.bytes.len()])
        .collect();
    let offset = match number % 4 {
        0 => number % (length + 2),
        _ => starts[number as usize % starts.len()] as u64,
    };
    let length = match number % 3 {
        0 => u64::MAX,
        _ => length.saturating_sub(offset),
    };
    PackPlace {
        n: None,
        offset,
        length,
    }
}

/// Reads the record at a location, if there is one. Returns whether it has a digest.
fn read_anywhere(
    path: &PathBuf,
    place: PackPlace,
    coding: RecordCompression,
) -> Result<bool, String> {
    let file = File::open(path).unwrap();
    if let Ok(record) = read_record(&file, place, coding) {
        hold!(
            record.len() < MAX_RECORD_BYTES,
            "{} bytes in one record",
            record.len()
        );
        let _ = payload(&record);
    }
    let head = ResponseRecordHead::read(&file, place, coding);
    Ok(head.is_ok_and(|head| head.payload_digest().is_some()))
}

/// Checks that an appended group follows the bytes kept, and can be read back.
fn check_appended(
    mut pack: Pack,
    path: &PathBuf,
    input: &FuzzInput<'_>,
    end: u64,
) -> Result<(), String> {
    let body = b"appended";
    let mut group = RecordGroup::default();
    let sample = SampleExchange::get("http://example.com/");
    let mut renderer = pack.renderer();
    renderer
        .render(&sample.exchange(), body, &mut group)
        .unwrap();
    let place = pack.append(&group).unwrap();
    let text = fs::read(path).unwrap();
    let kept = &input.bytes[..usize::try_from(end).unwrap()];
    hold!(text.starts_with(kept), "kept bytes were overwritten");
    hold!(
        place.offset >= end && place.end() == text.len() as u64,
        "{place:?}, expected after {end}"
    );
    let coding = RecordCompression::of_name(path).unwrap();
    let file = File::open(path).unwrap();
    let record = read_record(&file, place, coding).map_err(|error| error.to_string())?;
    hold!(payload(&record) == Some(body), "it does not read back");
    let head = ResponseRecordHead::read(&file, place, coding);
    let head = head.map_err(|error| error.to_string())?;
    hold!(head.payload_digest().is_some(), "it has no digest");
    Ok(())
}

#[test]
fn packs() {
    let fuzz = FuzzCampaign {
        corpus: "packs",
        tokens: &[
            b"WARC/1.1\r\n",
            b"WARC-Type: warcinfo\r\n",
            b"software: fetchall/",
            b"software: wget/",
            b"\r\n\r\n",
            b"\r\n",
            b"WARC-Payload-Digest: sha1:",
            b"Content-Length: 0\r\n",
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
            b"\x1f\x8b",
            b"\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
        inputs: 1000,
        // Slow: each input creates a file and opens it several times.
        one_of: 10,
    };
    let bench = PackBench {
        folder: tempfile::tempdir().unwrap(),
    };
    fuzz.run(move |input| bench.check(input));
}
