//! One large body saved to disk: as fast as curl, in little more memory than a few small bodies.

use super::{Rounds, first};
use crate::args::Args;
use crate::program::{List, Program, Tool};
use crate::server::Server;
use crate::space::{self, Area};
use crate::table::{Bound, Cost, Ratio, Report, mib, peak};

/// Relative to curl. Both wait for the same operations; the rest is noise.
const OF_CURL: f64 = 1.05;
/// Additional memory compared with a few small bodies, in MiB.
const MORE: f64 = 64.0;
const FEW: u32 = 64;

pub fn report(scenario: &'static str, programs: &[Program], args: &Args) -> Report {
    let server = Server::start(args.large.as_u64());
    let list = List {
        server: &server,
        paths: vec!["large".to_owned()],
        size: args.large.as_u64(),
    };
    // The space of removed files may take a while to become free.
    if let Some(why) = space::lacks(&args.dir, list.bytes() * 2) {
        return Report::skipped(scenario, &why);
    }
    let area = Area::removing(&args.dir);
    let savers = [Tool::Files, Tool::Curl];
    let savers = || programs.iter().filter(|one| savers.contains(&one.tool));
    let ours = savers().filter(|one| one.is_ours());
    let small = Rounds::run(ours, &first(FEW, &server), &area, args);
    let rounds = Rounds::run(savers(), &list, &area, args);
    let costs = rounds.0.iter().map(|(program, rans)| {
        let note = format!("{} in one body", args.large.display().iec());
        Cost::of(scenario, program, rans, 1).note(&note)
    });
    let peak_of = |rounds: &Rounds| rounds.of(Tool::Files).map(|rans| mib(peak(rans)));
    let memory = peak_of(&rounds)
        .zip(peak_of(&small))
        .map(|(large, small)| large - small);
    let mut ratios = vec![Ratio {
        scenario,
        what: format!("-o, of {FEW} small bodies"),
        memory,
        bound: Some(Bound::Memory(MORE)),
        ..Ratio::default()
    }];
    if rounds.of(Tool::Curl).is_some() {
        ratios.push(of_curl(scenario, &rounds));
    }
    Report {
        costs: costs.collect(),
        ratios,
        ..Report::default()
    }
}

fn of_curl(scenario: &'static str, rounds: &Rounds) -> Ratio {
    let tools = [Tool::Files, Tool::Curl];
    Ratio {
        scenario,
        what: "-o, of curl".to_owned(),
        cpu: rounds.median(tools, |[ours, curl]| {
            ours.cpu.as_secs_f64() / curl.cpu.as_secs_f64()
        }),
        wall: rounds.median(tools, |[ours, curl]| {
            ours.wall.as_secs_f64() / curl.wall.as_secs_f64()
        }),
        bound: Some(Bound::Wall(OF_CURL)),
        ..Ratio::default()
    }
}
