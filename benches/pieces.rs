//! Micro-benchmarks: reading lists, the turns of hosts, file names, and records as JSON.
//!
//! ```console
//! $ cargo bench --bench pieces
//! $ cargo bench --bench pieces -- turns
//! ```

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fetchall::{InputFormat, Record, pieces};
use std::hint::black_box;
use url::Url;

const LINES: usize = 10_000;

/// Returns a typical URL: most hosts appear many times, and some paths have a query.
fn url(n: usize) -> String {
    let query = if n.is_multiple_of(4) {
        "?page=2&lang=en"
    } else {
        ""
    };
    format!(
        "https://host{}.example.com/blog/2026/{n}/an-article.html{query}",
        n % 100
    )
}

fn lists(criterion: &mut Criterion) {
    let text: String = (0..LINES).map(|n| url(n) + "\n").collect();
    let json: String = (0..LINES)
        .map(|n| format!("{{\"url\":\"{}\"}}\n", url(n)))
        .collect();
    let csv: String = (0..LINES).map(|n| url(n) + ",file\n").collect();
    let csv = format!("url,note\n{csv}");
    let mut group = criterion.benchmark_group("lists");
    group.throughput(Throughput::Elements(LINES as u64));
    for (name, format, list) in [
        ("text", InputFormat::Text, text),
        ("jsonl", InputFormat::JsonLines, json),
        ("csv", InputFormat::Csv, csv),
    ] {
        let list = list.into_bytes();
        let read = |list| {
            let jobs = pieces::count_jobs(format, list).expect("a list");
            assert_eq!(jobs, LINES);
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| list.clone(), read, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turns");
    group.throughput(Throughput::Elements(LINES as u64));
    for hosts in [1, 100, LINES] {
        group.bench_function(format!("{hosts} hosts"), |bencher| {
            bencher.iter(|| assert_eq!(pieces::take_turns(hosts, LINES / hosts), LINES));
        });
    }
    group.finish();
}

fn names(criterion: &mut Criterion) {
    let urls: Vec<_> = (0..LINES)
        .map(|n| Url::parse(&url(n)).expect("a URL"))
        .collect();
    let mut group = criterion.benchmark_group("names");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("of URLs", |bencher| {
        bencher.iter(|| {
            for url in &urls {
                black_box(pieces::file_path_for(url));
            }
        });
    });
    group.finish();
}

const RECORD: &str = r#"{"line":7,"input":"urls.txt","url":"https://host7.example.com/blog/2026/7/an-article.html","ok":true,"outcome":"fetched","status":200,"attempts":1,"final_url":"https://host7.example.com/blog/2026/7/an-article.html","redirects":0,"http":"1.1","content_type":"text/html; charset=utf-8","bytes":12561,"etag":"\"5f3c\"","last_modified":"Sun, 22 Nov 2026 10:00:00 GMT","at":"2026-11-22T10:00:00.123Z","started_ms":41,"ttfb_ms":12,"elapsed_ms":15}"#;

fn records(criterion: &mut Criterion) {
    let record: Record = serde_json::from_str(RECORD).expect("a record");
    let mut group = criterion.benchmark_group("records");
    group.throughput(Throughput::Elements(1));
    let mut line = Vec::with_capacity(1024);
    group.bench_function("written", |bencher| {
        bencher.iter(|| {
            line.clear();
            serde_json::to_writer(&mut line, black_box(&record)).expect("a buffer");
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| serde_json::from_str::<Record>(black_box(RECORD)).expect("a record"));
    });
    group.finish();
}

criterion_group!(benches, lists, turns, names, records);
criterion_main!(benches);
