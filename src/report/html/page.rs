//! From what was collected to the page: numbers become text and lengths here, and the template
//! puts them where they belong. Text from outside is escaped by the template engine.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytesize::ByteSize;

use crate::model::{ErrorKind, Sha256Context, Summary, TryOutcome, harmless, shorten};
use crate::report::rows::{Picked, Row};
use crate::report::summary::{count, one_after_another};
use crate::report::timeline::duration;

use super::collect::{Collected, MOST_FAILURES};
use super::hosts::Host;
use super::latency::{Latency, PERCENTILES};
use super::series::Step;

/// Width of charts, in units of their own.
const CHART_WIDTH: f64 = 800.0;
/// Height of charts.
const CHART_HEIGHT: f64 = 100.0;
/// Width of a row of the waterfall.
const ROW_WIDTH: f64 = 1000.0;
/// The least width of what is there at all.
const LEAST: f64 = 2.0;
/// Bars of the distribution.
const BINS: u32 = 40;
/// Marks below a chart.
const MARKS: u32 = 5;
/// Characters of a URL in the waterfall.
const LONGEST: usize = 120;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The page as it is written.
pub fn render(collected: &Collected, summary: &Summary) -> io::Result<String> {
    Page::new(collected, summary)
        .render()
        .map_err(io::Error::other)
}

#[derive(Template)]
#[template(path = "report.html", config = "src/askama.toml")]
struct Page {
    title: String,
    at: String,
    inputs: String,
    version: &'static str,
    style: &'static str,
    script: &'static str,
    style_hash: String,
    script_hash: String,
    cards: Vec<Card>,
    ended_by: Option<String>,
    sentence: String,
    shares: Vec<Share>,
    kinds: Vec<Count>,
    statuses: Vec<Count>,
    charts: Vec<Chart>,
    marks: Vec<String>,
    percentile_names: Vec<&'static str>,
    latencies: Vec<LatencyRow>,
    bins: Vec<Bar>,
    bin_marks: Vec<String>,
    waterfall: Waterfall,
    hosts: Vec<HostRow>,
    causes: Vec<CauseRow>,
    other_causes: Option<String>,
    failures: Vec<FailureRow>,
    listed: String,
    unlisted: Option<String>,
}

struct Card {
    name: &'static str,
    value: String,
    class: &'static str,
}

/// A part of a bar.
struct Share {
    class: &'static str,
    x: String,
    width: String,
    title: String,
}

struct Count {
    name: String,
    count: String,
}

struct Chart {
    name: &'static str,
    most: String,
    areas: Vec<(&'static str, String)>,
}

struct LatencyRow {
    name: &'static str,
    count: String,
    values: Vec<Cell>,
}

/// What is shown, and what it is sorted by.
struct Cell {
    text: String,
    value: String,
}

struct Bar {
    x: String,
    y: String,
    width: String,
    height: String,
    title: String,
}

struct Waterfall {
    note: Option<String>,
    rows: Vec<WaterfallRow>,
}

struct WaterfallRow {
    label: String,
    failed: bool,
    url: String,
    took: String,
    title: String,
    parts: Vec<Part>,
}

/// A stretch of a row.
struct Part {
    class: &'static str,
    x: String,
    width: String,
}

struct HostRow {
    name: String,
    urls: Cell,
    failed: Cell,
    kinds: String,
    requests: Cell,
    refusals: Cell,
    waited: Cell,
    half: Cell,
    most: Cell,
    longest: Cell,
    bytes: Cell,
}

struct CauseRow {
    kind: ErrorKind,
    message: String,
    count: Cell,
}

struct FailureRow {
    kind: ErrorKind,
    label: String,
    url: String,
    message: String,
    place: String,
    attempts: u32,
    at: Cell,
}

impl Page {
    fn new(collected: &Collected, summary: &Summary) -> Self {
        let picked = collected.rows.picked();
        let end = end_of(&picked, collected, summary);
        let most = largest(&collected.whole);
        Self {
            title: title(summary),
            at: collected.first_at.clone(),
            inputs: collected.inputs.join(", "),
            version: env!("CARGO_PKG_VERSION"),
            style: STYLE,
            script: SCRIPT,
            style_hash: hash_of(STYLE),
            script_hash: hash_of(SCRIPT),
            cards: cards(summary),
            ended_by: summary.ended_by.map(|why| why.to_string()),
            sentence: one_after_another(summary),
            shares: shares(summary),
            kinds: counts(&summary.by_kind),
            statuses: counts(&summary.by_status),
            charts: charts(collected, end),
            marks: time_marks(end),
            percentile_names: PERCENTILES.iter().map(|(_, name)| *name).collect(),
            latencies: latencies(collected),
            bins: bins(&collected.whole, most),
            bin_marks: bin_marks(&collected.whole, most),
            waterfall: waterfall(&picked, end),
            hosts: collected.hosts.sorted().into_iter().map(host_row).collect(),
            causes: causes(collected),
            other_causes: (collected.other_causes > 0).then(|| count(collected.other_causes)),
            failures: failures(collected),
            listed: count(collected.failures.len() as u64),
            unlisted: unlisted(summary.failed),
        }
    }
}

/// For a `Content-Security-Policy`: only what stands in this program runs, whatever the text
/// of others may say.
fn hash_of(text: &str) -> String {
    let mut hash = Sha256Context::default();
    hash.update(text.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(hash.finish().0))
}

fn title(summary: &Summary) -> String {
    let (input, noun) = (
        count(summary.input),
        if summary.input == 1 { "URL" } else { "URLs" },
    );
    match summary.failed {
        0 if summary.left == 0 => format!("{input} {noun}, none failed"),
        0 => format!("{input} {noun}, {} left", count(summary.left)),
        failed => format!("{} of {input} {noun} failed", count(failed)),
    }
}

fn cards(summary: &Summary) -> Vec<Card> {
    let card = |name, value, class| Card { name, value, class };
    let some = |name, n: u64, class| (n > 0).then(|| card(name, count(n), class));
    let rate = summary.settled() as f64 / summary.wall.as_secs_f64().max(1e-3);
    let mut cards = vec![
        card("fetched", count(summary.fetched), "good"),
        card(
            "failed",
            count(summary.failed),
            if summary.failed > 0 { "bad" } else { "" },
        ),
    ];
    cards.extend(some("skipped", summary.skipped, ""));
    cards.extend(some("left", summary.left, "bad"));
    cards.extend(some("retries", summary.retries, ""));
    cards.push(card("took", duration(summary.wall), ""));
    cards.push(card("URLs a second", decimal(rate), ""));
    cards.push(card("of bodies", ByteSize(summary.bytes).to_string(), ""));
    cards
}

fn shares(summary: &Summary) -> Vec<Share> {
    let whole = summary.input.max(1) as f64;
    let mut x = 0.0;
    let mut shares = Vec::new();
    for (n, name, class) in [
        (summary.fetched, "fetched", "good"),
        (summary.failed, "failed", "bad"),
        (summary.skipped, "skipped", "dim"),
        (summary.left, "left", "left"),
    ] {
        if n == 0 {
            continue;
        }
        let width = n as f64 / whole * ROW_WIDTH;
        shares.push(Share {
            class,
            x: number(x),
            width: number(width.max(LEAST)),
            title: format!("{} {name}", count(n)),
        });
        x += width;
    }
    shares
}

fn counts<K: std::fmt::Display + Ord>(map: &BTreeMap<K, u64>) -> Vec<Count> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by_key(|(_, n)| Reverse(**n));
    let count = |(name, n): (&K, &u64)| Count {
        name: name.to_string(),
        count: count(*n),
    };
    all.into_iter().map(count).collect()
}

/// The last moment that is drawn.
fn end_of(picked: &Picked, collected: &Collected, summary: &Summary) -> Duration {
    let steps = u32::try_from(collected.series.steps().len()).unwrap_or(u32::MAX);
    let rows = picked.rows.iter().map(Row::end).max().unwrap_or_default();
    let series = collected
        .series
        .length()
        .saturating_mul(steps.saturating_sub(1));
    summary
        .wall
        .max(rows)
        .max(series)
        .max(Duration::from_millis(1))
}

fn charts(collected: &Collected, end: Duration) -> Vec<Chart> {
    let length = collected.series.length().as_secs_f64();
    let steps = collected.series.steps();
    // The last step is as a rule not over when the run is.
    let lengths: Vec<_> = (0..steps.len())
        .map(|step| (end.as_secs_f64() - step as f64 * length).clamp(length / 10.0, length))
        .collect();
    let per_second = |of: fn(&Step) -> f64| -> Vec<f64> {
        let pairs = steps.iter().zip(&lengths);
        pairs.map(|(step, length)| of(step) / length).collect()
    };
    let failed = per_second(|step| step.failed as f64);
    let settled = per_second(|step| (step.fetched + step.failed) as f64);
    let bytes = per_second(|step| step.bytes as f64);
    let busy = per_second(|step| step.busy);
    let width = length / end.as_secs_f64() * CHART_WIDTH;
    let chart = |name, most: f64, text, series: &[(&'static str, &[f64])]| Chart {
        name,
        most: text,
        areas: series
            .iter()
            .map(|(class, values)| (*class, area(values, width, most)))
            .collect(),
    };
    let (most_urls, most_bytes, most_busy) = (peak(&settled), peak(&bytes), peak(&busy));
    let rate = ByteSize(most_bytes as u64);
    vec![
        chart(
            "URLs a second",
            most_urls,
            decimal(most_urls),
            &[("good", &settled), ("bad", &failed)],
        ),
        chart(
            "bytes a second",
            most_bytes,
            rate.to_string(),
            &[("body", &bytes)],
        ),
        chart(
            "requests at the same time",
            most_busy,
            decimal(most_busy),
            &[("wait", &busy)],
        ),
    ]
}

fn peak(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Steps as an area from the bottom.
fn area(values: &[f64], width: f64, most: f64) -> String {
    let mut path = format!("M0 {}", number(CHART_HEIGHT));
    for (step, value) in values.iter().enumerate() {
        let share = if most > 0.0 { value / most } else { 0.0 };
        let y = CHART_HEIGHT * (1.0 - share);
        // Writing to a String can't fail.
        let _ = write!(path, "V{}H{}", number(y), number((step + 1) as f64 * width));
    }
    path.push_str("V100Z");
    path
}

/// Times along an axis, evenly.
fn time_marks(end: Duration) -> Vec<String> {
    (0..=MARKS)
        .map(|mark| duration(end * mark / MARKS))
        .collect()
}

fn latencies(collected: &Collected) -> Vec<LatencyRow> {
    let row = |name, latency: &Latency| {
        let percentiles = PERCENTILES.iter().map(|(of, _)| latency.percentile(*of));
        let values = percentiles.chain([latency.longest()]).map(time_cell);
        LatencyRow {
            name,
            count: count(latency.count()),
            values: values.collect(),
        }
    };
    let rows = [
        row("making a connection", &collected.connect),
        row("to the first byte", &collected.first_byte),
        row("last request of a URL", &collected.whole),
        row("a URL, retries and waits included", &collected.total),
    ];
    rows.into_iter().filter(|row| row.count != "0").collect()
}

/// The edges of the bars, each so many times the one before: times differ by factors.
fn edge(latency: &Latency, most: Duration, bin: u32) -> Duration {
    let least = latency
        .shortest()
        .max(Duration::from_micros(1))
        .as_secs_f64();
    let factor = (most.as_secs_f64() / least).max(1.0);
    Duration::from_secs_f64(least * factor.powf(f64::from(bin) / f64::from(BINS)))
}

/// A little above the longest.
fn largest(latency: &Latency) -> Duration {
    latency.longest().mul_f64(1.01) + Duration::from_micros(2)
}

fn bins(latency: &Latency, most: Duration) -> Vec<Bar> {
    let edges: Vec<_> = (0..=BINS).map(|bin| edge(latency, most, bin)).collect();
    let pairs = edges.iter().zip(edges.iter().skip(1));
    let counts: Vec<_> = pairs
        .map(|(from, to)| (*from, *to, latency.between(*from, *to)))
        .collect();
    let highest = counts.iter().map(|(_, _, n)| *n).max().unwrap_or_default();
    let width = CHART_WIDTH / f64::from(BINS);
    let bar = |(bin, (from, to, n)): (usize, &(Duration, Duration, u64))| {
        let height = *n as f64 / highest.max(1) as f64 * CHART_HEIGHT;
        let height = if *n > 0 { height.max(LEAST) } else { 0.0 };
        Bar {
            x: number(bin as f64 * width),
            y: number(CHART_HEIGHT - height),
            width: number(width - 1.0),
            height: number(height),
            title: format!("{} to {}: {}", duration(*from), duration(*to), count(*n)),
        }
    };
    counts.iter().enumerate().map(bar).collect()
}

fn bin_marks(latency: &Latency, most: Duration) -> Vec<String> {
    let mark = |mark: u32| duration(edge(latency, most, mark * BINS / MARKS));
    (0..=MARKS).map(mark).collect()
}

fn waterfall(picked: &Picked, end: Duration) -> Waterfall {
    let note = picked.is_part().then(|| {
        format!(
            "{} of {} URLs: the slowest, some that failed, and a sample of the others.",
            picked.rows.len(),
            count(picked.of)
        )
    });
    Waterfall {
        note,
        rows: picked
            .rows
            .iter()
            .map(|row| waterfall_row(row, end))
            .collect(),
    }
}

fn waterfall_row(row: &Row, end: Duration) -> WaterfallRow {
    let mut parts = Vec::new();
    let scale = ROW_WIDTH / end.as_secs_f64();
    let mut add = |class, from: Duration, to: Duration, least: f64| {
        if to > from || least > 0.0 {
            let x = from.as_secs_f64() * scale;
            let width = to.saturating_sub(from).as_secs_f64() * scale;
            let width = width.max(least);
            parts.push(Part {
                class,
                x: number(x.min(ROW_WIDTH - width)),
                width: number(width),
            });
        }
    };
    for one in &row.tries {
        let connected = one.connected.unwrap_or(one.start);
        let head = one.head.unwrap_or(one.end);
        add("queue", one.ready, one.start, 0.0);
        add("connect", one.start, connected, 0.0);
        add("wait", connected, head, 0.0);
        add("body", head, one.end, 0.0);
        match one.outcome {
            TryOutcome::Failed(_) => add("bad", one.end, one.end, 2.0 * LEAST),
            // However short, it can be seen.
            _ => add("body", one.end, one.end, LEAST),
        }
    }
    WaterfallRow {
        label: row.label.clone(),
        failed: row.failed,
        url: shorten(&harmless(&row.url), LONGEST),
        took: duration(row.took()),
        title: tries_text(row),
        parts,
    }
}

/// What a row shows, in words.
fn tries_text(row: &Row) -> String {
    let mut text = String::new();
    for (number, one) in row.tries.iter().enumerate() {
        let outcome = match (one.outcome, one.status) {
            (TryOutcome::Failed(ErrorKind::Status) | TryOutcome::Fetched, Some(status)) => {
                status.to_string()
            }
            (TryOutcome::Failed(kind), _) => kind.to_string(),
            (TryOutcome::Fetched, None) => "fetched".to_owned(),
            (TryOutcome::GoesOn, Some(status)) => format!("{status}, goes on"),
            (TryOutcome::GoesOn, None) => "goes on".to_owned(),
        };
        let start = if number == 0 { "" } else { "; " };
        let _ = write!(
            text,
            "{start}{outcome} after {} at {}",
            duration(one.took()),
            duration(one.start)
        );
        if one.queued() > Duration::from_millis(1) {
            let _ = write!(text, ", {} in the queue", duration(one.queued()));
        }
    }
    text
}

fn host_row((name, host): (&str, &Host)) -> HostRow {
    let kinds: Vec<_> = counts(&host.kinds)
        .into_iter()
        .map(|kind| format!("{} {}", kind.count, kind.name))
        .collect();
    HostRow {
        name: shorten(&harmless(name), LONGEST),
        urls: count_cell(host.fetched + host.failed),
        failed: count_cell(host.failed),
        kinds: kinds.join(", "),
        requests: count_cell(host.requests),
        refusals: count_cell(host.refusals),
        waited: time_cell(host.waited),
        half: time_cell(host.latency.percentile(50.0)),
        most: time_cell(host.latency.percentile(95.0)),
        longest: time_cell(host.latency.longest()),
        bytes: Cell {
            text: ByteSize(host.bytes).to_string(),
            value: host.bytes.to_string(),
        },
    }
}

fn causes(collected: &Collected) -> Vec<CauseRow> {
    let row = |((kind, message), n): (&(ErrorKind, String), &u64)| CauseRow {
        kind: *kind,
        message: message.clone(),
        count: count_cell(*n),
    };
    let mut all: Vec<_> = collected.causes.iter().collect();
    all.sort_by(|(one, n), (other, m)| m.cmp(n).then_with(|| one.cmp(other)));
    all.into_iter().map(row).collect()
}

fn failures(collected: &Collected) -> Vec<FailureRow> {
    let row = |failure: &super::collect::Failure| FailureRow {
        kind: failure.kind,
        label: match (failure.kind, failure.status) {
            (ErrorKind::Status, Some(status)) => status.to_string(),
            (kind, _) => kind.to_string(),
        },
        url: failure.url.clone(),
        message: failure.message.clone(),
        place: failure.place.clone(),
        attempts: failure.attempts,
        at: time_cell(failure.at),
    };
    collected.failures.iter().map(row).collect()
}

fn unlisted(failed: u64) -> Option<String> {
    let more = failed.checked_sub(MOST_FAILURES as u64)?;
    (more > 0).then(|| count(more))
}

fn count_cell(n: u64) -> Cell {
    Cell {
        text: count(n),
        value: n.to_string(),
    }
}

fn time_cell(time: Duration) -> Cell {
    Cell {
        text: duration(time),
        value: time.as_micros().to_string(),
    }
}

/// `1,234` or `3.4`.
fn decimal(value: f64) -> String {
    if value >= 100.0 {
        count(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

/// A length in a drawing.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}
