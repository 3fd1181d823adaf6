//! The command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

/// What fetching costs, beside peers.
#[derive(Parser)]
pub struct Args {
    /// Scenarios that have one of these in their name. Without any: all
    names: Vec<String>,
    /// How often each program runs, after one run that does not count
    #[arg(long, value_name = "N", default_value = "7")]
    pub rounds: NonZeroUsize,
    /// A directory with HTML pages [default: the documentation of the installed Rust]
    #[arg(long, value_name = "DIR")]
    pages: Option<PathBuf>,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// Whether a scenario is selected.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }

    /// Returns the directory of the pages.
    pub fn pages(&self) -> PathBuf {
        self.pages.clone().unwrap_or_else(rust_documentation)
    }
}

fn rust_documentation() -> PathBuf {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map(|output| output.stdout).unwrap_or_default();
    let sysroot = String::from_utf8_lossy(&sysroot).trim().to_owned();
    Path::new(&sysroot).join("share/doc/rust/html")
}
