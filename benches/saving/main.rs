//! What saving bodies costs: the built program, curl and wget2 where they are installed, and
//! the floors, loops that do nothing but put the same bytes in the same place (Linux).
//!
//! ```console
//! $ cargo bench --bench saving                 # everything: some two minutes
//! $ cargo bench --bench saving -- tmpfs        # what has one of these in its name
//! $ cargo bench --bench saving -- large --large 4GiB --dir /mnt/disk
//! ```
//!
//! The bodies are 12 KiB, each in another of 100 folders than the one before, and come from a
//! server in this process, which counts for none of the programs. They take turns within a
//! round; what is quoted are medians of the rounds, and of the ratios within each. CPU is
//! user and system time of the child, in ticks of 10 ms; nothing waits for the disk.
//!
//! Two Markdown tables go to stdout, progress to stderr. The exit code is 1 when one of our
//! own bounds is missed; the row says so. Times are of this machine as busy as it is.

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::env;
use std::process::ExitCode;

use clap::Parser;

/// What the command line says.
mod args;
/// The loop of the same client with nothing of ours.
mod bare;
/// The bodies, and where each belongs.
mod bodies;
/// The loops that nothing can be cheaper than.
mod floor;
/// Programs that may be installed.
#[path = "../support/installed.rs"]
mod installed;
/// The programs that are measured.
mod program;
/// One run of one program.
mod run;
/// What is measured, and what is asked of it.
mod scenarios;
/// The server.
mod server;
/// Room on a disk.
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
    if measure(&wanted, &args) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the tables; tells whether all bounds are kept.
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
