//! `--timeline`: draws the run in the terminal after it has ended, one row per job, with time along
//! the width.

mod cell;

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use super::fields::origin;
use super::row_sampler::{JobRow, RowSampler, SampledRows};
use super::summary::speedup;
use super::{Output, Reporter};
use crate::model::{AttemptTrace, EngineEvent, Summary, elide_middle, format_duration};
use cell::TimelineCell;

/// Maximum number of rows, about a screenful. The HTML report has more.
const MAX_ROWS: usize = 40;
/// Minimum width, in columns; in less, the bars would be too short to read.
const MIN_WIDTH: usize = 64;
/// Minimum distance between two marks of the time scale, in columns.
const MARK_WIDTH: usize = 12;

/// How a timeline is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineStyle {
    /// Width of the terminal, in columns.
    pub width: usize,
    /// Use colours.
    pub color: bool,
    /// Use ASCII characters only.
    pub ascii: bool,
}

impl Default for TimelineStyle {
    /// 80 columns, no colour, Unicode.
    fn default() -> Self {
        Self {
            width: 80,
            color: false,
            ascii: false,
        }
    }
}

/// Draws the timeline when the run has ended.
pub(crate) struct Timeline {
    output: Output,
    style: TimelineStyle,
    rows: RowSampler,
}

impl Timeline {
    /// Creates a reporter that draws to `output`.
    #[must_use]
    pub(crate) fn new(output: Output, style: TimelineStyle) -> Self {
        Self {
            output,
            style,
            rows: RowSampler::new(MAX_ROWS),
        }
    }
}

impl Reporter for Timeline {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        self.rows.observe(event);
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let picked = self.rows.picked();
        if picked.rows.is_empty() {
            // Without a request, there is nothing to draw.
            return Ok(());
        }
        let text = draw(&picked, summary, self.style);
        // A blank line separates it from results on the same terminal.
        let line = self.output.line();
        line.push(b'\n');
        line.extend_from_slice(text.as_bytes());
        // A closed stderr must not end the run.
        let _ = self.output.end_line().and_then(|()| self.output.flush());
        Ok(())
    }
}

const PLAIN: &str = "\u{1b}[0m";

/// Draws the timeline, without a final line feed.
fn draw(picked: &SampledRows, summary: &Summary, style: TimelineStyle) -> String {
    let shared = shared_origin(&picked.rows);
    let Layout { label, url, bar } = Layout::of(&picked.rows, shared, style);
    let mut end = summary.wall;
    for row in &picked.rows {
        end = end.max(row.end());
    }
    let scale = Scale {
        total: end.max(Duration::from_millis(1)),
        cells: bar,
    };
    let mut text = String::new();
    if let Some(note) = picked.note() {
        // Writing to a String cannot fail; the same goes for every `let _` here.
        let _ = writeln!(text, "{note}");
    }
    let indent = label + url + 3;
    let head = with_ascii_ellipsis(&elide_middle(shared, indent - 1), style);
    let _ = writeln!(text, "{head:indent$}{}", scale.marks());
    for row in &picked.rows {
        let color = if row.failed {
            TimelineCell::Failed
        } else {
            TimelineCell::Body
        };
        let name = paint(&format!("{:label$}", row.label), color, style);
        let own = row.url.strip_prefix(shared).unwrap_or(&row.url);
        let shown = with_ascii_ellipsis(&elide_middle(own, url), style);
        let cells = cells_text(&scale.cells_of(&row.traces), style);
        let took = duration(row.took());
        let _ = writeln!(text, "{name} {shown:url$}  {cells} {took:>7}");
    }
    legend(&mut text, &picked.rows, style);
    compare(&mut text, summary, style);
    text.pop();
    text
}

/// Returns the origin if all rows share it. It is then shown once above the rows instead of in
/// each.
fn shared_origin(rows: &[JobRow]) -> &str {
    let first = rows.first().map_or("", |row| origin(&row.url));
    let is_shared = rows.len() > 1 && rows.iter().all(|row| origin(&row.url) == first);
    if is_shared { first } else { "" }
}

/// Replaces the ellipsis of a shortened text if only ASCII may be used.
fn with_ascii_ellipsis(text: &str, style: TimelineStyle) -> String {
    if style.ascii {
        text.replace('…', "~")
    } else {
        text.to_owned()
    }
}

/// Column widths of a row. The duration follows in seven more columns.
struct Layout {
    label: usize,
    url: usize,
    bar: usize,
}

impl Layout {
    fn of(rows: &[JobRow], shared: &str, style: TimelineStyle) -> Self {
        let width = style.width.max(MIN_WIDTH);
        let label = rows.iter().map(|row| row.label.len()).max();
        let label = label.unwrap_or_default();
        let urls = rows.iter().map(|row| row.url.chars().count());
        // The shared origin is printed across the label and URL columns: make room for it.
        let url = urls.max().unwrap_or_default().saturating_sub(shared.len());
        let url = url
            .max(shared.len().saturating_sub(label))
            .min(width * 3 / 8);
        // 3 spaces between the columns; 8 columns for a space and the duration.
        let bar = width.saturating_sub(label + url + 3 + 8).max(10);
        Self { label, url, bar }
    }
}

/// Maps times to columns.
struct Scale {
    total: Duration,
    cells: usize,
}

impl Scale {
    fn cell_of(&self, at: Duration) -> f64 {
        at.as_secs_f64() / self.total.as_secs_f64() * self.cells as f64
    }

    /// Returns the marks of the time scale: `|0s         |1s         |2s`.
    fn marks(&self) -> String {
        let min_step = self.total.as_secs_f64() * MARK_WIDTH as f64 / self.cells as f64;
        let power = 10f64.powf(min_step.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|factor| factor * power >= min_step * (1.0 - 1e-9));
        let step = Duration::from_secs_f64(factor.unwrap_or(10.0) * power);
        let mut marks = String::new();
        let mut at = Duration::ZERO;
        while at <= self.total {
            let mark = format!("|{}", duration(at));
            let column = self.cell_of(at).floor() as usize;
            if column + mark.len() > self.cells {
                break;
            }
            let _ = write!(marks, "{:1$}", "", column - marks.len());
            marks.push_str(&mark);
            at += step;
        }
        marks
    }

    /// Returns the phase that took most of each cell's time. Queueing is shown only where no
    /// request was in flight, and every attempt marks at least the cell in which it ends.
    fn cells_of(&self, traces: &[AttemptTrace]) -> Vec<TimelineCell> {
        let mut cover = vec![[0.0; 4]; self.cells];
        for one in traces {
            let connected = one.connected.unwrap_or(one.start);
            let head = one.head.unwrap_or(one.end);
            for (kind, from, to) in [
                (0, one.ready, one.start),
                (1, one.start, connected),
                (2, connected, head),
                (3, head, one.end),
            ] {
                self.add(&mut cover, kind, from, to);
            }
        }
        let mut cells: Vec<_> = cover.iter().map(dominant).collect();
        for one in traces {
            let mark = TimelineCell::mark(one.outcome);
            // The cell it ends in, not the next one if it ends on the boundary.
            let last = (self.cell_of(one.end).ceil() as usize).clamp(1, self.cells) - 1;
            if let Some(cell) = cells.get_mut(last)
                && (mark != TimelineCell::Body || *cell <= TimelineCell::Queue)
            {
                *cell = mark;
            }
        }
        cells
    }

    fn add(&self, cover: &mut [[f64; 4]], kind: usize, from: Duration, to: Duration) {
        let (from, to) = (self.cell_of(from), self.cell_of(to));
        let first = from.floor() as usize;
        let last = to.ceil() as usize;
        let touched = cover.iter_mut().enumerate().take(last).skip(first);
        for (column, cell) in touched {
            let column = column as f64;
            let part = to.min(column + 1.0) - from.max(column);
            if let Some(sum) = cell.get_mut(kind) {
                *sum += part.max(0.0);
            }
        }
    }
}

fn dominant(cover: &[f64; 4]) -> TimelineCell {
    let [queue, connect, wait, body] = *cover;
    let busiest = [
        (connect, TimelineCell::Connect),
        (wait, TimelineCell::Wait),
        (body, TimelineCell::Body),
    ]
    .into_iter()
    .filter(|(time, _)| *time > 0.0)
    .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match busiest {
        Some((_, cell)) => cell,
        None if queue > 0.0 => TimelineCell::Queue,
        None => TimelineCell::Nothing,
    }
}

fn cells_text(cells: &[TimelineCell], style: TimelineStyle) -> String {
    let mut text = String::new();
    let mut last = TimelineCell::Nothing;
    for cell in cells {
        if style.color && *cell != last {
            if last != TimelineCell::Nothing {
                text.push_str(PLAIN);
            }
            text.push_str(cell.color());
            last = *cell;
        }
        text.push(cell.character(style.ascii));
    }
    if style.color && last != TimelineCell::Nothing {
        text.push_str(PLAIN);
    }
    text
}

fn paint(text: &str, cell: TimelineCell, style: TimelineStyle) -> String {
    if style.color {
        format!("{}{text}{PLAIN}", cell.color())
    } else {
        text.to_owned()
    }
}

/// Appends the legend. Lists rare marks only if they occur, and wraps at the terminal width.
fn legend(text: &mut String, rows: &[JobRow], style: TimelineStyle) {
    let traces = rows.iter().flat_map(|row| &row.traces);
    let is_used = |cell| {
        traces
            .clone()
            .any(|one| TimelineCell::mark(one.outcome) == cell)
    };
    let is_rare = |cell| matches!(cell, TimelineCell::Resend | TimelineCell::GoesOn);
    let mut column = 0;
    for (cell, name) in TimelineCell::LEGEND {
        if is_rare(cell) && !is_used(cell) {
            continue;
        }
        let columns = 2 + name.len();
        let gap = match column {
            0 => "",
            _ if column + 2 + columns > style.width.max(MIN_WIDTH) => "\n",
            _ => "  ",
        };
        column = if gap == "  " { column + 2 } else { 0 } + columns;
        let character = cell.character(style.ascii).to_string();
        let _ = write!(text, "{gap}{} {name}", paint(&character, cell, style));
    }
    text.push('\n');
}

/// Appends two bars to scale: the duration of the run, and of the same requests sequentially.
fn compare(text: &mut String, summary: &Summary, style: TimelineStyle) {
    let (wall, sequential) = (summary.wall, summary.sequential);
    let longest = wall.max(sequential).as_secs_f64().max(1e-9);
    // 20 columns before the bar, 10 for the speedup after it.
    let room = style.width.max(MIN_WIDTH).saturating_sub(20 + 10);
    let mut line = |name: &str, time: Duration, note: &str| {
        let cells = (time.as_secs_f64() / longest * room as f64).round() as usize;
        let bar = cells_text(&vec![TimelineCell::Body; cells.max(1)], style);
        let _ = writeln!(text, "{name:<10} {:>7}  {bar}{note}", duration(time));
    };
    line("concurrent", wall, "");
    let note = speedup(summary).map_or_else(String::new, |speedup| format!(" {speedup}"));
    line("sequential", sequential, &note);
}

/// Formats a duration: `12ms`, `1.25s`, `2m 5s`. At most seven characters below ten hours.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0 if time.is_zero() => "0s".to_owned(),
        0 if time < Duration::from_micros(100) => "<0.1ms".to_owned(),
        0 if time < Duration::from_millis(10) => {
            format!("{:.1}ms", time.as_secs_f64() * 1e3)
        }
        0 => format!("{}ms", time.as_millis()),
        1..60 => {
            let text = format!("{:.2}", time.as_secs_f64());
            format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => format_duration(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, TraceOutcome};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn one(
        ready: u64,
        start: u64,
        connected: Option<u64>,
        head: Option<u64>,
        end: u64,
    ) -> AttemptTrace {
        AttemptTrace {
            ready: ms(ready),
            start: ms(start),
            connected: connected.map(ms),
            head: head.map(ms),
            end: ms(end),
            status: Some(200),
            outcome: TraceOutcome::Fetched,
        }
    }

    fn row(number: u64, label: &str, traces: Vec<AttemptTrace>) -> JobRow {
        JobRow {
            number,
            url: format!("http://a.test/{number}"),
            label: label.to_owned(),
            failed: label != "200",
            segments: None,
            traces,
        }
    }

    fn picked() -> SampledRows {
        let refused = |one: AttemptTrace| AttemptTrace {
            outcome: TraceOutcome::Failed(ErrorKind::Refused),
            status: None,
            ..one
        };
        let moved = AttemptTrace {
            outcome: TraceOutcome::Redirected,
            ..one(0, 100, None, Some(400), 400)
        };
        let rows = vec![
            row(1, "200", vec![one(0, 0, Some(500), Some(1000), 2000)]),
            row(2, "200", vec![moved, one(400, 400, None, Some(700), 900)]),
            row(
                3,
                "refused",
                vec![
                    refused(one(0, 500, Some(501), None, 501)),
                    refused(one(1500, 1500, Some(1501), None, 1501)),
                ],
            ),
        ];
        SampledRows {
            rows,
            sent: 3,
            unsent: 0,
        }
    }

    #[test]
    fn resent_and_continued_attempts_have_marks_of_their_own() {
        let ended = |outcome, one: AttemptTrace| AttemptTrace { outcome, ..one };
        let mut picked = picked();
        picked.rows.push(row(
            4,
            "200",
            vec![
                ended(TraceOutcome::Resent, one(0, 0, None, None, 400)),
                ended(TraceOutcome::GoesOn, one(400, 400, None, Some(800), 1000)),
                one(1000, 1000, None, Some(1100), 1200),
            ],
        ));
        let style = TimelineStyle {
            width: 70,
            color: false,
            ascii: true,
        };
        let text = draw(&picked, &summary(), style);
        let end = text.split_once("200     /4").unwrap().1;
        assert_eq!(
            end.lines().take(3).collect::<Vec<_>>(),
            [
                "      =========r========####+==###                      1.2s",
                ". queue  c connect  = first byte  # body  > redirect  r resent",
                "+ continued  x failed"
            ]
        );
    }

    fn summary() -> Summary {
        Summary {
            wall: ms(2000),
            sequential: ms(4000),
            ..Summary::default()
        }
    }

    #[test]
    fn phases_and_attempts_are_distinguishable() {
        let style = TimelineStyle {
            width: 70,
            color: false,
            ascii: true,
        };
        assert_eq!(
            draw(&picked(), &summary(), style),
            "http://a.test   |0s                    |1s
200     /1      ccccccccccc============#######################      2s
200     /2      ..=======>======#####                            800ms
refused /3      ...........x                      x                 1s
. queue  c connect  = first byte  # body  > redirect  x failed
concurrent      2s  ####################
sequential      4s  ######################################## 2.0x"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [64, 80, 133, 200] {
            let style = TimelineStyle {
                width,
                ..TimelineStyle::default()
            };
            for line in draw(&picked(), &summary(), style).lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn an_empty_run_can_be_drawn() {
        let empty = SampledRows::default();
        let text = draw(&empty, &Summary::default(), TimelineStyle::default());
        assert!(text.contains("sequential"), "{text}");
    }
}
