//! An index of the journal: for each job, the position of the record that counts.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::compact_map::{CompactMap, HashKey, KeyHasher};
use super::{BodyHashes, PackLimits, PackPlace, PackPosition, Record, RelPath};

/// What an earlier run recorded about a page, kept while a job to re-fetch it is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PriorFetch {
    /// Length of the body.
    pub bytes: u64,
    /// Its position in a pack, if any.
    pub pack: Option<PackPlace>,
    /// Its `Content-Type`, unless that is very long.
    pub content_type: Option<String>,
    /// Its `filename`, unless that is very long.
    pub filename: Option<String>,
    /// Hashes of the body, if computed.
    pub hashes: Option<Box<BodyHashes>>,
}

/// The position of the record that counts for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalPlace {
    /// Offset of its line in the journal, in bytes.
    pub offset: u64,
}

/// Index of the records that count.
///
/// A body with a file counts until another job writes that file; one without a file counts for its
/// URL and request. There may be millions of records, so only hashes and journal offsets are kept:
/// 16 bytes per job. The rest is read from the journal again when needed.
#[derive(Debug, Default)]
pub(crate) struct JournalIndex {
    keys: KeyHasher,
    /// Offset of the last record of a body, by its file, or by URL and request.
    done: CompactMap,
    /// Offset of the last record that reports a body as lost from the pack.
    lost: CompactMap,
    /// End of the last response in each pack.
    pack_ends: BTreeMap<Option<u32>, u64>,
    limits: PackLimits,
    beyond_limit: usize,
}

/// The identity of a body.
#[derive(Hash)]
enum BodyName<'a> {
    /// Lower case, because some file systems ignore case.
    File(String),
    Page(&'a str, Option<&'a str>),
    /// By its end in the pack.
    Packed(&'a str, Option<&'a str>, PackPosition),
}

impl JournalIndex {
    /// Adds a record of an earlier run with its offset in the journal. Call
    /// [`finish_loading`](Self::finish_loading) after the last one.
    pub(crate) fn add(&mut self, record: &Record, offset: u64) {
        let (url, request) = (record.url.as_str(), record.request.as_deref());
        if let (false, Some(file)) = (record.ok, &record.file) {
            // The earlier body in that file is gone.
            let key = self.key(url, Some(file), request);
            if self.done.get(key).is_some() {
                self.done.put(key, offset);
            }
        } else if !record.ok {
            // A failed request leaves the body as it is.
            if !record.reports_loss() {
                // Archived: the pack must not be cut before it.
                self.is_there(record, offset);
            } else if let Some(end) = record.end_in_pack() {
                let body = self.keys.of(&BodyName::Packed(url, request, end));
                // In a second pass over the journal the last one is known already.
                if self.lost.get(body) < Some(offset) {
                    self.lost.put(body, offset);
                }
            }
        } else if record.bytes.is_some() && self.is_there(record, offset) {
            let key = self.key(url, record.file.as_deref(), request);
            self.done.put(key, offset);
        }
    }

    /// Whether a response is in its pack, as far as known; true without a pack.
    fn is_there(&mut self, record: &Record, offset: u64) -> bool {
        let Some(end) = record.end_in_pack() else {
            return true;
        };
        if self.is_lost(record, end, offset) {
            return false;
        }
        if record.is_beyond(&self.limits) {
            self.beyond_limit += 1;
            return false;
        }
        let last = self.pack_ends.entry(end.n).or_default();
        *last = end.offset.max(*last);
        true
    }

    fn is_lost(&self, record: &Record, end: PackPosition, offset: u64) -> bool {
        let body = BodyName::Packed(&record.url, record.request.as_deref(), end);
        self.lost.get(self.keys.of(&body)) > Some(offset)
    }

    /// Whether a record with this offset is that of a failure whose response is in the pack.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn is_archived_failure(&self, record: &Record, offset: u64) -> bool {
        !record.ok && self.is_packed(record, offset)
    }

    /// Whether the response of a record with this offset is in the pack.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn is_packed(&self, record: &Record, offset: u64) -> bool {
        let end = record.end_in_pack();
        !record.reports_loss() && end.is_some_and(|end| !self.is_lost(record, end, offset))
    }

    /// Completes the index after the last record.
    pub(crate) fn finish_loading(&mut self) {
        self.done.merge();
        self.lost.merge();
    }

    /// Whether a record reported a body as lost from the pack. That invalidates earlier records, so
    /// all have to be added again, to [`anew`](Self::anew).
    #[must_use]
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Creates an empty index that ignores bodies beyond the ends of these packs.
    #[must_use]
    pub(crate) fn up_to(limits: PackLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Returns an empty index that keeps the lost bodies, for a second pass.
    #[must_use]
    pub(crate) fn anew(self) -> Self {
        Self {
            keys: self.keys,
            lost: self.lost,
            limits: self.limits,
            ..Self::default()
        }
    }

    /// Whether no job is recorded as fetched.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Returns the end of the last response in the packs.
    #[must_use]
    pub(crate) fn pack_end(&self) -> Option<PackPosition> {
        let (n, offset) = self.pack_ends.last_key_value()?;
        Some(PackPosition {
            n: *n,
            offset: *offset,
        })
    }

    /// Returns the end of the last response in one of the packs.
    #[must_use]
    pub(crate) fn end_in_pack(&self, n: Option<u32>) -> Option<u64> {
        self.pack_ends.get(&n).copied()
    }

    /// Returns how many bodies were ignored because they are beyond the limit.
    #[must_use]
    pub(crate) fn beyond_limit(&self) -> usize {
        self.beyond_limit
    }

    /// Returns the record that counts for the job with this URL, file (if bodies are saved to
    /// files) and request (if it is not a plain GET).
    ///
    /// It may belong to another job that has written the file since, so the caller has to compare
    /// the record with the job.
    #[must_use]
    pub(crate) fn get(
        &self,
        url: &str,
        file: Option<&RelPath>,
        request: Option<&str>,
    ) -> Option<JournalPlace> {
        self.find(url, file.map(RelPath::as_str), request)
    }

    /// Returns the same for a file as a record names it.
    #[must_use]
    pub(crate) fn find(
        &self,
        url: &str,
        file: Option<&str>,
        request: Option<&str>,
    ) -> Option<JournalPlace> {
        let key = self.key(url, file, request);
        self.done.get(key).map(|offset| JournalPlace { offset })
    }

    fn key(&self, url: &str, file: Option<&str>, request: Option<&str>) -> HashKey {
        self.keys.of(&match file {
            Some(file) => BodyName::File(file.to_lowercase()),
            None => BodyName::Page(url, request),
        })
    }

    /// Returns the size of the index in bytes.
    #[cfg(test)]
    fn size(&self) -> usize {
        self.done.size() + self.lost.size()
    }
}
