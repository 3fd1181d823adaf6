//! Many small bodies: what saving them adds, compared with the lower bound and with peers.

use std::path::Path;
use std::time::Duration;

use super::{Rounds, first};
use crate::args::Args;
use crate::floor::Floor;
use crate::program::{Program, Tool};
use crate::run::Ran;
use crate::server::Server;
use crate::space::{self, Area};
use crate::table::{Bound, Cost, Ratio, Report};

/// What saving may add, relative to the loop that does nothing else.
const OF_FLOOR: f64 = 1.3;
/// The maximum cost of fetchall in total, relative to curl.
const OF_CURL: f64 = 0.85;

pub fn tmpfs(scenario: &'static str, programs: &[Program], args: &Args) -> Report {
    let dir = Path::new("/dev/shm");
    report(scenario, programs, args, dir, Area::removing)
}

pub fn disk(scenario: &'static str, programs: &[Program], args: &Args) -> Report {
    report(scenario, programs, args, &args.dir, Area::keeping)
}

fn report(
    scenario: &'static str,
    programs: &[Program],
    args: &Args,
    dir: &Path,
    area: fn(&Path) -> Area,
) -> Report {
    let server = Server::start(0);
    let list = first(args.urls, &server);
    let runs = args.rounds.get() * programs.len();
    if let Some(why) = space::lacks(dir, list.bytes() * runs as u64) {
        return Report::skipped(scenario, &why);
    }
    let rounds = Rounds::run(programs.iter(), &list, &area(dir), args);
    let cost =
        |(program, rans): &(&Program, Vec<Ran>)| Cost::of(scenario, program, rans, args.urls);
    let pairs = Pairs {
        scenario,
        rounds: &rounds,
    };
    let ratios = [
        pairs.adds(Tool::Files, Floor::Files, "-o"),
        pairs.adds(Tool::Pack, Floor::Pack, "--pack"),
        pairs.against(Tool::Files, Tool::Curl, "-o, of curl", Some(OF_CURL)),
        pairs.against(Tool::Bare, Tool::Curl, "the bare loop, of curl", None),
        pairs.against(Tool::Files, Tool::Bare, "-o, of the bare loop", None),
        pairs.against(Tool::Pack, Tool::Curl, "--pack, of curl", None),
        pairs.against(Tool::Files, Tool::Wget2, "-o, of wget2", None),
    ];
    Report {
        costs: rounds.0.iter().map(cost).collect(),
        ratios: ratios.into_iter().flatten().collect(),
        ..Report::default()
    }
}

struct Pairs<'a> {
    scenario: &'static str,
    rounds: &'a Rounds<'a>,
}

impl Pairs<'_> {
    /// Compares what saving adds to fetching with the lower bound.
    fn adds(&self, ours: Tool, floor: Floor, flag: &str) -> Option<Ratio> {
        self.rounds.of(ours)?;
        let ratio = |time: fn(&Ran) -> Duration| {
            let tools = [ours, Tool::Plain, Tool::Floor(floor)];
            self.rounds.median(tools, |ran| {
                let [saving, plain, floor] = ran.map(|ran| time(ran).as_secs_f64());
                (saving - plain) / floor
            })
        };
        Some(Ratio {
            scenario: self.scenario,
            what: format!("what {flag} adds, of its floor"),
            cpu: ratio(|ran| ran.cpu),
            wall: ratio(|ran| ran.wall),
            bound: Some(Bound::Cpu(OF_FLOOR)),
            ..Ratio::default()
        })
    }

    /// Compares the total cost of fetchall with that of a peer.
    fn against(&self, ours: Tool, peer: Tool, what: &str, bound: Option<f64>) -> Option<Ratio> {
        self.rounds.of(ours)?;
        self.rounds.of(peer)?;
        let ratio = |time: fn(&Ran) -> Duration| {
            self.rounds.median([ours, peer], |ran| {
                let [ours, peer] = ran.map(|ran| time(ran).as_secs_f64());
                ours / peer
            })
        };
        Some(Ratio {
            scenario: self.scenario,
            what: what.to_owned(),
            cpu: ratio(|ran| ran.cpu),
            wall: ratio(|ran| ran.wall),
            bound: bound.map(Bound::Cpu),
            ..Ratio::default()
        })
    }
}
