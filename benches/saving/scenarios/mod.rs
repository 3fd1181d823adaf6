//! The scenarios and their bounds.

mod large;
mod many;
mod memory;

use crate::args::Args;
use crate::bodies::{self, SIZE};
use crate::program::{List, Program, Tool};
use crate::run::Ran;
use crate::server::Server;
use crate::space::Area;
use crate::table::{Report, median};

/// A scenario with its function.
pub struct Scenario {
    pub name: &'static str,
    pub report: fn(&'static str, &[Program], &Args) -> Report,
}

pub const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "tmpfs",
        report: many::tmpfs,
    },
    Scenario {
        name: "disk",
        report: many::disk,
    },
    Scenario {
        name: "memory",
        report: memory::report,
    },
    Scenario {
        name: "large",
        report: large::report,
    },
];

/// Returns a list of the first bodies, this number of them.
fn first(urls: u32, server: &Server) -> List<'_> {
    List {
        server,
        paths: (0..urls).map(bodies::path).collect(),
        size: SIZE as u64,
    }
}

/// Alternating runs of several programs: one of each per round.
struct Rounds<'a>(Vec<(&'a Program, Vec<Ran>)>);

impl<'a> Rounds<'a> {
    fn run(
        programs: impl Iterator<Item = &'a Program>,
        list: &List,
        area: &Area,
        args: &Args,
    ) -> Self {
        let mut all: Vec<_> = programs.map(|program| (program, Vec::new())).collect();
        for _ in 0..args.rounds.get() {
            for (program, rans) in &mut all {
                rans.push(program.run(list, area));
            }
        }
        Self(all)
    }

    fn of(&self, tool: Tool) -> Option<&[Ran]> {
        let found = self.0.iter().find(|(program, _)| program.tool == tool);
        found.map(|(_, rans)| rans.as_slice())
    }

    /// Returns the median over the rounds of a value computed from one run of each of these
    /// programs; `None` if one is missing or failed.
    fn median<const N: usize>(
        &self,
        tools: [Tool; N],
        of: impl Fn([&Ran; N]) -> f64,
    ) -> Option<f64> {
        let mut rounds = Vec::new();
        let all: Vec<_> = tools.into_iter().filter_map(|tool| self.of(tool)).collect();
        let count = all.first()?.len();
        for round in 0..count {
            let one: Vec<_> = all.iter().filter_map(|rans| rans.get(round)).collect();
            let one: [&Ran; N] = one.try_into().ok()?;
            if one.iter().any(|ran| ran.complaint.is_some()) {
                return None;
            }
            rounds.push(of(one));
        }
        Some(median(rounds.into_iter()))
    }
}
