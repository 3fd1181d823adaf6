//! Log lines on stderr, for `-v` and `RUST_LOG`.

use fetchall::program::Screen;
use tracing_subscriber::EnvFilter;

/// Starts to log; `verbose` counts the `-v`. The lines never tear the progress display.
pub fn start(verbose: u8, screen: Screen) {
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
        // It would say so on stderr, and panic when that takes nothing either.
        .log_internal_errors(false)
        .with_target(false);
    // Only a second call could fail, and there is none.
    let _ = lines.try_init();
}
