//! The tables: the cost of each program, and the ratio of fetchall to the others.

use std::fmt;
use std::time::Duration;

use crate::support::launch::Ran;
use crate::support::numbers::{Spread, median, mib};
use crate::work::{Rounds, ratio};

pub const COSTS: &str = "\
| work | program | CPU | wall | peak memory | note |
|---|---|--:|--:|--:|---|";

pub const RATIOS: &str = "\
| work | fetchall, of | CPU | must be | wall | must be |
|---|---|--:|--:|--:|--:|";

pub const LIMITS: &str = "\
| work | what | is | must be |
|---|---|--:|--:|";

/// The result of a scenario.
#[derive(Default)]
pub struct Report {
    pub costs: Vec<Cost>,
    pub ratios: Vec<Ratio>,
    pub limits: Vec<Limit>,
    /// Notes below the tables.
    pub notes: Vec<String>,
}

impl Report {
    pub fn extend(&mut self, other: Self) {
        self.costs.extend(other.costs);
        self.ratios.extend(other.ratios);
        self.limits.extend(other.limits);
        self.notes.extend(other.notes);
    }

    /// Whether a bound is missed or a run failed.
    pub fn is_missed(&self) -> bool {
        self.costs.iter().any(|one| one.complaint.is_some())
            || self.ratios.iter().any(Ratio::is_missed)
            || self.limits.iter().any(Limit::is_missed)
    }
}

/// The cost of a program, per URL or in total.
pub struct Cost {
    work: String,
    program: String,
    cpu: Spread,
    wall: Spread,
    peak: f64,
    complaint: Option<String>,
}

impl Cost {
    /// Returns medians of the runs in microseconds, and the largest peak memory.
    pub fn of(work: &str, program: &str, rans: &[Ran], urls: u64) -> Option<Self> {
        let each = |time| each(time, urls);
        Some(Self {
            work: work.to_owned(),
            program: program.to_owned(),
            cpu: Spread::of(rans.iter().map(|ran| each(ran.cpu)))?,
            wall: Spread::of(rans.iter().map(|ran| each(ran.wall)))?,
            peak: peak(rans),
            complaint: rans.iter().find_map(|ran| ran.complaint.clone()),
        })
    }

    /// Returns a row for each program.
    pub fn all(work: &str, rounds: &Rounds) -> Vec<Self> {
        let cost = |(program, rans): &(_, Vec<_>)| {
            let program: &crate::programs::Program = program;
            Self::of(work, &program.label, rans, rounds.urls)
        };
        rounds.rans.iter().filter_map(cost).collect()
    }
}

/// Returns the part of a time that each URL takes, in microseconds.
pub fn each(time: Duration, urls: u64) -> f64 {
    time.as_secs_f64() * 1e6 / urls as f64
}

/// Returns the largest peak memory of several runs, in MiB.
pub fn peak(rans: &[Ran]) -> f64 {
    mib(rans.iter().map(|ran| ran.peak).max().unwrap_or_default())
}

/// Returns the median peak memory of several runs, in MiB.
pub fn usual_peak(rans: &[Ran]) -> f64 {
    mib(median(rans.iter().map(|ran| ran.peak)))
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {} µs | {} µs | {:.1} MiB | {} |",
            self.work,
            self.program,
            Short(self.cpu),
            Short(self.wall),
            self.peak,
            self.complaint.as_deref().unwrap_or_default(),
        )
    }
}

/// A time, rounded to significant digits.
struct Short(Spread);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread {
            least,
            median,
            most,
        } = self.0;
        write!(f, "{median:.0} ({least:.0}–{most:.0})")
    }
}

/// The ratio of fetchall to another program, round by round.
pub struct Ratio {
    work: String,
    of: String,
    cpu: Option<Spread>,
    wall: Option<Spread>,
    most_cpu: Option<f64>,
    most_wall: Option<f64>,
}

impl Ratio {
    pub fn of(work: &str, of: &str, ours: &[Ran], theirs: &[Ran]) -> Self {
        Self {
            work: work.to_owned(),
            of: of.to_owned(),
            cpu: ratio(ours, theirs, |ran| ran.cpu.as_secs_f64()),
            wall: ratio(ours, theirs, |ran| ran.wall.as_secs_f64()),
            most_cpu: None,
            most_wall: None,
        }
    }

    pub fn cpu(mut self, most: f64) -> Self {
        self.most_cpu = Some(most);
        self
    }

    pub fn wall(mut self, most: f64) -> Self {
        self.most_wall = Some(most);
        self
    }

    fn is_missed(&self) -> bool {
        // A bound on an unknown value is missed.
        let is_over = |value: Option<Spread>, most: Option<f64>| {
            most.is_some_and(|most| !value.is_some_and(|value| value.median <= most))
        };
        is_over(self.cpu, self.most_cpu) || is_over(self.wall, self.most_wall)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Spread>| value.map_or("?".to_owned(), |value| value.to_string());
        let bound = |most: Option<f64>| most.map_or(String::new(), |most| format!("≤ {most:.2}"));
        write!(
            f,
            "| {} | {} | {} | {} | {} | {}{} |",
            self.work,
            self.of,
            shown(self.cpu),
            bound(self.most_cpu),
            shown(self.wall),
            bound(self.most_wall),
            if self.is_missed() { " MISSED" } else { "" }
        )
    }
}

/// A value of fetchall with an absolute bound.
pub struct Limit {
    pub work: String,
    pub what: String,
    pub is: f64,
    pub most: f64,
    pub unit: &'static str,
}

impl Limit {
    fn is_missed(&self) -> bool {
        self.is > self.most
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            work,
            what,
            is,
            most,
            unit,
        } = self;
        let missed = if self.is_missed() { " MISSED" } else { "" };
        write!(
            f,
            "| {work} | {what} | {is:.2} {unit} | ≤ {most:.2} {unit}{missed} |"
        )
    }
}
