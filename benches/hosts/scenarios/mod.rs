//! The scenarios and their bounds.

mod black_holes;
mod flaky;
mod latency;
mod rate_limit;
mod slow_host;
mod sorted;

use std::time::Duration;

use crate::program::Program;
use crate::run::{Ran, Task};
use crate::table::Row;

/// A scenario with its rows. fetchall is the first of the programs.
pub struct Scenario {
    pub name: &'static str,
    pub rows: Rows,
}

pub const SCENARIOS: [Scenario; 13] = [
    Scenario::new("slow-host", slow_host::rows),
    Scenario::new("black-holes", black_holes::rows),
    Scenario::new("rate-limit-window", rate_limit::window),
    Scenario::new("rate-limit-window-bare", rate_limit::window_bare),
    Scenario::new("rate-limit-bucket", rate_limit::bucket),
    Scenario::new("rate-limit-bucket-bare", rate_limit::bucket_bare),
    Scenario::new("rate-limit-window-503", rate_limit::window_503),
    Scenario::new("rate-limit-bucket-503", rate_limit::bucket_503),
    Scenario::new("latency-knee", latency::knee),
    Scenario::new("latency-step", latency::step),
    Scenario::new("sorted", sorted::rows),
    Scenario::new("flaky-503", flaky::among_healthy),
    Scenario::new("flaky-503-alone", flaky::alone),
];

type Rows = fn(&'static str, &[Program]) -> Vec<Row>;

impl Scenario {
    const fn new(name: &'static str, rows: Rows) -> Self {
        Self { name, rows }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Only fetchall: peers could do it, but would show nothing new.
fn ours(programs: &[Program]) -> impl Iterator<Item = &Program> {
    programs.iter().filter(|program| program.is_ours())
}

/// A run of the scenario, and a run without its difficulty.
struct Pair {
    base: Ran,
    ran: Ran,
}

impl Pair {
    /// Alternates both runs, and returns the pair with the median ratio, or one that failed.
    fn median(program: &Program, base: impl Fn() -> Task, task: impl Fn() -> Task) -> Self {
        let mut pairs: Vec<_> = (0..program.rounds())
            .map(|_| {
                let base = base().run(program);
                let ran = task().ideal(base.wall).run(program);
                Self { base, ran }
            })
            .collect();
        pairs.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let median = pairs.len() / 2;
        let wrong = pairs.iter().position(|pair| !pair.is_whole());
        pairs.swap_remove(wrong.unwrap_or(median))
    }

    fn is_whole(&self) -> bool {
        self.base.is_whole() && self.ran.is_whole()
    }

    fn ratio(&self) -> f64 {
        self.ran.healthy.as_secs_f64() / self.base.healthy.as_secs_f64()
    }

    /// Compares the time of the healthy hosts with their time alone.
    fn row(&self, scenario: &'static str, program: &Program) -> Row {
        Row::of(scenario, program, &self.ran)
            .base(&self.base)
            .ideal(self.base.healthy)
            .time(self.ran.healthy)
    }
}
