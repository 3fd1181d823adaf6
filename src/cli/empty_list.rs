//! Lists without a URL. Most likely the list was forgotten, and the file named after an option is
//! meant as one: `fetchall --failed urls.txt </dev/null`. With an empty stdin such a file is kept.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fetchall::Summary;

use super::{Cli, convert, redact};

/// How a report starts. An existing file that starts so is one, and is replaced.
const REPORT_START: &str = "<!DOCTYPE html>";
/// How the JSON summary starts.
const SUMMARY_START: &str = "{\"schema\":";

/// What to say and what to keep if the list turns out to be empty.
#[derive(Debug, Default)]
pub struct EmptyListGuard {
    /// Where URLs were expected: `on stdin`.
    place: String,
    kept: Vec<PathBuf>,
}

impl EmptyListGuard {
    /// Looks for existing files that an empty list must not replace.
    pub fn from_cli(cli: &Cli) -> Self {
        let is_stdin = |input: &OsStr| convert::is_stdin_list(input);
        if !cli.inputs.iter().all(|input| is_stdin(input)) {
            let lists = cli.inputs.iter().map(|input| input.to_string_lossy());
            let lists: Vec<_> = lists.map(|list| redact::name(&list)).collect();
            return Self {
                place: format!("in {}", lists.join(", ")),
                kept: Vec::new(),
            };
        }
        let written = [
            (&cli.failed, None),
            (&cli.report, Some(REPORT_START)),
            (&cli.summary_json, Some(SUMMARY_START)),
        ];
        let kept = written
            .into_iter()
            .filter_map(|(path, start)| Some((path.as_ref()?, start)))
            .filter(|(path, start)| has_other_content(path, *start));
        Self {
            place: "on stdin".to_owned(),
            kept: kept.map(|(path, _)| path.clone()).collect(),
        }
    }

    /// Returns the files that an empty list must not replace.
    pub fn kept(&self) -> &[PathBuf] {
        &self.kept
    }

    /// Whether this file stays as it is after the run.
    pub fn keeps(&self, path: &Path, summary: &Summary) -> bool {
        summary.input == 0 && self.kept.iter().any(|kept| kept == path)
    }

    /// Returns the warning about a list without a URL.
    pub fn warning(&self, summary: &Summary) -> Option<String> {
        if summary.input > 0 || (!summary.list_ended && self.kept.is_empty()) {
            return None;
        }
        let mut text = if summary.list_ended {
            format!("the list is empty: no URL {}", self.place)
        } else {
            format!("no URL was read {}", self.place)
        };
        let kept = self.kept.iter().map(|path| path.to_string_lossy());
        let kept: Vec<_> = kept.map(|path| redact::name(&path)).collect();
        match &*kept {
            [] => {}
            [one] => text.push_str(&format!("; {one} is left as it was")),
            all => text.push_str(&format!("; {} are left as they were", all.join(", "))),
        }
        Some(text)
    }
}

/// Whether a regular file has content that does not start with `start`.
fn has_other_content(path: &Path, start: Option<&str>) -> bool {
    if !path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() > 0)
    {
        return false;
    }
    let Some(start) = start else {
        return true;
    };
    let mut found = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(start.len() as u64).read_to_end(&mut found));
    read.is_err() || found != start.as_bytes()
}
