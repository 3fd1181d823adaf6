//! SVG geometry of the charts: counts over time, and the latency distribution.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;

use crate::report::summary::count;
use crate::report::timeline::duration;

use super::data::ReportData;
use super::latency::LatencyHistogram;
use super::series::TimeBucket;

/// Minimum size of a bar that is not empty, so that it stays visible.
pub(super) const MIN_BAR_WIDTH: f64 = 2.0;

/// Width of charts, in SVG units.
const CHART_WIDTH: f64 = 800.0;

/// Height of charts, in SVG units.
const CHART_HEIGHT: f64 = 100.0;

/// Number of bars of the histogram.
const BINS: u32 = 40;

/// Number of intervals between the marks of an axis.
const AXIS_INTERVALS: u32 = 5;

/// Areas over time, all to the same scale, and the value of the highest point.
pub(super) struct Chart {
    pub name: &'static str,
    pub peak: String,
    pub areas: Vec<(&'static str, String)>,
}

/// A bar of the histogram.
pub(super) struct HistogramBar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    pub title: String,
}

/// Draws the charts over time of a run of duration `end`.
pub(super) fn charts(data: &ReportData, end: Duration) -> Vec<Chart> {
    let seconds = data.series.width().as_secs_f64();
    let buckets = data.series.buckets();
    // The run usually ends within the last bucket, which is then shorter.
    let lengths: Vec<_> = (0..buckets.len())
        .map(|index| (end.as_secs_f64() - index as f64 * seconds).clamp(seconds / 10.0, seconds))
        .collect();
    let per_second = |of: fn(&TimeBucket) -> f64| -> Vec<f64> {
        let pairs = buckets.iter().zip(&lengths);
        pairs.map(|(bucket, length)| of(bucket) / length).collect()
    };
    let failed = per_second(|bucket| bucket.failed as f64);
    let settled = per_second(|bucket| (bucket.fetched + bucket.failed) as f64);
    let bytes = per_second(|bucket| bucket.bytes as f64);
    let busy = per_second(|bucket| bucket.busy);
    let width = seconds / end.as_secs_f64() * CHART_WIDTH;
    let chart = |name, peak: f64, text, series: &[(&'static str, &[f64])]| Chart {
        name,
        peak: text,
        areas: series
            .iter()
            .map(|(class, values)| (*class, area(values, width, peak)))
            .collect(),
    };
    let (peak_urls, peak_bytes, peak_busy) = (peak(&settled), peak(&bytes), peak(&busy));
    let rate = ByteSize(peak_bytes as u64);
    vec![
        chart(
            "URLs/s",
            peak_urls,
            decimal(peak_urls),
            &[("good", &settled), ("bad", &failed)],
        ),
        chart("bytes/s", peak_bytes, rate.to_string(), &[("body", &bytes)]),
        chart(
            "concurrent requests",
            peak_busy,
            decimal(peak_busy),
            &[("wait", &busy)],
        ),
    ]
}

fn peak(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Returns the SVG path of a filled step chart in which `peak` has the full height.
fn area(values: &[f64], width: f64, peak: f64) -> String {
    let mut path = format!("M0 {}", number(CHART_HEIGHT));
    for (index, value) in values.iter().enumerate() {
        let share = if peak > 0.0 { value / peak } else { 0.0 };
        let y = CHART_HEIGHT * (1.0 - share);
        // Writing to a String cannot fail.
        let _ = write!(
            path,
            "V{}H{}",
            number(y),
            number((index + 1) as f64 * width)
        );
    }
    path.push_str("V100Z");
    path
}

/// Returns evenly spaced marks of the time axis.
pub(super) fn time_marks(end: Duration) -> Vec<String> {
    (0..=AXIS_INTERVALS)
        .map(|mark| duration(end * mark / AXIS_INTERVALS))
        .collect()
}

/// Returns the lower edge of a bin. Edges are spaced logarithmically, since latencies differ by
/// orders of magnitude.
fn edge(latency: &LatencyHistogram, max: Duration, bin: u32) -> Duration {
    let min = latency
        .shortest()
        .max(Duration::from_micros(1))
        .as_secs_f64();
    let factor = (max.as_secs_f64() / min).max(1.0);
    Duration::from_secs_f64(min * factor.powf(f64::from(bin) / f64::from(BINS)))
}

/// Returns the upper edge of the last bin, just above the longest duration.
pub(super) fn bins_end(latency: &LatencyHistogram) -> Duration {
    latency.longest().mul_f64(1.01) + Duration::from_micros(2)
}

/// Draws the latency histogram up to `max`.
pub(super) fn bins(latency: &LatencyHistogram, max: Duration) -> Vec<HistogramBar> {
    let edges: Vec<_> = (0..=BINS).map(|bin| edge(latency, max, bin)).collect();
    let pairs = edges.iter().zip(edges.iter().skip(1));
    let counts: Vec<_> = pairs
        .map(|(from, to)| (*from, *to, latency.count_between(*from, *to)))
        .collect();
    let highest = counts.iter().map(|(_, _, n)| *n).max().unwrap_or_default();
    let width = CHART_WIDTH / f64::from(BINS);
    let bar = |(bin, (from, to, n)): (usize, &(Duration, Duration, u64))| {
        let height = *n as f64 / highest.max(1) as f64 * CHART_HEIGHT;
        let height = if *n > 0 {
            height.max(MIN_BAR_WIDTH)
        } else {
            0.0
        };
        HistogramBar {
            x: number(bin as f64 * width),
            y: number(CHART_HEIGHT - height),
            width: number(width - 1.0),
            height: number(height),
            title: format!("{} to {}: {}", duration(*from), duration(*to), count(*n)),
        }
    };
    counts.iter().enumerate().map(bar).collect()
}

/// Returns the marks of the histogram's axis.
pub(super) fn bin_marks(latency: &LatencyHistogram, max: Duration) -> Vec<String> {
    let mark = |mark: u32| duration(edge(latency, max, mark * BINS / AXIS_INTERVALS));
    (0..=AXIS_INTERVALS).map(mark).collect()
}

/// Formats a number: `1,234` or `3.4`.
pub(super) fn decimal(value: f64) -> String {
    if value >= 100.0 {
        count(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

/// Formats an SVG coordinate.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}
