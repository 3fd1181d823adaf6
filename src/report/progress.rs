//! The progress display. Polls shared counters ten times a second instead of receiving events, so
//! it costs the same at 10 URLs/s and at 20,000.

mod drawing;
mod rate;
mod snapshot;

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};

use crate::model::LiveStats;

use drawing::Drawing;
use rate::{RateMeter, TimeLeft};
use snapshot::{Snapshot, fit};

/// Time between two redraws of the bar.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two plain lines if they were requested.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);
/// The same if stderr is not a terminal, as in build logs.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Minimum width of the bar itself, in columns.
const MIN_BAR_WIDTH: usize = 12;

/// How progress is displayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressStyle {
    /// A bar on a terminal; a line every 3 s on one that cannot draw it, every 30 s elsewhere.
    #[default]
    Auto,
    /// A bar, if stderr is a terminal.
    Bar,
    /// A line every 3 s, for logs and screen readers.
    Plain,
    /// Nothing.
    None,
}

/// The counters of a run, and when it started.
type DisplayedRun = (Arc<LiveStats>, Instant);

/// The terminal, shared between the progress display and other output. Clones share one display.
#[derive(Debug, Clone)]
pub struct Screen {
    bar: Option<ProgressBar>,
    /// Time between two plain lines.
    plain: Option<Duration>,
    /// The displayed run, if one is in progress.
    run: Arc<Mutex<Option<DisplayedRun>>>,
}

impl Screen {
    /// Creates a screen on stderr that shows nothing yet.
    #[must_use]
    pub fn new(style: ProgressStyle) -> Self {
        let (has_bar, plain) = match style {
            ProgressStyle::Auto if can_draw() => (true, None),
            ProgressStyle::Auto if io::stderr().is_terminal() => (false, Some(PLAIN_INTERVAL)),
            ProgressStyle::Auto => (false, Some(LOG_INTERVAL)),
            ProgressStyle::Bar => (io::stderr().is_terminal(), None),
            ProgressStyle::Plain => (false, Some(PLAIN_INTERVAL)),
            ProgressStyle::None => (false, None),
        };
        // `draw_every` sets the pace. A lower limit in indicatif could drop the last redraw.
        let target = || ProgressDrawTarget::term_like_with_hz(Box::new(Drawing::default()), 20);
        Self {
            bar: has_bar.then(|| ProgressBar::with_draw_target(Some(0), target())),
            plain,
            run: Arc::default(),
        }
    }

    /// Runs `write` with the display cleared, then redraws it.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.suspend(write),
            _ => write(),
        }
    }

    /// Returns the progress as one line; `None` before the run has started and after it has ended.
    #[must_use]
    pub fn snapshot(&self) -> Option<String> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let (live, start) = run.as_ref()?;
        let now = Instant::now();
        let mut snapshot = Snapshot::take(live, now);
        let elapsed = now
            .saturating_duration_since(*start)
            .as_secs_f64()
            .max(1e-3);
        snapshot.rate = snapshot.settled as f64 / elapsed;
        snapshot.byte_rate = snapshot.bytes as f64 / elapsed;
        Some(snapshot.line())
    }

    fn show_run(&self, run: Option<DisplayedRun>) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }
}

/// Whether stderr is an interactive terminal that supports cursor movement. CI systems may attach a
/// terminal whose output ends up in a log, hence the check of `CI`.
fn can_draw() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !is_dumb && !is_set("CI")
}

/// Writes to stderr without corrupting the display, for log lines.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A running progress display.
pub(crate) struct Progress {
    screen: Screen,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Starts to display the counters `live`.
    #[must_use]
    pub(crate) fn start(screen: &Screen, live: Arc<LiveStats>) -> Self {
        live.enable_watch();
        screen.show_run(Some((Arc::clone(&live), Instant::now())));
        let tick = match screen.bar {
            Some(_) => Some(REDRAW_INTERVAL),
            None => screen.plain,
        };
        Self {
            screen: screen.clone(),
            thread: tick.and_then(|tick| draw_every(tick, screen, live)),
        }
    }

    /// Stops and removes the display.
    pub(crate) fn stop(self) {
        self.screen.show_run(None);
        if let Some((stop, thread)) = self.thread {
            drop(stop);
            // A panic in the display does not matter at this point.
            let _ = thread.join();
        }
    }
}

fn draw_every(
    tick: Duration,
    screen: &Screen,
    live: Arc<LiveStats>,
) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let mut display = ProgressRenderer::new(screen.clone(), live);
    let thread = std::thread::Builder::new()
        .name("progress".into())
        .spawn(move || {
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                display.redraw(Instant::now());
            }
            if let Some(bar) = &display.screen.bar {
                bar.finish_and_clear();
            }
        });
    // If the thread cannot be started, run without a display.
    thread.ok().map(|thread| (stop, thread))
}

struct ProgressRenderer {
    screen: Screen,
    live: Arc<LiveStats>,
    settled: RateMeter,
    /// The same over a longer window, to estimate the time left.
    progress: RateMeter,
    bytes: RateMeter,
    left: TimeLeft,
    has_total: Option<bool>,
}

impl ProgressRenderer {
    fn new(screen: Screen, live: Arc<LiveStats>) -> Self {
        Self {
            screen,
            live,
            settled: RateMeter::default(),
            progress: RateMeter::long(),
            bytes: RateMeter::default(),
            left: TimeLeft::default(),
            has_total: None,
        }
    }

    fn redraw(&mut self, now: Instant) {
        let mut snapshot = Snapshot::take(&self.live, now);
        self.settled.add(now, snapshot.settled);
        self.progress.add(now, snapshot.settled);
        self.bytes.add(now, snapshot.bytes);
        snapshot.rate = self.settled.rate();
        snapshot.byte_rate = self.bytes.rate();
        let remaining = snapshot.remaining();
        // While the last jobs only wait, the rate so far says nothing about them: they are shown with
        // what they wait for.
        let only_waits = snapshot.in_flight == 0 && !snapshot.stragglers.is_empty();
        let left = remaining.and_then(|left| self.left.show(now, left, &self.progress));
        snapshot.left = left.filter(|_| !only_waits);
        let Some(bar) = &self.screen.bar else {
            // A closed stderr must not end the run.
            let _ = writeln!(io::stderr(), "{}", snapshot.line());
            return;
        };
        let has_total = snapshot.total.is_some();
        if self.has_total != Some(has_total) {
            self.has_total = Some(has_total);
            bar.set_style(style(has_total));
        }
        // Queried each time, because the window may have been resized.
        let width = usize::from(drawing::size().0).max(MIN_BAR_WIDTH + 2);
        bar.set_length(snapshot.total.unwrap_or(snapshot.settled));
        bar.set_position(snapshot.settled);
        bar.set_prefix(fit(&snapshot.status_parts(), width - MIN_BAR_WIDTH - 2));
        bar.set_message(snapshot.lines(width - 1).join("\n"));
        bar.tick();
    }
}

fn style(has_total: bool) -> BarStyle {
    let template = if has_total {
        "{wide_bar:.cyan/dim} {prefix}\n{msg}"
    } else {
        "{spinner:.cyan} {prefix}\n{msg}"
    };
    // The templates are constant, so the fallback is never needed.
    BarStyle::with_template(template)
        .unwrap_or_else(|_| BarStyle::default_bar())
        .progress_chars("━╸─")
}
