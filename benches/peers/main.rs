//! What fetching costs: the built program, the same client with nothing of ours, curl, oha, and
//! aiohttp on uvloop, where they are installed, against nginx (Linux).
//!
//! ```console
//! $ cargo bench --bench peers                  # everything: some ten minutes
//! $ cargo bench --bench peers -- pages         # what has one of these in its name
//! $ CURL=/opt/curl/bin/curl PYTHON=venv/bin/python cargo bench --bench peers
//! ```
//!
//! nginx runs beside the programs, on the same processors; its time counts for none of them.
//! The programs take turns within a round, after one run each that does not count. What is
//! quoted are medians over the rounds, and of the ratios within each; the least and the most
//! stand in parentheses. CPU is user and system time of the program, as the kernel tells it.
//! After each run the server's log must have as many answers and bytes as the list, and the
//! output of a program that says something of each URL as many lines.
//!
//! Markdown goes to stdout, progress to stderr. The exit code is 1 when one of our own bounds
//! is missed; the row says so. Times are of this machine as busy as it is.

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::env;
use std::process::ExitCode;

use clap::Parser;

/// What the command line says.
mod args;
/// The loop of the same client with nothing of ours.
mod bare;
/// Certificates for the server.
mod certificates;
/// Programs that may be installed.
#[path = "../support/installed.rs"]
mod installed;
/// The server.
mod nginx;
/// The programs that are measured.
mod programs;
/// What is measured, and what is asked of it.
mod scenarios;
/// The pages.
mod site;
#[path = "../support/mod.rs"]
mod support;
/// The tables.
mod table;
/// Runs of programs that take turns.
mod work;

use args::Args;
use scenarios::{Bench, SCENARIOS, Scenario};
use support::launch;
use table::Report;

const USAGE: u8 = 2;

fn main() -> ExitCode {
    if launch::is_asked_for() {
        return launch::main();
    }
    if bare::is_asked_for() {
        bare::main();
        return ExitCode::SUCCESS;
    }
    // `cargo bench` says so; `cargo test --all-targets` must not take minutes here.
    if !env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let wanted: Vec<_> = SCENARIOS
        .iter()
        .filter(|one| args.wants(one.name))
        .collect();
    if wanted.is_empty() {
        let known: Vec<_> = SCENARIOS.iter().map(|one| one.name).collect();
        eprintln!("no such scenario; there are {}", known.join(", "));
        return ExitCode::from(USAGE);
    }
    match Bench::new(args).map(|mut bench| measure(&mut bench, &wanted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(USAGE)
        }
    }
}

/// Prints the tables; tells whether all bounds are kept.
fn measure(bench: &mut Bench, scenarios: &[&Scenario]) -> bool {
    let mut all = Report::default();
    println!("{}\n\n{}", machine(), table::COSTS);
    for scenario in scenarios {
        eprintln!("{}", scenario.name);
        let report = (scenario.report)(bench);
        report.costs.iter().for_each(|row| println!("{row}"));
        all.extend(report);
    }
    println!("\n{}", table::RATIOS);
    all.ratios.iter().for_each(|row| println!("{row}"));
    if !all.limits.is_empty() {
        println!("\n{}", table::LIMITS);
        all.limits.iter().for_each(|row| println!("{row}"));
    }
    for note in all
        .notes
        .iter()
        .map(String::as_str)
        .chain(bench.peers.missing())
    {
        println!("\n{note}");
    }
    !all.is_missed()
}

/// What this was measured on.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split_once(": "))
        .map(|(_, name)| name);
    let processors = std::thread::available_parallelism().map_or(0, |count| count.get());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{processors} × {}, Linux {}, {}",
        model.unwrap_or("a processor without a name"),
        kernel.trim(),
        nginx::version(),
    )
}
