use std::time::Duration;

use crate::support::{Run, Server, placeholders, response, times};

fn after(time: Duration) -> Server {
    Server::http(move |_| {
        std::thread::sleep(time);
        response("200 OK", &[], b"ok")
    })
}

#[test]
fn plain_progress_is_a_line_every_few_seconds() {
    let server = after(Duration::from_millis(3600));
    let done = Run::new()
        .args(["--progress=plain", &server.url("/")])
        .expect_exit(0);
    let line = done.stderr.lines().next().unwrap();
    assert!(line.contains(&server.url("/")), "{}", done.stderr);
    insta::assert_snapshot!("plain_progress", times(&placeholders(line, &[])));
    assert!(!done.stderr.contains('\u{1b}'));
}

#[test]
fn off_a_terminal_there_is_no_bar() {
    let server = after(Duration::from_millis(300));
    let done = Run::new().arg(server.url("/")).expect_exit(0);
    assert!(
        !done.stderr.contains('\u{1b}') && !done.stderr.contains("in flight"),
        "{}",
        done.stderr
    );
}

#[test]
fn verbose_tells_of_retries_and_very_verbose_of_every_request() {
    let server = Server::http(|_| response("503 Busy", &[], b""));
    let done = Run::new()
        .args(["-v", "--retries=1", &server.url("/")])
        .expect_exit(1);
    let lines = done.stderr.lines();
    let again: Vec<_> = lines.filter(|line| line.contains("again in")).collect();
    let again: Vec<_> = again
        .iter()
        .map(|line| &line[line.find(" 503 ").unwrap() + 1..])
        .collect();
    insta::assert_snapshot!("retry", times(&placeholders(&again.join("\n"), &[])));
    assert!(!done.stderr.contains("attempt ended"));
    let done = Run::new()
        .args(["-vv", "--retries=1", &server.url("/")])
        .expect_exit(1);
    assert_eq!(
        done.stderr.matches("attempt ended").count(),
        2,
        "{}",
        done.stderr
    );
    let done = Run::new()
        .env("RUST_LOG", "fetchall=debug")
        .args(["--retries=0", &server.url("/")])
        .expect_exit(1);
    assert!(done.stderr.contains("attempt ended"), "{}", done.stderr);
}

#[test]
fn quiet_beats_rust_log() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    let done = Run::new()
        .env("RUST_LOG", "debug")
        .args(["-q", &server.url("/")])
        .expect_exit(0);
    assert_eq!(done.stderr, "");
}

#[test]
fn escape_sequences_from_outside_come_out_harmless() {
    let done = Run::new()
        .text()
        .stdin("\u{1b}[2Jbad \u{9b}31m\n".as_bytes())
        .expect_exit(1);
    assert!(
        !done.stdout.contains('\u{1b}') && !done.stdout.contains('\u{9b}'),
        "{:?}",
        done.stdout
    );
    assert!(done.stdout.contains("\\u{1b}[2Jbad"), "{:?}", done.stdout);
}
