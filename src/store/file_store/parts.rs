//! Partial bodies, by their final file. They are listed on disk so that the next run can continue
//! them.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use super::folder::Folder;
use super::writer::TempFile;
use crate::model::{BodyVersion, PartialBody, RelPath};

/// The list of partial bodies, written at the end of a run.
const PART_LIST_NAME: &str = "parts.jsonl";
const NEW_PART_LIST_NAME: &str = "parts.new";

/// A partial body and its file.
#[derive(Debug, Clone)]
pub(crate) struct StoredPart {
    /// The partial body.
    pub part: PartialBody,
    /// Its temporary file.
    pub temp: Arc<TempFile>,
}

/// All partial bodies that no attempt has taken.
#[derive(Debug, Default)]
pub(crate) struct PartIndex {
    parts: Mutex<HashMap<RelPath, StoredPart>>,
    /// Number of parts. Every attempt checks it, and usually it is 0, so the lock is not needed.
    count: AtomicUsize,
}

/// A line of the list on disk.
#[derive(Debug, Serialize, Deserialize)]
struct PartLine {
    file: String,
    id: u64,
    url: String,
    /// The URL of the job, if it differs (after a redirect).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_url: Option<String>,
    validator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    length: u64,
    /// Set if the part was not synced to disk: it is valid only until the next boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

impl PartIndex {
    fn lock(&self) -> MutexGuard<'_, HashMap<RelPath, StoredPart>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there are no parts.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Modifies the parts and updates their count.
    fn change<R>(&self, change: impl FnOnce(&mut HashMap<RelPath, StoredPart>) -> R) -> R {
        let mut parts = self.lock();
        let result = change(&mut parts);
        self.count.store(parts.len(), Relaxed);
        result
    }

    /// Takes the part of a file out, for one attempt.
    pub(crate) fn take(&self, file: &RelPath) -> Option<StoredPart> {
        self.change(|parts| {
            parts
                .get(file)
                .filter(|kept| kept.temp.failure().is_none())?;
            parts.remove(file)
        })
    }

    /// Adds a part. If the file has another part already (from an equal input line), the longer one
    /// is kept. Returns the temporary file that is no longer needed.
    pub(crate) fn keep(&self, file: RelPath, new: StoredPart) -> Option<Arc<TempFile>> {
        self.change(|parts| match parts.get(&file) {
            Some(old) if old.part.length >= new.part.length => Some(new.temp),
            _ => parts.insert(file, new).map(|old| old.temp),
        })
    }

    /// Writes the list for the next run: immediately, valid until the next boot, and again after
    /// syncing all parts, which may take long. Removes parts that cannot be continued.
    pub(crate) fn persist(&self, folder: &Folder) -> io::Result<()> {
        let parts = self.lock().clone();
        let mut lines = Vec::new();
        for (file, kept) in parts {
            match to_line(&file, &kept) {
                Some(line) => lines.push((line, kept.temp.name())),
                None => ignore_missing(folder.remove(&kept.temp.name()))?,
            }
        }
        if lines.is_empty() {
            return ignore_missing(folder.remove(PART_LIST_NAME));
        }
        if let Some(boot) = boot_id() {
            for (line, _) in &mut lines {
                line.boot = Some(boot.clone());
            }
            write_list(folder, lines.iter().map(|(line, _)| line))?;
        }
        lines.retain_mut(|(line, name)| {
            line.boot = None;
            // Drop a part that cannot be synced, and keep the others.
            folder
                .append(name)
                .and_then(|file| file.sync_data())
                .is_ok()
        });
        write_list(folder, lines.iter().map(|(line, _)| line))
    }

    /// Reads the list of the last run, and removes all other temporary files. Also returns an
    /// unused id.
    pub(crate) fn read(folder: &Folder) -> io::Result<(Self, u64)> {
        let mut parts = HashMap::new();
        let mut next = 1;
        let boot = boot_id();
        for line in read_list(folder)? {
            next = next.max(line.id.saturating_add(1));
            if line.boot.is_some() && line.boot != boot {
                continue;
            }
            if let Some((file, kept)) = parse(line)
                && is_usable(folder, &kept)
            {
                parts.insert(file, kept);
            }
        }
        let used: Vec<_> = parts.values().map(|kept| kept.temp.name()).collect();
        for name in folder.unfinished()? {
            if name != PART_LIST_NAME && !used.contains(&name) {
                ignore_missing(folder.remove(&name))?;
            }
        }
        let count = AtomicUsize::new(parts.len());
        let parts = Mutex::new(parts);
        Ok((Self { parts, count }, next))
    }
}

fn write_list<'a>(folder: &Folder, lines: impl Iterator<Item = &'a PartLine>) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    ignore_missing(folder.remove(NEW_PART_LIST_NAME))?;
    let mut list = folder.create(NEW_PART_LIST_NAME)?;
    list.write_all(&text)?;
    list.sync_data()?;
    folder.rename(NEW_PART_LIST_NAME, PART_LIST_NAME)
}

/// Returns the id of the current boot. Unsynced data written during this boot cannot have been lost
/// in a power failure. `None` on systems without such an id.
fn boot_id() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

fn to_line(file: &RelPath, kept: &StoredPart) -> Option<PartLine> {
    let version = &kept.part.version;
    if kept.temp.failure().is_some() {
        return None;
    }
    Some(PartLine {
        file: file.to_string(),
        id: kept.temp.id(),
        url: version.url.to_string(),
        job_url: (version.job_url != version.url).then(|| version.job_url.to_string()),
        validator: version.validator.to_str().ok()?.to_owned(),
        total: version.total,
        length: kept.part.length,
        boot: None,
    })
}

fn parse(line: PartLine) -> Option<(RelPath, StoredPart)> {
    let file = RelPath::parse(&line.file).ok()?;
    let url = Url::parse(&line.url).ok()?;
    let job_url = match &line.job_url {
        Some(job_url) => Url::parse(job_url).ok()?,
        None => url.clone(),
    };
    let version = BodyVersion {
        job_url,
        url,
        validator: HeaderValue::try_from(line.validator).ok()?,
        total: line.total,
    };
    let kept = StoredPart {
        part: PartialBody {
            version,
            length: line.length,
        },
        temp: Arc::new(TempFile::new(line.id)),
    };
    Some((file, kept))
}

/// Returns whether the file of a part is usable, and truncates it to the listed length. It may be
/// longer if a killed run continued it; the bytes up to that length are still the same.
fn is_usable(folder: &Folder, kept: &StoredPart) -> bool {
    let cut = || -> io::Result<bool> {
        let file = folder.append(&kept.temp.name())?;
        if file.metadata()?.len() < kept.part.length {
            return Ok(false);
        }
        file.set_len(kept.part.length).map(|()| true)
    };
    cut().unwrap_or(false)
}

/// Reads the list and skips invalid lines: their files are removed, and the bodies fetched again.
fn read_list(folder: &Folder) -> io::Result<Vec<PartLine>> {
    let list = match folder.read(PART_LIST_NAME) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for line in BufReader::new(list).split(b'\n') {
        found.extend(serde_json::from_slice(&line?));
    }
    Ok(found)
}

/// Treats a file that was already removed as success.
fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
