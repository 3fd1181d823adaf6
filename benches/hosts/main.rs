//! Measures what slow, dead, rate-limiting and failing hosts cost a run and each other. Runs the
//! built program, and its installed peers, against a server with many loopback addresses (Linux).
//!
//! ```console
//! $ cargo bench --bench hosts                  # everything: some nine minutes
//! $ cargo bench --bench hosts -- rate knee     # scenarios with one of these in their name
//! ```
//!
//! A Markdown table goes to stdout, progress to stderr. The exit code is 1 if fetchall misses a
//! bound; the row says so. Times depend on the load of the machine.

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::env;
use std::process::ExitCode;

/// An address where connecting hangs.
mod black_hole;
/// Programs that may be installed.
#[path = "../support/installed.rs"]
mod installed;
/// The limit on open files, raised as the program raises it.
#[path = "../../src/cli/fd_limit.rs"]
#[expect(dead_code, reason = "the program needs more of it")]
mod limits;
/// The lists to fetch.
mod list;
/// The programs to measure.
mod program;
/// One run of one program.
mod run;
/// The scenarios and their bounds.
mod scenarios;
/// The server.
mod server;
/// The table.
mod table;

use program::Program;
use scenarios::{SCENARIOS, Scenario};

const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (flags, names): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|arg| arg.starts_with('-'));
    // `cargo bench` passes this flag; `cargo test --all-targets` must not spend minutes here.
    if !flags.iter().any(|flag| flag == "--bench") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<_> = SCENARIOS
        .iter()
        .filter(|one| is_wanted(one, &names))
        .collect();
    if wanted.is_empty() {
        let known: Vec<_> = SCENARIOS.iter().map(|one| one.name).collect();
        eprintln!("no such scenario; there are {}", known.join(", "));
        return ExitCode::from(USAGE);
    }
    limits::raise_descriptor_limit();
    if measure(&wanted) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_wanted(scenario: &Scenario, names: &[String]) -> bool {
    names.is_empty()
        || names
            .iter()
            .any(|name| scenario.name.contains(name.as_str()))
}

/// Prints the table, row by row. Returns whether all bounds are met.
fn measure(scenarios: &[&Scenario]) -> bool {
    let (peers, missing) = Program::peers();
    let programs: Vec<_> = [Program::ours()].into_iter().chain(peers).collect();
    let mut kept = true;
    println!("{}", table::HEAD);
    for scenario in scenarios {
        eprintln!("{}", scenario.name);
        for row in (scenario.rows)(scenario.name, &programs) {
            kept &= !row.is_missed();
            println!("{row}");
        }
    }
    for name in missing {
        println!("\n{name} is not installed and was skipped.");
    }
    kept
}
