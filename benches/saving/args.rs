//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Parser;

/// What saving bodies costs.
#[derive(Parser)]
pub struct Args {
    /// Scenarios that have one of these in their name. Without any: all
    names: Vec<String>,
    /// How often each program runs
    #[arg(long, value_name = "N", default_value = "5")]
    pub rounds: NonZeroUsize,
    /// Bodies in a run
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub urls: u32,
    /// A directory on a disk
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub dir: PathBuf,
    /// Length of the large body
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub large: ByteSize,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// Whether a scenario is selected.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }
}
