//! Selects the jobs shown as rows in the timeline and the waterfall: all of a short run; for a long
//! one the slowest, some of the failed, and a random sample of the others.

use std::time::Duration;

use crate::model::{AttemptTrace, EngineEvent, Outcome, SettledJob};

use super::summary::count;
use super::text::status_of;

/// A job shown as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobRow {
    /// Its position in the list, from 0.
    pub number: u64,
    /// Its URL.
    pub url: String,
    /// Its status or error kind.
    pub label: String,
    /// Whether it failed.
    pub failed: bool,
    /// How many requests brought its body, if it came in segments.
    pub segments: Option<u32>,
    /// Its attempts, at least one.
    pub traces: Vec<AttemptTrace>,
}

impl JobRow {
    fn of(settled: &SettledJob) -> Self {
        let mut number = itoa::Buffer::new();
        Self {
            number: settled.position.number,
            url: settled.record.url.clone(),
            label: status_of(&settled.record, &mut number).to_owned(),
            failed: matches!(settled.outcome, Outcome::Failed(_)),
            segments: settled.record.segments,
            traces: settled.traces.clone(),
        }
    }

    /// Returns when its first request started, since the start of the run.
    pub(super) fn start(&self) -> Duration {
        self.traces.first().map_or(Duration::ZERO, |one| one.start)
    }

    /// Returns when its last request ended, since the start of the run.
    pub(super) fn end(&self) -> Duration {
        self.traces.last().map_or(Duration::ZERO, |one| one.end)
    }

    /// Returns the time from its first request to the end of its last, including waits.
    pub(super) fn took(&self) -> Duration {
        self.end().saturating_sub(self.start())
    }
}

/// Selects rows while the run is in progress, in bounded memory.
#[derive(Debug)]
pub(super) struct RowSampler {
    max: usize,
    seen: u64,
    /// Jobs without a request.
    unsent: u64,
    slowest: Vec<JobRow>,
    failed: RowReservoir,
    others: RowReservoir,
    /// With a fixed seed, so that the same events give the same rows.
    random: fastrand::Rng,
}

/// The selected rows, and how many jobs they were selected from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SampledRows {
    /// Ordered by the start of their first request.
    pub rows: Vec<JobRow>,
    /// Jobs with a request, including those without a row.
    pub sent: u64,
    /// Jobs without a request: skipped, invalid, or of a host that was given up.
    pub unsent: u64,
}

impl SampledRows {
    /// Describes the selection; `None` if all jobs have a row.
    #[must_use]
    pub(super) fn note(&self) -> Option<String> {
        let rows = self.rows.len() as u64;
        let of = count(self.sent + self.unsent);
        let without = match self.unsent {
            0 => String::new(),
            unsent => format!("; {} had no request", count(unsent)),
        };
        if self.sent > rows {
            let which = "slowest, some failed, random sample";
            return Some(format!(
                "{} of {of} URLs shown: {which}{without}",
                count(rows)
            ));
        }
        (self.unsent > 0).then(|| format!("{} of {of} URLs shown{without}", count(rows)))
    }
}

impl RowSampler {
    /// Creates a sampler that selects at most `max` rows.
    #[must_use]
    pub(super) fn new(max: usize) -> Self {
        let third = max / 3;
        Self {
            max,
            seen: 0,
            unsent: 0,
            slowest: Vec::new(),
            failed: RowReservoir::new(third),
            // Two thirds, to fill the rows when few jobs fail; `picked` cuts the total.
            others: RowReservoir::new(max - third),
            random: fastrand::Rng::with_seed(0),
        }
    }

    /// Considers the job of an event.
    pub(super) fn observe(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Settled(settled) if !settled.traces.is_empty() => self.add(settled),
            EngineEvent::Settled(_) => self.unsent += 1,
            EngineEvent::Continuing { .. } => {}
        }
    }

    fn add(&mut self, settled: &SettledJob) {
        self.seen += 1;
        if self.seen <= self.max as u64 {
            self.slowest.push(JobRow::of(settled));
            return;
        }
        if self.slowest.len() > self.max / 3 {
            self.split_samples();
        }
        let shortest = self.slowest.last().map_or(Duration::ZERO, JobRow::took);
        let row = if took(settled) > shortest {
            let Some(out) = self.slowest.pop() else {
                return;
            };
            self.insert(JobRow::of(settled));
            RowCandidate::Row(out)
        } else {
            RowCandidate::Settled(settled)
        };
        self.sample(row);
    }

    /// Splits the rows by category once there are more jobs than rows.
    fn split_samples(&mut self) {
        let mut all = std::mem::take(&mut self.slowest);
        all.sort_by_key(|row| std::cmp::Reverse(row.took()));
        let rest = all.split_off(self.max / 3);
        self.slowest = all;
        for row in rest {
            self.sample(RowCandidate::Row(row));
        }
    }

    fn insert(&mut self, row: JobRow) {
        let at = self
            .slowest
            .partition_point(|other| other.took() >= row.took());
        self.slowest.insert(at, row);
    }

    fn sample(&mut self, row: RowCandidate<'_>) {
        let sample = if row.failed() {
            &mut self.failed
        } else {
            &mut self.others
        };
        sample.offer(row, &mut self.random);
    }

    /// Returns the rows selected so far.
    #[must_use]
    pub(super) fn picked(&self) -> SampledRows {
        let first = self.slowest.iter().chain(&self.failed.rows);
        let all = first.chain(&self.others.rows).take(self.max);
        let mut rows: Vec<_> = all.cloned().collect();
        rows.sort_by_key(|row| (row.start(), row.number));
        SampledRows {
            rows,
            sent: self.seen,
            unsent: self.unsent,
        }
    }
}

fn took(settled: &SettledJob) -> Duration {
    let start = settled.traces.first().map(|one| one.start);
    let end = settled.traces.last().map(|one| one.end);
    end.unwrap_or_default()
        .saturating_sub(start.unwrap_or_default())
}

/// A job offered to a reservoir. It is copied only if it is selected.
enum RowCandidate<'a> {
    Row(JobRow),
    Settled(&'a SettledJob),
}

impl RowCandidate<'_> {
    fn failed(&self) -> bool {
        match self {
            Self::Row(row) => row.failed,
            Self::Settled(settled) => matches!(settled.outcome, Outcome::Failed(_)),
        }
    }

    fn into_row(self) -> JobRow {
        match self {
            Self::Row(row) => row,
            Self::Settled(settled) => JobRow::of(settled),
        }
    }
}

/// A uniform random sample of the rows offered (Algorithm R, Vitter 1985).
#[derive(Debug)]
struct RowReservoir {
    max: usize,
    offered: u64,
    rows: Vec<JobRow>,
}

impl RowReservoir {
    fn new(max: usize) -> Self {
        Self {
            max,
            offered: 0,
            rows: Vec::new(),
        }
    }

    fn offer(&mut self, row: RowCandidate<'_>, random: &mut fastrand::Rng) {
        self.offered += 1;
        if self.rows.len() < self.max {
            self.rows.push(row.into_row());
            return;
        }
        let place = usize::try_from(random.u64(0..self.offered));
        if let Some(old) = place.ok().and_then(|place| self.rows.get_mut(place)) {
            *old = row.into_row();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ErrorKind, FetchError, FetchSuccess, InputPosition, Record, SavedBody, TraceOutcome,
    };

    fn settled(number: u64, start: u64, took: u64, failed: bool) -> EngineEvent {
        let place = InputPosition {
            number,
            input: "-".into(),
            line: number + 1,
        };
        let record = Record::for_line(&place, format!("http://a.test/{number}"));
        let outcome = if failed {
            Outcome::Failed(FetchError::Refused {
                cause: crate::model::Cause::from_text("no"),
            })
        } else {
            Outcome::Fetched(Box::new(FetchSuccess {
                head: None,
                saved: SavedBody::default(),
            }))
        };
        let ms = Duration::from_millis;
        let mut settled = SettledJob::new(place, record, outcome, None);
        settled.traces.push(AttemptTrace {
            ready: ms(0),
            start: ms(start),
            connected: None,
            head: None,
            end: ms(start + took),
            status: None,
            outcome: if failed {
                TraceOutcome::Failed(ErrorKind::Refused)
            } else {
                TraceOutcome::Fetched
            },
        });
        EngineEvent::Settled(Box::new(settled))
    }

    #[test]
    fn a_short_run_has_a_row_per_job_ordered_by_start() {
        let mut rows = RowSampler::new(12);
        for number in (0..12).rev() {
            rows.observe(&settled(number, number * 10, 5, number % 2 == 0));
        }
        let picked = rows.picked();
        let numbers: Vec<_> = picked.rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (0..12).collect::<Vec<_>>());
        assert_eq!(picked.note(), None);
    }

    #[test]
    fn a_job_without_a_request_is_counted_and_has_no_row() {
        let unsent = || match settled(0, 0, 0, true) {
            EngineEvent::Settled(mut settled) => {
                settled.traces.clear();
                EngineEvent::Settled(settled)
            }
            other => other,
        };
        let mut rows = RowSampler::new(12);
        rows.observe(&unsent());
        rows.observe(&settled(1, 0, 5, false));
        let note = |rows: &RowSampler| rows.picked().note().unwrap();
        assert_eq!(note(&rows), "1 of 2 URLs shown; 1 had no request");
        for number in 2..1234 {
            rows.observe(&settled(number, number, 5, false));
            rows.observe(&unsent());
        }
        assert_eq!(
            note(&rows),
            "12 of 2,466 URLs shown: slowest, some failed, random sample; 1,233 had no request"
        );
    }

    #[test]
    fn a_long_run_has_the_slowest_some_that_failed_and_some_others() {
        let mut rows = RowSampler::new(12);
        for number in 0..10_000 {
            let took = if number % 1000 == 7 { 500 + number } else { 5 };
            rows.observe(&settled(number, number, took, number % 100 == 3));
        }
        let picked = rows.picked();
        assert_eq!((picked.rows.len(), picked.sent), (12, 10_000));
        let slow: Vec<_> = picked
            .rows
            .iter()
            .filter(|row| row.took() > Duration::from_millis(5))
            .map(|row| row.number)
            .collect();
        for number in [6007, 7007, 8007, 9007] {
            assert!(slow.contains(&number), "{slow:?}");
        }
        let failed = picked.rows.iter().filter(|row| row.failed).count();
        assert_eq!(failed, 4);
        // The sample covers the whole run, not only its beginning.
        assert!(picked.rows.iter().any(|row| !row.failed
            && row.number > 2_000
            && row.took() == Duration::from_millis(5)));
    }
}
