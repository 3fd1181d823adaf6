//! What earlier runs did with a job.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{PackPlace, Record, RelPath, Sha256};

/// What an earlier run did with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Length of the body.
    pub bytes: u64,
    /// Its place in a pack, when it went into one.
    pub pack: Option<PackPlace>,
    /// Whether a later try failed, of whatever line with this URL and request: a record of a
    /// failure names no file.
    pub failed_since: bool,
    /// The rest of what was written down, where it is wanted.
    pub detail: Option<Box<Detail>>,
}

/// What else was written down of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// The URL that sent it.
    pub final_url: Option<String>,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub last_modified: Option<String>,
    /// Its hash.
    pub sha256: Option<Sha256>,
}

/// A hash of 128 bits under a key of this process: no list can be made whose URLs meet there.
type Key = [u64; 2];

/// What was fetched.
#[derive(Debug)]
struct Done {
    key: Key,
    /// The number of its record.
    at: u64,
    bytes: u64,
    pack: Option<Box<PackPlace>>,
    detail: Option<Box<Detail>>,
}

/// What failed.
#[derive(Debug)]
struct Failure {
    key: Key,
    at: u64,
    /// The place of its body in a pack, if it says that this was lost.
    lost: Option<Box<PackPlace>>,
}

/// What earlier runs did, by job. It knows jobs only by a hash, so that a URL of any length takes
/// some 50 bytes; it is sorted once, and not a table with room to grow, because there may be
/// millions.
#[derive(Debug, Default)]
pub struct History {
    done: Vec<Done>,
    failures: Vec<Failure>,
    records: u64,
    pack_end: Option<u64>,
    keys: (RandomState, RandomState),
    with_detail: bool,
}

impl History {
    /// An empty one. The details (validators, hashes) take some hundred bytes for each job.
    #[must_use]
    pub fn new(with_detail: bool) -> Self {
        Self {
            with_detail,
            ..Self::default()
        }
    }

    /// Whether nothing is known to be fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Takes in a record of an earlier run. It counts from [`complete`](Self::complete) on.
    pub fn add(&mut self, record: Record) {
        let (file, request) = (record.file.as_deref(), record.request.as_deref());
        self.records += 1;
        let at = self.records;
        let pack = record.pack.map(Box::new);
        if !record.ok {
            // A failure names no file: it is one of the page, whatever file that goes to.
            let key = self.key(&record.url, None, request);
            let lost = pack;
            return self.failures.push(Failure { key, at, lost });
        }
        let Some(bytes) = record.bytes else {
            return;
        };
        let key = self.key(&record.url, file, request);
        // A hash is always wanted: a list may come to expect another one.
        let detail = (self.with_detail || record.sha256.is_some()).then(|| {
            Box::new(Detail {
                final_url: record.final_url,
                content_type: record.content_type,
                etag: record.etag,
                last_modified: record.last_modified,
                sha256: record.sha256,
            })
        });
        self.done.push(Done {
            key,
            at,
            bytes,
            pack,
            detail,
        });
    }

    /// All records are in: of several for one job, the last one counts.
    pub fn complete(&mut self) {
        self.failures.sort_unstable_by_key(|one| (one.key, one.at));
        // The later ones first: the first of a job is kept.
        self.done
            .sort_unstable_by_key(|one| (one.key, u64::MAX - one.at));
        let failures = &self.failures;
        self.done.retain(|one| !is_lost(one, failures));
        // Those that don't count any more stand in the pack all the same.
        self.pack_end = self.last_pack_end();
        self.done.dedup_by_key(|one| one.key);
        self.done.shrink_to_fit();
        self.failures.shrink_to_fit();
    }

    /// Forgets what is in no pack: a run without one may have written the same journal.
    pub fn forget_unpacked(&mut self) {
        self.done.retain(|one| one.pack.is_some());
    }

    /// Where the last record ends that is known to stand in a pack.
    #[must_use]
    pub fn pack_end(&self) -> Option<u64> {
        self.pack_end
    }

    fn last_pack_end(&self) -> Option<u64> {
        let packs = self.done.iter().filter_map(|one| one.pack.as_deref());
        packs.map(|place| place.end()).max()
    }

    /// Forgets what stands behind this place of a pack: it is not there. Gives how much it was.
    pub fn forget_packed_beyond(&mut self, length: u64) -> usize {
        let before = self.done.len();
        self.done
            .retain(|one| one.pack.as_ref().is_none_or(|place| place.end() <= length));
        self.pack_end = self.last_pack_end();
        before - self.done.len()
    }

    /// What is known of the job with this URL, this file (where bodies are saved to files) and
    /// this request (where it has one of its own).
    #[must_use]
    pub fn get(&self, url: &str, file: Option<&RelPath>, request: Option<&str>) -> Option<Past> {
        let key = self.key(url, file.map(RelPath::as_str), request);
        let found = self.done.binary_search_by_key(&key, |one| one.key).ok()?;
        let done = self.done.get(found)?;
        let page = self.key(url, None, request);
        let failure = of_key(&self.failures, page).last();
        Some(Past {
            bytes: done.bytes,
            pack: done.pack.as_deref().copied(),
            failed_since: failure.is_some_and(|failure| failure.at > done.at),
            detail: done.detail.clone(),
        })
    }

    fn key(&self, url: &str, file: Option<&str>, request: Option<&str>) -> Key {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            for text in [Some(url), file, request] {
                // No text holds such a byte. What is empty is not what is not there.
                hasher.write(text.unwrap_or_default().as_bytes());
                hasher.write_u8(if text.is_some() { 0xff } else { 0xfe });
            }
            hasher.finish()
        };
        [half(&self.keys.0), half(&self.keys.1)]
    }
}

/// The failures of a page, in their order.
fn of_key(failures: &[Failure], key: Key) -> &[Failure] {
    let from = failures.partition_point(|one| one.key < key);
    let to = failures.partition_point(|one| one.key <= key);
    failures.get(from..to).unwrap_or_default()
}

/// Whether a later record says that the body is no longer where it was.
fn is_lost(done: &Done, failures: &[Failure]) -> bool {
    done.pack.is_some()
        && of_key(failures, done.key)
            .iter()
            .any(|failure| failure.at > done.at && failure.lost == done.pack)
}

#[cfg(test)]
mod tests {
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
}
