//! Passes on the lines of one shard.

use std::borrow::Cow;
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
/// no line of the list. An invalid line that shows a URL belongs to its shard, whatever is wrong with
/// the rest, since that may depend on options of the run; another one belongs to a shard by its text.
pub(super) fn assign<'e>(
    assigner: &mut ShardAssigner,
    entry: &'e ListEntry,
    source: &[u8],
) -> Option<(u32, Option<Cow<'e, str>>)> {
    match entry {
        ListEntry::Job(job) => Some((assigner.of_url(&job.url), Some(shard_host(&job.url).into()))),
        ListEntry::Invalid(line) => Some(assign_shown(assigner, &line.shown, source)),
        // A sitemap that failed counts as a line.
        ListEntry::Failed(settled) => {
            let shown = &settled.record.url;
            Some(assign_shown(assigner, shown, shown.as_bytes()))
        }
        ListEntry::Sitemap(_) => None,
    }
}

fn assign_shown<'e>(
    assigner: &mut ShardAssigner,
    shown: &str,
    text: &[u8],
) -> (u32, Option<Cow<'e, str>>) {
    let url = Url::parse(shown).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    match url {
        Some(mut url) => {
            // As in the URL of a job. Both calls fail only for URLs without a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_fragment(None);
            (
                assigner.of_url(&url),
                Some(shard_host(&url).to_owned().into()),
            )
        }
        None => (assigner.of_text(text), None),
    }
}
