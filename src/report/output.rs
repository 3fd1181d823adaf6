//! A stream that lines are collected for and written to in large pieces.

use std::io::{self, Write};
use std::time::Duration;

use super::Screen;

/// Bytes collected before they are written even in the middle of a batch.
const FLUSH_BYTES: usize = 64 * 1024;

/// Time between two tries when a stream takes nothing for now.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// As `write_all`, also where the other side has made the stream non-blocking: whoever shares a
/// pipe or a terminal can do that.
fn write_all(stream: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match again_while_full(|| stream.write(bytes))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

fn again_while_full<R>(mut write: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(RETRY_INTERVAL);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A stream of lines: stdout, as a rule.
pub struct Output {
    stream: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    screen: Option<Screen>,
    end: &'static [u8],
}

impl Output {
    /// Lines go to `stream`. With a `screen`, the progress display steps aside while
    /// they are written: both are on one terminal.
    pub fn new(stream: impl Write + Send + 'static, screen: Option<Screen>) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
            screen,
            end: b"\n",
        }
    }

    /// What stands at the end of each line, instead of a line feed.
    #[must_use]
    pub fn with_terminator(self, end: &'static [u8]) -> Self {
        Self { end, ..self }
    }

    /// Where the next line is put.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The line is complete.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(self.end);
        if self.buffer.len() >= FLUSH_BYTES {
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
        let mut write = || {
            write_all(stream, buffer)?;
            again_while_full(|| stream.flush())
        };
        let written = match &self.screen {
            Some(screen) => screen.suspend(write),
            None => write(),
        };
        self.buffer.clear();
        // One large body must not keep its memory for the rest of the run.
        self.buffer.shrink_to(2 * FLUSH_BYTES);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Takes three bytes at every second call.
    #[derive(Clone, Default)]
    struct ReluctantWriter(Arc<Mutex<(Vec<u8>, u32)>>);

    impl Write for ReluctantWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (taken, calls) = &mut *self.0.lock().unwrap();
            *calls += 1;
            if *calls % 2 == 1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let some = &bytes[..bytes.len().min(3)];
            taken.extend_from_slice(some);
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_for_now_gets_everything_later() {
        let stream = ReluctantWriter::default();
        let mut output = Output::new(stream.clone(), None);
        output.line().extend_from_slice(b"a line");
        output.end_line().unwrap();
        output.flush().unwrap();
        assert_eq!(stream.0.lock().unwrap().0, b"a line\n");
    }
}
