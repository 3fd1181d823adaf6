use std::collections::BTreeMap;

use fetchall::{ErrorKind, Record};

use crate::support::{Run, Server, Texts, response};

fn pages() -> Server {
    Server::http(|_| response("200 OK", &["Content-Type: text/plain"], &[b'x'; 2000]))
}

/// Faults are drawn by URL, and the port of a test server changes. With the server as a proxy, the
/// URLs are the same in every run.
fn fixed(server: &Server, urls: usize) -> Run {
    let urls = (0..urls).map(|n| format!("http://fixed.test/{n}"));
    Run::new().args(["-x", &server.url("")]).urls(urls)
}

/// Runs one URL with a fault on every request.
fn rehearse(spec: &str) -> crate::support::Done {
    let server = pages();
    let fault = format!("--simulate-failure={spec}=100%");
    let args = [
        "--retries=1",
        "--stall-timeout=200ms",
        "--connect-timeout=200ms",
    ];
    Run::new().args(args).args([&fault, &server.url("/")]).go()
}

#[test]
fn every_kind_comes_out_as_the_real_one_would() {
    for (spec, kind, attempts) in [
        ("dns", ErrorKind::Dns, 2),
        ("refused", ErrorKind::Refused, 2),
        ("unreachable", ErrorKind::Unreachable, 2),
        ("connect_timeout", ErrorKind::ConnectTimeout, 2),
        ("tls", ErrorKind::Tls, 1),
        ("timeout", ErrorKind::Timeout, 2),
        ("stalled", ErrorKind::Stalled, 2),
        ("reset", ErrorKind::Reset, 2),
        ("truncated", ErrorKind::Truncated, 2),
        ("protocol", ErrorKind::Protocol, 1),
        ("redirect", ErrorKind::Redirect, 1),
        ("robots", ErrorKind::Robots, 1),
        ("decode", ErrorKind::Decode, 1),
        ("content_type", ErrorKind::ContentType, 1),
        ("500", ErrorKind::Status, 2),
        ("404", ErrorKind::Status, 1),
    ] {
        let done = rehearse(spec);
        assert_eq!(
            done.failure(),
            (kind, attempts),
            "{spec}: {}",
            done.message()
        );
        assert!(done.record().simulated, "{spec}");
        assert_eq!(done.code, Some(1));
    }
}

#[test]
fn the_messages_are_those_of_the_real_checks() {
    let mut texts = Texts::new();
    for spec in ["truncated", "stalled", "timeout", "connect_timeout", "tls"] {
        texts.add(spec, rehearse(spec).message());
    }
    insta::assert_snapshot!("messages_of_real_checks", texts);
}

#[test]
fn slow_is_slow_and_nothing_else() {
    let server = pages();
    let done = Run::new()
        .args(["--simulate-failure=slow(300ms)=100%", &server.url("/")])
        .expect_exit(0);
    assert!(done.record().ok && done.record().simulated);
    assert!(done.record().ttfb_ms.unwrap() >= 300);
}

#[test]
fn a_simulated_retry_after_is_waited_for() {
    let server = pages();
    let done = fixed(&server, 4)
        .args(["--simulate-failure=429(1s)=50%", "--seed=3"])
        .expect_exit(0);
    let waited: Vec<_> = done
        .records
        .iter()
        .filter(|record| record.attempts > 1)
        .collect();
    assert!(!waited.is_empty());
    assert!(
        waited
            .iter()
            .all(|record| record.total_ms.unwrap() >= 1000 && record.simulated)
    );
}

/// Returns the outcome of each URL, without times.
fn outcomes(records: &[Record]) -> BTreeMap<u64, (Option<ErrorKind>, u32, bool)> {
    let outcome = |record: &Record| {
        let kind = record.error.as_ref().map(|error| error.kind);
        (record.line, (kind, record.attempts, record.simulated))
    };
    records.iter().map(outcome).collect()
}

#[test]
fn the_same_seed_and_list_give_the_same_outcomes_whatever_the_concurrency() {
    let server = pages();
    let run = |concurrency: &str, seed: &str| {
        let spec = "--simulate-failure=reset=20%,truncated=10%,503=10%,404=5%,tls=5%,redirect=5%,decode=5%";
        let done = fixed(&server, 200)
            .args([spec, concurrency, seed, "--retries=2"])
            .expect_exit(1);
        outcomes(&done.records)
    };
    let one = run("-j1", "--seed=7");
    assert_eq!(one.len(), 200);
    assert_eq!(one, run("-j64", "--seed=7"));
    assert_eq!(one, run("-j5", "--seed=7"));
    assert_ne!(one, run("-j5", "--seed=8"));
    let kinds: std::collections::BTreeSet<_> =
        one.values().filter_map(|(kind, ..)| *kind).collect();
    assert!(kinds.len() >= 4, "{kinds:?}");
}

#[test]
fn the_default_needs_no_spec_and_does_not_eat_the_next_argument() {
    let server = pages();
    let urls = (0..99).map(|n| format!("http://fixed.test/more/{n}"));
    let done = fixed(&server, 1)
        .args(["--simulate-failure", "http://fixed.test/next", "-"])
        .args(urls.take(98))
        .go();
    assert_eq!(done.records.len(), 100);
    let met = done
        .records
        .iter()
        .filter(|record| record.simulated)
        .count();
    assert!((10..60).contains(&met), "{met} of 100 met a fault");
    assert!(
        done.records.iter().filter(|record| record.ok).count() > 90,
        "retries save most"
    );
}

#[test]
fn a_bad_spec_shows_where_and_what_would_be_right() {
    let done = Run::new()
        .text()
        .arg("--simulate-failure=reset=10%,dsn=5%")
        .arg("http://a/")
        .expect_exit(2);
    insta::assert_snapshot!("bad_spec", done.stderr);
}

#[test]
fn a_fault_for_one_host_leaves_the_others_alone() {
    let (ill, well) = (pages(), pages());
    let spec = format!(
        "--simulate-failure=reset=100%@127.0.0.1:{}",
        ill.addr.port()
    );
    let done = Run::new()
        .args([&spec, "--retries=0"])
        .urls([ill.url("/ill"), well.url("/well")])
        .expect_exit(1);
    assert!(!done.of("/ill").ok && done.of("/well").ok && !done.of("/well").simulated);
}
