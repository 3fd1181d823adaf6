//! Memory for saving does not grow with the list: compares the worst of the long runs with the
//! median of the short ones.

use super::{Rounds, first};
use crate::args::Args;
use crate::program::{Program, Tool};
use crate::server::Server;
use crate::space::{self, Area};
use crate::table::{Bound, Cost, Ratio, Report, median, mib, peak};

/// The long list is longer than the usual one by this factor, and the short list shorter.
const TIMES: u32 = 2;
/// In MiB.
const MORE: f64 = 16.0;

pub fn report(scenario: &'static str, programs: &[Program], args: &Args) -> Report {
    let server = Server::start(0);
    let all = first(args.urls * TIMES, &server);
    let fewer = first(args.urls / TIMES, &server);
    if let Some(why) = space::lacks(&args.dir, all.bytes() * args.rounds.get() as u64 * 2) {
        return Report::skipped(scenario, &why);
    }
    let area = Area::keeping(&args.dir);
    let mut report = Report::default();
    for program in programs.iter().filter(|one| one.tool == Tool::Files) {
        let [few, many] = [&fewer, &all].map(|list| {
            let rounds = Rounds::run([program].into_iter(), list, &area, args);
            let rans = rounds.0.into_iter().flat_map(|(_, rans)| rans);
            rans.collect::<Vec<_>>()
        });
        for (rans, list) in [(&few, &fewer), (&many, &all)] {
            let note = format!("{} bodies", list.count());
            let cost = Cost::of(scenario, program, rans, list.count());
            report.costs.push(cost.note(&note));
        }
        report.ratios.push(Ratio {
            scenario,
            what: format!("{} bodies, of {}", all.count(), fewer.count()),
            memory: Some(mib(peak(&many)) - mib(median(few.iter().map(|ran| ran.peak)))),
            bound: Some(Bound::Memory(MORE)),
            ..Ratio::default()
        });
    }
    report
}
