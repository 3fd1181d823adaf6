//! What has to hold after each simulated run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::case::{SimLine, SimPlan};
use super::site::{Page, PageBody, PageKind, SimSite};
use super::world::{JobRequests, SimAnswer};
use crate::config::Config;
use crate::model::{ErrorKind, OutcomeName, Record, RecordError, Summary};
use crate::schedule::RetryPolicy;
use crate::store::file_path_for;

/// How a run ended.
pub(super) enum SimEnd {
    /// With these counts, and maybe an error of the run.
    Ended(Box<Summary>, Option<String>),
    /// It was killed.
    Killed,
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Wrongs(pub Vec<String>);

impl Wrongs {
    pub(super) fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// Returns the records of a journal. Every line has to be one.
pub(super) fn journaled(path: &Path, wrong: &mut Wrongs) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    wrong.unless(text.is_empty() || text.ends_with('\n'), || {
        "the journal is torn".to_owned()
    });
    let mut records = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(error) => wrong
                .0
                .push(format!("no record in the journal: {error}: {line}")),
        }
    }
    records
}

/// Returns the numbers of the lines that are done according to a journal and the files that are there.
pub(super) fn done_lines(
    plan: &SimPlan,
    journal: &[Record],
    files: &BTreeMap<String, Vec<u8>>,
) -> BTreeSet<u64> {
    let mut last = BTreeMap::new();
    // A failure takes nothing back, except the loss of a file that is about to be replaced.
    for record in journal {
        if record.ok {
            last.insert(record.url.as_str(), record);
        } else if record.file.is_some() {
            last.remove(record.url.as_str());
        }
    }
    let is_done = |line: &SimLine| {
        let Some(record) = line
            .pages
            .first()
            .and_then(|page| last.get(page.url.as_str()))
        else {
            return false;
        };
        let file = record.file.as_ref().and_then(|file| files.get(file));
        let is_there = !plan.saves || file.map(|file| file.len() as u64) == record.bytes;
        let is_expected = line.hash.is_none_or(|hash| record.sha256 == Some(hash));
        is_there && is_expected
    };
    let numbered = (0..).zip(&plan.lines);
    numbered
        .filter(|(_, line)| is_done(line))
        .map(|(number, _)| number)
        .collect()
}

/// One run, seen from all sides.
pub(super) struct SeenRun<'a> {
    pub plan: &'a SimPlan,
    pub config: &'a Config,
    pub site: &'a SimSite,
    pub is_last: bool,
    pub end: &'a SimEnd,
    /// The records that the run reported.
    pub records: &'a [Record],
    /// What the run added to the journal.
    pub journaled: &'a [Record],
    pub done: &'a BTreeSet<u64>,
    pub jobs: &'a BTreeMap<u64, JobRequests>,
    pub files: &'a BTreeMap<String, Vec<u8>>,
    /// The number of the entry on each line of the list.
    pub numbers: &'a BTreeMap<u64, u64>,
    /// The versions of bodies that were sent.
    pub served: &'a BTreeMap<String, BTreeSet<u64>>,
}

impl SeenRun<'_> {
    pub(super) fn check(&self, wrong: &mut Wrongs) {
        self.check_counts(wrong);
        self.check_journal(wrong);
        self.check_files(wrong);
        for record in self.records {
            self.check_record(record, wrong);
        }
        if self.is_last {
            self.check_last(wrong);
        }
    }

    /// Returns the number of the entry of a record.
    fn number(&self, record: &Record) -> Option<u64> {
        self.numbers.get(&record.line).copied()
    }

    fn check_counts(&self, wrong: &mut Wrongs) {
        let lines: Vec<_> = self.records.iter().map(|record| record.line).collect();
        let once: BTreeSet<_> = lines.iter().collect();
        wrong.unless(once.len() == lines.len(), || {
            format!("a line was reported twice: {lines:?}")
        });
        if self.config.report.ordered {
            wrong.unless(lines.is_sorted(), || {
                format!("not in the order of the list: {lines:?}")
            });
        }
        let SimEnd::Ended(summary, error) = self.end else {
            return;
        };
        let count = |outcome| {
            let records = self.records.iter();
            records.filter(|record| record.outcome == outcome).count() as u64
        };
        let counted = (
            count(OutcomeName::Fetched),
            count(OutcomeName::Failed),
            count(OutcomeName::Skipped),
        );
        let reported = (summary.fetched, summary.failed, summary.skipped);
        wrong.unless(counted == reported, || {
            format!("{counted:?} reported as {reported:?}")
        });
        let sum = summary.fetched + summary.failed + summary.skipped + summary.left;
        let all = self.plan.lines.len() as u64;
        wrong.unless(summary.input == sum && sum == all, || {
            format!("{all} lines: {summary:?}")
        });
        let is_early = summary.ended_by.is_some() || error.is_some();
        wrong.unless(summary.left == 0 || is_early, || {
            format!("left for no reason: {summary:?}")
        });
    }

    /// What was reported is in the journal.
    fn check_journal(&self, wrong: &mut Wrongs) {
        let key = |record: &Record| (record.line, record.outcome, record.bytes);
        let journaled: BTreeSet<_> = self
            .journaled
            .iter()
            .map(|record| format!("{:?}", key(record)))
            .collect();
        for record in self.records {
            let is_full_disk = record
                .error
                .as_ref()
                .is_some_and(|e| e.kind == ErrorKind::Save);
            let needs_none = record.outcome == OutcomeName::Skipped || is_full_disk;
            let is_there = journaled.contains(&format!("{:?}", key(record)));
            wrong.unless(is_there || needs_none, || {
                format!("not in the journal: {record:?}")
            });
        }
    }

    /// Every file is a whole body of its URL.
    fn check_files(&self, wrong: &mut Wrongs) {
        let mut owners = BTreeMap::<_, Vec<_>>::new();
        for line in &self.plan.lines {
            if let Some(page) = line.pages.first() {
                let path = file_path_for(&page.url).to_string();
                owners.entry(path).or_default().extend(&line.pages);
            }
        }
        for (file, bytes) in self.files {
            let Some(pages) = owners.get(file) else {
                wrong.0.push(format!("nobody's file: {file}"));
                continue;
            };
            let is_one = pages.iter().any(|page| self.is_body_of(page, bytes));
            wrong.unless(is_one, || {
                format!("{file} of {} bytes is no body of its URL", bytes.len())
            });
        }
    }

    /// Whether bytes are a version of a body to which a URL leads.
    fn is_body_of(&self, page: &Page, bytes: &[u8]) -> bool {
        let Some(body) = self.body_behind(page) else {
            return false;
        };
        let served = self.served.get(&body.url).into_iter().flatten();
        served
            .into_iter()
            .any(|version| body.bytes(*version) == bytes)
    }

    fn body_behind(&self, page: &Page) -> Option<PageBody> {
        let mut page = page.clone();
        for _ in 0..50 {
            match page.kind {
                PageKind::Body(body) | PageKind::Gate(body) | PageKind::Pending(_, body) => {
                    return Some(body);
                }
                PageKind::Moved { to, .. } => page = self.site.at(&to),
                _ => return None,
            }
        }
        None
    }

    fn check_record(&self, record: &Record, wrong: &mut Wrongs) {
        let Some(number) = self.number(record) else {
            wrong.0.push(format!("of no line: {record:?}"));
            return;
        };
        let Some(line) = self.plan.lines.get(number as usize) else {
            return;
        };
        if line.pages.is_empty() {
            let kind = record.error.as_ref().map(|error| error.kind);
            wrong.unless(kind == Some(ErrorKind::InvalidUrl), || {
                format!("invalid: {record:?}")
            });
            return;
        }
        if record.outcome == OutcomeName::Skipped {
            let is_known = self.done.contains(&number) || !self.plan.owns_its_file(number);
            wrong.unless(is_known, || format!("not done: {record:?}"));
            return;
        }
        let answers = self.jobs.get(&number).map_or(&[][..], |job| &job.answers);
        let sent = (record.attempts + record.resends) as usize;
        wrong.unless(answers.len() == sent, || {
            format!("{} requests: {answers:?}, {record:?}", answers.len())
        });
        self.check_file(record, wrong);
        if let Some(error) = &record.error {
            self.check_failure(record, error.transient, answers, wrong);
        } else {
            wrong.unless(record.ok, || format!("no error: {record:?}"));
        }
    }

    /// What was fetched is in its file, unless an equal line has another body meanwhile.
    fn check_file(&self, record: &Record, wrong: &mut Wrongs) {
        let same = |line: &&SimLine| {
            let page = line.pages.first();
            page.is_some_and(|page| page.url.as_str() == record.url)
        };
        if !record.ok || !self.plan.saves || self.plan.lines.iter().filter(same).count() > 1 {
            return;
        }
        let file = record.file.as_ref().and_then(|file| self.files.get(file));
        let length = file.map(|file| file.len() as u64);
        wrong.unless(length.is_some() && length == record.bytes, || {
            format!("a file of {length:?} bytes: {record:?}")
        });
    }

    /// A failure that may pass is retried as often as it may be.
    fn check_failure(
        &self,
        record: &Record,
        is_transient: bool,
        answers: &[(u32, SimAnswer)],
        wrong: &mut Wrongs,
    ) {
        let Some((mirror, last)) = answers.last().copied() else {
            return;
        };
        let own = answers
            .iter()
            .filter(|(of, _)| *of == mirror)
            .map(|(_, answer)| *answer);
        let own: Vec<_> = own.collect();
        // A redirect may lead to a host that is given up, which uses up a retry.
        let is_host_matter = own.iter().any(|answer| {
            matches!(
                answer,
                SimAnswer::NotConnected | SimAnswer::Throttled | SimAnswer::GoesOn
            )
        });
        let RetryPolicy {
            retries,
            max_wait,
            max_delay,
            ..
        } = &self.config.retry;
        // The next wait might have been longer than what is left for waiting.
        let passed = Duration::from_millis(record.total_ms.unwrap_or(0));
        let waited = passed + (*max_delay).max(Duration::from_secs(1)) >= *max_wait;
        let failures = own
            .iter()
            .filter(|answer| matches!(answer, SimAnswer::Transient | SimAnswer::Mismatch))
            .count();
        let has_max_time = self.config.engine.max_time.is_some();
        let may_end_early = is_host_matter || waited || has_max_time;
        if is_transient && last == SimAnswer::Transient && !may_end_early {
            // A host that is given up takes its other URLs with it: for what it answered to others,
            // since this URL was never throttled.
            let is_of_host = |error: &RecordError| {
                let message = &error.message;
                message.contains("; host") || message.contains("; requested delay")
            };
            // The error of a mirror that got no answer hides how the URL before it ended. Then its host
            // was given up only if another URL says so.
            let hides_it = record.mirror.unwrap_or(0) > mirror;
            let host =
                |record: &Record| Url::parse(&record.url).ok()?.host_str().map(str::to_owned);
            let mut of_host = self.records.iter().filter(|other| {
                other.line == record.line || (hides_it && host(other) == host(record))
            });
            let is_given_up = record.attempts == 0
                || of_host.any(|other| other.error.as_ref().is_some_and(is_of_host));
            let is_spent = failures > *retries as usize;
            wrong.unless(is_spent || is_given_up, || {
                format!("{failures} of {retries} retries: {own:?}, {record:?}")
            });
        }
    }

    /// After a run in which nothing fails, everything is done that can be.
    fn check_last(&self, wrong: &mut Wrongs) {
        let SimEnd::Ended(summary, error) = self.end else {
            wrong.0.push("the last run did not end".to_owned());
            return;
        };
        wrong.unless(error.is_none() && summary.left == 0, || {
            format!("{error:?}, {summary:?}")
        });
        for record in self.records {
            let line = self
                .number(record)
                .and_then(|number| self.plan.lines.get(number as usize));
            let Some(line) = line.filter(|line| !line.pages.is_empty()) else {
                continue;
            };
            // Maybe by way of a mirror of an equal URL.
            if record.outcome == OutcomeName::Skipped {
                continue;
            }
            let expected = self.outcome(line);
            wrong.unless(expected.is_none_or(|ok| ok == record.ok), || {
                format!("{} instead of {expected:?}: {record:?}", record.ok)
            });
        }
    }

    /// Whether a line is fetched when nothing is in the way; `None` if that depends.
    fn outcome(&self, line: &SimLine) -> Option<bool> {
        let outcomes: Vec<_> = line
            .pages
            .iter()
            .map(|page| self.page_outcome(line, page))
            .collect();
        if outcomes.contains(&None) {
            return None;
        }
        Some(outcomes.contains(&Some(true)))
    }

    fn page_outcome(&self, line: &SimLine, page: &Page) -> Option<bool> {
        let mut page = page.clone();
        for hops in 0..50 {
            if self.config.schedule.robots.is_some()
                && page.url.path() == self.site.disallowed(&page.url)
            {
                return Some(false);
            }
            let follows = hops < self.config.engine.max_redirects;
            match page.kind {
                PageKind::Body(body) => return self.body_outcome(line, &body),
                PageKind::Gate(body) if follows => return self.body_outcome(line, &body),
                PageKind::Pending(_, body) => return self.body_outcome(line, &body),
                PageKind::Moved { to, .. } if follows => page = self.site.at(&to),
                // That of the host may be known from before.
                PageKind::NoHost | PageKind::NoServer => return Some(false),
                _ => return Some(false),
            }
        }
        Some(false)
    }

    fn body_outcome(&self, line: &SimLine, body: &PageBody) -> Option<bool> {
        match (line.hash, body.period) {
            (None, _) => Some(true),
            (Some(hash), None) => Some(hash == crate::model::Sha256::of(&body.bytes(0))),
            (Some(_), Some(_)) => Some(false),
        }
    }
}
