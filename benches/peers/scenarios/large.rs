//! One body of 4 GiB, discarded and saved to disk: as fast as curl, in little memory.

use std::net::Ipv4Addr;

use super::{Bench, LARGE, LARGE_NAME, disk, labelled, large_path, memory};
use crate::programs::Tool;
use crate::table::{Cost, Ratio, Report, peak};
use crate::work::Lists;

/// In MiB.
const MOST_MEMORY: f64 = 32.0;

pub fn report(bench: &mut Bench) -> Report {
    let mut all = one(bench, "4 GiB, thrown away", false);
    let free = rustix::fs::statvfs(disk()).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    // The space of removed files may take a while to become free.
    if free < LARGE * 3 {
        let path = large_path(bench);
        all.notes
            .push(format!("{}: no room to save 4 GiB.", path.display()));
        return all;
    }
    all.extend(one(bench, "4 GiB, saved", true));
    all
}

fn one(bench: &mut Bench, work: &str, saves: bool) -> Report {
    let folder = tempfile::tempdir_in(disk()).expect("a folder of our own");
    let url = bench
        .nginx
        .url(Ipv4Addr::LOCALHOST, &format!("large/{LARGE_NAME}"));
    let mut ours = bench.ours();
    let lists = if saves {
        let out = folder.path().join("ours");
        let out = out.to_str().expect("a path in UTF-8");
        ours = ours.with("-o", &["-o", out]);
        Lists::saved(&[url], LARGE, folder.path())
    } else {
        Lists::new(&[url], LARGE)
    };
    let programs: Vec<_> = [Some(ours), bench.peers.get(Tool::Curl)]
        .into_iter()
        .flatten()
        .collect();
    let rounds = bench.run_few(&lists.expect("a temporary file"), &programs);
    let ours = labelled(&rounds, "fetchall");
    let curl = rounds.rans.iter().find(|(one, _)| one.tool == Tool::Curl);
    let ratio = |(curl, rans): &(crate::programs::Program, Vec<_>)| {
        Ratio::of(work, &curl.label, ours, rans).wall(1.0)
    };
    Report {
        costs: Cost::all(work, &rounds),
        ratios: curl.map(ratio).into_iter().collect(),
        limits: vec![memory(work, "peak memory", peak(ours), MOST_MEMORY)],
        ..Report::default()
    }
}
