//! The time for one URL, from the start of the program to its end, which is later than the first
//! byte.

use std::net::Ipv4Addr;

use super::{Bench, labelled};
use crate::nginx::TINY;
use crate::programs::Tool;
use crate::table::{Cost, Ratio, Report};
use crate::work::Lists;

/// Number of consecutive runs that count as one.
const TIMES: u32 = 20;
/// Relative to curl's time.
const MOST: f64 = 2.0;

pub fn plain(bench: &mut Bench) -> Report {
    let url = bench.nginx.url(Ipv4Addr::LOCALHOST, "tiny/1");
    report(bench, "one URL", url)
}

pub fn tls(bench: &mut Bench) -> Report {
    let url = bench.nginx.tls_url(Ipv4Addr::LOCALHOST, "tiny/1");
    report(bench, "one URL over TLS", url)
}

fn report(bench: &mut Bench, work: &str, url: String) -> Report {
    let lists = Lists::new(&[url], TINY.len() as u64).expect("a temporary file");
    let lists = lists.with_system();
    let programs = bench.peers.all(&[Tool::Ours, Tool::Bare, Tool::Curl]);
    let programs: Vec<_> = programs.into_iter().map(|one| one.times(TIMES)).collect();
    let mut rounds = bench.run(&lists, &programs);
    rounds.urls *= u64::from(TIMES);
    let ours = labelled(&rounds, "fetchall");
    let curl = rounds.rans.iter().find(|(one, _)| one.tool == Tool::Curl);
    let ratio = |(curl, rans): &(crate::programs::Program, Vec<_>)| {
        Ratio::of(work, &curl.label, ours, rans).wall(MOST)
    };
    Report {
        costs: Cost::all(work, &rounds),
        ratios: curl.map(ratio).into_iter().collect(),
        ..Report::default()
    }
}
