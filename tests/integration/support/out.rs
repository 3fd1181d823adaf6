//! An output directory.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use fetchall::Record;
use tempfile::TempDir;

use super::{Run, binary};

/// An output directory. It does not exist until a run creates it.
pub struct Out(TempDir);

/// A program running in the background. It is killed when dropped.
pub struct Background(pub Child);

impl Out {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("out")
    }

    /// Returns a path next to the output directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Prepares a run that saves to this directory.
    pub fn run(&self) -> Run {
        Run::new().args(["-o", self.path().to_str().unwrap()])
    }

    /// Starts such a run in the background.
    pub fn start(&self, args: &[&str]) -> Background {
        let mut command = binary();
        command.args(["--json", "-o"]).arg(self.path()).args(args);
        Background::start(command)
    }

    /// Reads the file of a record.
    pub fn body(&self, record: &Record) -> Vec<u8> {
        fs::read(self.file(record)).unwrap()
    }

    pub fn file(&self, record: &Record) -> PathBuf {
        self.path().join(record.file.as_ref().unwrap())
    }

    pub fn journal_path(&self) -> PathBuf {
        self.path().join("fetchall.jsonl")
    }

    pub fn journal(&self) -> Vec<Record> {
        records(&fs::read_to_string(self.journal_path()).unwrap_or_default())
    }

    /// Returns the names of unfinished files, without the lock, sorted.
    pub fn unfinished(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(".fetchall")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        names
    }
}

/// Parses the records of a journal. Panics on a torn line.
pub fn records(journal: &str) -> Vec<Record> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    journal.lines().map(parse).collect()
}

impl Background {
    pub fn start(mut command: std::process::Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
