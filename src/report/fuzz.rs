//! Fuzzes reading of journals that were truncated, overwritten or never ours.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Reporter;
use super::journal::{
    Journal, JournalContents, JournalError, JournalReader, MAX_LINE_BYTES, PastRecord,
};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{
    EngineEvent, InputPosition, Outcome, OutcomeName, PackLimits, PackPosition, Record, RelPath,
    SettledJob,
};

/// The URL of the appended record. It does not occur in the corpus.
const NEW: &str = "http://appended.test/";

fn open(path: &Path) -> Result<(Journal, JournalContents), JournalError> {
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).open(path)?;
    Journal::open(file, false, None)
}

fn settled() -> EngineEvent {
    let place = InputPosition::first();
    let record = Record {
        ok: true,
        outcome: OutcomeName::Fetched,
        bytes: Some(7),
        ..Record::for_line(&place, NEW.into())
    };
    EngineEvent::Settled(Box::new(SettledJob::new(
        place,
        record,
        Outcome::Skipped,
        None,
    )))
}

/// A URL, a file and a request.
type JobName = (String, Option<String>, Option<String>);

/// Key of a body: its file, or else its URL and request.
type BodyPlace = Result<String, (String, Option<String>)>;

/// The expected content of a journal, from a simple line-by-line reader.
#[derive(Default)]
struct ExpectedJournal {
    /// Jobs fetched and their bytes, according to the last record of each place.
    done: HashMap<BodyPlace, (JobName, u64)>,
    /// All jobs ever fetched, including those whose file another job has overwritten.
    all: HashSet<JobName>,
    /// Whether any record has a location in a pack, which a later record may revoke.
    packed: bool,
    /// Whether a record has both a file and a location in a pack, which ours never have.
    both: bool,
    records: usize,
    garbage: u64,
    /// Those of the garbage that no power failure explains.
    foreign: u64,
    torn: bool,
    /// Number of bytes of the file to keep.
    kept: usize,
}

impl ExpectedJournal {
    fn parse(text: &[u8]) -> Self {
        let mut expected = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            expected.take(line);
        }
        expected
    }

    fn take(&mut self, line: &[u8]) {
        // The mark of a run of a pack is renewed by the next one.
        if line == b" " {
            return;
        }
        let is_ended = line.ends_with(b"\n");
        let is_short = line.len() <= MAX_LINE_BYTES + usize::from(is_ended);
        let record = serde_json::from_slice::<Record>(line).ok();
        let Some(record) = record.filter(|_| is_short) else {
            let begins = |line: &[u8]| {
                let marked = line.strip_prefix(b" ").unwrap_or(line);
                [&b"{\"line\":"[..], b"{\"shard\":"]
                    .iter()
                    .any(|beginning| {
                        let short = marked.len().min(beginning.len());
                        marked[..short] == beginning[..short]
                    })
            };
            // A power failure leaves zeros, with nothing or with a record behind them.
            let zeros = line.iter().take_while(|byte| **byte == 0).count();
            let is_hole = zeros > 0 && begins(line[zeros..].trim_ascii_end());
            let is_first = begins(line) || is_hole;
            if !is_ended && (self.records > 0 || (is_short && is_first)) {
                self.torn = true;
                return;
            }
            let is_garbage = !is_short || !line.trim_ascii().is_empty();
            self.garbage += u64::from(is_garbage);
            self.foreign += u64::from(is_garbage && !(is_short && is_hole));
            self.kept += line.len();
            return;
        };
        self.records += 1;
        self.kept += line.len();
        self.packed |= record.pack.is_some();
        self.both |= record.pack.is_some() && record.file.is_some();
        if let (true, Some(bytes)) = (record.ok, record.bytes) {
            let place = match &record.file {
                Some(file) => Ok(file.to_lowercase()),
                None => Err((record.url.clone(), record.request.clone())),
            };
            let job = (record.url, record.file, record.request);
            self.all.insert(job.clone());
            self.done.insert(place, (job, bytes));
        } else if let (false, Some(file)) = (record.ok, &record.file) {
            self.done.remove(&Ok(file.to_lowercase()));
        }
    }

    fn check_known(&self, found: &JournalContents) -> Result<(), String> {
        let last: HashMap<_, _> = self.done.values().cloned().collect();
        for job in &self.all {
            let (url, file, request) = job;
            let path = match file.as_deref().map(RelPath::parse) {
                Some(Ok(path)) => Some(path),
                // An invalid path, which no job can have.
                Some(Err(_)) => continue,
                None => None,
            };
            let bytes = bytes_of(&found.past, url, path.as_ref(), request.as_deref());
            hold!(
                self.packed || bytes == last.get(job).copied(),
                "{job:?} has {bytes:?} bytes; expected {:?}",
                last.get(job)
            );
        }
        Ok(())
    }
}

fn bytes_of(
    past: &JournalReader,
    url: &str,
    file: Option<&RelPath>,
    request: Option<&str>,
) -> Option<u64> {
    match past.find(url, file, request) {
        PastRecord::Fetched(record) => record.bytes,
        PastRecord::None | PastRecord::OfAnother(_) => None,
    }
}

struct JournalBench {
    path: PathBuf,
    /// Removed at the end.
    _folder: tempfile::TempDir,
}

impl JournalBench {
    fn check(&self, input: &FuzzInput<'_>) -> FuzzVerdict {
        fs::write(&self.path, input.bytes).unwrap();
        let expected = ExpectedJournal::parse(input.bytes);
        let (mut journal, found) = match open(&self.path) {
            Ok(opened) => opened,
            Err(JournalError::Foreign) => {
                hold!(
                    expected.records == 0 && expected.foreign > 0,
                    "rejected without reason"
                );
                hold!(
                    fs::read(&self.path).unwrap() == input.bytes,
                    "rejected, but changed"
                );
                return Ok("not ours");
            }
            Err(error) => return Err(error.to_string()),
        };
        hold!(
            expected.records > 0 || expected.foreign == 0,
            "not ours, but accepted"
        );
        hold!(
            (found.garbage, found.torn) == (expected.garbage, expected.torn),
            "garbage {}, torn {}; expected {} and {}",
            found.garbage,
            found.torn,
            expected.garbage,
            expected.torn
        );
        expected.check_known(&found)?;
        hold!(
            found.past.is_empty() || !expected.all.is_empty(),
            "a job is known without a record"
        );
        for url in ["http://a/", "http://b/", "https://example.com/", NEW] {
            let is_expected = expected.all.contains(&(url.into(), None, None));
            let is_known = bytes_of(&found.past, url, None, None).is_some();
            hold!(is_expected || !is_known, "{url} is known without a record");
        }
        journal.on_event(&settled()).unwrap();
        journal.flush().unwrap();
        drop(journal);
        let text = fs::read(&self.path).unwrap();
        let kept = &input.bytes[..expected.kept];
        let is_kept = text.starts_with(kept);
        hold!(is_kept, "complete records were overwritten");
        let appended = &text[expected.kept..];
        let appended = appended.strip_prefix(b"\n").unwrap_or(appended);
        hold!(
            appended.starts_with(b"{\"line\":1,") && appended.ends_with(b"}\n"),
            "appended at the wrong offset: {}",
            appended.escape_ascii()
        );
        let (mut journal, again) = open(&self.path).map_err(|error| format!("again: {error}"))?;
        hold!(
            !again.torn && again.garbage == expected.garbage,
            "garbage has changed after appending a record"
        );
        hold!(
            bytes_of(&again.past, NEW, None, None).is_some(),
            "the appended record is missing"
        );
        expected.check_known(&again)?;
        if expected.packed {
            let mut limits = PackLimits::default();
            let limit = PackPosition {
                n: None,
                offset: input.number % 64,
            };
            limits.add(limit);
            journal.mark_lost_beyond(&limits).unwrap();
            drop(journal);
            let (_, truncated) =
                open(&self.path).map_err(|error| format!("after truncation: {error}"))?;
            let end = truncated.past.pack_end();
            hold!(
                expected.both || end.is_none_or(|end| end <= limit),
                "pack end {end:?} is beyond {limit:?}"
            );
            return Ok("with a pack");
        }
        Ok(match (expected.records, expected.torn, expected.garbage) {
            (0, ..) => "no record",
            (_, true, 0) => "torn",
            (_, true, _) => "torn, with garbage",
            (_, false, 0) => "whole",
            (_, false, _) => "whole, with garbage",
        })
    }
}

const TOKENS: &[&[u8]] = &[
    b"\n", b"\r\n", b"\0", b"\0\0\0\0\0\0\0\0", b"\n\0\0\0\n", b"{\"line\":", b"{", b"}", b"}\n", b"{}\n", b"null\n", b"[]",
    b"\"ok\":true", b"\"ok\":false", b"\"outcome\":\"fetched\"", b"\"outcome\":\"failed\"", b"\"outcome\":\"later\"", b",\"bytes\":5",
    b",\"bytes\":-1", b",\"bytes\":1.5", b",\"file\":\"x\"", b",\"file\":\"../x\"", b",\"pack\":{\"offset\":10,\"length\":5}",
    b",\"pack\":{\"offset\":18446744073709551615,\"length\":18446744073709551615}", b",\"request\":\"00\"", b",\"more\":[{}]",
    b",\"file\":\"X\"", b"\"url\":\"http://b/\"", &[b' '; MAX_LINE_BYTES], &[b'x'; MAX_LINE_BYTES + 1], &[0; MAX_LINE_BYTES + 1], b"\"schema\":2", b"\\u0000", b"\\ud800", b"\xff", b"\xef\xbb\xbf", b" ", b"\t",
    b"{\"line\":1,\"input\":\"-\",\"url\":\"http://a/\",\"ok\":true,\"outcome\":\"fetched\",\"attempts\":1,\"redirects\":0,\"bytes\":9,\"at\":\"\"}\n",
    b"{\"line\":1,\"input\":\"-\",\"url\":\"http://a/\",\"ok\":false,\"outcome\":\"failed\",\"attempts\":1,\"redirects\":0,\"at\":\"\"}\n",
];

#[test]
fn journals() {
    let fuzz = FuzzCampaign {
        corpus: "journal",
        tokens: TOKENS,
        inputs: 1500,
        one_of: 1,
    };
    let folder = tempfile::tempdir().unwrap();
    let bench = JournalBench {
        path: folder.path().join("fetchall.jsonl"),
        _folder: folder,
    };
    fuzz.run(move |input| bench.check(input));
}
