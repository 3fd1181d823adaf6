//! How the run stands, while it runs. Reads the shared counters ten times a second;
//! nothing is sent to it, so it costs the same at 10 URLs a second and at 20,000.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};

use super::summary::{count, kinds};
use crate::model::{Live, human_duration};

/// Time between two drawings of the bar.
const TICK: Duration = Duration::from_millis(100);
/// Time between two plain lines.
const PLAIN_TICK: Duration = Duration::from_secs(3);
/// The stretch of time that the rate is taken over.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// What is shown while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressStyle {
    /// A bar on a terminal, nothing elsewhere.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// A line every few seconds: for logs and for screen readers.
    Plain,
    /// Nothing.
    None,
}

/// The part of the terminal that the display draws on. Clones share it.
#[derive(Debug, Clone)]
pub struct Screen {
    bar: Option<ProgressBar>,
    plain: bool,
}

impl Screen {
    /// A screen on stderr, with nothing on it yet.
    #[must_use]
    pub fn new(style: ProgressStyle) -> Self {
        let style = match style {
            ProgressStyle::Auto if can_draw() => ProgressStyle::Bar,
            ProgressStyle::Auto => ProgressStyle::None,
            other => other,
        };
        // Drawing is by our own clock; indicatif's limit only would drop the last state.
        let target = ProgressDrawTarget::stderr_with_hz(20);
        let bar =
            (style == ProgressStyle::Bar).then(|| ProgressBar::with_draw_target(Some(0), target));
        Self {
            bar,
            plain: style == ProgressStyle::Plain,
        }
    }

    /// Runs `write` while the display steps aside.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.suspend(write),
            _ => write(),
        }
    }
}

/// A terminal that understands cursor movement.
fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Stderr that never tears the display: for log lines.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The display at work.
pub struct Progress {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Starts to show how `live` stands; `None` when nothing is to be shown.
    #[must_use]
    pub fn start(screen: &Screen, live: Arc<Live>) -> Option<Self> {
        if screen.bar.is_none() && !screen.plain {
            return None;
        }
        live.watch();
        let screen = screen.clone();
        let (stop, stopped) = channel();
        let mut display = Display {
            screen,
            live,
            pace: Pace::default(),
            has_total: None,
        };
        let tick = if display.screen.plain {
            PLAIN_TICK
        } else {
            TICK
        };
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || {
                while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                    display.show(Instant::now());
                }
                if let Some(bar) = &display.screen.bar {
                    bar.finish_and_clear();
                }
            });
        // Without a thread there is no display; that is no reason to end the run.
        thread.ok().map(|thread| Self { stop, thread })
    }

    /// Takes the display away.
    pub fn stop(self) {
        drop(self.stop);
        // A display that broke down has nothing to say.
        let _ = self.thread.join();
    }
}

struct Display {
    screen: Screen,
    live: Arc<Live>,
    pace: Pace,
    has_total: Option<bool>,
}

impl Display {
    fn show(&mut self, now: Instant) {
        let snapshot = Snapshot::take(&self.live, now);
        self.pace.add(now, snapshot.settled);
        let rate = self.pace.rate();
        let Some(bar) = &self.screen.bar else {
            // A closed stderr is no reason to end the run.
            let _ = writeln!(io::stderr(), "{}", snapshot.line(rate));
            return;
        };
        let has_total = snapshot.total.is_some();
        if self.has_total != Some(has_total) {
            self.has_total = Some(has_total);
            bar.set_style(style(has_total));
        }
        bar.set_length(snapshot.total.unwrap_or(snapshot.settled));
        bar.set_position(snapshot.settled);
        bar.set_prefix(snapshot.head(rate));
        let mut lines = vec![snapshot.rest()];
        lines.extend(snapshot.stragglers.iter().map(|line| format!("  {line}")));
        bar.set_message(lines.join("\n"));
        bar.tick();
    }
}

fn style(has_total: bool) -> BarStyle {
    let template = if has_total {
        "{wide_bar:.cyan/dim} {prefix}\n{msg}"
    } else {
        "{spinner:.cyan} {prefix}\n{msg}"
    };
    // The templates are fixed; a mistake in one shows as a plain bar.
    BarStyle::with_template(template)
        .unwrap_or_else(|_| BarStyle::default_bar())
        .progress_chars("━╸─")
}

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Snapshot {
    settled: u64,
    bytes: u64,
    total: Option<u64>,
    exact: bool,
    in_flight: u64,
    waiting: u64,
    failed: u64,
    failures: String,
    /// Who the run still waits for, when they are few.
    stragglers: Vec<String>,
}

impl Snapshot {
    fn take(live: &Live, now: Instant) -> Self {
        let stragglers = live.stragglers(now);
        Self {
            settled: live.settled(),
            bytes: live.bytes(),
            total: live.total(),
            exact: live.has_list_ended(),
            in_flight: live.in_flight(),
            waiting: live.waiting(),
            failed: live.count_failed(),
            failures: kinds(live.failures()),
            stragglers: stragglers.iter().map(|one| one.line(now)).collect(),
        }
    }

    /// Done of total, rate, time left.
    fn head(&self, rate: f64) -> String {
        let mut text = count(self.settled);
        if let Some(total) = self.total {
            let about = if self.exact { "" } else { "~" };
            text.push_str(&format!(" of {about}{}", count(total)));
        }
        text.push_str(&format!(" done, {}/s", rate_text(rate)));
        if let Some(left) = self.time_left(rate) {
            text.push_str(&format!(", {} left", human_duration(left)));
        }
        text
    }

    fn time_left(&self, rate: f64) -> Option<Duration> {
        let left = self.total?.checked_sub(self.settled)?;
        if rate <= 0.0 || left == 0 {
            return None;
        }
        // Whole seconds: more would only flicker.
        Some(Duration::from_secs(
            (left as f64 / rate).ceil().min(1e9) as u64
        ))
    }

    /// What runs, waits and failed.
    fn rest(&self) -> String {
        let mut text = format!(
            "{}, {} in flight",
            ByteSize(self.bytes),
            count(self.in_flight)
        );
        if self.waiting > 0 {
            text.push_str(&format!(", {} waiting for a retry", count(self.waiting)));
        }
        if self.failed > 0 {
            text.push_str(&format!(
                ", {} failed: {}",
                count(self.failed),
                self.failures
            ));
        }
        text
    }

    fn line(&self, rate: f64) -> String {
        let mut text = format!("{}; {}", self.head(rate), self.rest());
        if !self.stragglers.is_empty() {
            text.push_str(&format!("; still: {}", self.stragglers.join("; ")));
        }
        text
    }
}

fn rate_text(rate: f64) -> String {
    if rate >= 10.0 {
        count(rate.round() as u64)
    } else {
        format!("{rate:.1}")
    }
}

/// How fast the count grows, over the last seconds.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    fn add(&mut self, now: Instant, count: u64) {
        self.0.push_back((now, count));
        while self.0.len() > 2
            && self
                .0
                .front()
                .is_some_and(|(then, _)| now.duration_since(*then) > RATE_WINDOW)
        {
            self.0.pop_front();
        }
    }

    /// Per second.
    fn rate(&self) -> f64 {
        let (Some((from, first)), Some((to, last))) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let time = to.duration_since(*from).as_secs_f64();
        if time <= 0.0 {
            0.0
        } else {
            last.saturating_sub(*first) as f64 / time
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_done_total_rate_rest_in_flight_and_failures() {
        let snapshot = Snapshot {
            settled: 1234,
            bytes: 5 << 20,
            total: Some(10_000),
            exact: false,
            in_flight: 64,
            waiting: 3,
            failed: 12,
            failures: "8 timeout, 4 reset".into(),
            stragglers: Vec::new(),
        };
        assert_eq!(
            snapshot.line(512.4),
            "1,234 of ~10,000 done, 512/s, 18s left; 5.0 MiB, 64 in flight, 3 waiting for a retry, 12 failed: 8 timeout, 4 reset"
        );
        let tail = Snapshot {
            settled: 9,
            total: Some(10),
            exact: true,
            in_flight: 1,
            stragglers: vec!["http://a/: no answer for 7s".into()],
            ..Snapshot::default()
        };
        assert_eq!(
            tail.line(1.0),
            "9 of 10 done, 1.0/s, 1s left; 0 B, 1 in flight; still: http://a/: no answer for 7s"
        );
        let pipe = Snapshot {
            settled: 5,
            in_flight: 1,
            ..Snapshot::default()
        };
        assert_eq!(pipe.line(0.5), "5 done, 0.5/s; 0 B, 1 in flight");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for second in 0..60u64 {
            let count = if second < 30 { 0 } else { (second - 30) * 100 };
            pace.add(start + Duration::from_secs(second), count);
        }
        assert!((pace.rate() - 100.0).abs() < 1.0);
        assert!(Pace::default().rate().abs() < f64::EPSILON);
    }
}
