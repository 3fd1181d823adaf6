//! Journals that were torn, overwritten, and written by nobody.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Reporter;
use super::journal::{
    Journal, JournalContents, JournalError, JournalReader, MAX_LINE_BYTES, PastRecord,
};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{EngineEvent, InputPosition, Outcome, OutcomeName, Record, RelPath, SettledJob};

/// The URL of the record that is appended; no corpus has it.
const NEW: &str = "http://appended.test/";

fn open(path: &Path) -> Result<(Journal, JournalContents), JournalError> {
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).open(path)?;
    Journal::open(file, false)
}

fn settled() -> EngineEvent {
    let place = InputPosition {
        number: 0,
        input: "-".into(),
        line: 1,
    };
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

/// Where a body is: in its file, or with none in that of its URL and request.
type BodyPlace = Result<String, (String, Option<String>)>;

/// What the whole lines say, read another way: line by line, as they stand in the file.
#[derive(Default)]
struct ExpectedJournal {
    /// What was fetched, and its bytes: what the last record says that has this place.
    done: HashMap<BodyPlace, (JobName, u64)>,
    /// All that was fetched, and may have been written over by another.
    all: HashSet<JobName>,
    /// Whether any record has a place in a pack: then a later one may take it back.
    packed: bool,
    /// Whether one has a file besides: such a record is none of ours.
    both: bool,
    records: usize,
    garbage: u64,
    torn: bool,
    /// How much of the file stays.
    kept: usize,
}

impl ExpectedJournal {
    fn by(text: &[u8]) -> Self {
        let mut said = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            said.take(line);
        }
        said
    }

    fn take(&mut self, line: &[u8]) {
        let is_ended = line.ends_with(b"\n");
        let is_short = line.len() <= MAX_LINE_BYTES + usize::from(is_ended);
        let record = serde_json::from_slice::<Record>(line).ok();
        let Some(record) = record.filter(|_| is_short) else {
            let beginning = b"{\"line\":";
            let short = line.len().min(beginning.len());
            let is_first =
                line[..short] == beginning[..short] || line.iter().all(|byte| *byte == 0);
            if !is_ended && (self.records > 0 || (is_short && is_first)) {
                self.torn = true;
                return;
            }
            self.garbage += u64::from(!is_short || !line.trim_ascii().is_empty());
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
                // No job has such a file.
                Some(Err(_)) => continue,
                None => None,
            };
            let bytes = bytes_of(&found.past, url, path.as_ref(), request.as_deref());
            hold!(
                self.packed || bytes == last.get(job).copied(),
                "{job:?} has {bytes:?} bytes, and the last record says {:?}",
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
        PastRecord::Fetched { record, .. } => record.bytes,
        PastRecord::None | PastRecord::OfAnother(_) => None,
    }
}

struct JournalBench {
    path: PathBuf,
    /// Removed at the end.
    _folder: tempfile::TempDir,
}

impl JournalBench {
    fn look(&self, input: &FuzzInput<'_>) -> FuzzVerdict {
        fs::write(&self.path, input.bytes).unwrap();
        let said = ExpectedJournal::by(input.bytes);
        let (mut journal, found) = match open(&self.path) {
            Ok(opened) => opened,
            Err(JournalError::Foreign) => {
                hold!(said.records == 0 && said.garbage > 0, "refused for nothing");
                hold!(
                    fs::read(&self.path).unwrap() == input.bytes,
                    "refused, and changed"
                );
                return Ok("somebody else's");
            }
            Err(error) => return Err(error.to_string()),
        };
        hold!(
            said.records > 0 || said.garbage == 0,
            "somebody else's, and taken"
        );
        hold!(
            (found.garbage, found.torn) == (said.garbage, said.torn),
            "{} garbage, torn {}; it is {} and {}",
            found.garbage,
            found.torn,
            said.garbage,
            said.torn
        );
        said.check_known(&found)?;
        hold!(
            found.past.is_empty() || !said.all.is_empty(),
            "something is known that no line says"
        );
        for url in ["http://a/", "http://b/", "https://example.com/", NEW] {
            let is_said = said.all.contains(&(url.into(), None, None));
            let is_known = bytes_of(&found.past, url, None, None).is_some();
            hold!(is_said || !is_known, "{url} is known, and no line says so");
        }
        journal.on_event(&settled()).unwrap();
        journal.flush().unwrap();
        drop(journal);
        let text = fs::read(&self.path).unwrap();
        let kept = &input.bytes[..said.kept];
        let is_kept = text.starts_with(kept);
        hold!(is_kept, "what was whole was written over");
        let appended = &text[said.kept..];
        let appended = appended.strip_prefix(b"\n").unwrap_or(appended);
        hold!(
            appended.starts_with(b"{\"line\":1,") && appended.ends_with(b"}\n"),
            "appended in the wrong place: {}",
            appended.escape_ascii()
        );
        let (mut journal, again) = open(&self.path).map_err(|error| format!("again: {error}"))?;
        hold!(
            !again.torn && again.garbage == said.garbage,
            "after a record was appended there is other garbage"
        );
        hold!(
            bytes_of(&again.past, NEW, None, None).is_some(),
            "the appended record is gone"
        );
        said.check_known(&again)?;
        if said.packed {
            journal.mark_lost_beyond(input.number % 64).unwrap();
            drop(journal);
            let (_, written_off) =
                open(&self.path).map_err(|error| format!("written off: {error}"))?;
            let end = written_off.past.pack_end();
            hold!(
                said.both || end.is_none_or(|end| end <= input.number % 64),
                "{end:?} is known beyond {}",
                input.number % 64
            );
            return Ok("of a pack");
        }
        Ok(match (said.records, said.torn, said.garbage) {
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
    fuzz.run(move |input| bench.look(input));
}
