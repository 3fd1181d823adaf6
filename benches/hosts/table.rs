//! The table: a row per program and scenario.

use std::fmt;
use std::time::Duration;

use crate::program::Program;
use crate::run::Ran;

pub const HEAD: &str = "\
| scenario | program | ideal | time | ratio | wasted | bound | note |
|---|---|--:|--:|--:|--:|---|---|";

/// The result of a program in a scenario. Only fetchall can miss a bound.
pub struct Row {
    scenario: &'static str,
    program: String,
    ours: bool,
    whole: bool,
    ideal: Duration,
    time: Duration,
    wasted: u64,
    bound: Option<f64>,
    missed: Vec<String>,
    notes: Vec<String>,
}

impl Row {
    /// Creates a row with the time of the whole run, unless another one is set.
    pub fn of(scenario: &'static str, program: &Program, ran: &Ran) -> Self {
        let row = Self {
            scenario,
            program: program.to_string(),
            ours: program.is_ours(),
            whole: ran.is_whole(),
            ideal: ran.wall,
            time: ran.wall,
            wasted: ran.wasted(),
            bound: None,
            missed: Vec::new(),
            notes: Vec::new(),
        };
        row.counts(ran)
    }

    /// Requires that every URL of a responding host was fetched and that the run ended well.
    fn counts(self, ran: &Ran) -> Self {
        let fetched = format!("fetched {} of {}", ran.fetched, ran.reachable);
        let complete = ran.fetched == ran.reachable;
        let row = if complete && self.ours {
            self
        } else {
            self.require(complete, fetched)
        };
        match &ran.complaint {
            Some(complaint) => row.require(false, complaint.clone()),
            None => row,
        }
    }

    /// Requires the same of the run that gives the ideal.
    pub fn base(self, base: &Ran) -> Self {
        if base.is_whole() {
            self
        } else {
            self.require(false, format!("the run to compare with: {base}"))
        }
    }

    /// Adds a setting to the name of the program in this row.
    pub fn with(mut self, setting: &str) -> Self {
        self.program = format!("{} {setting}", self.program);
        self
    }

    pub fn ideal(mut self, ideal: Duration) -> Self {
        self.ideal = ideal;
        self
    }

    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Sets the largest ratio of time to ideal that fetchall may have.
    pub fn at_most(mut self, bound: f64) -> Self {
        self.bound = self.ours.then_some(bound);
        self
    }

    /// Adds a note. If the condition does not hold, it is a missed bound for fetchall.
    pub fn require(mut self, holds: bool, what: impl Into<String>) -> Self {
        if holds || !self.ours {
            self.notes.push(what.into());
        } else {
            self.missed.push(what.into());
        }
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn ratio(&self) -> f64 {
        self.time.as_secs_f64() / self.ideal.as_secs_f64()
    }

    /// A program that did not complete the work has no ratio.
    fn ratio_shown(&self) -> String {
        if self.whole {
            format!("{:.2}", self.ratio())
        } else {
            "–".to_owned()
        }
    }

    pub fn is_missed(&self) -> bool {
        !self.missed.is_empty() || self.bound.is_some_and(|bound| self.ratio() > bound)
    }

    fn verdict(&self) -> String {
        let bound = self.bound.map(|bound| format!("≤ {bound:.2}"));
        let missed = self.is_missed().then(|| "MISSED".to_owned());
        let words: Vec<_> = bound.into_iter().chain(missed).collect();
        words.join(" ")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes: Vec<_> = self.missed.iter().chain(&self.notes).cloned().collect();
        write!(
            f,
            "| {} | {} | {:.2} s | {:.2} s | {} | {} | {} | {} |",
            self.scenario,
            self.program,
            self.ideal.as_secs_f64(),
            self.time.as_secs_f64(),
            self.ratio_shown(),
            self.wasted,
            self.verdict(),
            notes.join("; ")
        )
    }
}
