//! What earlier runs did with a job.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::rows::{Body, Rows};
use super::table::{Key, Keys, Table};
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

impl Detail {
    fn of_hash(hash: Sha256) -> Self {
        Self {
            sha256: Some(hash),
            ..Self::default()
        }
    }

    /// The hash, when nothing else is known.
    fn only_hash(&self) -> Option<Sha256> {
        let texts = [
            &self.final_url,
            &self.content_type,
            &self.etag,
            &self.last_modified,
        ];
        let has_text = texts.iter().any(|text| text.is_some());
        self.sha256.filter(|_| !has_text)
    }
}

/// What earlier runs did, by job. There may be millions, so it knows jobs only by a hash, and a
/// URL of any length takes 16 bytes: 32 with a place in a pack, 56 with a hash of the body, some
/// hundreds with all details. A page that failed takes 16, and 16 more if it was fetched later.
#[derive(Debug, Default)]
pub struct History {
    keys: Keys,
    /// What was fetched, and what was lost of it again.
    done: Table,
    rows: Rows,
    /// The number of the last record of a failure, by page.
    failures: Table,
    /// The number of the last record of a job whose page had failed before it. Who is not here
    /// was fetched before its page ever failed.
    retried: Table,
    records: u64,
    pack_end: Option<u64>,
    with_detail: bool,
}

impl History {
    /// An empty one. The details (validators) take some hundred bytes for each job.
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
        self.records += 1;
        let (file, request) = (record.file.as_deref(), record.request.as_deref());
        if !record.ok {
            // A failure names no file: it is one of the page, whatever file that goes to.
            let page = self.key(&record.url, None, request);
            return self.add_failure(page, record.pack);
        }
        if record.bytes.is_none() {
            return;
        }
        let key = self.key(&record.url, file, request);
        if !self.failures.is_empty() {
            let page = self.key(&record.url, None, request);
            if self.failures.get(page).is_some() {
                push_number(&mut self.retried, key, self.records);
            }
        }
        self.add_done(key, record);
    }

    fn add_failure(&mut self, page: Key, lost: Option<PackPlace>) {
        push_number(&mut self.failures, page, self.records);
        if let Some(place) = lost {
            let lost = self.rows.lost(place);
            self.push_done(page, lost);
        }
    }

    fn add_done(&mut self, key: Key, record: Record) {
        let detail = if self.with_detail {
            Some(Detail {
                final_url: record.final_url,
                content_type: record.content_type,
                etag: record.etag,
                last_modified: record.last_modified,
                sha256: record.sha256,
            })
        } else {
            // A hash is always wanted: a list may come to expect another one.
            record.sha256.map(Detail::of_hash)
        };
        let body = self.rows.body(Body {
            bytes: record.bytes.unwrap_or_default(),
            pack: record.pack,
            detail,
        });
        self.push_done(key, body);
    }

    fn push_done(&mut self, key: Key, number: u64) {
        self.done.push(key, number);
        if self.done.is_due() {
            self.done.settle(|old, new| self.rows.replaces(old, new));
        }
    }

    /// All records are in: of several for one job, the last one counts.
    pub fn complete(&mut self) {
        self.failures.settle(|_, _| true);
        self.retried.settle(|_, _| true);
        self.done.settle(|old, new| self.rows.replaces(old, new));
        self.pack_end = None;
        if self.rows.has_packed() {
            self.settle_packed();
        }
        self.rows.shrink();
    }

    /// What was lost is forgotten, and all but the last of what is left of a job.
    fn settle_packed(&mut self) {
        let Self {
            done,
            rows,
            pack_end,
            ..
        } = self;
        let (mut job, mut is_known, mut lost) = (None, false, HashSet::new());
        done.retain_from_last(|key, number| {
            if job.replace(key) != Some(key) {
                is_known = false;
                lost.clear();
            }
            if let Some(place) = rows.lost_place(number) {
                lost.insert(place);
                return false;
            }
            let pack = rows.pack(number);
            if pack.is_some_and(|place| lost.contains(&place)) {
                return false;
            }
            // What does not count any more stands in the pack all the same.
            *pack_end = (*pack_end).max(pack.map(PackPlace::end));
            !std::mem::replace(&mut is_known, true)
        });
    }

    /// Forgets what is in no pack: a run without one may have written the same journal.
    pub fn forget_unpacked(&mut self) {
        let rows = &self.rows;
        self.done
            .retain_from_last(|_, number| rows.pack(number).is_some());
    }

    /// Where the last record ends that is known to stand in a pack.
    #[must_use]
    pub fn pack_end(&self) -> Option<u64> {
        self.pack_end
    }

    /// Forgets what stands behind this place of a pack: it is not there. Gives how much it was.
    pub fn forget_packed_beyond(&mut self, length: u64) -> usize {
        let (rows, mut forgotten, mut end) = (&self.rows, 0, None);
        self.done.retain_from_last(|_, number| {
            let place_end = rows.pack(number).map(PackPlace::end);
            let stays = place_end.is_none_or(|place_end| place_end <= length);
            if stays {
                end = end.max(place_end);
            } else {
                forgotten += 1;
            }
            stays
        });
        self.pack_end = end;
        forgotten
    }

    /// What is known of the job with this URL, this file (where bodies are saved to files) and
    /// this request (where it has one of its own).
    #[must_use]
    pub fn get(&self, url: &str, file: Option<&RelPath>, request: Option<&str>) -> Option<Past> {
        let key = self.key(url, file.map(RelPath::as_str), request);
        let body = self.rows.get(self.done.get(key)?)?;
        let failed_since = !self.failures.is_empty() && {
            let page = self.key(url, None, request);
            self.failures.get(page) > self.retried.get(key)
        };
        Some(Past {
            bytes: body.bytes,
            pack: body.pack,
            failed_since,
            detail: body.detail.map(Box::new),
        })
    }

    fn key(&self, url: &str, file: Option<&str>, request: Option<&str>) -> Key {
        // What is empty is not what is not there.
        self.keys.of(&(url, file, request))
    }

    /// Bytes that it takes, without what the details hold.
    #[cfg(test)]
    fn size(&self) -> usize {
        self.done.size() + self.failures.size() + self.retried.size() + self.rows.size()
    }
}

/// Adds the number of a record, which takes the place of those before it.
fn push_number(table: &mut Table, key: Key, number: u64) {
    table.push(key, number);
    if table.is_due() {
        table.settle(|_, _| true);
    }
}
