//! The cost of a progress bar on a terminal that is read.

use super::{Bench, labelled};
use crate::table::{Cost, Ratio, Report};

const WORK: &str = "50,000 tiny bodies, on a terminal";
const URLS: u64 = 50_000;
/// Relative to the time without a bar.
const MOST: f64 = 1.02;
const WITH: &str = "--progress=bar";
const WITHOUT: &str = "--progress=none";

pub fn report(bench: &mut Bench) -> Report {
    let ours = |flag| bench.ours().with(flag, &[flag]).watched();
    let rounds = bench.run(&bench.tiny(URLS), &[ours(WITH), ours(WITHOUT)]);
    let of = format!("itself with {WITHOUT}");
    let ratio = Ratio::of(
        WORK,
        &of,
        labelled(&rounds, WITH),
        labelled(&rounds, WITHOUT),
    );
    Report {
        costs: Cost::all(WORK, &rounds),
        ratios: vec![ratio.cpu(MOST)],
        ..Report::default()
    }
}
