use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::{OutcomeName, Place};

fn record(url: &str, ok: bool) -> Record {
    let place = Place {
        number: 0,
        input: "-".into(),
        line: 1,
    };
    Record {
        ok,
        outcome: if ok {
            OutcomeName::Fetched
        } else {
            OutcomeName::Failed
        },
        bytes: ok.then_some(3),
        etag: Some("\"a\"".into()),
        ..Record::of_line(&place, url.into())
    }
}

fn history(with_detail: bool, records: impl IntoIterator<Item = Record>) -> History {
    let mut history = History::new(with_detail);
    for record in records {
        history.add(record);
    }
    history.complete();
    history
}

fn get(history: &History, url: &str) -> Option<Past> {
    history.get(url, None, None)
}

#[test]
fn the_last_record_of_a_job_counts_and_a_page_is_not_forgotten_for_a_failure() {
    let runs = [false, true, false].map(|ok| record("http://a/", ok));
    let more = [record("http://b/", false), record("http://c/", true)];
    let known = history(true, runs.into_iter().chain(more));
    let past = get(&known, "http://a/").unwrap();
    assert!(past.failed_since);
    assert_eq!(past.bytes, 3);
    assert_eq!(past.detail.unwrap().etag.as_deref(), Some("\"a\""));
    assert_eq!(get(&known, "http://b/"), None);
    assert!(!get(&known, "http://c/").unwrap().failed_since);

    let runs = [true, false, true].map(|ok| record("http://a/", ok));
    let known = history(false, runs);
    assert!(!get(&known, "http://a/").unwrap().failed_since);
}

#[test]
fn a_failure_names_no_file_and_is_one_of_the_page_all_the_same() {
    let file = RelPath::parse("x").unwrap();
    let records = [true, false].map(|ok| Record {
        file: ok.then(|| "x".into()),
        ..record("http://a/", ok)
    });
    let past = history(false, records).get("http://a/", Some(&file), None);
    assert!(past.unwrap().failed_since);
}

#[test]
fn a_body_is_forgotten_when_the_place_it_has_now_is_said_to_be_lost() {
    let packed = |ok, offset| Record {
        pack: Some(PackPlace { offset, length: 5 }),
        ..record("http://a/", ok)
    };
    assert!(history(false, [packed(true, 10), packed(false, 10)]).is_empty());
    let again = [packed(true, 10), packed(false, 10), packed(true, 10)];
    assert_eq!(history(false, again).pack_end(), Some(15), "packed again");
    let elsewhere = [packed(true, 10), packed(true, 3), packed(false, 10)];
    let more = [record("http://b/", true)];
    let mut known = history(false, elsewhere.into_iter().chain(more));
    assert_eq!(known.pack_end(), Some(8));
    known.forget_unpacked();
    assert!(get(&known, "http://b/").is_none());
    assert!(get(&known, "http://a/").is_some());
    assert_eq!(known.forget_packed_beyond(7), 1);
    assert!(known.is_empty());
}

#[test]
fn what_is_empty_is_not_what_is_not_there() {
    let mut one = record("http://a/", true);
    one.request = Some(String::new());
    let known = history(false, [one]);
    assert!(known.get("http://a/", None, Some("")).is_some());
    assert!(get(&known, "http://a/").is_none());
}

#[test]
fn a_job_is_its_url_its_file_and_its_request() {
    let mut one = record("http://a/", true);
    one.file = Some("x".into());
    one.request = Some("01".into());
    let history = history(false, [one]);
    let (x, y) = (RelPath::parse("x").unwrap(), RelPath::parse("y").unwrap());
    let known = |url, file, request| history.get(url, file, request).is_some();
    assert!(known("http://a/", Some(&x), Some("01")));
    assert!(!known("http://a/", Some(&y), Some("01")));
    assert!(!known("http://a/", Some(&x), None));
    assert!(!known("http://a/", None, Some("01")));
    assert!(!known("http://a/x", None, None));
    let past = history.get("http://a/", Some(&x), Some("01")).unwrap();
    assert!(past.detail.is_none());
}

/// Bytes that it takes for each of many records.
fn size_of_each(record: impl Fn(u64, Record) -> Record) -> usize {
    const MANY: u64 = 10_000;
    let url = |number| format!("http://a/{number}");
    let records = (0..MANY).map(|number| record(number, self::record(&url(number), true)));
    let known = history(false, records);
    known.size() / MANY as usize
}

#[test]
fn a_url_takes_16_bytes_and_32_in_a_pack() {
    assert_eq!(size_of_each(|_, record| record), 16);
    let saved = |number, record| Record {
        file: Some(format!("a/{number}")),
        ..record
    };
    assert_eq!(size_of_each(saved), 16);
    let packed = |number, record| Record {
        pack: Some(PackPlace {
            offset: number << 16,
            length: 1 << 16,
        }),
        ..record
    };
    assert_eq!(size_of_each(packed), 32);
    let hashed = |_, record| Record {
        sha256: Some(Sha256([1; 32])),
        ..record
    };
    assert_eq!(size_of_each(hashed), 56);
    let failed = |_, record| Record {
        ok: false,
        ..record
    };
    assert_eq!(size_of_each(failed), 16);
    let again = |number, record| Record {
        url: format!("http://a/{}", number % 100),
        ..record
    };
    assert_eq!(size_of_each(again), 0, "a URL, not a record");
}

#[test]
fn what_is_too_large_for_a_short_row_is_known_all_the_same() {
    let sizes = [(1 << 40) - 1, 1 << 40, (1 << 45) - 1, 1 << 45, u64::MAX];
    let packs = [
        None,
        Some(((1 << 48) - 1, (1 << 40) - 1)),
        Some((1 << 48, 5)),
        Some((5, 1 << 40)),
        Some((u64::MAX, u64::MAX)),
    ];
    let hashes = [None, Some(Sha256([7; 32]))];
    let mut records = Vec::new();
    for bytes in sizes {
        for pack in packs {
            for sha256 in hashes {
                records.push(Record {
                    bytes: Some(bytes),
                    pack: pack.map(|(offset, length)| PackPlace { offset, length }),
                    sha256,
                    ..record(&format!("http://a/{}", records.len()), true)
                });
            }
        }
    }
    let known = history(false, records.clone());
    for record in records {
        let past = get(&known, &record.url).unwrap();
        assert_eq!(Some(past.bytes), record.bytes);
        assert_eq!(past.pack, record.pack);
        let hash = past.detail.and_then(|detail| detail.sha256);
        assert_eq!(hash, record.sha256);
    }
}

/// The same by plain means: all records are kept, and looked through for every answer.
#[derive(Default)]
struct Model {
    /// With the number of each.
    done: Vec<(usize, Record)>,
    failures: Vec<(usize, Record)>,
}

/// A URL, a file and a request.
type JobName = (String, Option<String>, Option<String>);

fn name(record: &Record) -> JobName {
    let Record {
        url, file, request, ..
    } = record.clone();
    (url, file, request)
}

impl Model {
    fn new(records: &[Record]) -> Self {
        let mut model = Self::default();
        for (number, record) in records.iter().cloned().enumerate() {
            if !record.ok {
                model.failures.push((number, record));
            } else if record.bytes.is_some() {
                model.done.push((number, record));
            }
        }
        let failures = &model.failures;
        model.done.retain(|(number, done)| {
            let is_lost = done.pack.is_some()
                && done.file.is_none()
                && failures.iter().any(|(later, failure)| {
                    let is_same = failure.url == done.url && failure.request == done.request;
                    is_same && failure.pack == done.pack && later > number
                });
            !is_lost
        });
        model
    }

    /// The last record of each job.
    fn last(&self) -> HashMap<JobName, &(usize, Record)> {
        self.done.iter().map(|done| (name(&done.1), done)).collect()
    }

    fn keep_last(&mut self, keep: impl Fn(&Record) -> bool) {
        let last = self.last().into_values().cloned();
        self.done = last.filter(|(_, record)| keep(record)).collect();
    }

    fn pack_end(&self) -> Option<u64> {
        let packs = self.done.iter().filter_map(|(_, record)| record.pack);
        packs.map(PackPlace::end).max()
    }

    fn get(&self, job: &JobName, with_detail: bool) -> Option<Past> {
        let (number, record) = *self.last().get(job)?;
        let failed = |(later, failure): &(usize, Record)| {
            later > number && (&failure.url, &failure.request) == (&job.0, &job.2)
        };
        let detail = Detail {
            etag: record.etag.clone().filter(|_| with_detail),
            sha256: record.sha256,
            ..Detail::default()
        };
        Some(Past {
            bytes: record.bytes.unwrap(),
            pack: record.pack,
            failed_since: self.failures.iter().any(failed),
            detail: (with_detail || record.sha256.is_some()).then(|| Box::new(detail)),
        })
    }
}

fn url(number: u8) -> String {
    format!("http://a/{number}")
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
        pack in prop::option::of((0u64..3).prop_map(|at| PackPlace { offset: at * 10, length: 5 })),
        file in few("file"),
        request in few("request"),
        sha256 in prop::option::weighted(0.3, any::<u8>().prop_map(|byte| Sha256([byte; 32]))),
        etag in few("etag"),
    ) -> Record {
        Record { bytes, pack, file, request, sha256, etag, ..record(&url(number), ok) }
    }
}

/// That both say the same of every job there could be.
fn agree(known: &History, model: &Model, with_detail: bool) -> Result<(), TestCaseError> {
    prop_assert_eq!(known.is_empty(), model.done.is_empty());
    prop_assert_eq!(known.pack_end(), model.pack_end());
    let each = |what: &str| [None, Some(format!("{what}0")), Some(format!("{what}1"))];
    for number in 0..7 {
        for file in each("file") {
            for request in each("request") {
                let path = file.as_deref().map(|file| RelPath::parse(file).unwrap());
                let past = known.get(&url(number), path.as_ref(), request.as_deref());
                let job = (url(number), file.clone(), request);
                prop_assert_eq!(past, model.get(&job, with_detail), "{:?}", job);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn it_knows_what_all_records_together_say(
        records in prop::collection::vec(any_record(), 0..120),
        with_detail in any::<bool>(),
        cut in 0u64..30,
    ) {
        let mut model = Model::new(&records);
        let mut known = history(with_detail, records);
        agree(&known, &model, with_detail)?;
        known.forget_unpacked();
        let end = model.pack_end();
        model.keep_last(|record| record.pack.is_some());
        prop_assert_eq!(known.pack_end(), end, "also of what counts no more");
        let before = model.done.len();
        model.keep_last(|record| record.pack.is_some_and(|place| place.end() <= cut));
        prop_assert_eq!(known.forget_packed_beyond(cut), before - model.done.len());
        agree(&known, &model, with_detail)?;
    }
}
