//! Measures what fetching costs: the built program, the bare loop, and, if they are installed,
//! curl, oha and aiohttp with uvloop, against nginx (Linux).
//!
//! ```console
//! $ cargo bench --bench peers                  # everything: some ten minutes
//! $ cargo bench --bench peers -- pages         # scenarios with one of these in their name
//! $ CURL=/opt/curl/bin/curl PYTHON=venv/bin/python cargo bench --bench peers
//! ```
//!
//! nginx runs on the same processors as the programs; its time is not counted. The programs
//! alternate within a round, after one run each that does not count. The tables quote medians over
//! the rounds, and medians of the ratios within each round, with the least and the greatest in
//! parentheses. CPU is the user and system time of the program, as reported by the kernel. After
//! each run, the server's log must contain as many responses and bytes as the list, and a program
//! that prints a line per URL must have printed as many lines.
//!
//! Markdown goes to stdout, progress to stderr. The exit code is 1 if fetchall misses a bound; the
//! row says so. Times depend on the load of the machine.

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::env;
use std::process::ExitCode;

use clap::Parser;

/// The command line.
mod args;
/// The bare loop.
mod bare;
/// Certificates for the server.
mod certificates;
/// Drawings of what was measured.
mod chart;
/// Programs that may be installed.
#[path = "../support/installed.rs"]
mod installed;
/// The server.
mod nginx;
/// The programs to measure.
mod programs;
/// The scenarios and their bounds.
mod scenarios;
/// The pages.
mod site;
#[path = "../support/mod.rs"]
mod support;
/// The tables.
mod table;
/// Alternating runs of several programs.
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
    // `cargo bench` passes this flag; `cargo test --all-targets` must not spend minutes here.
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

/// Prints the tables. Returns whether all bounds are met.
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

/// Describes the machine.
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
