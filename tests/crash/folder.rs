//! An output directory that several runs use in turn, and its invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fetchall::Record;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::site::Site;
use crate::support::binary;

/// Maximum duration of a run that is not stopped, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// An output directory, with the list to fetch into it.
pub struct Folder {
    dir: TempDir,
}

/// What a run left behind, after the checks.
#[derive(Debug, Default)]
pub struct Left {
    /// Pages with an `ok` record.
    pub done: BTreeSet<usize>,
    /// Unfinished files.
    pub unfinished: BTreeSet<String>,
}

/// A partial body that the next run can continue.
#[derive(Debug)]
pub struct ListedPart {
    pub page: usize,
    pub name: String,
    pub length: u64,
    pub validator: String,
}

/// How a run is ended early.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Kill,
    /// A signal, and a second one after this time.
    Signal(Signal, Option<Duration>),
}

impl Folder {
    pub fn new(site: &Site) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let list: String = (0..site.pages().len())
            .map(|page| site.url(page) + "\n")
            .collect();
        fs::write(dir.path().join("list"), list).unwrap();
        Self { dir }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub fn start(&self) -> Child {
        let stderr = File::create(self.dir.path().join("stderr")).unwrap();
        binary()
            .args(["--retries=40", "--retry-delay=1ms", "--retry-max-delay=5ms"])
            .args(["--per-host=16", "--stall-timeout=20s", "-o"])
            .args([self.out(), self.dir.path().join("list")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap()
    }

    /// Runs without a stop; everything must be fetched.
    pub fn finish(&self, site: &Site) -> Left {
        let status = wait(self.start());
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
        let left = self.check(site);
        self.check_complete(site, &left);
        left
    }

    /// Returns stderr of the last run.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    /// Checks what holds at any moment: a file is complete, and a journaled file exists.
    pub fn check(&self, site: &Site) -> Left {
        let mut files = BTreeMap::new();
        self.walk(&self.out(), &mut files, site);
        for (page, path) in &files {
            let is_whole = fs::read(path).unwrap() == site.pages()[*page].body;
            assert!(is_whole, "{} is not what was sent", path.display());
        }
        let mut left = Left::default();
        for record in self.records() {
            assert!(
                record.ok,
                "what was cut off is left, and not failed: {record:?}"
            );
            let page = site.page_of(&record.url);
            let file = self.out().join(record.file.unwrap());
            assert_eq!(files.get(&page), Some(&file), "{} is journaled", record.url);
            assert_eq!(record.bytes, Some(site.pages()[page].body.len() as u64));
            let is_first = left.done.insert(page);
            assert!(is_first, "{} was fetched twice", record.url);
        }
        left.unfinished = self.unfinished();
        left
    }

    /// Checks what holds after the last run.
    fn check_complete(&self, site: &Site, left: &Left) {
        assert_eq!(left.done.len(), site.pages().len());
        let nothing = BTreeSet::new();
        assert_eq!(left.unfinished, nothing, "nothing unfinished stays");
    }

    /// Collects all files except fetchall's own, by page.
    fn walk(&self, dir: &Path, files: &mut BTreeMap<usize, PathBuf>, site: &Site) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path == self.out().join(".fetchall") || path == self.out().join("fetchall.jsonl") {
                continue;
            }
            if path.is_dir() {
                self.walk(&path, files, site);
                continue;
            }
            let page = site.page_of(path.to_str().unwrap());
            let other = files.insert(page, path);
            assert_eq!(other, None, "one page, two files");
        }
    }

    /// Returns the complete lines of the journal.
    pub fn records(&self) -> Vec<Record> {
        let journal = fs::read(self.out().join("fetchall.jsonl")).unwrap_or_default();
        let end = journal.iter().rposition(|byte| *byte == b'\n');
        let whole = end.map_or(&[][..], |end| &journal[..end]);
        let lines = whole.split(|byte| *byte == b'\n');
        lines
            .filter(|_| end.is_some())
            .map(|line| {
                let text = String::from_utf8_lossy(line);
                serde_json::from_slice(line).unwrap_or_else(|error| panic!("{text}: {error}"))
            })
            .collect()
    }

    /// Returns the files in the directory for unfinished files, except the lock.
    fn unfinished(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.out().join(".fetchall"));
        let names = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lock").collect()
    }

    /// Returns the listed partial bodies. Checks that each exists and is the start of its page, and
    /// that there are no other files.
    pub fn listed_parts(&self, site: &Site) -> Vec<ListedPart> {
        let temp = self.out().join(".fetchall");
        let list = fs::read_to_string(temp.join("parts.jsonl")).unwrap_or_default();
        let parts: Vec<_> = list.lines().map(|line| listed_part(line, site)).collect();
        let mut known = BTreeSet::new();
        for part in &parts {
            let bytes = fs::read(temp.join(&part.name)).unwrap();
            assert_eq!(bytes.len() as u64, part.length, "{part:?}");
            assert!(site.pages()[part.page].body.starts_with(&bytes), "{part:?}");
            known.insert(part.name.clone());
        }
        if !parts.is_empty() {
            known.insert("parts.jsonl".to_owned());
        }
        assert_eq!(self.unfinished(), known);
        parts
    }
}

fn listed_part(line: &str, site: &Site) -> ListedPart {
    let part: serde_json::Value = serde_json::from_str(line).unwrap();
    ListedPart {
        page: site.page_of(part["file"].as_str().unwrap()),
        name: format!("{}.part", part["id"]),
        length: part["length"].as_u64().unwrap(),
        validator: part["validator"].as_str().unwrap().to_owned(),
    }
}

/// Ends a run in this way, unless it has already ended.
pub fn end(mut child: Child, end: End) -> ExitStatus {
    match end {
        End::Kill => child.kill().unwrap(),
        End::Signal(signal, again) => {
            send(&mut child, signal);
            if let Some(time) = again {
                std::thread::sleep(time);
                send(&mut child, signal);
            }
        }
    }
    wait(child)
}

fn send(child: &mut Child, signal: Signal) {
    // The process has not been waited for, so its number is still its own.
    if child.try_wait().unwrap().is_none() {
        kill_process(Pid::from_child(child), signal).unwrap();
    }
}

/// Waits for the end of a run, with a timeout.
fn wait(mut child: Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the run did not come to its end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the run was killed, and had not ended before.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
