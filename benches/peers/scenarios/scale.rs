//! More and more concurrent requests at one host, beside programs with as many.

use super::{Asked, Bench, compare, labelled, memory};
use crate::programs::Tool;
use crate::table::{Ratio, Report, peak};

const URLS: u64 = 50_000;
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
    for (requests, bare, oha, curl) in BOUNDS {
        let tools = [Tool::Ours, Tool::Bare, Tool::Oha, Tool::Curl];
        let programs: Vec<_> = bench.peers.all(&tools);
        let programs: Vec<_> = programs.into_iter().map(|it| it.at(requests)).collect();
        let rounds = bench.run(&lists, &programs);
        let asked = [
            Asked::cpu(Tool::Bare, bare),
            Asked::cpu(Tool::Oha, oha),
            Asked::cpu(Tool::Curl, bench.peers.of_curl(curl, curl)),
        ];
        let work = format!("{URLS} tiny bodies, {requests} at once");
        all.extend(compare(&work, &rounds, &asked));
        if requests == MANY {
            let ours = peak(rounds.tool(Tool::Ours).unwrap_or_default());
            all.limits
                .push(memory(&work, "peak memory", ours, MOST_MEMORY));
        }
    }
    all.extend(against_itself(bench));
    all
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
