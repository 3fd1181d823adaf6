//! Partial bodies and the output directory, without a network.

use std::io::Write;
use std::sync::Arc;

use http::HeaderValue;
use url::Url;

use super::folder::{Folder, FolderError};
use super::parts::{PartIndex, StoredPart};
use super::writer::TempFile;
use crate::model::{BodyVersion, PartialBody, RelPath};

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
            id,
            version,
            length,
        },
        temp: Arc::new(TempFile::new(id)),
        in_use: false,
    }
}

fn write(folder: &Folder, id: u64, bytes: &[u8]) {
    let mut file = folder.create(&TempFile::new(id).name()).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_part_is_reserved_until_it_is_given_back() {
    let parts = PartIndex::default();
    assert!(parts.is_empty());
    assert!(parts.keep(file("a"), kept(1, 10)).is_none());
    assert_eq!(parts.take(&file("a")).unwrap().length, 10);
    assert!(parts.take(&file("a")).is_none(), "it is in use");
    parts.give_back(&file("a"), 2);
    assert!(parts.take(&file("a")).is_none(), "the id of another part");
    parts.give_back(&file("a"), 1);
    assert!(parts.take(&file("a")).is_some());

    let unwanted = parts.keep(file("a"), kept(2, 99)).unwrap();
    assert_eq!(unwanted.id(), 2, "a part in use is not replaced");
    parts.give_back(&file("a"), 1);
    let unwanted = parts.keep(file("a"), kept(3, 5)).unwrap();
    assert_eq!(unwanted.id(), 3, "the longer part is kept");
    let unwanted = parts.keep(file("a"), kept(4, 50)).unwrap();
    assert_eq!(unwanted.id(), 1);
    assert!(parts.remove(&file("a"), 1).is_none());
    assert!(parts.remove(&file("a"), 4).is_some());
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
    assert_eq!(parts.take(&file("a/b")).unwrap().length, 3);
    assert!(parts.take(&file("d")).is_none());
    let longer = parts.take(&file("c")).unwrap();
    assert_eq!(longer.length, 4);
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
