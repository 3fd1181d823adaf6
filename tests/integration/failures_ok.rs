use std::time::Duration;

use crate::support::{Run, Server, binary, path, response};

/// A server with pages, of which `/gone` does not exist and `/slow` takes long.
fn site() -> Server {
    Server::http(|request| match path(request) {
        "/gone" => response("404 Not Found", &[], b"no"),
        "/slow" => {
            std::thread::sleep(Duration::from_secs(5));
            response("200 OK", &[], b"late")
        }
        _ => response("200 OK", &[], b"page"),
    })
}

#[test]
fn failed_urls_with_a_record_each_are_0() {
    let site = site();
    let lines = [site.url("/a"), site.url("/gone"), "no url".to_owned()];
    Run::new().urls(&lines).expect_exit(1);
    let done = Run::new().urls(&lines).arg("--failures-ok").expect_exit(0);
    assert_eq!(done.records.len(), 3);
    assert!(
        done.stderr.contains("1 fetched, 2 failed"),
        "{}",
        done.stderr
    );
    Run::new()
        .urls(&lines)
        .env("FETCHALL_FAILURES_OK", "1")
        .expect_exit(0);
}

#[test]
fn the_exit_code_in_the_summary_is_that_of_the_process() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let summary = dir.path().join("summary.json");
    let done = Run::new()
        .urls([site.url("/gone")])
        .args(["--failures-ok", "--summary-json"])
        .arg(summary.to_str().unwrap())
        .args(["--notify-cmd", "echo outcome: $FETCHALL_RUN_OUTCOME"])
        .expect_exit(0);
    assert!(done.stderr.contains("outcome: ok"), "{}", done.stderr);
    let json = std::fs::read_to_string(summary).unwrap();
    assert!(json.contains(r#""failed":1"#), "{json}");
    assert!(json.contains(r#""exit_code":0"#), "{json}");
}

#[test]
fn urls_that_were_left_are_1() {
    let site = site();
    let done = Run::new()
        .urls([site.url("/gone"), site.url("/b"), site.url("/c")])
        .args(["--failures-ok", "--max-failures=0", "-j1", "--ordered"])
        .expect_exit(1);
    assert!(done.stderr.contains("2 left"), "{}", done.stderr);
}

#[test]
fn worse_ends_keep_their_codes() {
    let site = site();
    Run::new()
        .args(["--failures-ok", "/nonexistent/list.txt"])
        .expect_exit(2);
    Run::new()
        .urls([site.url("/gone")])
        .args(["--failures-ok", "--summary-json=/nonexistent/summary.json"])
        .expect_exit(3);
    Run::new()
        .args(["--failures-ok", "--verify", "-o", "/nonexistent"])
        .expect_exit(2);
    let mut child = binary()
        .args(["--failures-ok", &site.url("/gone"), &site.url("/slow")])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while site.requests().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
