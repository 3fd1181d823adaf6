//! The thread that finishes full packs: once the journal has all their records, it reads them
//! through, and gives them their final names.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::model::{
    FetchError, FinishedPack, JournaledEnd, PackPosition, add_extension, sync_name,
};
use crate::store::pack_files::PackFiles;
use crate::store::save_error;
use crate::store::warc::{CDXJ_EXTENSION, CdxjBuilder, Pack, PackError, SavedPack};
use crate::store::worker_pool::DISK_TIMEOUT;

/// Told of a finished pack before it gets its final name, and once it has it.
pub(crate) type FinishCallback =
    Box<dyn FnMut(FinishStage, &FinishedPack) -> io::Result<()> + Send>;

/// How far a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinishStage {
    /// It is complete and intact.
    Checked,
    /// It has its final name.
    Named,
}

/// A pack to which nothing more is appended.
pub(super) struct ClosedPack {
    /// Keeps it locked until it is finished.
    pub pack: Pack,
    pub n: u32,
    end: PackPosition,
}

impl ClosedPack {
    pub(super) fn new(n: u32, pack: Pack) -> Self {
        let end = PackPosition {
            n: Some(n),
            offset: pack.end(),
        };
        Self { pack, n, end }
    }
}

/// Finishes packs, one after the other.
pub(super) struct PackFinisher {
    pub files: PackFiles,
    pub sync: bool,
    /// Whether an index is written beside each pack.
    pub cdxj: bool,
    pub journaled: JournaledEnd,
    pub tell: FinishCallback,
    /// Ends a wait for the journal.
    pub abort: CancellationToken,
    /// Why packs cannot be finished.
    pub broken: Arc<OnceLock<FetchError>>,
}

impl PackFinisher {
    /// Finishes packs until there are no more, or one cannot be finished.
    pub(super) fn run(mut self, closed: &Receiver<ClosedPack>) {
        while let Ok(pack) = closed.recv() {
            let n = pack.n;
            if let Err(error) = self.finish(pack) {
                let part = self.files.part(Some(n));
                let path = part.display().to_string();
                let _ = self.broken.set(save_error::save_error(&path, &error, true));
                return;
            }
            if self.abort.is_cancelled() {
                return;
            }
        }
    }

    /// Finishes a pack, unless the run is aborted before.
    fn finish(&mut self, mut closed: ClosedPack) -> io::Result<()> {
        let is_over = || self.abort.is_cancelled();
        if !self.journaled.wait_for(closed.end, DISK_TIMEOUT, is_over) {
            return match is_over() {
                true => Ok(()),
                false => Err(io::Error::other("its records are not in the journal")),
            };
        }
        let (part, path) = (
            self.files.part(Some(closed.n)),
            self.files.path(Some(closed.n)),
        );
        closed.pack.finish()?;
        if self.sync {
            closed.pack.sync()?;
        }
        let index = self.cdxj.then_some(path.as_path());
        let finished = check(&part, closed.n, closed.pack.length(), index)?;
        if path.exists() {
            return Err(exists(&self.files, closed.n));
        }
        (self.tell)(FinishStage::Checked, &finished)?;
        fs::rename(&part, &path)?;
        if self.sync {
            sync_name(&path)?;
        }
        (self.tell)(FinishStage::Named, &finished)
    }
}

/// Reads a pack through, and writes its index beside its final name, if it is to have one.
fn check(part: &Path, n: u32, length: u64, index: Option<&Path>) -> io::Result<FinishedPack> {
    let pack = SavedPack::open(part).map_err(|error| match error {
        PackError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    })?;
    let mut index = index.map(|path| (CdxjBuilder::new(path), path));
    let scan = pack.scan(|record| match &mut index {
        Some((index, _)) => index.add(record),
        None => Ok(()),
    })?;
    if scan.bytes != length {
        let text = format!("has {} bytes instead of {length}", scan.bytes);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if let Some((index, path)) = index {
        index.write(&add_extension(path, CDXJ_EXTENSION))?;
    }
    Ok(FinishedPack {
        n,
        bytes: scan.bytes,
        records: scan.records,
        sha256: scan.sha256,
    })
}

/// The error for a file in the place of a pack.
pub(super) fn exists(files: &PackFiles, n: u32) -> io::Error {
    let path = files.path(Some(n));
    let text = format!("{} already exists; move it away", path.display());
    io::Error::new(io::ErrorKind::AlreadyExists, text)
}
