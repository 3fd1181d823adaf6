//! Lists without a URL. Most likely the list was forgotten, and the file named after an option is
//! meant as one: `fetchall --failed urls.txt </dev/null`. With an empty stdin such a file is kept.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fetchall::Summary;

use super::{Cli, convert, redact};

/// What only a report has in its head.
const REPORT_MARK: &str = "<meta name=\"generator\" content=\"fetchall ";
/// Fields of the JSON summary.
const SUMMARY_FIELDS: [&str; 6] = [
    "schema",
    "input",
    "fetched",
    "skipped",
    "left",
    "list_ended",
];
/// Bytes read of an existing file: more than a summary has.
const START_BYTES: u64 = 64 << 10;

/// What to say and what to keep if the list turns out to be empty.
#[derive(Debug, Default)]
pub(super) struct EmptyListGuard {
    /// Where URLs were expected: `on stdin`.
    place: String,
    kept: Vec<PathBuf>,
}

impl EmptyListGuard {
    /// Looks for existing files that an empty list must not replace.
    pub(super) fn from_cli(cli: &Cli) -> Self {
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
            (&cli.request.cookie_jar, None),
            (&cli.report, Some(is_report as fn(&str) -> bool)),
            (&cli.summary_json, Some(is_summary)),
        ];
        let kept = written
            .into_iter()
            .filter_map(|(path, is_ours)| Some((path.as_ref()?, is_ours)))
            .filter(|(path, is_ours)| has_other_content(path, *is_ours));
        Self {
            place: "on stdin".to_owned(),
            kept: kept.map(|(path, _)| path.clone()).collect(),
        }
    }

    /// Returns the files that an empty list must not replace.
    pub(super) fn kept(&self) -> &[PathBuf] {
        &self.kept
    }

    /// Whether this file stays as it is after the run.
    pub(super) fn keeps(&self, path: &Path, summary: &Summary) -> bool {
        summary.is_list_empty() && self.kept.iter().any(|kept| kept == path)
    }

    /// Returns the warning about a list without a URL.
    pub(super) fn warning(&self, summary: &Summary) -> Option<String> {
        if !summary.is_list_empty() || (!summary.list_ended && self.kept.is_empty()) {
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

/// Whether the start of a file is that of a report.
fn is_report(start: &str) -> bool {
    start.contains(REPORT_MARK)
}

/// Whether the text of a file is a JSON summary.
fn is_summary(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<_, _>>(text)
        .is_ok_and(|found| SUMMARY_FIELDS.iter().all(|name| found.contains_key(*name)))
}

/// Whether a regular file has content that is not ours.
fn has_other_content(path: &Path, is_ours: Option<fn(&str) -> bool>) -> bool {
    if !path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() > 0)
    {
        return false;
    }
    let Some(is_ours) = is_ours else {
        return true;
    };
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START_BYTES).read_to_end(&mut start));
    read.is_err() || !is_ours(&String::from_utf8_lossy(&start))
}
