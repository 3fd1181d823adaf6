//! Partial bodies, by their final file. They are listed on disk so that the next run can continue
//! them. Of those in segments there is a list for each, which also survives if the run is killed.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use super::folder::Folder;
use super::segment_log::{id_of_log, log_name, read_log};
use super::writer::TempFile;
use crate::model::{BodyVersion, ByteRanges, PartialBody, RelPath};

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
    /// What is there beyond that length, if the body came in segments: the offset of the first byte of
    /// each range, and the one after its last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<(u64, u64)>,
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
            Some(old) if old.part.kept() >= new.part.kept() => Some(new.temp),
            _ => parts.insert(file, new).map(|old| old.temp),
        })
    }

    /// Writes the list for the next run: immediately, valid until the next boot, and again after
    /// syncing all parts, which may take long. Removes parts that cannot be continued.
    pub(crate) fn persist(&self, folder: &Folder) -> io::Result<()> {
        let parts = self.lock().clone();
        let logs: Vec<_> = parts
            .values()
            .map(|kept| log_name(kept.temp.id()))
            .collect();
        list_parts(parts, folder)?;
        // Now they are in the list of all parts.
        logs.iter()
            .try_for_each(|name| ignore_missing(folder.remove(name)))
    }

    /// Reads the list of the last run, and removes all other temporary files. Also returns an
    /// unused id.
    pub(crate) fn read(folder: &Folder) -> io::Result<(Self, u64)> {
        let mut parts = HashMap::<RelPath, StoredPart>::new();
        let mut next = 1;
        let logs = read_logs(folder)?;
        for line in joined(read_list(folder)?, logs) {
            next = next.max(line.id.saturating_add(1));
            if let Some((file, kept)) = parse(line)
                && is_usable(folder, &kept)
                && !has_more(parts.get(&file), &kept)
            {
                parts.insert(file, kept);
            }
        }
        let names = |kept: &StoredPart| [kept.temp.name(), log_name(kept.temp.id())];
        let used: Vec<_> = parts.values().flat_map(names).collect();
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

/// Writes the list of all parts.
fn list_parts(parts: HashMap<RelPath, StoredPart>, folder: &Folder) -> io::Result<()> {
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
    if kept.temp.failure().is_some() {
        return None;
    }
    Some(PartLine {
        length: kept.part.length,
        ranges: kept.part.beyond.iter().collect(),
        ..line_of(file, kept.temp.id(), &kept.part.version)?
    })
}

/// Returns the line of a body of which nothing is there.
fn line_of(file: &RelPath, id: u64, version: &BodyVersion) -> Option<PartLine> {
    Some(PartLine {
        file: file.to_string(),
        id,
        url: version.url.to_string(),
        job_url: (version.job_url != version.url).then(|| version.job_url.to_string()),
        validator: version.validator.to_str().ok()?.to_owned(),
        total: version.total,
        length: 0,
        ranges: Vec::new(),
        boot: None,
    })
}

/// Returns the first line of the list of a body in segments.
pub(crate) fn describe_part(
    file: &RelPath,
    id: u64,
    version: &BodyVersion,
    is_synced: bool,
) -> Option<String> {
    let mut line = line_of(file, id, version)?;
    line.boot = boot_id().filter(|_| !is_synced);
    serde_json::to_string(&line).ok()
}

/// Returns the lines that are still valid, one for each file: those of the list of all parts, with what
/// the list of each says.
fn joined(list: Vec<PartLine>, logs: Vec<PartLine>) -> impl Iterator<Item = PartLine> {
    let boot = boot_id();
    let mut lines = BTreeMap::<u64, PartLine>::new();
    for line in list.into_iter().chain(logs) {
        let is_valid = line.boot.is_none() || line.boot == boot;
        match lines.get_mut(&line.id) {
            _ if !is_valid => {}
            Some(known) if known.validator == line.validator => {
                known.total = known.total.or(line.total);
                known.ranges.extend(line.ranges);
            }
            _ => drop(lines.insert(line.id, line)),
        }
    }
    lines.into_values()
}

/// Whether another part of the same file has more bytes.
fn has_more(other: Option<&StoredPart>, kept: &StoredPart) -> bool {
    other.is_some_and(|other| other.part.kept() > kept.part.kept())
}

/// Reads the lists of bodies in segments. One that is broken is none.
fn read_logs(folder: &Folder) -> io::Result<Vec<PartLine>> {
    let mut found = Vec::new();
    for name in folder.unfinished()? {
        if id_of_log(&name).is_none() {
            continue;
        }
        let (head, ranges) = folder.read(&name).and_then(read_log)?;
        let head = serde_json::from_slice::<PartLine>(&head);
        found.extend(head.ok().map(|head| PartLine {
            ranges: ranges.iter().collect(),
            ..head
        }));
    }
    Ok(found)
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
    let ranges = line.ranges.into_iter().chain([(0, line.length)]);
    let there: ByteRanges = ranges.collect();
    let length = there.prefix();
    // What is not within the body was not written by us.
    let is_sound = length > 0 && line.total.is_none_or(|total| there.end() <= total);
    let kept = StoredPart {
        part: PartialBody {
            version,
            length,
            beyond: there.between(length, u64::MAX),
        },
        temp: Arc::new(TempFile::with_content(line.id, there)),
    };
    is_sound.then_some((file, kept))
}

/// Returns whether the file of a part is usable, and truncates it to what is listed. It may be longer
/// if a killed run continued it; the bytes up to there are still the same.
fn is_usable(folder: &Folder, kept: &StoredPart) -> bool {
    let cut = || -> io::Result<bool> {
        let length = kept.temp.claimed().end();
        let file = folder.append(&kept.temp.name())?;
        if file.metadata()?.len() < length {
            return Ok(false);
        }
        file.set_len(length).map(|()| true)
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
