//! Where in the journal earlier runs have written down what they did with a job.

#[cfg(test)]
mod tests;

use super::compact_map::{CompactMap, HashKey, KeyHasher};
use super::{PackPlace, Record, RelPath, Sha256};

/// What is known of a page that is asked for again, as long as it waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorFetch {
    /// Length of the body.
    pub bytes: u64,
    /// Its place in a pack, when it went into one.
    pub pack: Option<PackPlace>,
    /// Its `Content-Type`, unless that is very long.
    pub content_type: Option<String>,
    /// Its hash.
    pub sha256: Option<Sha256>,
}

/// The record of the job that was last fetched to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPlace {
    /// Where in the journal its line begins.
    pub offset: u64,
    /// Whether a later try failed, of whatever line with this URL and request: a record of a
    /// failure names no file.
    pub failed_since: bool,
}

/// Which record of the journal counts. A body that has a file counts as long as no other job has
/// written that file since; one without a file counts for its URL and request. There may be
/// millions, so only hashes and places in the journal are kept: 16 bytes for each job, and 16 for
/// each page that failed. All else is read again from the journal.
#[derive(Debug, Default)]
pub struct History {
    keys: KeyHasher,
    /// Where the last record of a body is, by its file, or by its URL and request.
    done: CompactMap,
    /// Where the last record of a failure is, by page.
    failures: CompactMap,
    /// Where the last record is that says that a body is no longer in the pack.
    lost: CompactMap,
    pack_end: Option<u64>,
    pack_limit: Option<u64>,
    beyond_limit: usize,
}

/// What a body is known by.
#[derive(Hash)]
enum BodyName<'a> {
    /// Some disks don't tell upper from lower case, so they are not told apart here.
    File(String),
    Page(&'a str, Option<&'a str>),
    Packed(&'a str, Option<&'a str>, PackPlace),
}

impl History {
    /// Takes in the record of an earlier run that begins at this place of the journal. It counts
    /// from [`complete`](Self::finish_loading) on.
    pub fn add(&mut self, record: &Record, offset: u64) {
        let (url, request) = (record.url.as_str(), record.request.as_deref());
        if let (false, Some(file)) = (record.ok, &record.file) {
            // What was in that file is no longer there.
            let key = self.key(url, Some(file), request);
            if self.done.get(key).is_some() {
                self.done.put(key, offset);
            }
        } else if !record.ok {
            // A failure names no file: it is one of the page, whatever file that goes to.
            let page = self.keys.of(&BodyName::Page(url, request));
            self.failures.put(page, offset);
            if let Some(place) = record.pack {
                let body = self.keys.of(&BodyName::Packed(url, request, place));
                // All may be added twice; then the last one is known already.
                if self.lost.get(body) < Some(offset) {
                    self.lost.put(body, offset);
                }
            }
        } else if record.bytes.is_some() && self.is_there(record, offset) {
            let key = self.key(url, record.file.as_deref(), request);
            self.done.put(key, offset);
        }
    }

    /// Whether a body is not known to be gone from its pack.
    fn is_there(&mut self, record: &Record, offset: u64) -> bool {
        let Some(place) = record.pack else {
            return true;
        };
        let body = BodyName::Packed(&record.url, record.request.as_deref(), place);
        if self.lost.get(self.keys.of(&body)) > Some(offset) {
            return false;
        }
        if self.pack_limit.is_some_and(|limit| place.end() > limit) {
            self.beyond_limit += 1;
            return false;
        }
        self.pack_end = self.pack_end.max(Some(place.end()));
        true
    }

    /// All records are in.
    pub fn finish_loading(&mut self) {
        self.done.merge();
        self.failures.merge();
        self.lost.merge();
    }

    /// Whether a record said that a body is no longer in the pack: all have to be added once more
    /// then, to [`anew`](Self::anew), because that concerns those before it.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// An empty one that passes over what stands beyond this length of the pack.
    #[must_use]
    pub fn up_to(pack_length: u64) -> Self {
        Self {
            pack_limit: Some(pack_length),
            ..Self::default()
        }
    }

    /// An empty one that knows already what was lost.
    #[must_use]
    pub fn anew(self) -> Self {
        Self {
            keys: self.keys,
            lost: self.lost,
            pack_limit: self.pack_limit,
            ..Self::default()
        }
    }

    /// Whether nothing is known to be fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Where the last record ends that is known to stand in a pack.
    #[must_use]
    pub fn pack_end(&self) -> Option<u64> {
        self.pack_end
    }

    /// How many bodies were passed over because they stand beyond the limit.
    #[must_use]
    pub fn beyond_limit(&self) -> usize {
        self.beyond_limit
    }

    /// The record that counts for the job with this URL, this file (where bodies are saved to
    /// files) and this request (where it is no plain GET). It may be that of another job which
    /// has written the file since, so whoever reads it has to look.
    #[must_use]
    pub fn get(
        &self,
        url: &str,
        file: Option<&RelPath>,
        request: Option<&str>,
    ) -> Option<JournalPlace> {
        let key = self.key(url, file.map(RelPath::as_str), request);
        let offset = self.done.get(key)?;
        let failed_since = !self.failures.is_empty() && {
            let page = self.keys.of(&BodyName::Page(url, request));
            self.failures.get(page) > Some(offset)
        };
        Some(JournalPlace {
            offset,
            failed_since,
        })
    }

    fn key(&self, url: &str, file: Option<&str>, request: Option<&str>) -> HashKey {
        self.keys.of(&match file {
            Some(file) => BodyName::File(file.to_lowercase()),
            None => BodyName::Page(url, request),
        })
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn size(&self) -> usize {
        self.done.size() + self.failures.size() + self.lost.size()
    }
}
