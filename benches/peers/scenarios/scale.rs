//! More and more concurrent requests at one host, beside programs with as many.

use std::fs;
use std::path::Path;

use super::{Asked, Bench, compare, labelled, memory};
use crate::chart::{Charts, Line, Panel};
use crate::programs::Tool;
use crate::support::launch::Ran;
use crate::support::numbers::{Spread, mib};
use crate::table::{Ratio, Report, each, peak};
use crate::work::Rounds;

const URLS: u64 = 50_000;
const TOOLS: [Tool; 4] = [Tool::Ours, Tool::Bare, Tool::Oha, Tool::Curl];
/// The drawing, in the directory of the package.
const DRAWING: &str = "docs/concurrency.svg";
const SWEEP: [u32; 6] = [16, FEW, 256, 512, 1_024, MANY];
const FEW: u32 = 64;
/// The number of requests for which memory is limited.
const MANY: u32 = 2_048;
/// Peak memory with that many, in MiB.
const MOST_MEMORY: f64 = 100.0;
/// CPU, compared with the bare loop, with oha and with the newest curl: for each number of requests.
const BOUNDS: [(u32, f64, f64, f64); 3] = [
    (FEW, 1.2, 1.5, 0.65),
    (512, 1.2, 1.85, 0.6),
    (MANY, 1.2, 1.9, 0.45),
];

pub fn report(bench: &mut Bench) -> Report {
    let lists = bench.tiny(URLS);
    let mut all = Report::default();
    let mut measured = Vec::new();
    for requests in SWEEP {
        let programs = bench.peers.all(&TOOLS).into_iter();
        let programs: Vec<_> = programs.map(|it| it.at(requests)).collect();
        let rounds = bench.run(&lists, &programs);
        let work = format!("{URLS} tiny bodies, {requests} at once");
        all.extend(compare(&work, &rounds, &asked(bench, requests)));
        if requests == MANY {
            let ours = peak(rounds.tool(Tool::Ours).unwrap_or_default());
            all.limits
                .push(memory(&work, "peak memory", ours, MOST_MEMORY));
        }
        measured.push((requests, rounds));
    }
    all.notes.push(draw(bench, &measured));
    all.extend(against_itself(bench));
    all
}

/// Returns the bounds for this number of requests.
fn asked(bench: &Bench, requests: u32) -> Vec<Asked> {
    let bounds = BOUNDS.iter().find(|(of, ..)| *of == requests);
    let asked = bounds.map(|(_, bare, oha, curl)| {
        [
            Asked::cpu(Tool::Bare, *bare),
            Asked::cpu(Tool::Oha, *oha),
            Asked::cpu(Tool::Curl, bench.peers.of_curl(*curl, *curl)),
        ]
    });
    asked.into_iter().flatten().collect()
}

/// Draws what was measured. Returns what to tell of it.
fn draw(bench: &Bench, measured: &[(u32, Rounds)]) -> String {
    let lines = |of: fn(&Ran) -> f64| {
        let line = |tool: &Tool| {
            let name = bench.peers.get(*tool)?.label;
            let point = |(requests, rounds): &(u32, Rounds)| {
                let rans = rounds.tool(*tool)?.iter();
                let rans = rans.filter(|ran| ran.complaint.is_none());
                Some((*requests, Spread::of(rans.map(of))?))
            };
            let points = measured.iter().filter_map(point).collect();
            Some(Line { name, points })
        };
        TOOLS.iter().filter_map(line).collect()
    };
    let charts = Charts {
        title: format!(
            "{} thousand responses of 3 bytes from one host",
            URLS / 1000
        ),
        across: "concurrent requests",
        note: crate::machine(),
        panels: vec![
            Panel {
                what: "CPU time per URL, µs",
                lines: lines(|ran| each(ran.cpu, URLS)),
            },
            Panel {
                what: "Peak memory, MiB",
                lines: lines(|ran| mib(ran.peak)),
            },
        ],
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DRAWING);
    match fs::write(path, charts.to_string()) {
        Ok(()) => format!("Drawn in {DRAWING}."),
        Err(error) => format!("{DRAWING}: {error}"),
    }
}

/// Many requests at once compared with few, both of fetchall.
fn against_itself(bench: &mut Bench) -> Report {
    let programs = [FEW, MANY].map(|requests| bench.ours().at(requests));
    let rounds = bench.run(&bench.tiny(URLS), &programs);
    let [few, many] = [FEW, MANY].map(|requests| format!("-j{requests}"));
    let work = format!("{URLS} tiny bodies, {many}");
    let (many, few) = (labelled(&rounds, &many), labelled(&rounds, &few));
    let ratio = Ratio::of(&work, &format!("itself with -j{FEW}"), many, few);
    Report {
        ratios: vec![ratio.wall(1.9)],
        ..Report::default()
    }
}
