//! The pack that is being filled, and those that follow it. A full one is handed to the thread that
//! finishes packs.

use std::fs::{self, File};
use std::io;
use std::sync::mpsc::Sender;

use super::finisher::{ClosedPack, exists};
use crate::model::{PackPlace, SavedBody, sync_name};
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
    /// Whether the name of `pack` is synced.
    has_durable_name: bool,
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
            has_durable_name: false,
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
        let synced = match unsynced.is_empty() {
            true => Ok(()),
            false => self.sync_pack(),
        };
        (unsynced, synced)
    }

    /// Syncs the pack, and its name if that is new.
    fn sync_pack(&mut self) -> io::Result<()> {
        let Some(pack) = &self.pack else {
            return Ok(());
        };
        pack.sync()?;
        if !self.has_durable_name {
            sync_name(&self.files.part(self.n))?;
            self.has_durable_name = true;
        }
        Ok(())
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
        let is_full = |pack: &Pack| pack.end() >= self.size.max(1);
        let is_series = self.closed.is_some();
        if let Some(n) = self.n.filter(|_| is_series)
            && self.pack.as_ref().is_some_and(is_full)
        {
            self.begin_next(n)?;
        }
        self.pack.as_mut().ok_or_else(closed_error)
    }

    /// Hands pack `n` over and begins the next one.
    fn begin_next(&mut self, n: u32) -> io::Result<()> {
        if !self.unsynced.is_empty() {
            self.sync_pack()?;
        }
        let next = n.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        if self.files.path(Some(next)).exists() {
            return Err(exists(&self.files, next));
        }
        let date = format!("{:.3}", jiff::Timestamp::now());
        let pack = self.pack.as_mut().ok_or_else(closed_error)?;
        let opened = pack.open_next(&self.files.part(Some(next)), &date);
        let opened = opened.map_err(|error| unusable(&self.files, next, &error))?;
        let full = std::mem::replace(pack, opened);
        self.n = Some(next);
        self.has_durable_name = false;
        if let Some(closed) = &self.closed {
            // The thread is gone only if it has failed, which `close` of the store tells.
            let _ = closed.send(ClosedPack::new(n, full));
        }
        Ok(())
    }
}

fn closed_error() -> io::Error {
    io::Error::other("the pack is closed")
}

fn unusable(files: &PackFiles, n: u32, error: &PackError) -> io::Error {
    let path = files.part(Some(n));
    io::Error::other(format!("{}: {error}", path.display()))
}
