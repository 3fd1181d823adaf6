//! A long list against a server with every kind of fault: the counts add up, every URL ends with
//! the outcome of its fault, nothing hangs, and afterwards descriptors and memory are back where
//! they were.
//!
//! By default it fetches a few thousand URLs, so that `cargo test` stays quick.
//! `FETCHALL_SOAK=200000` sets the number of URLs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]
#![cfg(target_os = "linux")]

/// The server, in a separate process, so that its memory is not measured.
mod neighbour;
/// The list and its expected outcomes.
mod plan;
/// The program under test, and servers to run it against.
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of behaviour, which need more of it"
)]
#[path = "../integration/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fetchall::program::{Config, PerHostLimit, Source, run};
use fetchall::{Record, Summary};

use neighbour::Neighbour;
use plan::{Plan, STALL};
use support::until;

/// Number of URLs by default, and before the first measurement.
const FEW: usize = 2000;
/// How much more memory a long run may leave behind than a short one, in KiB. What an allocator
/// keeps differs from run to run.
const ROOM: u64 = 24 * 1024;
const CONCURRENCY: usize = 512;

fn config(list: &std::path::Path) -> Config {
    let mut config = Config::default();
    config.input.sources = vec![Source::File(list.to_owned())];
    config.engine.concurrency = NonZeroUsize::new(CONCURRENCY).unwrap();
    config.engine.stall_timeout = Some(STALL);
    config.engine.max_size = 4 << 20;
    config.schedule.per_host = PerHostLimit::Fixed(config.engine.concurrency);
    config.retry.retries = plan::RETRIES;
    config.retry.delay = Duration::from_millis(1);
    config
}

/// Fetches a list, and checks every record.
fn fetch(plan: &Plan) -> (Summary, Duration) {
    let seen = Arc::new(Mutex::new((BTreeMap::new(), Vec::new())));
    let mut config = config(plan.path());
    let (plan_of, notes) = (plan.clone(), Arc::clone(&seen));
    config.report.on_record = Some(Box::new(move |record: &Record| {
        let (lines, problems) = &mut *notes.lock().unwrap();
        *lines.entry(record.line).or_insert(0_u32) += 1;
        problems.extend(plan_of.problem(record));
    }));
    let start = Instant::now();
    // More than one thread, as the program has with this number of requests.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = run(config, std::future::pending::<()>());
    let most = plan.longest();
    let end = runtime.block_on(async { tokio::time::timeout(most, running).await });
    let end = end.unwrap_or_else(|_| panic!("it still runs after {most:?}"));
    drop(runtime);
    let (lines, problems) = &*seen.lock().unwrap();
    let first = problems.get(..problems.len().min(20)).unwrap();
    assert!(problems.is_empty(), "{}", first.join("\n"));
    let lines: Vec<_> = lines.iter().map(|(line, times)| (*line, *times)).collect();
    let each_once: Vec<_> = (1..=plan.urls as u64).map(|line| (line, 1)).collect();
    assert!(lines == each_once, "a record for each line, and only one");
    (end.unwrap(), start.elapsed())
}

/// Returns the number of open descriptors of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns the resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().strip_suffix(" kB").unwrap();
    number.parse().unwrap()
}

#[test]
fn everything_adds_up_and_nothing_stays_behind() {
    let urls = std::env::var("FETCHALL_SOAK").map_or(2 * FEW, |urls| urls.parse().unwrap());
    let server = Neighbour::start();
    // Loads and allocates what is needed only once.
    fetch(&Plan::new(&server, FEW));
    let before = (descriptors(), resident());

    let plan = Plan::new(&server, urls);
    let (summary, took) = fetch(&plan);
    assert_eq!(summary.input, urls as u64);
    assert_eq!(summary.fetched + summary.failed, urls as u64);
    assert_eq!((summary.skipped, summary.left), (0, 0));
    assert_eq!(summary.fetched, plan.good());

    until("descriptors are back", || descriptors() <= before.0);
    let after = resident();
    eprintln!(
        "{urls} URLs in {took:.0?} of at most {:.0?}; {} descriptors; {} KiB before, {after} KiB after, {} KiB at most",
        plan.longest(),
        descriptors(),
        before.1,
        support::peak(std::process::id()),
    );
    assert!(after < before.1 + ROOM, "{} KiB, then {after}", before.1);
}
