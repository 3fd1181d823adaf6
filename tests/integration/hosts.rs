use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fetchall::ErrorKind;
use socket2::{Domain, Socket, Type};

use wiremock::matchers::any;
use wiremock::{Mock, MockServer};

use crate::support::mock::{asked, get, go, site, status};
use crate::support::{
    Connection, Run, Server, Texts, binary, black_hole, closed_port, limited, logged, response,
    said,
};

fn quick() -> Server {
    Server::http(|_| response("200 OK", &[], b"ok"))
}

fn many(server: &Server, n: usize) -> Vec<String> {
    (0..n).map(|n| server.url(&format!("/{n}"))).collect()
}

fn many_of(server: &MockServer, n: usize) -> Vec<String> {
    (0..n).map(|n| format!("{}/{n}", server.uri())).collect()
}

/// A server that records when each request arrived, and what it answered to the `n`th.
fn noting(
    answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<Instant>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let server = Server::http(move |request| {
        let n = {
            let mut times = noted.lock().unwrap();
            times.push(Instant::now());
            times.len() - 1
        };
        answer(n, request)
    });
    (server, times)
}

fn span(times: &Mutex<Vec<Instant>>) -> Duration {
    let times = times.lock().unwrap();
    *times.last().unwrap() - times[0]
}

#[test]
fn a_header_that_says_nothing_is_left_holds_the_host() {
    for headers in [
        &["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1"][..],
        &["RateLimit: \"default\";r=0;t=1"],
    ] {
        let (server, times) = noting(move |n, _| {
            let headers = if n == 0 { headers } else { &[] };
            response("200 OK", headers, b"ok")
        });
        let other = quick();
        let urls = [server.url("/1"), server.url("/2"), other.url("/")];
        let done = Run::new().arg("-j1").urls(&urls).expect_exit(0);
        assert!(span(&times) >= Duration::from_millis(990), "{headers:?}");
        assert_eq!(done.records[1].url, urls[2], "the others go on");
        assert!(done.records.iter().all(|record| record.attempts == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_429_holds_the_host_and_uses_up_no_retry_at_first() {
    let server = site(vec![status(429); 2], status(200)).await;
    let run = Run::new().args(["--retries=1", "-v"]);
    let done = go(run.urls(many_of(&server, 2)), 0);
    // A second 429 may arrive before or after the host is put on hold.
    let log = logged(&done.stderr, "host");
    let first: Vec<_> = log.lines().take(2).collect();
    insta::assert_snapshot!("host_that_answers_429", first.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_refuses_for_ever_is_given_up_with_a_record_for_every_url() {
    let refuses = status(429).insert_header("retry-after", "0");
    let server = site(vec![], refuses).await;
    let run = Run::new().args(["--max-wait=1s"]);
    let done = go(run.urls(many_of(&server, 200)), 1);
    assert_eq!(done.records.len(), 200);
    let mut statuses = done.records.iter().map(|record| record.status);
    assert!(statuses.all(|status| status == Some(429)));
    let sent = asked(&server).await.len();
    assert!(sent < 50, "{sent}");
    let given_up = done
        .records
        .iter()
        .filter(|record| record.attempts == 0)
        .map(|record| record.error.as_ref().unwrap());
    let mut count = 0;
    let mut texts = Texts::new();
    for error in given_up {
        count += 1;
        assert_eq!(error.kind, ErrorKind::Status);
        assert!(error.message.contains("--max-wait"), "{}", error.message);
        texts.add("given up", &error.message);
    }
    assert!(count > 100, "{}", done.stdout);
    insta::assert_snapshot!("host_that_refuses_for_ever", texts);
}

#[test]
fn host_interval_spaces_every_request_redirects_and_retries_included() {
    let (server, times) = noting(|n, request| match n {
        0 => response("503 Busy", &[], b""),
        _ if request.starts_with("GET /old") => response("302 Found", &["Location: /new"], b""),
        _ => response("200 OK", &[], b"ok"),
    });
    let mut urls = many(&server, 8);
    urls.push(server.url("/old"));
    Run::new()
        .args(["--host-interval=100ms", "--per-host=8"])
        .urls(&urls)
        .expect_exit(0);
    assert_eq!(times.lock().unwrap().len(), 11);
    // Ten gaps; on a busy machine, the first request may arrive late by any amount.
    assert!(
        span(&times) >= Duration::from_millis(900),
        "{:?}",
        span(&times)
    );
}

#[test]
fn host_interval_holds_for_what_is_sent_again_for_free() {
    // Every connection is closed as soon as it is reused.
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&starts);
    let server = Server::start(move |connection: &mut Connection| {
        connection.request()?;
        noted.lock().unwrap().push(Instant::now());
        connection.send(&response("200 OK", &[], b"ok"))?;
        if connection.request()?.is_some() {
            noted.lock().unwrap().push(Instant::now());
        }
        Ok(())
    });
    let done = Run::new()
        .args(["--host-interval=200ms", "--per-host=1"])
        .urls(many(&server, 3))
        .expect_exit(0);
    assert!(done.records.iter().all(|record| record.attempts == 1));
    let starts = starts.lock().unwrap();
    assert!(starts.len() >= 4, "nothing was sent again");
    let gaps = u32::try_from(starts.len() - 1).unwrap();
    let span = starts[starts.len() - 1] - starts[0];
    assert!(span + Duration::from_millis(100) >= Duration::from_millis(200) * gaps);
}

#[test]
fn the_rate_is_that_of_all_hosts_together() {
    let servers = [quick(), quick(), quick()];
    let urls: Vec<_> = servers.iter().flat_map(|server| many(server, 10)).collect();
    let start = Instant::now();
    Run::new().arg("--rate=30/s").urls(&urls).expect_exit(0);
    // 29 gaps of 1/30 s.
    assert!(start.elapsed() >= Duration::from_millis(960));
}

#[test]
fn a_dead_host_is_probed_and_then_its_urls_fail_fast() {
    let addr = closed_port();
    let other = quick();
    let mut urls: Vec<_> = (0..100).map(|n| format!("http://{addr}/{n}")).collect();
    urls.extend(many(&other, 10));
    let done = Run::new()
        .args(["--retries=2", "--retry-delay=50ms", "-v"])
        .urls(&urls)
        .expect_exit(1);
    assert_eq!(done.records.len(), 110);
    let dead: Vec<_> = done.records.iter().filter(|record| !record.ok).collect();
    assert_eq!(dead.len(), 100);
    let attempts: u32 = dead.iter().map(|record| record.attempts).sum();
    assert_eq!(attempts, 5, "three that fail, two probes");
    let mut texts = Texts::new();
    for record in dead {
        let error = record.error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.transient);
        // One that was both probes has used up its own retries, and fails by itself.
        if record.attempts < 3 {
            texts.add("URL", &error.message);
        }
    }
    texts.add("log", &logged(&done.stderr, "host"));
    insta::assert_snapshot!("host_that_is_down", texts);
}

#[test]
fn a_host_that_comes_back_is_used_again() {
    // Bound, so that no other process gets the port, but not listening yet.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let urls: Vec<_> = (0..50).map(|n| format!("http://{addr}/{n}")).collect();
    let server = thread::spawn(move || {
        thread::sleep(Duration::from_millis(700));
        socket.listen(128).unwrap();
        let listener = TcpListener::from(socket);
        for stream in listener.incoming().take(50) {
            thread::spawn(move || {
                use std::io::{Read, Write};
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    if stream.write_all(&response("200 OK", &[], b"ok")).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let done = Run::new()
        .args(["--retries=10", "--retry-delay=100ms", "-v"])
        .urls(&urls)
        .expect_exit(0);
    let log = logged(&done.stderr, "host");
    insta::assert_snapshot!("host_that_comes_back", log.lines().last().unwrap());
    drop(server);
}

#[test]
fn a_black_hole_takes_no_longer_than_the_tries_of_one_url() {
    let (addr, _guard) = black_hole();
    let urls: Vec<_> = (0..40).map(|n| format!("http://{addr}/{n}")).collect();
    let done = Run::new()
        .args(["--retries=2", "--connect-timeout=300ms"])
        .urls(&urls)
        .expect_exit(1);
    let attempts: u32 = done.records.iter().map(|record| record.attempts).sum();
    assert_eq!((done.records.len(), attempts), (40, 3));
    for record in &done.records {
        let error = record.error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::ConnectTimeout, "{}", error.message);
    }
}

#[test]
fn simulated_faults_open_no_circuit() {
    let server = quick();
    let done = Run::new()
        .args(["--simulate-failure=refused=100%", "--retries=1"])
        .urls(many(&server, 20))
        .expect_exit(1);
    assert!(done.records.iter().all(|record| record.attempts == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_end_the_run() {
    let server = site(vec![], status(404)).await;
    for (limit, at_least) in [("3", 4), ("5%", 6)] {
        let run = Run::new().args(["-j1", &format!("--max-failures={limit}")]);
        let done = go(run.urls(many_of(&server, 1000)), 1);
        let count = done.records.len();
        assert!((at_least..at_least + 5).contains(&count), "{count}");
        let told = done
            .stderr
            .lines()
            .find(|line| line.contains("--max-failures"));
        let name = format!("more_than_{}_failures", limit.replace('%', "_percent"));
        insta::assert_snapshot!(name, told.unwrap_or(&done.stderr));
        assert!(done.stderr.contains(" left"), "{}", done.stderr);
    }
    let most = |limit| Run::new().arg(format!("--max-failures={limit}"));
    let done = go(most(20).urls(many_of(&server, 20)), 1);
    assert_eq!(done.records.len(), 20, "as many as allowed");
    let done = go(most(19).urls(many_of(&server, 20)), 1);
    // The last failure exceeds the limit, but nothing is left to end.
    insta::assert_snapshot!("one_failure_too_many_at_the_end", said(&done.stderr));
}

#[test]
fn stop_after_lets_what_is_in_flight_end_and_counts_the_rest_as_left() {
    let server = Server::http(|_| {
        thread::sleep(Duration::from_millis(300));
        response("200 OK", &[], b"ok")
    });
    let done = Run::new()
        .args(["-j1", "--stop-after=1s"])
        .urls(many(&server, 100))
        .expect_exit(1);
    assert!(done.records.iter().all(|record| record.ok));
    assert_eq!(done.records.len(), server.requests().len(), "none cut off");
    assert!((1..90).contains(&done.records.len()));
    let told = done
        .stderr
        .lines()
        .find(|line| line.contains("--stop-after"));
    insta::assert_snapshot!("stop_after", told.unwrap_or(&done.stderr));
}

#[test]
fn progress_names_the_stragglers() {
    let server = Server::http(|request| {
        if request.starts_with("GET /slow") {
            thread::sleep(Duration::from_secs(5));
        }
        response("200 OK", &[], b"ok")
    });
    let mut urls = many(&server, 20);
    urls.push(server.url("/slow"));
    let done = Run::new()
        .arg("--progress=plain")
        .urls(&urls)
        .expect_exit(0);
    // A progress line comes every three seconds. What the slow URL waits for follows the URL.
    let mut lines = done.stderr.lines();
    let told = lines.find_map(|line| line.split_once(&server.url("/slow")));
    let (before, after) = told.unwrap_or_else(|| panic!("{}", done.stderr));
    assert!(before.contains("20 of 21"), "{before}");
    let still = before.rsplit_once("; ").map_or(before, |(_, still)| still);
    let after = after.trim_end_matches(|end: char| !end.is_whitespace());
    insta::assert_snapshot!("straggler", format!("{still}URL{after}TIME"));
}

#[test]
fn a_host_gets_more_at_the_same_time_while_that_brings_more() {
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let (peak, running) = (Arc::clone(&most), Arc::clone(&now));
    let server = Server::http(move |_| {
        peak.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        thread::sleep(Duration::from_millis(20));
        running.fetch_sub(1, SeqCst);
        response("200 OK", &[], b"ok")
    });
    let done = Run::new()
        .args(["--per-host=auto:16", "-v"])
        .urls(many(&server, 600))
        .expect_exit(0);
    let most = most.load(SeqCst);
    // How far the limit grows depends on the load of this machine.
    assert!((5..=16).contains(&most), "{most}: {}", done.stderr);
    let log = logged(&done.stderr, "host");
    insta::assert_snapshot!("host_that_gets_more", log.lines().next().unwrap());
}

#[test]
fn few_open_files_are_enough_for_many_hosts() {
    let server = quick();
    let port = server.addr.port();
    let urls: Vec<_> = (0..600)
        .map(|n| format!("http://h{}.localhost:{port}/{n}", n % 300))
        .collect();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), urls.join("\n")).unwrap();
    let mut command = binary();
    command.args(["--json", "-j100"]).arg(list.path());
    let mut shell = limited(&command, 64);
    shell
        .args(command.get_args())
        .stdin(Stdio::null())
        .process_group(0);
    let output = shell.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    // The number of allowed hosts depends on the descriptors that are already open.
    let (before, rest) = stderr.split_once("limited to ").unwrap();
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let text = format!("{before}limited to N{rest}");
    insta::assert_snapshot!("few_open_files", said(&text));
    let closes = |request: &String| request.to_lowercase().contains("connection: close");
    assert!(
        server.requests().iter().any(closes),
        "connections of many hosts are not kept when there is room for few"
    );
}

/// With any limit on open files, either every URL is fetched or the error names the needed limit.
#[test]
fn with_hardly_any_open_files_nothing_hangs_and_everything_adds_up() {
    let server = quick();
    let urls: Vec<_> = (0..12).map(|n| server.url(&format!("/{n}"))).collect();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), urls.join("\n")).unwrap();
    let out = tempfile::tempdir().unwrap();
    for files in 6..=32 {
        for save in ["-o", "--pack"] {
            let mut command = binary();
            let name = match save {
                "-o" => format!("o{files}"),
                _ => format!("p{files}.warc"),
            };
            command.args(["--json", "--retry-delay=1ms", save]);
            command.arg(out.path().join(name)).arg(list.path());
            let limited = format!("ulimit -n {files}; exec timeout -s KILL 50 \"$@\"");
            let output = std::process::Command::new("sh")
                .args(["-c", &limited, "sh"])
                .arg(command.get_program())
                .args(command.get_args())
                .env_remove("http_proxy")
                .env_remove("HTTP_PROXY")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let records = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            match output.status.code() {
                Some(0) => assert_eq!(records, 12, "{save}, {files} files: {stderr}"),
                Some(3) => assert!(stderr.contains("needs at least"), "{files} files: {stderr}"),
                other => panic!("{save}, {files} files: {other:?}, {stderr}"),
            }
        }
    }
}

#[test]
fn a_host_that_says_when_is_held_for_the_others_too_when_the_refused_url_is_given_up() {
    let (server, times) = noting(|n, _| match n {
        0 => response("429 Slow Down", &["Retry-After: 1"], b""),
        _ => response("200 OK", &[], b"ok"),
    });
    let done = Run::new()
        .args(["--retries=0", "--per-host=1"])
        .urls(many(&server, 3))
        .expect_exit(1);
    assert!(done.records.iter().all(|record| record.attempts == 1));
    assert!(span(&times) >= Duration::from_millis(990));
}

/// Its `Retry-After` holds the host at first. When the others are served each time, it waits alone,
/// and is given up like any URL that fails.
#[tokio::test(flavor = "multi_thread")]
async fn one_url_that_asks_to_wait_for_ever_does_not_slow_the_others_down() {
    let server = MockServer::start().await;
    let busy = status(503).insert_header("Retry-After", "1");
    get("/0")
        .respond_with(busy)
        .expect(1..=8)
        .mount(&server)
        .await;
    let slow = status(200).set_delay(Duration::from_millis(20));
    let others = Mock::given(any()).respond_with(slow);
    others.expect(399).mount(&server).await;
    let run = Run::new().args(["--retries=1", "--per-host=2", "--max-wait=30s"]);
    let done = go(run.urls(many_of(&server, 400)), 1);
    let fetched = done.records.iter().filter(|record| record.ok).count();
    assert_eq!(fetched, 399);
    let error = done.of("/0").error.as_ref().unwrap();
    assert_eq!(error.message, "503 Service Unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_that_is_refused_for_ever_does_not_hold_the_others_up() {
    let server = MockServer::start().await;
    get("/0")
        .respond_with(status(429))
        .expect(1..=8)
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with(status(200))
        .expect(49)
        .mount(&server)
        .await;
    let run = Run::new().arg("--retries=1");
    let done = go(run.urls(many_of(&server, 50)), 1);
    assert!(done.of("/0").attempts <= 8, "{}", done.of("/0").attempts);
    let fetched = done.records.iter().filter(|record| record.ok).count();
    assert_eq!(fetched, 49);
}

#[test]
fn max_failures_holds_for_what_fails_fast_and_for_lines_that_are_no_urls() {
    let addr = closed_port();
    let urls: Vec<_> = (0..2000).map(|n| format!("http://{addr}/{n}")).collect();
    let junk: Vec<_> = (0..2000).map(|n| format!("junk {n}")).collect();
    // Up to four more may fail: those in the four workers when the limit was exceeded.
    for (list, most) in [(urls, 15), (junk, 11)] {
        let done = Run::new()
            .args(["--max-failures=10", "--retries=0", "-j4"])
            .urls(list)
            .expect_exit(1);
        let count = done.records.len();
        assert!((11..=most).contains(&count), "{count}");
        assert!(done.stderr.contains(" left"), "{}", done.stderr);
    }
}

#[test]
fn a_quick_host_behind_many_slow_ones_is_done_before_them() {
    let slow = Server::http(|_| {
        thread::sleep(Duration::from_millis(500));
        response("200 OK", &[], b"ok")
    });
    let quick = quick();
    let port = slow.addr.port();
    let mut urls: Vec<_> = (0..80)
        .map(|n| format!("http://h{}.localhost:{port}/{n}", n % 20))
        .collect();
    urls.extend(many(&quick, 50));
    let done = Run::new().arg("-j8").urls(&urls).expect_exit(0);
    let last_quick = done
        .records
        .iter()
        .rposition(|record| record.url.starts_with(&quick.url("/")))
        .unwrap();
    let slow_before = last_quick - 49;
    // With strict alternation, the quick host would finish last.
    assert!(slow_before < 50, "{slow_before} of 80 slow ones before");
}
