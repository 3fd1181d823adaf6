use std::time::Duration;

use crate::support::{Run, Server, path, response, times};

fn site() -> Server {
    Server::http(|request| match path(request) {
        "/slow" => {
            std::thread::sleep(Duration::from_millis(700));
            response("200 OK", &[], b"late")
        }
        "/moved" => response("302 Found", &["Location: /1"], b""),
        "/gone" => response("404 Not Found", &[], b"no"),
        _ => response("200 OK", &[], b"body"),
    })
}

#[test]
fn the_run_is_drawn_when_it_has_ended() {
    let server = site();
    let urls = ["/1", "/slow", "/slow", "/moved", "/gone"].map(|path| server.url(path));
    let done = Run::new()
        .args([
            "--timeline",
            "--retries=2",
            "--seed=3",
            "--retry-delay=300ms",
        ])
        .arg(format!("--simulate-failure=refused=100%@{}", "127.0.0.1:1"))
        .env("LC_ALL", "C.UTF-8")
        .urls(urls)
        .urls(["http://127.0.0.1:1/x"])
        .expect_exit(1);
    let picture: Vec<_> = done.stderr.lines().collect();
    let row = |end: &str| {
        let found = picture.iter().find(|line| line.contains(end));
        *found.unwrap_or_else(|| panic!("no {end} in {}", done.stderr))
    };
    assert!(row("|0s").trim_start().starts_with("|0s"));
    assert!(row("/slow").starts_with("200 ") && row("/slow").contains("▒▒▒"));
    assert!(row("/moved").contains('›') || row("/moved").contains('█'));
    assert!(row("/gone").starts_with("404 ") && row("/gone").contains('✗'));
    assert_eq!(row(":1/x").matches('✗').count(), 3, "{}", done.stderr);
    assert!(
        row("concurrent ").contains('█') && row("sequential ").ends_with('x'),
        "{}",
        done.stderr
    );
    assert!(
        picture.iter().all(|line| line.chars().count() <= 130),
        "{}",
        done.stderr
    );
    assert_eq!(done.stdout.lines().count(), 6, "results only on stdout");
}

#[test]
fn where_characters_are_ascii_the_picture_is_too() {
    let server = site();
    let done = Run::new()
        .args(["--timeline", &server.url("/1"), &server.url("/slow")])
        .env("LC_ALL", "C")
        .expect_exit(0);
    assert!(done.stderr.is_ascii(), "{}", done.stderr);
    assert!(done.stderr.contains("===="), "{}", done.stderr);
    let done = Run::new()
        .args(["--timeline", "--color=always", &server.url("/1")])
        .env("COLUMNS", "120")
        .env("LC_ALL", "C.UTF-8")
        .expect_exit(0);
    assert!(done.stderr.contains("\u{1b}[32m"), "{}", done.stderr);
}

#[test]
fn of_a_long_run_there_is_a_screenful() {
    let server = site();
    let urls = (0..500).map(|n| server.url(&format!("/{n}")));
    let done = Run::new()
        .arg("--timeline")
        .env("LC_ALL", "C.UTF-8")
        .urls(urls)
        .urls([server.url("/slow")])
        .expect_exit(0);
    assert!(done.stderr.contains("40 of 501 URLs"), "{}", done.stderr);
    assert!(
        done.stderr.contains("/slow"),
        "the slowest is there: {}",
        done.stderr
    );
    let rows = done.stderr.lines().filter(|line| line.starts_with("200 "));
    assert_eq!(rows.count(), 40);
}

#[test]
fn what_is_sent_again_is_drawn_as_that_and_what_had_no_request_is_counted() {
    // Every connection answers one request and closes when the second one arrives.
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(&response("200 OK", &[], b"ok"))?;
        connection.request().map(drop)
    });
    // A resend uses a new connection, which is not reused.
    let urls = (0..4).map(|n| server.url(&format!("/{n}")));
    let run = || {
        Run::new()
            .args(["--timeline", "-j1"])
            .env("LC_ALL", "C.UTF-8")
    };
    let done = run().urls(urls).urls(["no URL"]).expect_exit(1);
    assert!(done.stderr.contains("↻ resent"), "{}", done.stderr);
    let rows = done.stderr.lines().filter(|line| line.starts_with("200 "));
    let marks = rows.map(|row| row.matches('↻').count()).sum::<usize>();
    assert_eq!(marks, 2, "{}", done.stderr);
    let note = done.stderr.lines().find(|line| line.contains(" of 5 "));
    insta::assert_snapshot!("had_no_request", times(note.unwrap()));

    // At a dead host, three URLs are tried; the others fail with them.
    let dead = (0..60).map(|n| format!("http://127.0.0.1:1/{n}"));
    let done = run().arg("--retries=0").urls(dead).expect_exit(1);
    let unsent = done.records.iter().filter(|record| record.attempts == 0);
    let note = format!("of 60 URLs shown; {} had no request", unsent.count());
    assert!(done.stderr.contains(&note), "{}", done.stderr);
}
