//! Partial bodies and the output directory, without a network.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use url::Url;

use super::folder::{Folder, FolderError};
use super::parts::{PartIndex, StoredPart};
use super::writer::TempFile;
use super::{FileStore, FilesOptions};
use crate::model::{Attempt, BodyVersion, ByteRanges, Job, PartialBody, RelPath, ResponseHead};
use crate::store::{BodyStore, BodyWriter, commit_and_wait};

fn file(name: &str) -> RelPath {
    RelPath::parse(name).unwrap()
}

fn kept(id: u64, length: u64) -> StoredPart {
    let version = BodyVersion {
        job_url: Url::parse("http://a.test/").unwrap(),
        url: Url::parse("http://a/").unwrap(),
        validator: HeaderValue::from_static("\"a\""),
        total: None,
    };
    StoredPart {
        part: PartialBody {
            version,
            length,
            beyond: ByteRanges::default(),
        },
        temp: Arc::new(TempFile::with_content(
            id,
            [(0, length)].into_iter().collect(),
        )),
    }
}

fn write(folder: &Folder, id: u64, bytes: &[u8]) {
    let mut file = folder.create(&TempFile::new(id).name()).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_part_is_taken_once_and_the_longer_of_two_is_kept() {
    let parts = PartIndex::default();
    assert!(parts.is_empty());
    assert!(parts.keep(file("a"), kept(1, 10)).is_none());
    let taken = parts.take(&file("a")).unwrap();
    assert_eq!(taken.part.length, 10);
    assert!(parts.take(&file("a")).is_none(), "it is taken");
    assert!(parts.is_empty());
    assert!(parts.keep(file("a"), taken).is_none(), "it is back");

    let useless = parts.keep(file("a"), kept(2, 5)).unwrap();
    assert_eq!(useless.id(), 2, "the longer part is kept");
    let useless = parts.keep(file("a"), kept(3, 50)).unwrap();
    assert_eq!(useless.id(), 1);
    assert_eq!(parts.take(&file("a")).unwrap().temp.id(), 3);
    assert!(parts.is_empty());
}

#[test]
fn listed_parts_are_kept_for_the_next_run_and_other_files_removed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let parts = PartIndex::default();
    for (id, bytes) in [(3, "abc"), (5, "abcdef"), (7, "left by a crash")] {
        write(&folder, id, bytes.as_bytes());
    }
    parts.keep(file("a/b"), kept(3, 3));
    parts.keep(file("c"), kept(5, 4));
    // Its file is missing, which does not affect the others.
    parts.keep(file("d"), kept(6, 1));
    parts.persist(&folder).unwrap();
    drop(folder);

    let folder = Folder::open(dir.path()).unwrap();
    let (parts, next) = PartIndex::read(&folder).unwrap();
    assert!(next > 5);
    assert_eq!(parts.take(&file("a/b")).unwrap().part.length, 3);
    assert!(parts.take(&file("d")).is_none());
    let longer = parts.take(&file("c")).unwrap();
    assert_eq!(longer.part.length, 4);
    let left = folder.read(&TempFile::new(5).name()).unwrap();
    assert_eq!(
        left.metadata().unwrap().len(),
        4,
        "cut to the listed length"
    );
    let mut names = folder.unfinished().unwrap();
    names.sort();
    assert_eq!(names, ["3.part", "5.part", "parts.jsonl"]);
}

fn open(dir: &Path) -> FileStore {
    let dir = dir.to_owned();
    FileStore::open(&FilesOptions {
        dir,
        ..FilesOptions::default()
    })
    .unwrap()
}

/// The writer of a taken part is the only one that has it: whatever ends the attempt, the part is
/// free again or gone.
#[tokio::test]
async fn a_taken_part_goes_back_unless_it_is_discarded_or_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let attempt = attempt();
    let files = || store.shared.folder.unfinished().unwrap().len();

    start(&store, &attempt).await;
    let (part, writer) = store.take_part(&attempt).unwrap();
    assert_eq!(part.length, 3);
    assert!(store.take_part(&attempt).is_none(), "it is taken");
    drop(writer);
    let (_, mut writer) = store.take_part(&attempt).unwrap();
    writer.write(Bytes::from_static(b"de")).await.unwrap();
    drop(writer);
    let (part, writer) = store.take_part(&attempt).unwrap();
    assert_eq!(part.length, 5, "with what was added");
    writer.discard();
    assert!(store.take_part(&attempt).is_none());
    store.shared.writers.flush().await;
    assert_eq!(files(), 0);

    start(&store, &attempt).await;
    let (_, writer) = store.take_part(&attempt).unwrap();
    let mut text = String::new();
    let mut file = writer.read_back().await.unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
    let saved = commit_and_wait(|done| writer.commit(done)).await.unwrap();
    assert_eq!(saved.bytes, 3);
    assert!(store.take_part(&attempt).is_none());
    assert_eq!(files(), 0);
}

/// Writes three bytes of a body that is cut off.
async fn start(store: &FileStore, attempt: &Attempt) {
    let head = ResponseHead::http11(http::StatusCode::OK, http::HeaderMap::new());
    let version = || Some(kept(0, 0).part.version);
    let mut writer = store.create(attempt, &head, version, None);
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
}

/// A run that ends without a word, as one that is killed does, leaves what its list says.
#[tokio::test]
async fn what_is_listed_of_a_body_in_segments_survives_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let options = FilesOptions {
        dir: dir.path().to_owned(),
        ..FilesOptions::default()
    };
    let attempt = attempt();
    let head = ResponseHead::http11(http::StatusCode::OK, http::HeaderMap::new());
    let version = || {
        let total = Some(12);
        Some(BodyVersion {
            total,
            ..kept(0, 0).part.version
        })
    };
    {
        let store = FileStore::open(&options).unwrap();
        let mut writer = store.create(&attempt, &head, version, None);
        let file = writer.segments().unwrap();
        let mut third = file.open_segment(8);
        third.write(Bytes::from_static(b"ij")).await.unwrap();
        writer.write(Bytes::from_static(b"abc")).await.unwrap();
        drop((third, writer));
        store.shared.writers.flush().await;
        store.shared.folder.unlock();
    }
    let store = FileStore::open(&options).unwrap();
    let (part, mut writer) = store.take_part(&attempt).unwrap();
    let beyond: Vec<_> = part.beyond.iter().collect();
    assert_eq!((part.length, beyond), (3, vec![(8, 10)]));
    assert_eq!((part.request_end(), part.kept()), (Some(8), 5));
    let file = writer.segments().unwrap();
    for (start, bytes) in [(10, "kl"), (3, "defgh")] {
        let mut segment = file.open_segment(start);
        segment.write(bytes.into()).await.unwrap();
    }
    let saved = commit_and_wait(|done| writer.commit(done)).await.unwrap();
    assert_eq!(saved.bytes, 12);
    let mut text = String::new();
    let mut file = store
        .shared
        .folder
        .open_final(&saved.file.unwrap())
        .unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abcdefghijkl");
    assert_eq!(store.shared.folder.unfinished().unwrap(), [""; 0]);
}

/// A body with a gap is no body, whatever its length.
#[tokio::test]
async fn a_body_with_a_gap_is_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let attempt = attempt();
    let head = ResponseHead::http11(http::StatusCode::OK, http::HeaderMap::new());
    let total = Some(6);
    let version = BodyVersion {
        total,
        ..kept(0, 0).part.version
    };
    let mut writer = store.create(&attempt, &head, || Some(version), None);
    let file = writer.segments().unwrap();
    let mut last = file.open_segment(5);
    last.write(Bytes::from_static(b"f")).await.unwrap();
    drop(last);
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    assert!(commit_and_wait(|done| writer.commit(done)).await.is_err());
    store.shared.writers.flush().await;
    assert_eq!(store.shared.folder.unfinished().unwrap(), [""; 0]);
}

fn attempt() -> Attempt {
    let job = Job::plain("http://a.test/");
    Attempt::new(job, http::Method::GET, false)
}

/// Parts that were not synced are valid only until the next boot.
#[test]
#[cfg(target_os = "linux")]
fn an_unsynced_part_of_an_earlier_boot_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for (id, name, boot) in [(1, "now", boot.trim()), (2, "before", "another")] {
        write(&folder, id, b"abc");
        let line = format!(
            r#"{{"file":"{name}","id":{id},"url":"http://a/","validator":"\"a\"","length":3,"boot":"{boot}"}}"#
        );
        let list = dir.path().join(".fetchall/parts.jsonl");
        let before = std::fs::read_to_string(&list).unwrap_or_default();
        std::fs::write(&list, format!("{before}{line}\n")).unwrap();
    }
    let (parts, _) = PartIndex::read(&folder).unwrap();
    assert!(parts.take(&file("now")).is_some());
    assert!(parts.take(&file("before")).is_none());
}

#[test]
fn a_directory_is_used_by_one_process_until_it_is_unlocked() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::open(dir.path()).unwrap();
    assert!(matches!(
        Folder::open(dir.path()),
        Err(FolderError::InUse(_))
    ));
    first.unlock();
    Folder::open(dir.path()).unwrap();
}
