//! `--verify`: compares what earlier runs saved with their journal, without a network.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::problem::RESULTS;
use super::saving::{lost_warning, open_to_read, warnings};
use super::{OpenedList, Problem, RunError, SaveError, reporters, run_blocking};
use crate::config::{Config, ReportOptions, ResultFormat, SaveOptions};
use crate::engine::{BodyVerifier, EngineOptions, digest_of};
use crate::model::{
    BodyHashes, Cause, ContentChange, ErrorText, FetchError, Job, ListEntry, LiveStats, Outcome,
    OutcomeName, Record, RecordError, RelPath, Sha256, Summary,
};
use crate::report::{
    FindingWriter, Journal, JournalContents, JournalError, JournalReader, NoticeReporter, Output,
    PastRecord, ReportError,
};
use crate::store::{PackStore, SavedFiles, SavedPack, file_of};

/// Minimum number of threads: reading from a network file system is mostly waiting.
const MIN_THREADS: usize = 4;
/// Maximum number of threads.
const MAX_THREADS: usize = 16;
/// Bodies and findings queued between the threads; each is a record.
const QUEUE_LENGTH: usize = 256;

/// Compares every body of the journal, or those of the input lines, with its size and its hash, as
/// far as known; in a pack, also every other record, among them those of redirects and failures.
/// Missing and changed bodies count as failed and are written to the results; files that no record
/// names are notices, and so is what the next run would warn of.
///
/// # Errors
/// [`RunError`] when there is no journal, an input cannot be read or the results cannot be written.
pub async fn verify(mut config: Config) -> Result<Summary, RunError> {
    config.engine.with_body = config.http.body.is_some();
    config.engine.body_digest = config.http.body.as_deref().map(Sha256::of);
    let list = match config.input.sources.is_empty() {
        true => None,
        false => Some(OpenedList::open(&mut config)?),
    };
    let live = list
        .as_ref()
        .map_or_else(Arc::default, |list| Arc::clone(&list.live));
    let Config {
        save,
        engine,
        report,
        ..
    } = config;
    let work = move || {
        let journal = journal_path(&save);
        let shelf = Shelf::open(&save)?;
        let found = read_journal(&journal)?;
        let inspection = Inspection {
            shelf,
            warnings: warnings(&journal, &found),
            past: found.past,
            live,
            error_text: engine.error_text,
        };
        if list.is_none() {
            inspection.live.set_list_length(inspection.past.length());
        }
        let progress = reporters::start_progress(&report, &inspection.live);
        let checked = inspection.run(list, &engine, report);
        if let Some(progress) = progress {
            progress.stop();
        }
        checked
    };
    Ok(run_blocking(work).await?)
}

fn journal_path(save: &SaveOptions) -> PathBuf {
    match (&save.dir, &save.pack, &save.journal) {
        (Some(dir), ..) => SavedFiles::journal_path(dir),
        (None, _, Some(journal)) => journal.clone(),
        (None, Some(pack), None) => PackStore::journal_path(pack),
        (None, None, None) => PathBuf::new(),
    }
}

fn read_journal(path: &Path) -> Result<JournalContents, Problem> {
    let failed = |cause| {
        let path = path.to_owned();
        Problem::Save(SaveError::Journal { path, cause })
    };
    match open_to_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Problem::Save(SaveError::NoJournal(path.to_owned())))
        }
        opened => opened
            .map_err(JournalError::from)
            .and_then(Journal::read_only)
            .map_err(failed),
    }
}

/// Where the bodies are.
enum Shelf {
    Files(SavedFiles),
    Pack(SavedPack),
    /// Only the journal was kept.
    None,
}

impl Shelf {
    fn open(save: &SaveOptions) -> Result<Self, Problem> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| {
                Problem::Report(ReportError {
                    what: path.display().to_string(),
                    source: cause,
                })
            }
        };
        match (&save.dir, &save.pack) {
            // Without the directory there is no journal, and the error is about that.
            (Some(dir), _) if dir.exists() => {
                SavedFiles::open(dir).map(Self::Files).map_err(failed(dir))
            }
            (None, Some(pack)) if journal_path(save).exists() => {
                SavedPack::open(pack).map(Self::Pack).map_err(|cause| {
                    let path = pack.clone();
                    Problem::Save(SaveError::Pack { path, cause })
                })
            }
            _ => Ok(Self::None),
        }
    }

    /// Whether a record says that there is a body here.
    fn has(&self, record: &Record) -> bool {
        match self {
            Self::Files(_) => record.file.is_some(),
            Self::Pack(_) => record.end_in_pack().is_some(),
            Self::None => false,
        }
    }

    fn file_of(&self, job: &Job) -> Option<RelPath> {
        matches!(self, Self::Files(_)).then(|| file_of(job))
    }

    /// Reads a body through the checks, after the records of the pack in front of it.
    fn check(
        &self,
        record: &Record,
        in_front: Option<Range<u64>>,
        mut checks: BodyVerifier,
    ) -> Result<(), Flaw> {
        if let (Self::Pack(pack), Some(range)) = (self, in_front) {
            pack.check_records(range)?;
        }
        match (self, &record.file, record.pack) {
            (Self::Files(files), Some(file), _) => {
                let file = RelPath::parse(file).map_err(|why| Flaw::changed(&why))?;
                let file = files.open_file(&file)?;
                let length = file.metadata()?.len();
                checks.check_announced(Some(length))?;
                let needed = checks.needed_of(length);
                checks.read_existing(file.take(needed))?;
                checks.skip(length - needed);
                checks.finish()?;
            }
            (Self::Pack(pack), _, Some(place)) => {
                let mut checked = Ok(());
                pack.read(place, |piece| {
                    if checked.is_ok() {
                        checked = checks.update(piece);
                    }
                })?;
                checked?;
                checks.finish()?;
            }
            _ => checks.check_recorded(record.bytes, record.hashes())?,
        }
        Ok(())
    }
}

/// What is wrong with a body.
struct Flaw {
    change: ContentChange,
    error: FetchError,
}

impl Flaw {
    fn changed(why: &str) -> Self {
        FetchError::Checksum(Cause::from_text(why)).into()
    }

    fn missing(why: &str) -> Self {
        Self {
            change: ContentChange::Gone,
            error: FetchError::Checksum(Cause::from_text(why)),
        }
    }

    /// Makes the record of the body that of a failure.
    fn describe(self, record: Record, text: ErrorText) -> Record {
        Record {
            ok: false,
            outcome: OutcomeName::Failed,
            error: Some(RecordError::new(&self.error, text)),
            change: Some(self.change),
            attempts: 0,
            resends: 0,
            at: format!("{:.3}", jiff::Timestamp::now()),
            started_ms: None,
            ttfb_ms: None,
            elapsed_ms: None,
            total_ms: None,
            ..record
        }
    }
}

impl From<FetchError> for Flaw {
    fn from(error: FetchError) -> Self {
        Self {
            change: ContentChange::Changed,
            error,
        }
    }
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Self::missing("the file is missing")
            }
            io::ErrorKind::UnexpectedEof => Self::missing("the pack ends before it"),
            io::ErrorKind::InvalidData | io::ErrorKind::Other => Self::changed(&error.to_string()),
            _ => Self::changed(&format!("cannot be read: {error}")),
        }
    }
}

/// A body to look at, or one that is known to be missing.
struct Suspect {
    record: Record,
    flaw: Option<Flaw>,
    /// Where the pack has records that no other body accounts for.
    in_front: Option<Range<u64>>,
    /// What is expected of it.
    size: Option<u64>,
    hashes: BodyHashes,
}

impl Suspect {
    fn of(record: Record) -> Self {
        Self {
            size: record.bytes,
            hashes: record.hashes(),
            record,
            flaw: None,
            in_front: None,
        }
    }

    fn missing(record: Record, error: FetchError) -> Self {
        let change = ContentChange::Gone;
        Self {
            flaw: Some(Flaw { change, error }),
            ..Self::of(record)
        }
    }
}

/// A comparison of the journal with what is on disk.
struct Inspection {
    shelf: Shelf,
    past: JournalReader,
    /// Damage of the journal.
    warnings: Vec<String>,
    live: Arc<LiveStats>,
    error_text: ErrorText,
}

impl Inspection {
    /// Looks at all bodies on several threads. Memory does not depend on their number or size.
    fn run(
        &self,
        list: Option<OpenedList>,
        engine: &EngineOptions,
        report: ReportOptions,
    ) -> Result<Summary, Problem> {
        let is_whole = list.is_none();
        let (suspects, queue) = sync_channel(QUEUE_LENGTH);
        let (findings, found) = sync_channel(QUEUE_LENGTH);
        let queue = Arc::new(Mutex::new(queue));
        let (results, mut notices) = outputs(report);
        let mut notify = |text: &str| {
            if let Some(notices) = &mut notices {
                notices.write_notice(text);
            }
        };
        self.warnings.iter().for_each(|warning| notify(warning));
        let ends = match (&self.shelf, is_whole) {
            (Shelf::Pack(_), true) => self.pack_ends()?,
            _ => PackEnds::default(),
        };
        let (read, written) = thread::scope(|scope| {
            for _ in 0..threads() {
                let (queue, findings) = (Arc::clone(&queue), findings.clone());
                scope.spawn(move || self.work(&queue, &findings));
            }
            // Only the threads hold the ends now, so that each sees when the other is gone.
            drop((queue, findings));
            let writer = scope.spawn(move || write_all(&found, results));
            let read = match list {
                Some(list) => self.read_list(list, engine, &suspects),
                None => self.read_all(&ends, &suspects),
            };
            drop(suspects);
            (read, writer.join())
        });
        let written = written.map_err(|_| Problem::Internal("a thread panicked".to_owned()))?;
        let mut summary = written.map_err(results_problem)?;
        read?;
        let strange = match (&self.shelf, is_whole) {
            (Shelf::Files(files), true) => self.list_strange(files, &mut notify)?,
            (Shelf::Pack(pack), true) => self.compare_length(pack, &ends, &mut notify)?,
            _ => 0,
        };
        summary.input = self.live.listed();
        summary.list_ended = true;
        summary.skipped = summary.input.saturating_sub(summary.failed);
        let words = match (&self.shelf, is_whole) {
            (Shelf::Pack(_), true) => ("response", "responses", "good"),
            (Shelf::None, false) => ("URL", "URLs", "in the journal"),
            _ => ("body", "bodies", "good"),
        };
        notify(&summary_text(&summary, strange, words));
        Ok(summary)
    }

    /// Passes on the record of each body in the journal, and of each failure in the pack.
    fn read_all(&self, ends: &PackEnds, suspects: &SyncSender<Suspect>) -> Result<(), Problem> {
        let read = self.past.for_each_saved(|record, line| {
            self.live.add_list_bytes(line.end - line.start);
            if !self.shelf.has(&record) {
                return ControlFlow::Continue(());
            }
            let in_front = ends.in_front_of(&record, line.start);
            let suspect = Suspect {
                in_front,
                ..Suspect::of(record)
            };
            self.pass_on(suspect, suspects)
        });
        self.live.mark_list_ended();
        read.map_err(|source| unreadable("the journal", source))
    }

    /// Reads where the records of each URL end in the pack.
    fn pack_ends(&self) -> Result<PackEnds, Problem> {
        let mut ends = Vec::new();
        let read = self.past.for_each_saved(|record, line| {
            ends.extend(record.end_in_pack().map(|end| (end, line.start)));
            ControlFlow::Continue(())
        });
        read.map_err(|source| unreadable("the journal", source))?;
        ends.sort_unstable();
        Ok(PackEnds(ends))
    }

    /// Passes on what the journal says of each line of the list.
    fn read_list(
        &self,
        mut list: OpenedList,
        engine: &EngineOptions,
        suspects: &SyncSender<Suspect>,
    ) -> Result<(), Problem> {
        while let Some(batch) = list.batches.blocking_recv() {
            for entry in batch? {
                let suspect = match entry {
                    ListEntry::Job(job) => self.recall(&job, engine),
                    ListEntry::Invalid(line) => {
                        let record = Record::for_line(&line.position, line.shown);
                        Suspect::missing(record, line.error)
                    }
                    ListEntry::Sitemap(job) => {
                        let record = Record::for_line(&job.position, job.url.into());
                        let reason = "a sitemap, which is not fetched to verify files".to_owned();
                        Suspect::missing(record, FetchError::InvalidUrl { reason, hint: None })
                    }
                    // Only a fetched sitemap fails.
                    ListEntry::Failed(_) => continue,
                };
                if suspects.send(suspect).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn recall(&self, job: &Job, engine: &EngineOptions) -> Suspect {
        let (file, request) = (self.shelf.file_of(job), digest_of(job, engine));
        let url = job.url.as_str();
        let past = self.past.find(url, file.as_ref(), request.as_deref());
        let PastRecord::Fetched(record) = past else {
            let mut record = Record::for_line(&job.position, url.to_owned());
            record.file = file.map(|file| file.to_string());
            let why = "no run has fetched it";
            return Suspect::missing(record, FetchError::Checksum(Cause::from_text(why)));
        };
        let record = Record {
            line: job.position.line,
            input: Arc::clone(&job.position.input),
            ..*record
        };
        let mut suspect = Suspect::of(record);
        if let Some(own_options) = &job.options {
            suspect.size = own_options.size.or(suspect.size);
            let hashes = own_options.hashes.as_deref().copied().unwrap_or_default();
            suspect.hashes = hashes.or(suspect.hashes);
        }
        suspect
    }

    fn pass_on(&self, suspect: Suspect, suspects: &SyncSender<Suspect>) -> ControlFlow<()> {
        self.live.add_listed(1);
        match suspects.send(suspect) {
            Ok(()) => ControlFlow::Continue(()),
            // The threads have ended, because the results cannot be written.
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Looks at bodies until there are no more.
    fn work(&self, queue: &Mutex<Receiver<Suspect>>, findings: &SyncSender<Record>) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(suspect) = next else { return };
            let found = self.look_at(suspect);
            self.live.count_outcome(&match &found {
                Ok(bytes) => {
                    self.live.add_bytes(*bytes);
                    Outcome::Skipped
                }
                Err(_) => Outcome::Failed(FetchError::Checksum(Cause::from_text(""))),
            });
            if let Err(record) = found
                && findings.send(*record).is_err()
            {
                return;
            }
        }
    }

    /// Returns the size of a good body, or the record of one that is not.
    fn look_at(&self, suspect: Suspect) -> Result<u64, Box<Record>> {
        let checks = BodyVerifier::of_saved(suspect.size, suspect.hashes.boxed());
        let checked = match suspect.flaw {
            Some(flaw) => Err(flaw),
            None => self.shelf.check(&suspect.record, suspect.in_front, checks),
        };
        match checked {
            Ok(()) => Ok(suspect.record.bytes.unwrap_or_default()),
            Err(flaw) => Err(Box::new(flaw.describe(suspect.record, self.error_text))),
        }
    }

    /// Notes the files that no record of the journal names. Returns their number.
    fn list_strange(
        &self,
        files: &SavedFiles,
        notify: &mut impl FnMut(&str),
    ) -> Result<u64, Problem> {
        let mut strange = 0;
        let walked = files.for_each(|path, is_text| {
            let is_known = is_text && RelPath::parse(path).is_ok_and(|file| self.past.owns(&file));
            if !is_known {
                strange += 1;
                notify(&format!("strange: {path} is in no record of the journal"));
            }
        });
        walked.map_err(|source| unreadable("the output directory", source))?;
        Ok(strange)
    }

    /// Notes what the pack lacks, and what is behind its last journaled record. Returns 1 if that
    /// is strange.
    fn compare_length(
        &self,
        pack: &SavedPack,
        ends: &PackEnds,
        notify: &mut impl FnMut(&str),
    ) -> Result<u64, Problem> {
        let path = pack.path();
        let length = pack.length();
        let lost = ends.beyond(length.unwrap_or_default());
        if let Some(warning) = lost_warning(path, lost, length.is_none()) {
            notify(&warning);
        }
        let (path, end) = (path.display(), self.past.pack_end().unwrap_or_default());
        let Some(more @ 1..) = length.and_then(|length| length.checked_sub(end)) else {
            return Ok(0);
        };
        let is_torn = pack.is_torn_at(end);
        if is_torn.map_err(|source| unreadable(&path.to_string(), source))? {
            notify(&format!(
                "warning: {path}: {more} bytes after the last journaled record (was a run killed?); \
                 the next run discards them"
            ));
            return Ok(0);
        }
        notify(&format!(
            "strange: {path}: {more} bytes after the last journaled record, from byte {end} on, are no \
             record; the next run cannot use the pack until they are cut off (truncate -s {end})"
        ));
        Ok(1)
    }
}

/// Where the records of each URL end in the pack, in order, with the positions in the journal that
/// say so.
#[derive(Default)]
struct PackEnds(Vec<(u64, u64)>);

impl PackEnds {
    /// Returns the part of the pack between the response before that of a record and its own. Its
    /// own is in the part if it refers to an earlier one, or if it was not kept. `None` if a later
    /// line of the journal is about the same response.
    fn in_front_of(&self, record: &Record, line: u64) -> Option<Range<u64>> {
        let end = record.end_in_pack()?;
        let next = self.0.partition_point(|(other, _)| *other <= end);
        let (_, last_line) = self.0.get(next.checked_sub(1)?)?;
        let first = self.0.partition_point(|(other, _)| *other < end);
        let before = first.checked_sub(1).and_then(|before| self.0.get(before));
        let start = before.map_or(0, |(end, _)| *end);
        let own = record.pack.filter(|place| place.end() == end);
        let range = start..own.map_or(end, |place| place.offset);
        (*last_line == line && !range.is_empty()).then_some(range)
    }

    /// Returns how many end beyond this length of the pack.
    fn beyond(&self, length: u64) -> usize {
        self.0.len() - self.0.partition_point(|(end, _)| *end <= length)
    }
}

/// Writes the findings and counts them: all as failed, those missing as gone.
fn write_all(found: &Receiver<Record>, mut results: Option<FindingWriter>) -> io::Result<Summary> {
    let mut summary = Summary::default();
    for record in found {
        summary.failed += 1;
        if let Some(change) = record.change {
            *summary.changes.entry(change).or_default() += 1;
        }
        if let Some(results) = &mut results {
            results.write(&record)?;
        }
    }
    Ok(summary)
}

fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.clamp(MIN_THREADS, MAX_THREADS)
}

fn outputs(report: ReportOptions) -> (Option<FindingWriter>, Option<NoticeReporter>) {
    let end: &[u8] = if report.print0 { b"\0" } else { b"\n" };
    let shared = report.screen.clone().filter(|_| report.shares_screen);
    let results = report.results.map(|(format, stream)| {
        let output = Output::new(stream, shared).with_terminator(end);
        FindingWriter::new(output, format == ResultFormat::Json)
    });
    let notices = report
        .notices
        .map(|stream| NoticeReporter::new(Output::new(stream, report.screen)));
    (results, notices)
}

fn results_problem(source: io::Error) -> Problem {
    unreadable(RESULTS, source)
}

fn unreadable(what: &str, source: io::Error) -> Problem {
    Problem::Report(ReportError {
        what: what.to_owned(),
        source,
    })
}

/// `words` are those for one thing, for several, and for what is right with them.
fn summary_text(summary: &Summary, strange: u64, words: (&str, &str, &str)) -> String {
    let missing = summary
        .changes
        .get(&ContentChange::Gone)
        .copied()
        .unwrap_or_default();
    let changed = summary.failed - missing;
    let (one, many, good) = words;
    let noun = if summary.input == 1 { one } else { many };
    let mut text = format!(
        "{} {noun}: {} {good}, {missing} missing, {changed} changed",
        summary.input, summary.skipped
    );
    if strange > 0 {
        text.push_str(&format!("; {strange} strange"));
    }
    text
}
