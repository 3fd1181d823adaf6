//! Opens a pack, or the packs of a series, and their journal.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::problem::{Problem, SaveError};
use super::saving::{OpenedJournal, open_standalone_journal};
use crate::config::{DEFAULT_PACK_BYTES, SaveOptions};
use crate::model::{FinishedPack, JournaledEnd, PackHistory, PackLimits, PackNote, PackPosition};
use crate::report::{JournalNotes, JournalReader};
use crate::store::{
    FinishCallback, FinishStage, KnownEnd, KnownPack, PackError, PackFiles, PackOptions, PackStore,
    UnusablePack,
};

/// A pack, or a series of packs, that is open for writing.
pub(super) struct PackingRun {
    pub store: PackStore,
    pub journal: OpenedJournal,
    /// The packs as they are finished.
    #[cfg(feature = "cli")]
    pub finished: FinishedPacks,
}

/// The packs of a series that can be delivered.
#[cfg(feature = "cli")]
pub(super) struct FinishedPacks {
    pub files: PackFiles,
    pub notes: JournalNotes,
    /// Those that earlier runs have finished and not delivered.
    pub earlier: Vec<FinishedPack>,
    /// Those that this run finishes.
    pub new: mpsc::UnboundedReceiver<FinishedPack>,
}

/// Opens a pack, or the packs of a series, and their journal.
pub(super) fn open_packs(
    path: &Path,
    options: &SaveOptions,
    request_body: Option<Bytes>,
) -> Result<PackingRun, Problem> {
    let files = PackFiles::new(path);
    let journal_path = options.journal.clone().unwrap_or_else(|| files.journal());
    let has_journal = journal_path.exists();
    let (finished, new) = mpsc::unbounded_channel();
    let opening = PackOpening {
        files,
        options,
        request_body,
        journaled: JournaledEnd::default(),
        notes: Arc::default(),
        finished,
    };
    let unusable = |error: io::Error| {
        Problem::Save(SaveError::Journal {
            path: journal_path.clone(),
            cause: error.into(),
        })
    };
    let (store, mut journal) = match has_journal {
        true => {
            let mut journal = open_standalone_journal(&journal_path, options)?;
            let store = opening.resume(&mut journal, unusable)?;
            (store, journal)
        }
        false => {
            // If there is a pack already, this fails before a journal is created for it.
            let first = opening.known(&JournalReader::default(), &PackHistory::default(), false);
            let (store, _) = opening.open(&first).map_err(problem_of)?;
            (store, open_standalone_journal(&journal_path, options)?)
        }
    };
    if journal.past.pack_end().is_none() {
        journal.journal.mark_pack_begun().map_err(unusable)?;
    }
    journal.journal.report_end_to(opening.journaled.clone());
    let notes = journal.journal.notes();
    // Set already if packs were left; others are finished only once a record is journaled.
    let _ = opening.notes.set(notes.clone());
    #[cfg(feature = "cli")]
    let finished = FinishedPacks {
        notes,
        earlier: journal.packs.undelivered().cloned().collect(),
        files: opening.files,
        new,
    };
    #[cfg(not(feature = "cli"))]
    drop((notes, new));
    Ok(PackingRun {
        store,
        journal,
        #[cfg(feature = "cli")]
        finished,
    })
}

/// What is needed to open packs.
struct PackOpening<'a> {
    files: PackFiles,
    options: &'a SaveOptions,
    request_body: Option<Bytes>,
    journaled: JournaledEnd,
    /// Set once the journal is open.
    notes: Arc<OnceLock<JournalNotes>>,
    finished: mpsc::UnboundedSender<FinishedPack>,
}

impl PackOpening<'_> {
    /// Opens packs whose journal exists. What they have lost is noted in it.
    fn resume(
        &self,
        journal: &mut OpenedJournal,
        unusable: impl Fn(io::Error) -> Problem,
    ) -> Result<PackStore, Problem> {
        let is_gone = !self.files.part(None).exists();
        let notes = journal.journal.notes();
        for n in journal.packs.deliver_gone(|n| self.files.has_file(n)) {
            notes
                .append(&PackNote::Delivered { n })
                .map_err(&unusable)?;
            let path = self.files.path(Some(n));
            journal.warnings.push(format!(
                "warning: {}: gone while it was delivered; taken as delivered",
                path.display()
            ));
        }
        self.check_lengths(&journal.packs)?;
        let mut limits = self.missing(&journal.packs).map_err(&unusable)?;
        let (store, cut) = loop {
            if !limits.is_empty() {
                journal.past = journal
                    .journal
                    .read_up_to(limits.clone())
                    .map_err(&unusable)?;
            }
            let has_begun = journal.has_begun_pack || !limits.is_empty();
            let known = self.known(&journal.past, &journal.packs, has_begun);
            match self.open(&known) {
                Err(UnusablePack {
                    n,
                    cause: PackError::Short { length, .. },
                    ..
                }) => limits.add(PackPosition { n, offset: length }),
                opened => break opened.map_err(problem_of)?,
            }
        };
        // Before new records are written to the offsets of the lost ones.
        self.note_lost(journal, &limits).map_err(unusable)?;
        // From here on, full packs that a killed run has left are finished.
        let _ = self.notes.set(journal.journal.notes());
        if let Some(end) = journal.past.pack_end() {
            self.journaled.advance(end);
        }
        let cut = cut.iter().map(|(path, cut)| cut_warning(path, *cut));
        journal.warnings.extend(cut);
        if let Some(end) = limits.ends().next() {
            let (missing, others) = (journal.past.beyond_limit(), limits.ends().skip(1).count());
            let is_gone = end.n.map_or(is_gone, |_| !self.files.path(end.n).exists());
            let lost = lost_warning(&self.files.path(end.n), missing, others, is_gone);
            journal.warnings.extend(lost);
        }
        Ok(store)
    }

    /// Fails for a finished pack that is longer than it was: what was added may be somebody's.
    fn check_lengths(&self, packs: &PackHistory) -> Result<(), Problem> {
        for FinishedPack { n, bytes, .. } in packs.undelivered() {
            let (n, end) = (Some(*n), *bytes);
            let path = self.files.path(n);
            let length = path.metadata().map_or(0, |found| found.len());
            if let Some(more) = length.checked_sub(end).filter(|more| *more > 0) {
                let cause = PackError::Added { end, more };
                return Err(problem_of(UnusablePack { n, path, cause }));
            }
        }
        Ok(())
    }

    /// Returns the finished packs that are gone without having been delivered. One that a killed run
    /// has left under its temporary name gets its final one.
    fn missing(&self, packs: &PackHistory) -> io::Result<PackLimits> {
        let mut missing = PackLimits::default();
        for FinishedPack { n, bytes, .. } in packs.undelivered() {
            let n = Some(*n);
            let (path, part) = (self.files.path(n), self.files.part(n));
            let has_length = |path: &Path| path.metadata().is_ok_and(|found| found.len() == *bytes);
            if has_length(&path) {
                continue;
            }
            match !path.exists() && has_length(&part) {
                true => fs::rename(part, path)?,
                false => missing.add(PackPosition { n, offset: 0 }),
            }
        }
        Ok(missing)
    }

    fn note_lost(&self, journal: &mut OpenedJournal, limits: &PackLimits) -> io::Result<()> {
        if limits.is_empty() {
            return Ok(());
        }
        journal.journal.mark_lost_beyond(limits)?;
        let filled = journal
            .packs
            .next(journal.past.pack_end().and_then(|end| end.n));
        let notes = journal.journal.notes();
        for end in limits.ends() {
            if let PackPosition {
                n: Some(n),
                offset: 0,
            } = end
                && n != filled
            {
                notes.append(&PackNote::Lost { n })?;
                journal.packs.add(PackNote::Lost { n });
            }
        }
        Ok(())
    }

    /// Returns the packs that are not finished, the last of which is to be filled.
    fn known(&self, past: &JournalReader, packs: &PackHistory, has_begun: bool) -> Vec<KnownPack> {
        let known = |n| KnownPack {
            n,
            end: known_end(past, has_begun, n),
        };
        if !self.files.are_series() {
            return vec![known(None)];
        }
        let last = past.pack_end().and_then(|end| end.n);
        (packs.next(None)..=packs.next(last))
            .map(|n| known(Some(n)))
            .collect()
    }

    /// Opens these packs. Returns those that were cut, too.
    fn open(&self, known: &[KnownPack]) -> Result<(PackStore, CutPacks), UnusablePack> {
        let options = PackOptions {
            files: self.files.clone(),
            size: self.options.pack_size.unwrap_or(DEFAULT_PACK_BYTES),
            sync: self.options.sync,
            request_body: self.request_body.clone(),
            only_fetched: self.options.pack_only_fetched,
            caption_column: self.options.caption_column.clone(),
            cdxj: self.options.cdxj,
            journaled: self.journaled.clone(),
            finished: self.on_finished(),
        };
        let opened = PackStore::open(options, known)?;
        Ok((opened.packed, opened.cut))
    }

    /// Journals packs as they are finished, and passes them on.
    fn on_finished(&self) -> FinishCallback {
        let (notes, finished) = (Arc::clone(&self.notes), self.finished.clone());
        Box::new(move |stage, pack| {
            match (stage, notes.get()) {
                (FinishStage::Checked, Some(notes)) => {
                    notes.append(&PackNote::Finished(pack.clone()))?;
                }
                (FinishStage::Checked, None) => return Err(io::Error::other("no journal")),
                // The receiver is gone if nothing is to be done with them.
                (FinishStage::Named, _) => drop(finished.send(pack.clone())),
            }
            Ok(())
        })
    }
}

/// Files that were cut, and by how many bytes.
type CutPacks = Vec<(std::path::PathBuf, u64)>;

fn problem_of(unusable: UnusablePack) -> Problem {
    let UnusablePack { path, cause, .. } = unusable;
    Problem::Save(SaveError::Pack { path, cause })
}

/// Says that a pack had more than its journal lists.
fn cut_warning(path: &Path, cut: u64) -> String {
    format!(
        "warning: {}: discarded {cut} bytes after the last journaled record (was a run killed?)",
        path.display()
    )
}

/// Says how far a pack is known, in whose journal a run `has_begun`.
pub(super) fn known_end(past: &JournalReader, has_begun: bool, n: Option<u32>) -> KnownEnd {
    match past.end_in_pack(n) {
        Some(end) => KnownEnd::UpTo(end),
        None if has_begun => KnownEnd::Nothing,
        None => KnownEnd::NoJournal,
    }
}

/// Says that the journal lists more than this pack, and `others`, have, which may be gone.
pub(super) fn lost_warning(
    path: &Path,
    missing: usize,
    others: usize,
    is_gone: bool,
) -> Option<String> {
    let more = match others {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let path = path.display();
    let (bodies, are) = match missing {
        1 => ("body", "is"),
        _ => ("bodies", "are"),
    };
    (missing > 0).then(|| match is_gone {
        true => format!(
            "warning: {path}{more}: the pack is gone, but its journal is there: {missing} journaled \
             {bodies} will be fetched again; if you moved the pack, move its journal along"
        ),
        false => format!(
            "warning: {path}{more}: {missing} journaled {bodies} {are} missing (was it truncated?) and \
             will be fetched again"
        ),
    })
}
