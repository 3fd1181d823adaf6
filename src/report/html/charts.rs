//! Drawings as lengths and paths: the run over time, and how its times are distributed.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;

use crate::report::summary::count;
use crate::report::timeline::duration;

use super::data::ReportData;
use super::latency::LatencyHistogram;
use super::series::TimeBucket;

/// The least width of what is there at all.
pub const MIN_BAR_WIDTH: f64 = 2.0;

/// Width of charts, in units of their own.
const CHART_WIDTH: f64 = 800.0;

/// Height of charts.
const CHART_HEIGHT: f64 = 100.0;

/// Bars of the distribution.
const BINS: u32 = 40;

/// Marks below a chart.
const AXIS_MARKS: u32 = 5;

/// Areas over time, and what the highest stands for.
pub struct Chart {
    pub name: &'static str,
    pub most: String,
    pub areas: Vec<(&'static str, String)>,
}

/// A bar of the distribution.
pub struct HistogramBar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    pub title: String,
}

/// The run over time, `end` long.
pub fn charts(collected: &ReportData, end: Duration) -> Vec<Chart> {
    let length = collected.series.length().as_secs_f64();
    let steps = collected.series.steps();
    // The last step is as a rule not over when the run is.
    let lengths: Vec<_> = (0..steps.len())
        .map(|step| (end.as_secs_f64() - step as f64 * length).clamp(length / 10.0, length))
        .collect();
    let per_second = |of: fn(&TimeBucket) -> f64| -> Vec<f64> {
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
pub fn time_marks(end: Duration) -> Vec<String> {
    (0..=AXIS_MARKS)
        .map(|mark| duration(end * mark / AXIS_MARKS))
        .collect()
}

/// The edges of the bars, each so many times the one before: times differ by factors.
fn edge(latency: &LatencyHistogram, most: Duration, bin: u32) -> Duration {
    let least = latency
        .shortest()
        .max(Duration::from_micros(1))
        .as_secs_f64();
    let factor = (most.as_secs_f64() / least).max(1.0);
    Duration::from_secs_f64(least * factor.powf(f64::from(bin) / f64::from(BINS)))
}

/// A little above the longest.
pub fn largest(latency: &LatencyHistogram) -> Duration {
    latency.longest().mul_f64(1.01) + Duration::from_micros(2)
}

pub fn bins(latency: &LatencyHistogram, most: Duration) -> Vec<HistogramBar> {
    let edges: Vec<_> = (0..=BINS).map(|bin| edge(latency, most, bin)).collect();
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

pub fn bin_marks(latency: &LatencyHistogram, most: Duration) -> Vec<String> {
    let mark = |mark: u32| duration(edge(latency, most, mark * BINS / AXIS_MARKS));
    (0..=AXIS_MARKS).map(mark).collect()
}

/// `1,234` or `3.4`.
pub fn decimal(value: f64) -> String {
    if value >= 100.0 {
        count(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

/// A length in a drawing.
pub fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}
