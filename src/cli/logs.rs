//! Log lines on stderr, for `-v` and `RUST_LOG`.

use fetchall::program::Screen;
use tracing_subscriber::EnvFilter;

/// Starts logging; `verbose` is the number of `-v`. Lines go through `screen`, so that they never
/// tear the progress display.
pub(crate) fn start(verbose: u8, screen: Screen) {
    let level = match verbose {
        0 => "off",
        1 => "fetchall=info",
        _ => "fetchall=debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || screen.clone())
        .with_ansi(false)
        // Internal errors would be logged to stderr, with a panic if that fails, too.
        .log_internal_errors(false)
        .with_target(false);
    // Fails only if a subscriber is installed already, and this runs once.
    let _ = lines.try_init();
}
