//! A pseudo-terminal whose screen a test can read.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU16;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use vt100::Parser;

use super::Background;

/// Rows of the screen.
const ROWS: u16 = 24;
/// Maximum wait for a text to appear on the screen.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A program running on a terminal.
pub struct Terminal {
    child: Background,
    screen: Arc<Mutex<Parser>>,
    reading: JoinHandle<()>,
    slave: File,
}

impl Terminal {
    /// Starts a program whose stderr, and stdout if `with_stdout`, are a terminal with this number
    /// of columns.
    pub fn start(mut command: Command, columns: u16, with_stdout: bool) -> Self {
        let size = size(columns);
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let slave = File::from(slave);
        command
            .env("TERM", "xterm-256color")
            .env_remove("CI")
            .stdin(Stdio::null())
            .stderr(slave.try_clone().unwrap());
        if with_stdout {
            command.stdout(slave.try_clone().unwrap());
        } else {
            command.stdout(Stdio::null());
        }
        let child = Background(command.spawn().unwrap());
        // The command also holds the terminal open.
        drop(command);
        let screen = Arc::new(Mutex::new(Parser::new(cells(ROWS), cells(columns), 1000)));
        let reading = thread::spawn({
            let screen = Arc::clone(&screen);
            move || read(File::from(master), &screen)
        });
        Self {
            child,
            screen,
            reading,
            slave,
        }
    }

    /// Returns the current text of the screen.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen contains all of `what` at the same time: the program may draw between
    /// two of the events that a test looks for. Returns the whole screen.
    pub fn wait_for(&self, what: &[&str]) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if what.iter().all(|part| text.contains(part)) {
                return text;
            }
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "no {what:?} on the screen:\n{text}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resizes the window.
    pub fn resize(&self, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: ROWS,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.slave, size).unwrap();
        let mut screen = self.screen.lock().unwrap();
        screen.screen_mut().set_size(cells(ROWS), cells(columns));
    }

    /// Waits for the end of the program. Returns its status and the final screen.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.0.wait().unwrap();
        drop(self.slave);
        self.reading.join().unwrap();
        let text = self.screen.lock().unwrap().screen().contents();
        (status, text)
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn size(columns: u16) -> Winsize {
    Winsize {
        ws_row: ROWS,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Feeds output to the screen until all processes have closed the terminal.
fn read(mut master: File, screen: &Mutex<Parser>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = master.read(&mut bytes) {
        screen.lock().unwrap().process(&bytes[..length]);
    }
}
