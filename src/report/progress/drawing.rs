//! Draws the display in the last lines of the terminal.
//!
//! indicatif pads lines to the full width. If the window gets narrower, terminals rewrap such
//! lines, the display then occupies more rows than indicatif counted, and remains of it stay on
//! screen. Here lines are not padded, and each redraw recomputes the rows of the old lines from the
//! current width.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;
use terminal_size::{Height, Width, terminal_size_of};

/// Columns and rows if the size is unknown.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// Returns the current columns and rows of the terminal.
pub(super) fn size() -> (u16, u16) {
    terminal_size_of(io::stderr()).map_or(DEFAULT_SIZE, |(Width(width), Height(height))| {
        (width, height)
    })
}

/// The last lines of the terminal on stderr.
#[derive(Debug, Default)]
pub(super) struct Drawing(Mutex<DrawnLines>);

#[derive(Debug, Default)]
struct DrawnLines {
    /// Width of each line on screen, in columns.
    drawn: Vec<usize>,
    /// Lines of the next redraw.
    next: Vec<String>,
    /// Whether indicatif's next write is padding: it writes the text of a line, then the padding.
    is_filler: bool,
}

impl Drawing {
    fn lines(&self) -> MutexGuard<'_, DrawnLines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DrawnLines {
    /// Returns the bytes that replace the old lines by the new ones; one write, to avoid flicker.
    fn redraw(&mut self, width: usize) -> String {
        let rows: usize = self
            .drawn
            .iter()
            .map(|columns| columns.div_ceil(width.max(1)).max(1))
            .sum();
        let mut text = String::from("\r");
        if rows > 1 {
            text.push_str(&format!("\x1b[{}A", rows - 1));
        }
        for (number, line) in self.next.iter().enumerate() {
            if number > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        // Clear what is left of the old lines.
        text.push_str("\x1b[J");
        self.drawn = self.next.drain(..).map(|line| columns(&line)).collect();
        self.is_filler = false;
        text
    }
}

/// Returns the width of a line: escape sequences take no column, every other character one.
fn columns(line: &str) -> usize {
    let mut columns = 0;
    let mut in_escape = false;
    for character in line.chars() {
        match (in_escape, character) {
            (true, end) => in_escape = !end.is_ascii_alphabetic(),
            (false, '\x1b') => in_escape = true,
            (false, _) => columns += 1,
        }
    }
    columns
}

impl TermLike for Drawing {
    fn width(&self) -> u16 {
        // Leave out the last column: writing to it makes some terminals wrap.
        size().0.saturating_sub(1).max(1)
    }

    fn height(&self) -> u16 {
        size().1
    }

    // No-ops: `redraw` moves the cursor and clears lines itself.
    fn move_cursor_up(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut lines = self.lines();
        if !lines.is_filler {
            lines.next.push(text.trim_end().to_owned());
        }
        lines.is_filler = !lines.is_filler;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = self.lines().redraw(usize::from(size().0));
        let mut stderr = io::stderr();
        stderr.write_all(text.as_bytes())?;
        stderr.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(lines: &mut DrawnLines, next: &[&str], width: usize) -> String {
        lines.next = next.iter().map(ToString::to_string).collect();
        lines.redraw(width)
    }

    #[test]
    fn old_lines_are_replaced_in_one_write() {
        let mut lines = DrawnLines::default();
        assert_eq!(
            drawn(&mut lines, &["a", "b"], 80),
            "\ra\x1b[K\r\nb\x1b[K\x1b[J"
        );
        assert_eq!(drawn(&mut lines, &["c"], 80), "\r\x1b[1Ac\x1b[K\x1b[J");
        assert_eq!(drawn(&mut lines, &[], 80), "\r\x1b[J");
        assert_eq!(drawn(&mut lines, &[], 80), "\r\x1b[J");
    }

    #[test]
    fn lines_wrapped_by_a_narrower_window_are_cleared() {
        let mut lines = DrawnLines::default();
        let long = format!("\x1b[36m{}\x1b[0m", "x".repeat(100));
        drawn(&mut lines, &[&long, "short"], 120);
        // The long line takes three rows, the short one takes one.
        assert_eq!(drawn(&mut lines, &["y"], 45), "\r\x1b[3Ay\x1b[K\x1b[J");
    }
}
