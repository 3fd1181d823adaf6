//! Which jobs of a run get a row of their own in a drawing: all of a short run; of a long one the
//! slowest, some of the failed, and a sample of the others.

use std::time::Duration;

use crate::model::{AttemptTrace, EngineEvent, Outcome, SettledJob};

use super::summary::count;
use super::text::status_of;

/// A job as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its number in the list.
    pub number: u64,
    /// Its URL.
    pub url: String,
    /// Its status, or the kind of its error.
    pub label: String,
    /// Whether it failed.
    pub failed: bool,
    /// Its attempts; there is at least one.
    pub tries: Vec<AttemptTrace>,
}

impl JobRow {
    fn of(settled: &SettledJob) -> Self {
        let mut number = itoa::Buffer::new();
        Self {
            number: settled.place.number,
            url: settled.record.url.clone(),
            label: status_of(&settled.record, &mut number).to_owned(),
            failed: matches!(settled.outcome, Outcome::Failed(_)),
            tries: settled.tries.clone(),
        }
    }

    /// When its first request was begun.
    pub fn start(&self) -> Duration {
        self.tries.first().map_or(Duration::ZERO, |one| one.start)
    }

    /// When its last request ended.
    pub fn end(&self) -> Duration {
        self.tries.last().map_or(Duration::ZERO, |one| one.end)
    }

    /// From the first request to the end of the last, waits included.
    pub fn took(&self) -> Duration {
        self.end().saturating_sub(self.start())
    }
}

/// The jobs that get a row, as far as the run has come.
#[derive(Debug)]
pub struct RowSampler {
    most: usize,
    seen: u64,
    /// Jobs for which nothing was sent.
    unsent: u64,
    slowest: Vec<JobRow>,
    failed: RowReservoir,
    others: RowReservoir,
    /// So that the same events make the same picture.
    random: fastrand::Rng,
}

/// The rows of a run, and what they were picked from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SampledRows {
    /// In the order in which they were begun.
    pub rows: Vec<JobRow>,
    /// Jobs that had a request, those without a row included.
    pub sent: u64,
    /// Jobs that had none: skipped, no URL, or of a host that was given up.
    pub unsent: u64,
}

impl SampledRows {
    /// Which ones these are, where they are not all.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let rows = self.rows.len() as u64;
        let of = count(self.sent + self.unsent);
        let without = match self.unsent {
            0 => String::new(),
            unsent => format!("; {} had no request", count(unsent)),
        };
        if self.sent > rows {
            let which = "the slowest, some that failed, a sample of the others";
            return Some(format!("{} of {of} URLs: {which}{without}", count(rows)));
        }
        (self.unsent > 0).then(|| format!("{} of {of} URLs{without}", count(rows)))
    }
}

impl RowSampler {
    /// No more than `most` rows.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let third = most / 3;
        Self {
            most,
            seen: 0,
            unsent: 0,
            slowest: Vec::new(),
            failed: RowReservoir::new(third),
            // They get the room of failures that there are not.
            others: RowReservoir::new(most - third),
            random: fastrand::Rng::with_seed(0),
        }
    }

    /// Looks at what happened.
    pub fn observe(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Settled(settled) if !settled.tries.is_empty() => self.add(settled),
            EngineEvent::Settled(_) => self.unsent += 1,
            EngineEvent::Continuing { .. } => {}
        }
    }

    fn add(&mut self, settled: &SettledJob) {
        self.seen += 1;
        if self.seen <= self.most as u64 {
            self.slowest.push(JobRow::of(settled));
            return;
        }
        if self.slowest.len() > self.most / 3 {
            self.split_samples();
        }
        let least = self.slowest.last().map_or(Duration::ZERO, JobRow::took);
        let row = if took(settled) > least {
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

    /// The run turns out to be a long one.
    fn split_samples(&mut self) {
        let mut all = std::mem::take(&mut self.slowest);
        all.sort_by_key(|row| std::cmp::Reverse(row.took()));
        let rest = all.split_off(self.most / 3);
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

    /// The rows, in the order in which they were begun.
    #[must_use]
    pub fn picked(&self) -> SampledRows {
        let first = self.slowest.iter().chain(&self.failed.rows);
        let all = first.chain(&self.others.rows).take(self.most);
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
    let start = settled.tries.first().map(|one| one.start);
    let end = settled.tries.last().map(|one| one.end);
    end.unwrap_or_default()
        .saturating_sub(start.unwrap_or_default())
}

/// What is offered to a sample: nothing is copied before it is taken.
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

/// So many of all that were offered, each as likely (algorithm R, Vitter 1985).
#[derive(Debug)]
struct RowReservoir {
    most: usize,
    offered: u64,
    rows: Vec<JobRow>,
}

impl RowReservoir {
    fn new(most: usize) -> Self {
        Self {
            most,
            offered: 0,
            rows: Vec::new(),
        }
    }

    fn offer(&mut self, row: RowCandidate<'_>, random: &mut fastrand::Rng) {
        self.offered += 1;
        if self.rows.len() < self.most {
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
        settled.tries.push(AttemptTrace {
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
    fn a_short_run_has_a_row_for_each_in_the_order_of_their_starts() {
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
    fn what_had_no_request_counts_and_has_no_row() {
        let unsent = || match settled(0, 0, 0, true) {
            EngineEvent::Settled(mut settled) => {
                settled.tries.clear();
                EngineEvent::Settled(settled)
            }
            other => other,
        };
        let mut rows = RowSampler::new(12);
        rows.observe(&unsent());
        rows.observe(&settled(1, 0, 5, false));
        let note = |rows: &RowSampler| rows.picked().note().unwrap();
        assert_eq!(note(&rows), "1 of 2 URLs; 1 had no request");
        for number in 2..1234 {
            rows.observe(&settled(number, number, 5, false));
            rows.observe(&unsent());
        }
        assert_eq!(
            note(&rows),
            "12 of 2,466 URLs: the slowest, some that failed, a sample of the others; \
             1,233 had no request"
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
        // A sample is of the whole run, not of its beginning.
        assert!(picked.rows.iter().any(|row| !row.failed
            && row.number > 2_000
            && row.took() == Duration::from_millis(5)));
    }
}
