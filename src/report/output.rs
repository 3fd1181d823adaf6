//! A buffered stream of lines.

use std::io::{self, Write};
use std::time::Duration;

use super::Screen;

/// Buffered bytes that are written out even in the middle of a batch.
const FLUSH_BYTES: usize = 64 * 1024;

/// Time between two attempts to write to a full non-blocking stream.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// Like [`Write::write_all`], but also for non-blocking streams: any process that shares the pipe
/// or terminal can set `O_NONBLOCK` on it.
fn write_all(stream: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry_while_full(|| stream.write(bytes))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

fn retry_while_full<R>(mut write: impl FnMut() -> io::Result<R>) -> io::Result<R> {
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

/// A buffered stream of lines, usually stdout.
pub(crate) struct Output {
    stream: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    screen: Option<Screen>,
    end: &'static [u8],
}

impl Output {
    /// Creates an output that writes to `stream`. With a `screen`, the progress display is
    /// suspended during writes, because both share one terminal.
    pub(crate) fn new(stream: impl Write + Send + 'static, screen: Option<Screen>) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
            screen,
            end: b"\n",
        }
    }

    /// Sets the terminator written after each line. Default: a line feed.
    #[must_use]
    pub(crate) fn with_terminator(self, end: &'static [u8]) -> Self {
        Self { end, ..self }
    }

    /// Returns the buffer to append the next line to.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Terminates the current line.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(self.end);
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes out the buffered lines.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (stream, buffer) = (&mut self.stream, &self.buffer);
        let mut write = || {
            write_all(stream, buffer)?;
            retry_while_full(|| stream.flush())
        };
        let written = match &self.screen {
            Some(screen) => screen.suspend(write),
            None => write(),
        };
        self.buffer.clear();
        // Do not keep the memory of one large body for the rest of the run.
        self.buffer.shrink_to(2 * FLUSH_BYTES);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Accepts three bytes at every second call.
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
    fn a_full_non_blocking_stream_is_retried() {
        let stream = ReluctantWriter::default();
        let mut output = Output::new(stream.clone(), None);
        output.line().extend_from_slice(b"a line");
        output.end_line().unwrap();
        output.flush().unwrap();
        assert_eq!(stream.0.lock().unwrap().0, b"a line\n");
    }
}
