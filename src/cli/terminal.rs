//! What the terminal supports: colour, width, UTF-8.

use std::io::{self, IsTerminal};

use fetchall::program::TimelineStyle;
use terminal_size::{Width, terminal_size_of};

use super::arg_values::ColorArg;

/// Width in columns if neither the terminal nor `COLUMNS` gives one.
const DEFAULT_WIDTH: usize = 80;

/// Whether to write colour to `stream`. A non-empty NO_COLOR disables it, see
/// <https://no-color.org>.
pub(super) fn wants_color(when: ColorArg, stream: &impl IsTerminal) -> bool {
    match when {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb(),
    }
}

/// The style of a timeline on stderr.
pub(super) fn timeline_style(color: ColorArg) -> TimelineStyle {
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

/// Whether the terminal shows UTF-8: the first of these variables that is set names the encoding
/// (POSIX.1-2024, 8.2). Windows sets none of them, and its terminals do.
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
