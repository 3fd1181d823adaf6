use std::time::Duration;

use serde_json::Value;

use crate::support::{Done, Run, Server, path, response};

/// A server whose pages are as long as their path says.
fn site() -> Server {
    Server::http(|request| {
        let bytes = path(request).trim_matches('/').parse().unwrap_or(0);
        response("200 OK", &[], &vec![b'x'; bytes])
    })
}

/// The time must be that of the rate. The machine may be busy, but never gives time back.
fn check_time(done: &Done, seconds: f64) {
    let took = done.took.as_secs_f64();
    assert!(took >= seconds * 0.9, "{took} s instead of {seconds}");
    assert!(took <= seconds * 1.5 + 2.0, "{took} s instead of {seconds}");
}

#[test]
fn all_bodies_together_keep_to_the_limit_on_all_threads() {
    let sites: Vec<_> = (0..4).map(|_| site()).collect();
    let urls = |bytes: u32| sites.iter().map(move |site| site.url(&format!("/{bytes}")));
    for threads in ["1", "3"] {
        let done = Run::new()
            .args([
                "--limit-rate=2MB/s",
                "--threads",
                threads,
                "--stall-timeout=1s",
            ])
            .urls(urls(1_000_000))
            .expect_exit(0);
        check_time(&done, 2.0);
    }
    // Small bodies as well as large ones.
    let done = Run::new()
        .arg("--limit-rate=200K/s")
        .urls((0..20).flat_map(|_| urls(5_000)))
        .expect_exit(0);
    check_time(&done, 2.0);
}

#[test]
fn a_host_keeps_to_its_limit_and_costs_the_others_nothing() {
    let (slow, free) = (
        site(),
        Server::at("127.0.0.2:0", |connection| {
            while connection.request()?.is_some() {
                connection.send(&response("200 OK", &[], &vec![b'x'; 2_000_000]))?;
            }
            Ok(())
        }),
    );
    let done = Run::new()
        .settings("host-limit-rate = '100MB/s'\n[host.'127.0.0.1']\nhost-limit-rate = '500KB/s'\n")
        .urls([slow.url("/500000"), slow.url("/500000"), free.url("/")])
        .expect_exit(0);
    check_time(&done, 2.0);
    let elapsed = |url: &str| done.of(url).elapsed_ms.unwrap();
    assert!(elapsed(&free.url("/")) < elapsed("/500000"));
}

/// Compressed bodies count as they come, so that they are quick.
#[test]
fn the_bytes_on_the_wire_count() {
    let server = Server::http(|_| {
        let body = zstd::encode_all(&vec![b'x'; 20_000_000][..], 3).unwrap();
        response("200 OK", &["Content-Encoding: zstd"], &body)
    });
    let done = Run::new()
        .arg("--limit-rate=1MB/s")
        .arg(server.url("/"))
        .expect_exit(0);
    assert_eq!(done.record().bytes, Some(20_000_000));
    assert!(done.took < Duration::from_secs(10), "{:?}", done.took);
}

#[test]
fn the_limit_is_in_the_summary_and_in_the_report() {
    let server = site();
    let dir = tempfile::tempdir().unwrap();
    let [summary, report] = ["summary.json", "report.html"].map(|name| dir.path().join(name));
    Run::new()
        .args([
            "--limit-rate=10MB/s",
            "--summary-json",
            summary.to_str().unwrap(),
        ])
        .args(["--report", report.to_str().unwrap()])
        .arg(server.url("/1"))
        .expect_exit(0);
    let summary: Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!(summary["limit_rate"], 10_000_000);
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("limit") && page.contains("MiB/s"), "{page}");
}
