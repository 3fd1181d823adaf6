//! Measures what saving bodies costs: the built program, the bare loop, curl and wget2 if they are
//! installed, and the lower bounds, which are loops that only write the same bytes to the same
//! place (Linux).
//!
//! ```console
//! $ cargo bench --bench saving                 # everything: some two minutes
//! $ cargo bench --bench saving -- tmpfs        # scenarios with one of these in their name
//! $ cargo bench --bench saving -- large --large 4GiB --dir /mnt/disk
//! ```
//!
//! The bodies are 12 KiB. They are in 100 directories, and consecutive ones are in different
//! directories. They come from a server in this process, whose time is not counted. The programs
//! alternate within a round. The tables quote medians over the rounds, and medians of the ratios
//! within each round. CPU is the user and system time of the child, in ticks of 10 ms; nothing
//! waits for the disk.
//!
//! Two Markdown tables go to stdout, progress to stderr. The exit code is 1 if fetchall misses a
//! bound; the row says so. Times depend on the load of the machine.

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::env;
use std::process::ExitCode;

use clap::Parser;

/// The command line.
mod args;
/// The bare loop that saves.
mod bare;
/// The bodies and their paths.
mod bodies;
/// The lower bounds.
mod floor;
/// Programs that may be installed.
#[path = "../support/installed.rs"]
mod installed;
/// The programs to measure.
mod program;
/// One run of one program.
mod run;
/// The scenarios and their bounds.
mod scenarios;
/// The server.
mod server;
/// Space on a disk.
mod space;
/// The tables.
mod table;

use args::Args;
use program::Program;
use scenarios::{SCENARIOS, Scenario};
use table::Report;

const USAGE: u8 = 2;

fn main() -> ExitCode {
    if floor::is_asked_for() {
        floor::main();
        return ExitCode::SUCCESS;
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
    if measure(&wanted, &args) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the tables. Returns whether all bounds are met.
fn measure(scenarios: &[&Scenario], args: &Args) -> bool {
    let (programs, missing) = Program::all();
    let mut all = Report::default();
    println!("{}", table::COSTS);
    for scenario in scenarios {
        eprintln!("{}", scenario.name);
        let report = (scenario.report)(scenario.name, &programs, args);
        report.costs.iter().for_each(|row| println!("{row}"));
        all.extend(report);
    }
    println!("\n{}", table::RATIOS);
    all.ratios.iter().for_each(|row| println!("{row}"));
    for name in missing {
        println!("\n{name} is not there and was skipped.");
    }
    for why in &all.skipped {
        println!("\n{why}");
    }
    !all.is_missed()
}
