//! What the terminal can show.

use std::io::{self, IsTerminal};

use fetchall::program::TimelineStyle;
use terminal_size::{Width, terminal_size_of};

use super::ColorArg;

/// Columns where nobody says how many there are.
const DEFAULT_WIDTH: usize = 80;

/// <https://no-color.org>: set and not empty means no colour.
pub fn wants_color(when: ColorArg, stream: &impl IsTerminal) -> bool {
    match when {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb(),
    }
}

/// For a picture on stderr.
pub fn timeline_style(color: ColorArg) -> TimelineStyle {
    let stderr = io::stderr();
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.trim().parse().ok());
    let seen = terminal_size_of(&stderr).map(|(Width(width), _)| usize::from(width));
    TimelineStyle {
        width: seen.or(columns).unwrap_or(DEFAULT_WIDTH),
        color: wants_color(color, &stderr),
        ascii: is_dumb() || !speaks_utf8(),
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The first of these that is set says how text is encoded (POSIX.1-2024, 8.2). Windows has
/// none, and its terminals show everything.
fn speaks_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find(|name| is_set(name))
        .and_then(std::env::var_os);
    match locale {
        Some(locale) => {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        }
        None => cfg!(windows),
    }
}
