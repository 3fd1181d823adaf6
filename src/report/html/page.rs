//! Renders the collected data as a page: formats numbers and computes lengths for the template.
//! The template engine escapes all text.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytesize::ByteSize;

use crate::model::{
    EndReason, ErrorKind, Sha256Context, Summary, elide_middle, escape_control, format_duration,
};
use crate::report::row_sampler::{JobRow, SampledRows};
use crate::report::summary::{count, speedup};
use crate::report::timeline::duration;

use super::charts::{
    Chart, HistogramBar, MIN_BAR_WIDTH, bin_marks, bins, bins_end, charts, decimal, number,
    time_marks,
};
use super::data::{MAX_FAILURES, ReportData};
use super::hosts::HostStats;
use super::latency::{LatencyHistogram, PERCENTILES};
use super::waterfall::{ROW_WIDTH, Waterfall, waterfall};

/// Maximum length of a host, in characters.
const MAX_NAME_CHARS: usize = 120;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Renders the page.
pub(super) fn render(
    data: &ReportData,
    summary: &Summary,
    end_text: fn(EndReason) -> String,
) -> io::Result<String> {
    ReportPage::new(data, summary, end_text)
        .render()
        .map_err(io::Error::other)
}

#[derive(Template)]
#[template(path = "report.html", config = "src/askama.toml")]
struct ReportPage {
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
    comparison: Option<String>,
    shares: Vec<BarSegment>,
    kinds: Vec<NamedCount>,
    statuses: Vec<NamedCount>,
    charts: Vec<Chart>,
    marks: Vec<String>,
    percentile_names: Vec<&'static str>,
    latencies: Vec<LatencyRow>,
    bins: Vec<HistogramBar>,
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

/// A segment of the bar of outcomes.
struct BarSegment {
    class: &'static str,
    x: String,
    width: String,
    title: String,
}

struct NamedCount {
    name: String,
    count: String,
}

struct LatencyRow {
    name: &'static str,
    count: String,
    values: Vec<SortableCell>,
}

/// A table cell: the text shown, and the number to sort by.
struct SortableCell {
    text: String,
    value: String,
}

struct HostRow {
    name: String,
    urls: SortableCell,
    failed: SortableCell,
    kinds: String,
    requests: SortableCell,
    throttles: SortableCell,
    waited: SortableCell,
    p50: SortableCell,
    p95: SortableCell,
    max: SortableCell,
    bytes: SortableCell,
}

struct CauseRow {
    kind: ErrorKind,
    message: String,
    count: SortableCell,
}

struct FailureRow {
    kind: ErrorKind,
    label: String,
    url: String,
    message: String,
    place: String,
    attempts: u32,
    at: SortableCell,
}

impl ReportPage {
    fn new(data: &ReportData, summary: &Summary, end_text: fn(EndReason) -> String) -> Self {
        let picked = data.rows.picked();
        let end = end_of(&picked, data, summary);
        let max = bins_end(&data.final_request);
        Self {
            title: title(summary),
            at: data.first_at.clone(),
            inputs: data.inputs.join(", "),
            version: env!("CARGO_PKG_VERSION"),
            style: STYLE,
            script: SCRIPT,
            style_hash: hash_of(STYLE),
            script_hash: hash_of(SCRIPT),
            cards: cards(summary),
            ended_by: summary.ended_by.map(end_text),
            comparison: comparison(summary),
            shares: shares(summary),
            kinds: counts(&summary.by_kind),
            statuses: counts(&summary.by_status),
            charts: charts(data, end),
            marks: time_marks(end),
            percentile_names: PERCENTILES.iter().map(|(_, name)| *name).collect(),
            latencies: latencies(data),
            bins: bins(&data.final_request, max),
            bin_marks: bin_marks(&data.final_request, max),
            waterfall: waterfall(&picked, end),
            hosts: data.hosts.sorted().into_iter().map(host_row).collect(),
            causes: causes(data),
            other_causes: (data.other_causes > 0).then(|| count(data.other_causes)),
            failures: failures(data),
            listed: count(data.failures.len() as u64),
            unlisted: unlisted(summary.failed),
        }
    }
}

/// Returns a hash source for the `Content-Security-Policy`, which allows only this program's own
/// style and script, whatever the text from servers contains.
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
    cards.extend(some("simulated failures", summary.simulated, ""));
    cards.extend(some("robots.txt", summary.robots_files, ""));
    cards.push(card("duration", duration(summary.wall), ""));
    cards.push(card("URLs/s", decimal(rate), ""));
    cards.push(card("body data", ByteSize(summary.bytes).to_string(), ""));
    let limit = summary.limit_rate;
    cards.extend(limit.map(|limit| card("limit", format!("{}/s", ByteSize(limit)), "")));
    cards
}

fn comparison(summary: &Summary) -> Option<String> {
    let speedup = speedup(summary)?;
    let sequential = format_duration(summary.sequential);
    Some(format!(
        "Sequentially, the requests would have taken {sequential}: {speedup} as long."
    ))
}

fn shares(summary: &Summary) -> Vec<BarSegment> {
    let total = summary.input.max(1) as f64;
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
        let width = n as f64 / total * ROW_WIDTH;
        shares.push(BarSegment {
            class,
            x: number(x),
            width: number(width.max(MIN_BAR_WIDTH)),
            title: format!("{} {name}", count(n)),
        });
        x += width;
    }
    shares
}

fn counts<K: std::fmt::Display + Ord>(map: &BTreeMap<K, u64>) -> Vec<NamedCount> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by_key(|(_, n)| Reverse(**n));
    let count = |(name, n): (&K, &u64)| NamedCount {
        name: name.to_string(),
        count: count(*n),
    };
    all.into_iter().map(count).collect()
}

/// Returns the end of the time axis.
fn end_of(picked: &SampledRows, data: &ReportData, summary: &Summary) -> Duration {
    let buckets = u32::try_from(data.series.buckets().len()).unwrap_or(u32::MAX);
    let rows = picked
        .rows
        .iter()
        .map(JobRow::end)
        .max()
        .unwrap_or_default();
    let series = data
        .series
        .width()
        .saturating_mul(buckets.saturating_sub(1));
    summary
        .wall
        .max(rows)
        .max(series)
        .max(Duration::from_millis(1))
}

fn latencies(data: &ReportData) -> Vec<LatencyRow> {
    let row = |name, latency: &LatencyHistogram| {
        let percentiles = PERCENTILES.iter().map(|(of, _)| latency.percentile(*of));
        let values = percentiles.chain([latency.longest()]).map(time_cell);
        LatencyRow {
            name,
            count: count(latency.count()),
            values: values.collect(),
        }
    };
    let rows = [
        row("connect", &data.connect),
        row("time to first byte", &data.first_byte),
        row("final request", &data.final_request),
        row("URL total, with retries and waits", &data.total),
    ];
    rows.into_iter().filter(|row| row.count != "0").collect()
}

fn host_row((name, host): (&str, &HostStats)) -> HostRow {
    let kinds: Vec<_> = counts(&host.kinds)
        .into_iter()
        .map(|kind| format!("{} {}", kind.count, kind.name))
        .collect();
    HostRow {
        name: elide_middle(&escape_control(name), MAX_NAME_CHARS),
        urls: count_cell(host.fetched + host.failed),
        failed: count_cell(host.failed),
        kinds: kinds.join(", "),
        requests: count_cell(host.requests),
        throttles: count_cell(host.throttles),
        waited: time_cell(host.waited),
        p50: time_cell(host.latency.percentile(50.0)),
        p95: time_cell(host.latency.percentile(95.0)),
        max: time_cell(host.latency.longest()),
        bytes: SortableCell {
            text: ByteSize(host.bytes).to_string(),
            value: host.bytes.to_string(),
        },
    }
}

fn causes(data: &ReportData) -> Vec<CauseRow> {
    let row = |((kind, message), n): (&(ErrorKind, String), &u64)| CauseRow {
        kind: *kind,
        message: message.clone(),
        count: count_cell(*n),
    };
    let mut all: Vec<_> = data.causes.iter().collect();
    all.sort_by(|(one, n), (other, m)| m.cmp(n).then_with(|| one.cmp(other)));
    all.into_iter().map(row).collect()
}

fn failures(data: &ReportData) -> Vec<FailureRow> {
    let row = |failure: &super::data::FailureEntry| FailureRow {
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
    data.failures.iter().map(row).collect()
}

fn unlisted(failed: u64) -> Option<String> {
    let more = failed.checked_sub(MAX_FAILURES as u64)?;
    (more > 0).then(|| count(more))
}

fn count_cell(n: u64) -> SortableCell {
    SortableCell {
        text: count(n),
        value: n.to_string(),
    }
}

fn time_cell(time: Duration) -> SortableCell {
    SortableCell {
        text: duration(time),
        value: time.as_micros().to_string(),
    }
}
