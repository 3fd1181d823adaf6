//! Passes on the lines of one shard.

use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use crate::model::{ListEntry, Shard, ShardAssigner, ShardTally, shard_host};

/// Tells the lines of one shard from those of the others.
pub(super) struct ShardFilter {
    assigner: ShardAssigner,
    index: u32,
    tally: Option<Arc<Mutex<ShardTally>>>,
}

impl ShardFilter {
    /// Counts all lines in `tally`, if there is one.
    pub(super) fn new(shard: Shard, tally: Option<Arc<Mutex<ShardTally>>>) -> Self {
        Self {
            assigner: shard.assigner(),
            index: shard.index(),
            tally,
        }
    }

    /// Whether an entry belongs to the shard. `source` is the line that it was read from.
    pub(super) fn takes(&mut self, entry: &ListEntry, source: &[u8]) -> bool {
        // Each shard reads the sitemaps of an index, to find its own lines in them.
        let Some((shard, host)) = assign(&mut self.assigner, entry, source) else {
            return true;
        };
        if let Some(tally) = &self.tally {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add(shard, host.as_deref());
        }
        shard == self.index
    }
}

/// Returns the shard of an entry, and its host; `None` for a sitemap that is to be fetched, which is
/// no line of the list. An invalid line belongs to a shard by its text.
pub(super) fn assign<'e>(
    assigner: &mut ShardAssigner,
    entry: &'e ListEntry,
    source: &[u8],
) -> Option<(u32, Option<std::borrow::Cow<'e, str>>)> {
    match entry {
        ListEntry::Job(job) => Some((assigner.of_url(&job.url), Some(shard_host(&job.url).into()))),
        ListEntry::Invalid(_) => Some((assigner.of_text(source), None)),
        // A sitemap that failed counts as a line.
        ListEntry::Failed(settled) => Some(match Url::parse(&settled.record.url) {
            Ok(url) => (
                assigner.of_url(&url),
                Some(shard_host(&url).to_owned().into()),
            ),
            Err(_) => (assigner.of_text(settled.record.url.as_bytes()), None),
        }),
        ListEntry::Sitemap(_) => None,
    }
}
