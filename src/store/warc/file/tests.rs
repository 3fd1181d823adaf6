use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::warc::tests::SampleExchange;
use crate::store::warc::{PackError, payload, read_record};

const DATE: &str = "2026-11-22T10:00:00.123Z";

struct TestDir(tempfile::TempDir);

impl TestDir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn open(path: &Path, known: KnownEnd) -> Result<OpenedFile, PackError> {
    Pack::open(path, known, DATE)
}

/// Appends a small page. Returns its location.
fn append(pack: &mut Pack, body: &[u8]) -> PackPlace {
    let mut group = RecordGroup::default();
    let mut renderer = pack.renderer();
    let sample = SampleExchange::get("http://example.com/");
    renderer
        .render(&sample.exchange(), body, &mut group)
        .unwrap();
    pack.append(&group).unwrap()
}

fn body_at(path: &Path, place: PackPlace) -> Vec<u8> {
    let coding = RecordCompression::of_name(path).unwrap();
    let record = read_record(&File::open(path).unwrap(), place, coding).unwrap();
    payload(&record).unwrap().to_vec()
}

/// Creates a pack with two pages, and returns the end of the first, which counts as journaled.
fn two_pages(path: &Path) -> u64 {
    let mut pack = open(path, KnownEnd::NoJournal).unwrap().pack;
    let first = append(&mut pack, b"first");
    append(&mut pack, b"second");
    first.offset + first.length
}

#[test]
fn records_unknown_to_the_journal_are_truncated() {
    let dir = TestDir::new();
    for name in ["a.warc", "a.warc.gz"] {
        let path = dir.path(name);
        let end = two_pages(&path);
        let whole = path.metadata().unwrap().len();
        for torn in [whole, end + 1, end] {
            OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(torn)
                .unwrap();
            let mut opened = open(&path, KnownEnd::UpTo(end)).unwrap();
            assert_eq!(opened.cut, torn - end);
            assert_eq!(path.metadata().unwrap().len(), end);
            let place = append(&mut opened.pack, b"again");
            assert_eq!(body_at(&path, place), b"again");
            assert_eq!(place.offset + place.length, path.metadata().unwrap().len());
        }
    }
}

#[test]
fn a_run_with_nothing_to_add_does_not_change_the_file() {
    let dir = TestDir::new();
    let path = dir.path("a.warc.gz");
    drop(open(&path, KnownEnd::NoJournal).unwrap());
    assert_eq!(path.metadata().unwrap().len(), 0);
    drop(open(&path, KnownEnd::NoJournal).unwrap());
    let end = two_pages(&path);
    drop(open(&path, KnownEnd::UpTo(end)).unwrap());
    let before = fs::read(&path).unwrap();
    drop(open(&path, KnownEnd::UpTo(end)).unwrap());
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_pack_is_used_by_one_run_at_a_time() {
    let dir = TestDir::new();
    let path = dir.path("a.warc");
    let first = open(&path, KnownEnd::NoJournal).unwrap();
    let error = open(&path, KnownEnd::NoJournal).unwrap_err();
    assert!(matches!(error, PackError::InUse), "{error}");
    drop(first);
    open(&path, KnownEnd::NoJournal).unwrap();
}

#[test]
fn the_name_must_end_in_warc_or_warc_gz() {
    let dir = TestDir::new();
    for name in ["a.zip", "a.warc.xz", "pages"] {
        let error = open(&dir.path(name), KnownEnd::NoJournal).unwrap_err();
        assert!(matches!(error, PackError::Name), "{name}");
        assert!(!dir.path(name).exists());
    }
    fs::create_dir(dir.path("dir.warc")).unwrap();
    let error = open(&dir.path("dir.warc"), KnownEnd::NoJournal).unwrap_err();
    assert!(matches!(error, PackError::NotAFile));
}

/// Opening fails, and the file is unchanged.
fn assert_untouched(path: &Path, known: KnownEnd) {
    let before = fs::read(path).unwrap();
    let error = open(path, known).unwrap_err();
    let expected = match (known, &error) {
        (KnownEnd::NoJournal, error) => matches!(error, PackError::NoJournal),
        (KnownEnd::UpTo(end), PackError::Added { end: found, more }) => {
            *found == end && end + more == before.len() as u64
        }
        (_, error) => matches!(error, PackError::Unknown),
    };
    assert!(expected, "{known:?}: {error}");
    assert!(fs::read(path).unwrap() == before);
}

#[test]
fn what_is_not_known_to_be_ours_is_never_touched() {
    let dir = TestDir::new();
    let foreign = b"WARC/1.1\r\nWARC-Type: warcinfo\r\n\r\nsoftware: Wget/1.21\r\n\r\n\r\n";
    let padded = [&foreign[..], &[b' '; 8192]].concat();
    let mut gz = Vec::new();
    let mut coder = crate::store::warc::coding::RecordEncoder::new(RecordCompression::Gzip);
    coder.begin(padded.len() as u64, &mut gz);
    coder.feed(&padded, &mut gz).unwrap();
    coder.end(&mut gz).unwrap();
    for (name, bytes) in [
        ("text.warc", &b"my notes"[..]),
        ("text.warc.gz", b"my notes"),
        ("zeros.warc", &[0; 20]),
        ("other.warc", foreign),
        ("padded.warc", &padded),
        ("other.warc.gz", &gz),
    ] {
        let path = dir.path(name);
        fs::write(&path, bytes).unwrap();
        for known in [KnownEnd::NoJournal, KnownEnd::Nothing, KnownEnd::UpTo(5)] {
            assert_untouched(&path, known);
        }
    }
}

#[test]
fn a_pack_without_its_journal_or_with_that_of_another_is_never_touched() {
    let dir = TestDir::new();
    for name in ["a.warc", "a.warc.gz"] {
        let path = dir.path(name);
        let end = two_pages(&path);
        assert_untouched(&path, KnownEnd::NoJournal);
        assert_untouched(&path, KnownEnd::UpTo(end - 7));
    }
}

#[test]
fn a_pack_shorter_than_its_journal_expects_is_an_error() {
    let dir = TestDir::new();
    let path = dir.path("a.warc");
    let end = two_pages(&path);
    let length = path.metadata().unwrap().len();
    let error = open(&path, KnownEnd::UpTo(length + 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "has {length} bytes, but its journal expects {}: truncated or replaced",
            length + 1
        )
    );
    assert_eq!(open(&path, KnownEnd::UpTo(end)).unwrap().cut, length - end);
    fs::write(&path, b"").unwrap();
    let error = open(&path, KnownEnd::UpTo(end)).unwrap_err();
    assert!(matches!(error, PackError::Short { length: 0, .. }));
}

#[test]
fn a_run_killed_before_its_first_record_starts_over_wherever_it_was_cut() {
    let dir = TestDir::new();
    for name in ["a.warc", "a.warc.gz"] {
        let path = dir.path(name);
        two_pages(&path);
        let whole = fs::read(&path).unwrap();
        // Every position in the warcinfo record, and some after it.
        let places = (0..700).chain((700..whole.len()).step_by(61));
        for torn in places {
            // A new file each time, since ext4 waits for the disk when one is rewritten.
            let path = dir.path(&format!("{torn}-{name}"));
            fs::write(&path, &whole[..torn]).unwrap();
            let mut opened = open(&path, KnownEnd::Nothing).unwrap();
            assert_eq!(opened.cut, torn as u64);
            if torn % 97 == 0 {
                let place = append(&mut opened.pack, b"page");
                assert_eq!(body_at(&path, place), b"page");
            }
        }
    }
}

#[test]
fn a_group_that_fails_half_way_leaves_nothing() {
    let dir = TestDir::new();
    for name in ["a.warc", "a.warc.gz"] {
        let path = dir.path(name);
        let mut pack = open(&path, KnownEnd::NoJournal).unwrap().pack;
        let fail = |pack: &mut Pack| {
            let error = pack.append_with(|file| {
                file.write_all(b"half a group")?;
                Err(io::ErrorKind::StorageFull.into())
            });
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        };
        fail(&mut pack);
        assert_eq!(path.metadata().unwrap().len(), 0);
        let first = append(&mut pack, b"first");
        fail(&mut pack);
        let second = append(&mut pack, b"second");
        // The request and the metadata are in between.
        assert!(second.offset > first.offset + first.length);
        assert_eq!(body_at(&path, first), b"first");
        assert_eq!(body_at(&path, second), b"second");
        pack.sync().unwrap();
    }
}
