//! Log lines on stderr, for `-v` and `RUST_LOG`.

use fetchall::program::Screen;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Starts logging; `verbose` is the number of `-v`. Lines go through `screen`, so that they never
/// tear the progress display.
pub(crate) fn start(verbose: u8, screen: Screen) {
    let level = match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // EnvFilter would also filter by spans, of which there are none, and brings regular expressions.
    let chosen = std::env::var("RUST_LOG").map(|filter| filter.parse::<Targets>());
    let filter = match chosen {
        Ok(Ok(filter)) => filter,
        _ => Targets::new().with_target("fetchall", level),
    };
    let lines = fmt::layer()
        .with_writer(move || screen.clone())
        .with_ansi(false)
        // Internal errors would be logged to stderr, with a panic if that fails, too.
        .log_internal_errors(false)
        .with_target(false);
    // Fails only if a subscriber is installed already, and this runs once.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
}
