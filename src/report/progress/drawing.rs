//! Where the display is drawn: the last lines of a terminal.
//!
//! indicatif fills every line up to the edge of the terminal and lets it wrap. When somebody makes
//! the window narrower, terminals wrap such lines anew, and the display takes more rows than
//! anybody counted: what it leaves behind stays. Here lines end where their text does, and what
//! was drawn is measured again by the width that the terminal has when the next drawing comes.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;
use terminal_size::{Height, Width, terminal_size_of};

/// Columns and rows where nobody says how many there are.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// Columns and rows of the terminal now.
pub fn size() -> (u16, u16) {
    terminal_size_of(io::stderr()).map_or(DEFAULT_SIZE, |(Width(width), Height(height))| {
        (width, height)
    })
}

/// The end of a terminal on stderr.
#[derive(Debug, Default)]
pub struct Drawing(Mutex<DrawnLines>);

#[derive(Debug, Default)]
struct DrawnLines {
    /// Columns of the lines that stand there.
    drawn: Vec<usize>,
    /// Those that come: of each its text, and then what fills it up.
    next: Vec<String>,
    is_filler: bool,
}

impl Drawing {
    fn lines(&self) -> MutexGuard<'_, DrawnLines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DrawnLines {
    /// What replaces the old lines by the new ones, in one piece, so that nothing flickers.
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
        // What is left of the old ones.
        text.push_str("\x1b[J");
        self.drawn = self.next.drain(..).map(|line| columns(&line)).collect();
        self.is_filler = false;
        text
    }
}

/// Columns of a line: colours take none, and everything that is shown takes one.
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
        // Not into the last column, from which terminals wrap.
        size().0.saturating_sub(1).max(1)
    }

    fn height(&self) -> u16 {
        size().1
    }

    // Where the cursor is, and what has to be cleared, is known better here.
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
    fn old_lines_are_written_over_in_one_piece() {
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
    fn a_narrower_window_has_wrapped_the_old_lines() {
        let mut lines = DrawnLines::default();
        let long = format!("\x1b[36m{}\x1b[0m", "x".repeat(100));
        drawn(&mut lines, &[&long, "short"], 120);
        // Three rows of the long one, one of the short one.
        assert_eq!(drawn(&mut lines, &["y"], 45), "\r\x1b[3Ay\x1b[K\x1b[J");
    }
}
