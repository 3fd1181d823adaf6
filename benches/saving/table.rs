//! The tables: the cost of each program, and its ratio to what it is compared with.

use std::fmt;
use std::time::Duration;

use crate::program::Program;
use crate::run::Ran;

pub const COSTS: &str = "\
| where | program | CPU | wall | memory | note |
|---|---|--:|--:|--:|---|";

pub const RATIOS: &str = "\
| where | what | CPU | wall | memory | bound |
|---|---|--:|--:|--:|---|";

/// The result of a scenario.
#[derive(Default)]
pub struct Report {
    pub costs: Vec<Cost>,
    pub ratios: Vec<Ratio>,
    /// What was not measured, and why.
    pub skipped: Vec<String>,
}

impl Report {
    /// Reports that nothing could be measured.
    pub fn skipped(scenario: &str, why: &str) -> Self {
        Self {
            skipped: vec![format!("{scenario} was skipped: {why}.")],
            ..Self::default()
        }
    }

    pub fn extend(&mut self, other: Self) {
        self.costs.extend(other.costs);
        self.ratios.extend(other.ratios);
        self.skipped.extend(other.skipped);
    }

    pub fn is_missed(&self) -> bool {
        self.costs.iter().any(|cost| cost.is_missed) || self.ratios.iter().any(Ratio::is_missed)
    }
}

/// The cost of a program.
pub struct Cost {
    scenario: &'static str,
    program: String,
    cpu: Duration,
    wall: Duration,
    peak: u64,
    note: String,
    is_missed: bool,
}

impl Cost {
    /// Returns medians of several runs per URL, and the largest peak memory.
    pub fn of(scenario: &'static str, program: &Program, rans: &[Ran], urls: u32) -> Self {
        let complaint = rans.iter().find_map(|ran| ran.complaint.as_ref());
        Self {
            scenario,
            program: program.to_string(),
            cpu: median(rans.iter().map(|ran| ran.cpu)) / urls,
            wall: median(rans.iter().map(|ran| ran.wall)) / urls,
            peak: peak(rans),
            note: complaint.cloned().unwrap_or_default(),
            is_missed: complaint.is_some() && program.is_ours(),
        }
    }

    /// Adds a note.
    pub fn note(mut self, note: &str) -> Self {
        let notes = [self.note.as_str(), note];
        self.note = notes
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        self
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {:.3?} | {:.3?} | {:.1} MiB | {}{} |",
            self.scenario,
            self.program,
            self.cpu,
            self.wall,
            mib(self.peak),
            self.note,
            if self.is_missed { " MISSED" } else { "" }
        )
    }
}

/// The ratio of two costs.
#[derive(Default)]
pub struct Ratio {
    pub scenario: &'static str,
    pub what: String,
    pub cpu: Option<f64>,
    pub wall: Option<f64>,
    /// Additional memory, in MiB.
    pub memory: Option<f64>,
    pub bound: Option<Bound>,
}

/// The maximum for fetchall.
#[derive(Clone, Copy)]
pub enum Bound {
    Cpu(f64),
    Wall(f64),
    /// In MiB.
    Memory(f64),
}

impl Ratio {
    fn is_missed(&self) -> bool {
        let (value, most) = match self.bound {
            None => return false,
            Some(Bound::Cpu(most)) => (self.cpu, most),
            Some(Bound::Wall(most)) => (self.wall, most),
            Some(Bound::Memory(most)) => (self.memory, most),
        };
        // A bound on an unknown value is missed.
        !value.is_some_and(|value| value <= most)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<f64>| value.map(|value| format!("{value:.2}"));
        let memory = self.memory.map(|value| format!("{value:+.1} MiB"));
        write!(
            f,
            "| {} | {} | {} | {} | {} | {}{} |",
            self.scenario,
            self.what,
            shown(self.cpu).unwrap_or_default(),
            shown(self.wall).unwrap_or_default(),
            memory.unwrap_or_default(),
            self.bound
                .map(|bound| bound.to_string())
                .unwrap_or_default(),
            if self.is_missed() { " MISSED" } else { "" }
        )
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(most) => write!(f, "CPU ≤ {most:.2}"),
            Self::Wall(most) => write!(f, "wall ≤ {most:.2}"),
            Self::Memory(most) => write!(f, "≤ +{most:.0} MiB"),
        }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, wall, .. } = self;
        write!(
            f,
            "CPU {cpu:.2?}, wall {wall:.2?}, {:.1} MiB",
            mib(self.peak)
        )?;
        match &self.complaint {
            Some(complaint) => write!(f, ", {complaint}"),
            None => Ok(()),
        }
    }
}

/// Returns the largest peak memory of several runs, in KiB.
pub fn peak(rans: &[Ran]) -> u64 {
    rans.iter().map(|ran| ran.peak).max().unwrap_or_default()
}

pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Returns the median; the lower one of an even number of values.
pub fn median<T: PartialOrd + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or_default()
}
