//! `--verify`: compares what earlier runs saved with their journal, without a network.

mod pack_ends;
mod shelf;

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use self::pack_ends::{PackEnds, PackPart};
use self::shelf::{Flaw, SavedPacks, Shelf};
use super::packing::{known_end, lost_warning};
use super::problem::RESULTS;
use super::saving::{check_shard, journal_path, open_to_read, warnings};
use super::{OpenedList, Problem, RunError, SaveError, reporters, run_blocking};
use crate::config::{Config, ReportOptions, ResultFormat, SaveOptions};
use crate::engine::{BodyVerifier, EngineOptions, digest_of, is_adoptable};
use crate::model::{
    BodyHashes, Cause, ContentChange, ErrorText, FetchError, InputPosition, Job, ListEntry,
    LiveStats, Outcome, PackPosition, Record, RelPath, Sha256, Summary, no_thread,
};
use crate::report::{
    FindingWriter, Journal, JournalContents, JournalError, JournalReader, NoticeReporter, Output,
    PastRecord, ReportError,
};
use crate::store::{KnownEnd, PackError, PackFiles, SavedFiles, SavedPack};

/// Minimum number of threads: reading from a network file system is mostly waiting.
const MIN_THREADS: usize = 4;
/// Maximum number of threads.
const MAX_THREADS: usize = 16;
/// Bodies and findings queued between the threads; each is a record.
const QUEUE_LENGTH: usize = 256;
/// Lines of the journal in which the URL of a damaged redirect is looked for.
const MAX_LINES_BEHIND: usize = 100_000;

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
    let shard = config.input.shard;
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
        if list.is_some() || shard.is_some() {
            check_shard(&journal, shard)?;
        }
        let mut shelf = Shelf::open(&save)?;
        let found = match read_journal(&journal) {
            // The next run adopts what the lines describe.
            Err(Problem::Save(SaveError::NoJournal(_)))
                if list.is_some() && matches!(shelf, Shelf::Files(_)) =>
            {
                JournalContents::default()
            }
            read => read.map_err(|problem| without_journal(problem, &save))?,
        };
        if let Shelf::Packs(packs) = &mut shelf {
            packs.take_history(found.packs.clone());
        }
        let inspection = Inspection {
            shelf,
            warnings: warnings(&journal, &found),
            has_begun_pack: found.has_begun_pack,
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

/// A pack without its journal is more than nothing.
fn without_journal(problem: Problem, save: &SaveOptions) -> Problem {
    match (problem, &save.pack) {
        (Problem::Save(SaveError::NoJournal(_)), Some(path)) if is_begun(path) => {
            let (path, cause) = (path.clone(), PackError::NoJournal);
            Problem::Save(SaveError::Pack { path, cause })
        }
        (problem, _) => problem,
    }
}

/// Whether there is a pack, or the first one of a series.
fn is_begun(path: &Path) -> bool {
    let (files, first) = (PackFiles::new(path), Some(0));
    files.path(first).exists() || files.part(first).exists()
}

/// A body to look at, or one that is known to be missing.
struct Suspect {
    record: Record,
    flaw: Option<Flaw>,
    /// Where the pack has records that no other body accounts for.
    in_front: Vec<PackPart>,
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
            in_front: Vec::new(),
        }
    }

    /// Expects also the size and the hashes that the line of a job gives.
    fn expecting(mut self, job: &Job) -> Self {
        if let Some(own_options) = &job.options {
            self.size = own_options.size.or(self.size);
            let hashes = own_options.hashes.as_deref().copied().unwrap_or_default();
            self.hashes = hashes.or(self.hashes);
        }
        self
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
    has_begun_pack: bool,
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
        let ends = match &self.shelf {
            Shelf::Packs(_) => self.pack_ends()?,
            _ => PackEnds::default(),
        };
        let ends = &ends;
        let (read, written) = thread::scope(|scope| {
            for _ in 0..threads() {
                let (queue, findings) = (Arc::clone(&queue), findings.clone());
                thread::Builder::new()
                    .spawn_scoped(scope, move || {
                        self.work(ends, is_whole, &queue, &findings);
                    })
                    .map_err(no_thread)?;
            }
            // Only the threads hold the ends now, so that each sees when the other is gone.
            drop((queue, findings));
            let writer = thread::Builder::new()
                .spawn_scoped(scope, move || write_all(&found, results))
                .map_err(no_thread)?;
            let read = match list {
                Some(list) => self.read_list(list, engine, ends, &suspects),
                None => self.read_all(ends, &suspects),
            };
            drop(suspects);
            Ok((read, writer.join()))
        })
        .map_err(Problem::Thread)?;
        let written = written.map_err(|_| Problem::Internal("a thread panicked".to_owned()))?;
        let mut summary = written.map_err(results_problem)?;
        read?;
        let strange = match (&self.shelf, is_whole) {
            (Shelf::Files(files), true) => self.list_strange(files, &mut notify)?,
            (Shelf::Packs(packs), true) => self.compare_lengths(packs, ends, &mut notify)?,
            _ => 0,
        };
        summary.input = self.live.listed();
        summary.list_ended = true;
        summary.skipped = summary.input.saturating_sub(summary.failed);
        notify(&self.summary_text(&summary, strange, self.words(is_whole)));
        Ok(summary)
    }

    /// `words` are those for one thing, for several, and for what is right with them.
    fn summary_text(&self, summary: &Summary, strange: u64, words: (&str, &str, &str)) -> String {
        let missing = summary
            .changes
            .get(&ContentChange::Gone)
            .copied()
            .unwrap_or_default();
        let changed = summary.failed - missing;
        let passed_over = match &self.shelf {
            Shelf::Packs(packs) => packs.passed_over.load(Ordering::Relaxed),
            Shelf::Files(_) | Shelf::None => 0,
        };
        let (one, many, good) = words;
        let noun = if summary.input == 1 { one } else { many };
        let mut text = format!(
            "{} {noun}: {} {good}, {missing} missing, {changed} changed",
            summary.input,
            summary.skipped.saturating_sub(passed_over)
        );
        if passed_over > 0 {
            text.push_str(&format!(
                ", {passed_over} in packs that were delivered and are gone"
            ));
        }
        if strange > 0 {
            text.push_str(&format!("; {strange} strange"));
        }
        text
    }

    /// What is counted, one and several of it, and what it is if all is well.
    fn words(&self, is_whole: bool) -> (&'static str, &'static str, &'static str) {
        match (&self.shelf, is_whole) {
            (Shelf::Packs(_), true) => ("response", "responses", "good"),
            (Shelf::None, false) => ("URL", "URLs", "in the journal"),
            _ => ("body", "bodies", "good"),
        }
    }

    /// Passes on the record of each body in the journal, and of each failure in the pack.
    fn read_all(&self, ends: &PackEnds, suspects: &SyncSender<Suspect>) -> Result<(), Problem> {
        let read = self.past.for_each_saved(|record, line| {
            self.live.add_list_bytes(line.end - line.start);
            if !self.shelf.has(&record) {
                return ControlFlow::Continue(());
            }
            let in_front = ends.in_front_of(&record, Some(line.start));
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
        let mut ends = PackEnds::default();
        let read = self.past.for_each_saved(|record, line| {
            let end = record.end_in_pack();
            ends.counting.extend(end.map(|end| (end, line.start)));
            let body = record.pack.map(|place| {
                let (n, offset) = (place.n, place.offset);
                (PackPosition { n, offset }, place.end())
            });
            ends.bodies.extend(body);
            ControlFlow::Continue(())
        });
        let read = read.and_then(|()| {
            let all = |end, line| ends.all.push((end, line));
            self.past.for_each_packed(all)
        });
        read.map_err(|source| unreadable("the journal", source))?;
        ends.counting.sort_unstable();
        ends.all.sort_unstable();
        ends.bodies.sort_unstable();
        Ok(ends)
    }

    /// Passes on what the journal says of each line of the list.
    fn read_list(
        &self,
        mut list: OpenedList,
        engine: &EngineOptions,
        ends: &PackEnds,
        suspects: &SyncSender<Suspect>,
    ) -> Result<(), Problem> {
        while let Some(batch) = list.batches.blocking_recv() {
            for entry in batch? {
                let suspect = match entry {
                    ListEntry::Job(job) => self.recall(&job, engine, ends),
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

    fn recall(&self, job: &Job, engine: &EngineOptions, ends: &PackEnds) -> Suspect {
        let (file, request) = (self.shelf.file_of(job), digest_of(job, engine));
        let url = job.url.as_str();
        let past = self.past.find(url, file.as_ref(), request.as_deref());
        let PastRecord::Fetched(record) = past else {
            let mut record = Record::for_line(&job.position, url.to_owned());
            record.file = file.as_ref().map(ToString::to_string);
            if let Some(file) = &file
                && is_adoptable(engine, job)
                && self.shelf.has_file(file)
            {
                return Suspect::of(record).expecting(job);
            }
            let why = "no run has fetched it";
            return Suspect::missing(record, FetchError::Checksum(Cause::from_text(why)));
        };
        let record = Record {
            line: job.position.line,
            input: Arc::clone(&job.position.input),
            ..*record
        };
        let in_front = ends.in_front_of(&record, None);
        let suspect = Suspect {
            in_front,
            ..Suspect::of(record)
        };
        suspect.expecting(job)
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
    fn work(
        &self,
        ends: &PackEnds,
        is_whole: bool,
        queue: &Mutex<Receiver<Suspect>>,
        findings: &SyncSender<Record>,
    ) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(suspect) = next else { return };
            let around = self.look_around(&suspect, ends, is_whole);
            let found = self.look_at(suspect);
            self.live.count_outcome(&match (&found, around.is_empty()) {
                (Ok(bytes), true) => {
                    self.live.add_bytes(*bytes);
                    Outcome::Skipped
                }
                _ => Outcome::Failed(FetchError::Checksum(Cause::from_text(""))),
            });
            let own = found.err().map(|record| *record);
            for record in around.into_iter().chain(own) {
                if findings.send(record).is_err() {
                    return;
                }
            }
        }
    }

    /// Returns what is wrong with the records of the pack in front of a body, by the URL that each
    /// belongs to; for a list, only that of the body itself, and of what ends behind it.
    fn look_around(&self, suspect: &Suspect, ends: &PackEnds, is_whole: bool) -> Vec<Record> {
        let Shelf::Packs(packs) = &self.shelf else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let own_end = suspect.record.end_in_pack();
        for PackPart { n, range } in &suspect.in_front {
            let Some(pack) = packs.get(*n) else {
                continue;
            };
            let Err((at, error)) = pack.check_records(range.clone()) else {
                continue;
            };
            let at = PackPosition { n: *n, offset: at };
            // If the end of the pack is missing, so is the body, where there is one.
            let is_damage = error.kind() == io::ErrorKind::InvalidData;
            let is_body_there = suspect.record.pack.is_none_or(|place| {
                let length = packs.get(place.n).map(|pack| pack.length());
                length.is_none_or(|length| length.is_some_and(|length| place.end() <= length))
            });
            if !is_damage && !is_body_there {
                continue;
            }
            let owner = match is_damage {
                true => self.owner_of(at, &pack, suspect, ends),
                false => suspect.record.clone(),
            };
            // Nothing else of the list is compared with what is in front of other records.
            let is_behind = owner.end_in_pack().is_none_or(|end| Some(end) > own_end);
            if is_whole || owner.url == suspect.record.url || is_behind {
                found.push(Flaw::from(error).describe(owner, self.error_text));
            }
        }
        found
    }

    /// Returns the record of the URL that the pack's record at this position belongs to; the first
    /// one is the pack's own. A redirect is followed by the records of all URLs that are settled
    /// before its own is, which is the next one with the URL of the redirect.
    fn owner_of(
        &self,
        at: PackPosition,
        pack: &SavedPack,
        suspect: &Suspect,
        ends: &PackEnds,
    ) -> Record {
        let alone = |url| {
            let position = InputPosition {
                number: 0,
                input: Arc::clone(&suspect.record.input),
                line: 0,
            };
            Record::for_line(&position, url)
        };
        if at.offset == 0 && pack.has_own_record() {
            return alone(pack.path().display().to_string());
        }
        let mut behind = ends.lines_behind(at);
        let next = behind.next().and_then(|line| self.past.record_at(line));
        let next = next.unwrap_or_else(|| suspect.record.clone());
        let Some(target) = pack.target_at(at.offset) else {
            return next;
        };
        let is_of =
            |record: &Record| record.url == target || record.final_url.as_ref() == Some(&target);
        if is_of(&next) {
            return next;
        }
        let mut others = behind.take(MAX_LINES_BEHIND);
        let owner = others.find_map(|line| self.past.record_at(line).filter(is_of));
        // Between the first redirect of a URL and its end are further ones.
        let has_more = next.redirects > 1;
        owner.unwrap_or_else(|| if has_more { next } else { alone(target) })
    }

    /// Returns the size of a good body, or the record of one that is not.
    fn look_at(&self, suspect: Suspect) -> Result<u64, Box<Record>> {
        let checks = BodyVerifier::of_saved(suspect.size, suspect.hashes.boxed());
        let checked = match suspect.flaw {
            Some(flaw) => Err(flaw),
            None => self.shelf.check(&suspect.record, checks),
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

    /// Notes what the packs lack, and what is behind their last journaled records. Returns how many
    /// are strange.
    fn compare_lengths(
        &self,
        packs: &SavedPacks,
        ends: &PackEnds,
        notify: &mut impl FnMut(&str),
    ) -> Result<u64, Problem> {
        let mut numbers = ends.packs();
        numbers.insert(packs.next(self.past.pack_end().and_then(|end| end.n)));
        let mut strange = 0;
        for n in numbers {
            let Some(pack) = packs.get(n) else {
                continue;
            };
            let length = pack.length();
            let offset = length.unwrap_or_default();
            let lost = ends.beyond(PackPosition { n, offset });
            if let Some(warning) = lost_warning(pack.path(), lost, 0, length.is_none()) {
                notify(&warning);
            }
            let finished = n.and_then(|n| packs.history.get(n));
            strange += match (finished.map(|pack| pack.bytes), length) {
                (Some(bytes), Some(length)) if length > bytes => {
                    let path = pack.path().display();
                    notify(&format!(
                        "strange: {path}: has {length} bytes instead of {bytes}"
                    ));
                    1
                }
                (Some(_), _) => 0,
                (None, length) => self.compare_length(&pack, n, length, ends, notify)?,
            };
        }
        Ok(strange)
    }

    /// Notes what is behind the last journaled record of a pack that is not finished. Returns 1 if
    /// that is strange.
    fn compare_length(
        &self,
        pack: &SavedPack,
        n: Option<u32>,
        length: Option<u64>,
        ends: &PackEnds,
        notify: &mut impl FnMut(&str),
    ) -> Result<u64, Problem> {
        let path = pack.path().display();
        let Some(length) = length.filter(|length| *length > 0) else {
            return Ok(0);
        };
        let known = match known_end(&self.past, self.has_begun_pack, n) {
            KnownEnd::UpTo(end) if end > length => {
                ends.last_within(PackPosition { n, offset: length })
            }
            known => known,
        };
        match pack.end_to_keep(known) {
            Ok(end) if end < length => notify(&format!(
                "warning: {path}: {} bytes after the last journaled record (was a run killed?); \
                 the next run discards them",
                length - end
            )),
            Ok(_) => {}
            Err(PackError::Io(source)) => return Err(unreadable(&path.to_string(), source)),
            Err(why) => {
                notify(&format!(
                    "strange: {path}: the next run cannot use the pack: {why}"
                ));
                return Ok(1);
            }
        }
        Ok(0)
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
