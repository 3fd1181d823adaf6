use std::time::{Duration, Instant};

use crate::support::Run;

#[test]
fn the_demo_shows_every_kind_of_server_in_under_ten_seconds() {
    let start = Instant::now();
    let done = Run::new()
        .args(["--demo", "--retry-delay=500ms"])
        .expect_exit(1);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(done.records.len(), 18);
    let of = |host: &str| {
        let found = done
            .records
            .iter()
            .find(|record| record.url.contains(&format!("//{host}.")));
        found.unwrap_or_else(|| panic!("no {host}"))
    };
    let kind = |host: &str| of(host).error.as_ref().map(|error| error.kind.as_str());
    for host in [
        "quick", "slow", "slower", "flaky", "limited", "moved", "big", "packed",
    ] {
        assert!(of(host).ok, "{host}: {:?}", of(host));
    }
    assert_eq!(
        (kind("missing"), of("missing").attempts),
        (Some("status"), 1)
    );
    assert_eq!((kind("broken"), of("broken").attempts), (Some("status"), 4));
    assert_eq!((kind("cut"), of("cut").attempts), (Some("truncated"), 4));
    assert_eq!((of("flaky").attempts, of("moved").redirects), (3, 1));
    assert_eq!(
        (of("big").bytes, of("packed").bytes),
        (Some(5_000_000), Some(20_000))
    );
    assert!(of("limited").total_ms.unwrap() >= 1000, "its host was held");
    assert!(
        done.stderr.contains("18 URLs: 15 fetched, 3 failed"),
        "{}",
        done.stderr
    );
}

#[test]
fn the_demo_can_be_combined_with_a_rehearsal() {
    let done = Run::new()
        .args(["--demo", "--simulate-failure=refused=100%", "--retries=0"])
        .expect_exit(1);
    assert!(
        done.records
            .iter()
            .all(|record| !record.ok && record.simulated)
    );
}

#[test]
fn an_email_is_simulated_and_says_so() {
    let start = Instant::now();
    let done = Run::new()
        .arg("--email-to=ann@example.com")
        .stdin("")
        .expect_exit(0);
    assert!(start.elapsed() >= Duration::from_secs(3));
    let lines: Vec<_> = done.stderr.lines().collect();
    insta::assert_snapshot!("email", lines[lines.len() - 2..].join("\n"));
}
