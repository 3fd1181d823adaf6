//! The pack that is being filled, and those that follow it. A full one is handed to the thread that
//! finishes packs.

use std::fs::{self, File};
use std::io;
use std::sync::mpsc::Sender;

use super::finisher::{ClosedPack, exists};
use crate::model::{PackPlace, SavedBody};
use crate::store::SaveCallback;
use crate::store::pack_files::PackFiles;
use crate::store::warc::{Pack, PackError, RecordGroup, Renderer};

/// Packs that are filled one after the other.
pub(super) struct PackSeries {
    /// `None` once it is closed.
    pack: Option<Pack>,
    /// The number of `pack`.
    n: Option<u32>,
    files: PackFiles,
    /// Length from which a pack is full.
    size: u64,
    /// Takes packs that are full; `None` for a single pack.
    closed: Option<Sender<ClosedPack>>,
    /// What is reported once it is synced.
    unsynced: Vec<(SavedBody, SaveCallback)>,
}

impl PackSeries {
    pub(super) fn new(
        pack: Pack,
        n: Option<u32>,
        files: PackFiles,
        size: u64,
        closed: Option<Sender<ClosedPack>>,
    ) -> Self {
        Self {
            pack: Some(pack),
            n,
            files,
            size,
            closed,
            unsynced: Vec::new(),
        }
    }

    /// Returns the length from which a pack is full.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    pub(super) fn renderer(&self) -> Option<Renderer> {
        self.pack.as_ref().map(Pack::renderer)
    }

    /// Makes a renderer name the pack that is being filled.
    pub(super) fn prepare(&self, renderer: &mut Renderer) {
        if let Some(pack) = &self.pack {
            pack.prepare(renderer);
        }
    }

    /// Appends a group. Returns the location of its last response.
    ///
    /// # Errors
    /// If it cannot be appended; nothing of it is then kept.
    pub(super) fn append(&mut self, group: &RecordGroup) -> io::Result<PackPlace> {
        let place = self.pack_with_room()?.append(group)?;
        Ok(self.numbered(place))
    }

    /// Appends what `write` writes, as [`Pack::append_with`] does.
    ///
    /// # Errors
    /// If it cannot be appended; nothing of it is then kept.
    pub(super) fn append_with(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<PackPlace>,
    ) -> io::Result<PackPlace> {
        let place = self.pack_with_room()?.append_with(write)?;
        Ok(self.numbered(place))
    }

    /// Keeps what was appended until it is synced.
    pub(super) fn report_once_synced(&mut self, saved: SavedBody, done: SaveCallback) {
        self.unsynced.push((saved, done));
    }

    /// Syncs what was appended. Returns all that is to be reported now, in its order.
    pub(super) fn sync(&mut self) -> (Vec<(SavedBody, SaveCallback)>, io::Result<()>) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let synced = match (&self.pack, unsynced.is_empty()) {
            (Some(pack), false) => pack.sync(),
            _ => Ok(()),
        };
        (unsynced, synced)
    }

    /// Ends the last pack of a series if the run `is_complete`; otherwise, the next run appends to
    /// it, as it does to a single pack. An empty one is removed.
    ///
    /// # Errors
    /// If the end of the pack cannot be written.
    pub(super) fn close(&mut self, is_complete: bool) -> io::Result<()> {
        let Some(mut pack) = self.pack.take() else {
            return Ok(());
        };
        match (self.closed.take(), self.n) {
            (Some(closed), Some(n)) if is_complete && pack.end() > 0 => {
                // As in `pack_with_room`.
                let _ = closed.send(ClosedPack::new(n, pack));
            }
            (_, n @ Some(_)) if pack.end() == 0 => {
                // One that stays is emptied by the next run.
                let _ = fs::remove_file(self.files.part(n));
            }
            _ => {
                pack.finish()?;
                pack.unlock();
            }
        }
        Ok(())
    }

    fn numbered(&self, place: PackPlace) -> PackPlace {
        PackPlace { n: self.n, ..place }
    }

    /// Returns the pack that is being filled; the next one if that is full.
    fn pack_with_room(&mut self) -> io::Result<&mut Pack> {
        let pack = self.pack.as_mut().ok_or_else(closed_error)?;
        let (Some(closed), Some(n)) = (&self.closed, self.n) else {
            return Ok(pack);
        };
        if pack.end() < self.size.max(1) {
            return Ok(pack);
        }
        if !self.unsynced.is_empty() {
            pack.sync()?;
        }
        let next = n.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        if self.files.path(Some(next)).exists() {
            return Err(exists(&self.files, next));
        }
        let date = format!("{:.3}", jiff::Timestamp::now());
        let opened = pack.open_next(&self.files.part(Some(next)), &date);
        let opened = opened.map_err(|error| unusable(&self.files, next, &error))?;
        let full = std::mem::replace(pack, opened);
        self.n = Some(next);
        // The thread is gone only if it has failed, which `close` of the store tells.
        let _ = closed.send(ClosedPack::new(n, full));
        Ok(pack)
    }
}

fn closed_error() -> io::Error {
    io::Error::other("the pack is closed")
}

fn unusable(files: &PackFiles, n: u32, error: &PackError) -> io::Error {
    let path = files.part(Some(n));
    io::Error::other(format!("{}: {error}", path.display()))
}
