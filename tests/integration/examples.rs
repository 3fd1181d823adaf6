//! The examples are included unchanged. Without sockets they run on a paused clock: this tests
//! their exact output, and how long they would have taken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[expect(dead_code, reason = "the main function is not called here")]
        mod $name;
    };
}

example!(say_hello, "../../examples/say_hello.rs");
example!(gather, "../../examples/gather.rs");
example!(exceptions, "../../examples/exceptions.rs");
example!(send_email, "../../examples/send_email.rs");
example!(fetch_urls, "../../examples/fetch_urls.rs");
example!(failed_request, "../../examples/failed_request.rs");

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap()
}

#[tokio::test(start_paused = true)]
async fn say_hello_waits_two_seconds() {
    let (start, mut out) = (Instant::now(), Vec::new());
    say_hello::say_hello(&mut out).await.unwrap();
    assert_eq!(
        (text(out).as_str(), start.elapsed()),
        ("Hello\nWorld\n", Duration::from_secs(2))
    );
}

#[tokio::test(start_paused = true)]
async fn gather_takes_two_seconds_not_three() {
    let (start, out) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    gather::gather(Arc::clone(&out)).await.unwrap();
    let out = out.lock().unwrap().clone();
    assert_eq!(text(out), "Task 2 completed\nTask 1 completed\n");
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn exceptions_catches_the_error_after_one_second() {
    let (start, mut out) = (Instant::now(), Vec::new());
    exceptions::exceptions(&mut out).await.unwrap();
    assert_eq!(text(out), "Caught an error: Something went wrong!\n");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn send_email_takes_three_seconds() {
    let (start, mut out) = (Instant::now(), Vec::new());
    fetchall::send_email(&mut out).await.unwrap();
    assert_eq!(
        (text(out).as_str(), start.elapsed()),
        ("Email Sent!\n", Duration::from_secs(3))
    );
}

#[tokio::test]
async fn fetch_urls_gives_results_in_input_order() {
    let server = fetchall::demo::PracticeServer::start().await.unwrap();
    let urls = [
        ("slow", "/1"),
        ("quick", "/1"),
        ("missing", "/page"),
        ("packed", "/page"),
    ]
    .map(|(host, path)| server.url(host, path));
    let mut out = Vec::new();
    let fetcher = server.fetcher().build().unwrap();
    fetch_urls::fetch_urls(&fetcher, &urls, &mut out)
        .await
        .unwrap();
    assert_eq!(
        text(out),
        "1. 200 OK with 15 bytes\n2. 200 OK with 16 bytes\n3. failed: 404 Not Found\n4. 200 OK with 20000 bytes\n"
    );
}

#[tokio::test]
async fn failed_request_is_handled_by_its_type() {
    let server = fetchall::demo::PracticeServer::start().await.unwrap();
    let mut out = Vec::new();
    for spec in ["500=100%", "404=100%", "reset=100%", "tls=100%"] {
        let url = server.url("quick", "/1");
        failed_request::failed_request(server.fetcher(), url, spec, &mut out)
            .await
            .unwrap();
    }
    assert_eq!(
        text(out),
        "The request failed: 500 Internal Server Error\n  the server is in trouble (500 Internal Server Error): try again later\n\
         The request failed: 404 Not Found\n  it is gone: take it off the list\n\
         The request failed: connection lost: connection reset\n  it may work next time (reset)\n\
         The request failed: TLS failed: certificate has expired\n  it will not work (tls)\n"
    );
}

/// The built programs print exactly the same. Cargo builds them before the tests.
#[test]
fn the_programs_print_what_the_tests_say() {
    let programs = [
        ("say_hello", "Hello\nWorld\n"),
        ("gather", "Task 2 completed\nTask 1 completed\n"),
        ("exceptions", "Caught an error: Something went wrong!\n"),
        ("send_email", "Email Sent!\n"),
    ];
    let started = programs.map(|(name, expected)| {
        let child = std::process::Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--offline", "--example", name])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        (child, expected)
    });
    for (child, expected) in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(text(output.stdout), expected);
    }
}
