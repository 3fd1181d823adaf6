use proptest::prelude::*;

use super::*;
use crate::model::{ErrorKind, InputPosition, OutcomeName, RecordError};

fn record(url: &str, ok: bool) -> Record {
    let place = InputPosition::first();
    Record {
        ok,
        outcome: if ok {
            OutcomeName::Fetched
        } else {
            OutcomeName::Failed
        },
        bytes: ok.then_some(3),
        ..Record::for_line(&place, url.into())
    }
}

fn saved(url: &str, file: &str) -> Record {
    Record {
        file: Some(file.into()),
        ..record(url, true)
    }
}

/// A body in a pack, or the report of its loss.
fn packed(url: &str, ok: bool, offset: u64) -> Record {
    Record {
        pack: Some(PackPlace {
            n: None,
            offset,
            length: 5,
        }),
        error: error(!ok, ErrorKind::Save),
        ..record(url, ok)
    }
}

/// A failed response in a pack.
fn archived(url: &str, offset: u64) -> Record {
    Record {
        error: error(true, ErrorKind::Status),
        ..packed(url, false, offset)
    }
}

fn error(failed: bool, kind: ErrorKind) -> Option<RecordError> {
    failed.then(|| RecordError {
        kind,
        message: String::new(),
        transient: false,
    })
}

/// Adds the records as those of a journal, each at 10 times its number.
fn read(records: &[Record], pack_limit: Option<u64>) -> JournalIndex {
    read_up_to(records, limits(pack_limit.map(at)))
}

fn at(offset: u64) -> PackPosition {
    PackPosition { n: None, offset }
}

fn limits(ends: impl IntoIterator<Item = PackPosition>) -> PackLimits {
    let mut limits = PackLimits::default();
    ends.into_iter().for_each(|end| limits.add(end));
    limits
}

fn read_up_to(records: &[Record], limits: PackLimits) -> JournalIndex {
    let mut index = JournalIndex::up_to(limits);
    for pass in 0..2 {
        for (number, record) in records.iter().enumerate() {
            index.add(record, number as u64 * 10);
        }
        index.finish_loading();
        if pass == 1 || !index.has_lost() {
            break;
        }
        index = index.anew();
    }
    index
}

fn file(name: &str) -> RelPath {
    RelPath::parse(name).unwrap()
}

#[test]
fn the_last_record_of_a_job_counts_and_a_page_is_not_forgotten_for_a_failure() {
    let runs = [false, true, false].map(|ok| record("http://a/", ok));
    let more = [record("http://b/", false), record("http://c/", true)];
    let known = read(&[runs.to_vec(), more.to_vec()].concat(), None);
    let get = |url| known.get(url, None, None);
    let entry = |offset| Some(JournalPlace { offset });
    assert_eq!(get("http://a/"), entry(10));
    assert_eq!(get("http://b/"), None);
    assert_eq!(get("http://c/"), entry(40));

    let runs = [true, false, true].map(|ok| record("http://a/", ok));
    let known = read(&runs, None);
    assert_eq!(known.get("http://a/", None, None), entry(20));
}

#[test]
fn a_failed_request_leaves_a_file_as_it_is() {
    let known = read(&[saved("http://a/", "x"), record("http://a/", false)], None);
    assert!(known.get("http://a/", Some(&file("x")), None).is_some());
}

#[test]
fn of_a_file_the_job_counts_that_wrote_it_last() {
    let records = [
        saved("http://a/", "x"),
        saved("http://b/", "y"),
        saved("http://b/", "X"),
    ];
    let known = read(&records, None);
    for (name, offset) in [("x", 20), ("X", 20), ("y", 10)] {
        let entry = known.get("http://a/", Some(&file(name)), None).unwrap();
        assert_eq!(entry.offset, offset, "{name}");
    }
}

#[test]
fn without_a_file_a_job_is_its_url_and_its_request() {
    let one = Record {
        request: Some("01".into()),
        ..record("http://a/", true)
    };
    let known = read(&[one], None);
    let knows = |url, request| known.get(url, None, request).is_some();
    assert!(knows("http://a/", Some("01")));
    assert!(!knows("http://a/", None) && !knows("http://a/", Some("")));
    assert!(!knows("http://b/", Some("01")));
    assert!(
        known
            .get("http://a/", Some(&file("x")), Some("01"))
            .is_none()
    );
}

#[test]
fn a_body_is_forgotten_when_the_place_it_has_now_is_said_to_be_lost() {
    let a = "http://a/";
    assert!(read(&[packed(a, true, 10), packed(a, false, 10)], None).is_empty());
    let again = [
        packed(a, true, 10),
        packed(a, false, 10),
        packed(a, true, 10),
    ];
    assert_eq!(read(&again, None).pack_end(), Some(at(15)), "packed again");
    let elsewhere = [
        packed(a, true, 3),
        packed(a, true, 10),
        packed(a, false, 10),
    ];
    let known = read(&elsewhere, None);
    assert_eq!(known.pack_end(), Some(at(8)));
    assert_eq!(known.get(a, None, None).unwrap().offset, 0);
    let known = read(&elsewhere, Some(7));
    assert_eq!((known.is_empty(), known.beyond_limit()), (true, 1));
}

#[test]
fn an_archived_failure_is_not_done_and_not_lost_and_the_pack_ends_after_it() {
    let (a, b) = ("http://a/", "http://b/");
    let known = read(
        &[packed(a, true, 10), archived(b, 20), archived(a, 30)],
        None,
    );
    assert_eq!(known.pack_end(), Some(at(35)));
    assert!(!known.has_lost());
    assert!(known.get(a, None, None).is_some());
    assert!(known.get(b, None, None).is_none());

    let lost = [archived(b, 20), packed(b, false, 20), packed(a, true, 10)];
    assert_eq!(read(&lost, None).pack_end(), Some(at(15)));
}

#[test]
fn what_a_url_added_beyond_its_body_counts_and_is_lost_with_it() {
    let a = "http://a/";
    let revisit = |ok| Record {
        pack_end: Some(40),
        ..packed(a, ok, 10)
    };
    assert_eq!(read(&[revisit(true)], None).pack_end(), Some(at(40)));
    let known = read(&[revisit(true)], Some(39));
    assert_eq!((known.is_empty(), known.beyond_limit()), (true, 1));
    assert!(read(&[revisit(true), revisit(false)], None).is_empty());
    let redirect = Record {
        pack: None,
        ..revisit(false)
    };
    let redirect = Record {
        error: error(true, ErrorKind::Dns),
        ..redirect
    };
    assert_eq!(read(&[redirect], None).pack_end(), Some(at(40)));
}

#[test]
fn what_is_lost_of_one_pack_leaves_the_others() {
    let (a, b, c) = ("http://a/", "http://b/", "http://c/");
    let in_pack = |url, n, offset| Record {
        pack: Some(PackPlace {
            n: Some(n),
            offset,
            length: 5,
        }),
        ..record(url, true)
    };
    // The body of `c` is that of `a`, and refers to it.
    let refers = Record {
        pack_end: Some(90),
        pack_end_n: Some(2),
        ..in_pack(c, 0, 10)
    };
    let records = [in_pack(a, 0, 10), in_pack(b, 1, 10), refers];
    let end = |n, offset| PackPosition { n: Some(n), offset };
    let all = read_up_to(&records, limits([]));
    assert_eq!(all.pack_end(), Some(end(2, 90)));
    for (limit, left) in [
        (end(0, 0), [b].as_slice()),
        (end(1, 14), &[a, c]),
        (end(2, 80), &[a, b]),
    ] {
        let known = read_up_to(&records, limits([limit]));
        let found = [a, b, c]
            .into_iter()
            .filter(|url| known.get(url, None, None).is_some());
        assert_eq!(found.collect::<Vec<_>>(), left, "{limit:?}");
        assert_eq!(known.beyond_limit(), 3 - left.len());
    }
}

/// Bytes of the index per record.
fn size_of_each(record: impl Fn(u64, Record) -> Record) -> usize {
    const MANY: u64 = 10_000;
    let url = |number| format!("http://a/{number}");
    let records: Vec<_> = (0..MANY)
        .map(|number| record(number, self::record(&url(number), true)))
        .collect();
    read(&records, None).size() / MANY as usize
}

#[test]
fn a_url_takes_16_bytes_whatever_is_known_of_it() {
    assert_eq!(size_of_each(|_, record| record), 16);
    let saved = |number, record| Record {
        file: Some(format!("a/{number}")),
        sha256: Some(crate::model::Sha256([1; 32])),
        final_url: Some("x".repeat(30_000)),
        etag: Some("x".repeat(4096)),
        ..record
    };
    assert_eq!(size_of_each(saved), 16);
    let packed = |offset, record| Record {
        pack: Some(PackPlace {
            n: None,
            offset,
            length: 5,
        }),
        ..record
    };
    assert_eq!(size_of_each(packed), 16);
    let failed = |_, record| Record {
        ok: false,
        ..record
    };
    assert_eq!(size_of_each(failed), 0, "it is not done");
    let again = |number, record| Record {
        url: format!("http://a/{}", number % 100),
        ..record
    };
    assert_eq!(size_of_each(again), 0, "a URL, not a record");
}

/// A naive model: searches all records for every lookup.
struct HistoryModel<'a> {
    records: &'a [Record],
    limit: Option<u64>,
}

impl HistoryModel<'_> {
    /// Records whose response is in the pack, and those without one, each with its number.
    fn there(&self) -> impl Iterator<Item = (usize, &Record)> {
        let is_lost = move |number: usize, done: &Record| {
            done.end_in_pack().is_some()
                && self.records[number..].iter().any(|later| {
                    let is_same = later.file.is_none()
                        && later.url == done.url
                        && later.request == done.request;
                    !later.ok
                        && later.reports_loss()
                        && is_same
                        && later.end_in_pack() == done.end_in_pack()
                })
        };
        self.records
            .iter()
            .enumerate()
            .filter(move |(number, record)| !is_lost(*number, record))
            .filter(|(_, record)| {
                let end = record.end_in_pack();
                end.is_none_or(|end| self.limit.is_none_or(|limit| end.offset <= limit))
            })
    }

    /// Records of bodies that are available, each with its number.
    fn done(&self) -> impl Iterator<Item = (usize, &Record)> {
        let is_body = |record: &Record| record.ok && record.bytes.is_some();
        self.there().filter(move |(_, record)| is_body(record))
    }

    fn pack_end(&self) -> Option<PackPosition> {
        let is_failure =
            |record: &Record| !record.ok && record.file.is_none() && !record.reports_loss();
        let failures = self.there().filter(|(_, record)| is_failure(record));
        let all = self.done().chain(failures);
        all.filter_map(|(_, record)| record.end_in_pack()).max()
    }

    fn get(&self, url: &str, file: Option<&str>, request: Option<&str>) -> Option<JournalPlace> {
        let is_it = |record: &Record| match file {
            Some(file) => record.file.as_deref() == Some(file),
            None => {
                record.file.is_none() && record.url == url && record.request.as_deref() == request
            }
        };
        // A failure that names a file means that the file has other content by now.
        let is_gone = |number: usize| {
            let mut later = self.records[number..].iter();
            file.is_some() && later.any(|later| !later.ok && later.file.as_deref() == file)
        };
        let (number, _) = self
            .done()
            .filter(|(_, record)| is_it(record))
            .last()
            .filter(|(number, _)| !is_gone(*number))?;
        Some(JournalPlace {
            offset: number as u64 * 10,
        })
    }
}

fn few(what: &'static str) -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(
        0.3,
        (0u8..2).prop_map(move |number| format!("{what}{number}")),
    )
}

prop_compose! {
    fn any_record()(
        number in 0u8..6,
        ok in any::<bool>(),
        bytes in prop::option::weighted(0.9, 0u64..4),
        pack in prop::option::of((0u64..3).prop_map(|at| PackPlace { n: None, offset: at * 10, length: 5 })),
        pack_end in prop::option::weighted(0.3, (0u64..3).prop_map(|at| at * 10 + 7)),
        kind in prop_oneof![Just(ErrorKind::Save), Just(ErrorKind::Status)],
        file in few("file"),
        request in few("request"),
    ) -> Record {
        let error = error(!ok, kind);
        Record { bytes, pack, pack_end, error, file, request, ..record(&format!("http://a/{number}"), ok) }
    }
}

proptest! {
    #[test]
    fn it_knows_what_all_records_together_say(
        records in prop::collection::vec(any_record(), 0..120),
        limit in prop::option::of(0u64..30),
    ) {
        let model = HistoryModel { records: &records, limit };
        let known = read(&records, limit);
        prop_assert!(!known.is_empty() || model.done().next().is_none());
        prop_assert_eq!(known.pack_end(), model.pack_end());
        let each = |what: &str| [None, Some(format!("{what}0")), Some(format!("{what}1"))];
        for number in 0..7 {
            let url = format!("http://a/{number}");
            for file in each("file") {
                for request in each("request") {
                    let path = file.as_deref().map(|file| RelPath::parse(file).unwrap());
                    let place = known.get(&url, path.as_ref(), request.as_deref());
                    // The caller sees that the record is not of a body.
                    let is_body = |place: &JournalPlace| records[place.offset as usize / 10].ok;
                    prop_assert_eq!(
                        place.filter(is_body),
                        model.get(&url, file.as_deref(), request.as_deref()),
                        "{} {:?} {:?}", url, file, request
                    );
                }
            }
        }
    }
}
