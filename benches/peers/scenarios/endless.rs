//! Memory is independent of the length of the list: lists from a pipe, compared with a tenth of
//! them.

use std::net::{Ipv4Addr, TcpListener};

use super::{Bench, memory};
use crate::nginx::TINY;
use crate::programs::Program;
use crate::support::launch::Ran;
use crate::support::numbers::Spread;
use crate::table::{Cost, Limit, Report, peak, usual_peak};
use crate::work::{Lists, launch, tell};

const TINY_URLS: u64 = 1_000_000;
const LINES: u64 = 10_000_000;
/// Number of runs of the long lists.
const TURNS: usize = 3;
/// In MiB.
const MOST: f64 = 24.0;
const MORE: f64 = 2.0;
/// Maximum cost per URL of the long list, relative to the short list.
const FLAT: f64 = 1.05;

/// Tiny bodies.
pub fn tiny(bench: &mut Bench) -> Report {
    let start = bench.nginx.url(Ipv4Addr::LOCALHOST, "tiny/");
    let ours = bench.ours().with("from a pipe", &[]);
    let [few, all] = [TINY_URLS / 10, TINY_URLS].map(|count| {
        let lists = Lists::numbered(start.clone(), count, TINY.len() as u64);
        let mut rounds = bench.run_few(&lists, std::slice::from_ref(&ours));
        rounds.rans.pop().map_or(Vec::new(), |(_, rans)| rans)
    });
    flat("tiny bodies", &ours, TINY_URLS, &few, &all)
}

/// The names of files for the bodies.
pub fn names(bench: &mut Bench) -> Report {
    let ours = bench
        .ours()
        .with("--dry-run", &["--dry-run", "-o", "target/out"]);
    lines("names", &ours, "http://example.com/page/", &[0])
}

/// A host that refuses connections.
pub fn refused(bench: &mut Bench) -> Report {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let ours = bench.ours().with("--retries=0", &["--retries=0"]);
    lines(
        "a port that refuses",
        &ours,
        &format!("http://{address}/"),
        &[1],
    )
}

fn lines(work: &str, ours: &Program, start: &str, codes: &'static [i32]) -> Report {
    let run = |count: u64| {
        let lists = Lists::numbered(start.to_owned(), count, 0);
        let mut ran = launch(ours.command(&lists), &lists, ours)
            .codes(codes)
            .run();
        if ran.lines != count && ran.complaint.is_none() {
            ran.complaint = Some(format!("{} lines of {count}", ran.lines));
        }
        tell(ours, &ran);
        ran
    };
    // The runs alternate, because the load of the machine changes.
    let turn = |_| (run(LINES / 10), run(LINES));
    let (few, all): (Vec<_>, Vec<_>) = (0..TURNS).map(turn).unzip();
    flat(work, ours, LINES, &few, &all)
}

/// Compares a list with a tenth of it.
fn flat(work: &str, ours: &Program, count: u64, few: &[Ran], all: &[Ran]) -> Report {
    let short = format!("{} × {work}", count / 10);
    let long = format!("{count} × {work}");
    let each = |rans: &[Ran], count: u64| {
        let cpu = Spread::of(rans.iter().map(|ran| ran.cpu.as_secs_f64()));
        cpu.map_or(f64::NAN, |cpu| cpu.median / count as f64)
    };
    let costs = [(&short, few, count / 10), (&long, all, count)];
    let cost = |(work, rans, count): (&String, _, _)| Cost::of(work, &ours.label, rans, count);
    Report {
        costs: costs.into_iter().filter_map(cost).collect(),
        limits: vec![
            memory(&long, "peak memory", peak(all), MOST),
            memory(
                &long,
                &format!("more than {short}"),
                peak(all) - usual_peak(few),
                MORE,
            ),
            Limit {
                what: format!("CPU of a URL, of {short}"),
                is: each(all, count) / each(few, count / 10),
                most: FLAT,
                unit: "×",
                work: long.clone(),
            },
        ],
        ..Report::default()
    }
}
