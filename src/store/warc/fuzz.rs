//! Packs that were torn, overwritten or never ours: opened to go on, and read at any place.

use std::fs::{self, File};
use std::path::PathBuf;

use memchr::memmem::find_iter;

use super::coding::MEMBER_HEAD;
use super::tests::SampleExchange;
use super::{
    KnownEnd, Pack, PackError, RecordCompression, RecordGroup, payload, payload_digest, read_record,
};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::PackPlace;

const DATE: &str = "2026-11-22T10:00:00.123Z";
/// What one record unpacks to at most in a test: few bytes can become many.
const MOST: usize = 64 << 20;

struct PackBench {
    folder: tempfile::TempDir,
}

impl PackBench {
    fn look(&self, input: &FuzzInput<'_>) -> FuzzVerdict {
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
                    "{error}, and changed"
                );
                return Ok(match error {
                    PackError::Short { .. } => "too short",
                    PackError::Unknown => "somebody else's",
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
            "{} cut of {length} behind {end}",
            opened.cut
        );
        check_appended(opened.pack, &path, input, end)?;
        Ok(if read {
            "gone on, and a digest found"
        } else {
            "gone on"
        })
    }
}

/// Where a record begins, more often than anywhere; to any end.
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
    PackPlace { offset, length }
}

/// Reads what stands there, if something does; whether a digest was found.
fn read_anywhere(
    path: &PathBuf,
    place: PackPlace,
    coding: RecordCompression,
) -> Result<bool, String> {
    let file = File::open(path).unwrap();
    if let Ok(record) = read_record(&file, place, coding) {
        hold!(record.len() < MOST, "{} bytes in one record", record.len());
        let _ = payload(&record);
    }
    let digest = payload_digest(&file, place, coding);
    Ok(matches!(digest, Ok(Some(_))))
}

/// What comes next stands behind what is kept, and reads back.
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
    hold!(text.starts_with(kept), "what was kept was written over");
    hold!(
        place.offset >= end && place.end() == text.len() as u64,
        "{place:?} behind {end}"
    );
    let coding = RecordCompression::of_name(path).unwrap();
    let file = File::open(path).unwrap();
    let record = read_record(&file, place, coding).map_err(|error| error.to_string())?;
    hold!(payload(&record) == Some(body), "it does not read back");
    let digest = payload_digest(&file, place, coding).map_err(|error| error.to_string())?;
    hold!(digest.is_some(), "it has no digest");
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
        // For each a file is made, and opened several times.
        one_of: 10,
    };
    let bench = PackBench {
        folder: tempfile::tempdir().unwrap(),
    };
    fuzz.run(move |input| bench.look(input));
}
