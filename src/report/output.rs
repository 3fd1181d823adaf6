//! A stream that lines are collected for and written to in large pieces.

use std::io::{self, Write};

use super::Screen;

/// Bytes collected before they are written even in the middle of a batch.
const FULL: usize = 64 * 1024;

/// A stream of lines: stdout, as a rule.
pub struct Output {
    stream: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    screen: Option<Screen>,
}

impl Output {
    /// Lines go to `stream`. With a `screen`, the progress display steps aside while
    /// they are written: both are on one terminal.
    pub fn new(stream: impl Write + Send + 'static, screen: Option<Screen>) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
            screen,
        }
    }

    /// Where the next line is put.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The line is complete.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.buffer.push(b'\n');
        if self.buffer.len() >= FULL {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes out what was collected.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (stream, buffer) = (&mut self.stream, &self.buffer);
        let mut write = || stream.write_all(buffer).and_then(|()| stream.flush());
        let written = match &self.screen {
            Some(screen) => screen.aside(write),
            None => write(),
        };
        self.buffer.clear();
        // One large body must not keep its memory for the rest of the run.
        self.buffer.shrink_to(2 * FULL);
        written
    }
}
