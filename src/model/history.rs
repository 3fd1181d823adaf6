//! What earlier runs did with a job.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::{PackPlace, Record, RelPath, Sha256};

/// What an earlier run did with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Length of the body.
    pub bytes: u64,
    /// Its place in a pack, when it went into one.
    pub pack: Option<PackPlace>,
    /// Whether a later try failed.
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

/// What earlier runs did, by job. It knows jobs only by a hash of 128 bits under a key of this
/// process: no list can be made whose URLs meet there, and a URL of any length takes no more
/// than a few dozen bytes.
#[derive(Debug, Default)]
pub struct History {
    jobs: HashMap<u128, Past>,
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

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes in a record of an earlier run. Of several, the last one counts.
    pub fn add(&mut self, record: Record) {
        let (file, request) = (record.file.as_deref(), record.request.as_deref());
        let key = self.key(&record.url, file, request);
        if !record.ok {
            self.add_failure(key, record.pack);
            return;
        }
        let Some(bytes) = record.bytes else {
            return;
        };
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
        let past = Past {
            bytes,
            pack: record.pack,
            failed_since: false,
            detail,
        };
        self.jobs.insert(key, past);
    }

    /// A page is not forgotten for a failure, unless that says that its body was lost.
    fn add_failure(&mut self, key: u128, lost: Option<PackPlace>) {
        let Some(past) = self.jobs.get_mut(&key) else {
            return;
        };
        past.failed_since = true;
        if lost.is_some() && past.pack == lost {
            self.jobs.remove(&key);
        }
    }

    /// Forgets what is in no pack: a run without one may have written the same journal.
    pub fn forget_unpacked(&mut self) {
        self.jobs.retain(|_, past| past.pack.is_some());
    }

    /// Where the last record ends that is known to stand in a pack.
    #[must_use]
    pub fn pack_end(&self) -> Option<u64> {
        let packs = self.jobs.values().filter_map(|past| past.pack);
        packs.map(PackPlace::end).max()
    }

    /// Forgets what stands behind this place of a pack: it is not there. Gives how much it was.
    pub fn forget_packed_beyond(&mut self, length: u64) -> usize {
        let before = self.jobs.len();
        self.jobs
            .retain(|_, past| past.pack.is_none_or(|place| place.end() <= length));
        before - self.jobs.len()
    }

    /// What is known of the job with this URL, this file (where bodies are saved to files) and
    /// this request (where it has one of its own).
    #[must_use]
    pub fn get(&self, url: &str, file: Option<&RelPath>, request: Option<&str>) -> Option<&Past> {
        if self.jobs.is_empty() {
            return None;
        }
        self.jobs
            .get(&self.key(url, file.map(RelPath::as_str), request))
    }

    fn key(&self, url: &str, file: Option<&str>, request: Option<&str>) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            for text in [Some(url), file, request] {
                // Neither a URL nor a path holds such a byte.
                hasher.write(text.unwrap_or_default().as_bytes());
                hasher.write_u8(0xff);
            }
            u128::from(hasher.finish())
        };
        half(&self.keys.0) << 64 | half(&self.keys.1)
    }
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

    #[test]
    fn the_last_record_of_a_job_counts_and_a_page_is_not_forgotten_for_a_failure() {
        let mut history = History::new(true);
        for ok in [false, true, false] {
            history.add(record("http://a/", ok));
        }
        history.add(record("http://b/", false));
        let past = history.get("http://a/", None, None).unwrap();
        assert!(past.failed_since);
        assert_eq!(past.bytes, 3);
        assert_eq!(past.detail.as_ref().unwrap().etag.as_deref(), Some("\"a\""));
        assert_eq!(history.get("http://b/", None, None), None);
        history.add(record("http://a/", true));
        assert!(!history.get("http://a/", None, None).unwrap().failed_since);
    }

    #[test]
    fn a_body_is_forgotten_when_the_place_it_has_now_is_said_to_be_lost() {
        let packed = |ok, offset| Record {
            pack: Some(PackPlace { offset, length: 5 }),
            ..record("http://a/", ok)
        };
        let mut history = History::new(false);
        history.add(packed(true, 10));
        history.add(packed(false, 10));
        assert!(history.is_empty());
        history.add(packed(true, 3));
        history.add(packed(false, 10));
        assert_eq!(history.pack_end(), Some(8));
        history.add(record("http://b/", true));
        history.forget_unpacked();
        assert!(history.get("http://b/", None, None).is_none());
        assert!(history.get("http://a/", None, None).is_some());
    }

    #[test]
    fn a_job_is_its_url_its_file_and_its_request() {
        let mut history = History::new(false);
        let mut one = record("http://a/", true);
        one.file = Some("x".into());
        one.request = Some("01".into());
        history.add(one);
        let (x, y) = (RelPath::parse("x").unwrap(), RelPath::parse("y").unwrap());
        let known = |url, file, request| history.get(url, file, request).is_some();
        assert!(known("http://a/", Some(&x), Some("01")));
        assert!(!known("http://a/", Some(&y), Some("01")));
        assert!(!known("http://a/", Some(&x), None));
        assert!(!known("http://a/", None, Some("01")));
        assert!(!known("http://a/x", None, None));
        assert!(
            history
                .get("http://a/", Some(&x), Some("01"))
                .unwrap()
                .detail
                .is_none()
        );
    }
}
