//! Lines with `mirrors`: what moves a job on, and what the mirror gets.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use fetchall::{ContentChange, ErrorKind, OutcomeName, Sha256};
use serde_json::json;
use wiremock::MockServer;

use crate::support::mock::{asked, get, go, page, redirect, site, status};
use crate::support::{Out, Run, Server, closed_port, header, path, response};

/// Returns a line with this URL and these mirrors.
fn line(url: &str, mirrors: &[String]) -> String {
    format!("{}\n", json!({ "url": url, "mirrors": mirrors }))
}

fn fetch(list: impl Into<String>) -> Run {
    let list: String = list.into();
    Run::new().arg("--input-format=jsonl").stdin(list)
}

fn refusing() -> String {
    format!("http://{}/", closed_port())
}

/// Answers all requests with 200 and this body.
fn serving(body: &'static str) -> Server {
    Server::http(move |_| response("200 OK", &[], body.as_bytes()))
}

fn missing() -> Server {
    Server::http(|_| response("404 Not Found", &[], b""))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_404_the_mirror_is_fetched_under_the_name_of_the_url() {
    let (home, mirror) = (
        site(vec![], status(404)).await,
        site(vec![], page("data")).await,
    );
    let out = Out::new();
    let url = format!("{}/release.bin", home.uri());
    let at = format!("{}/pub/r.bin", mirror.uri());
    let list = line(&url, std::slice::from_ref(&at));
    let run = || out.run().arg("--input-format=jsonl").stdin(list.clone());

    let done = go(run(), 0);
    let record = done.record();
    assert_eq!(
        (record.url.as_str(), record.mirror),
        (url.as_str(), Some(1))
    );
    assert_eq!(record.final_url.as_deref(), Some(at.as_str()));
    assert_eq!((record.status, record.attempts), (Some(200), 2));
    assert_eq!(record.error, None);
    assert!(record.file.as_ref().unwrap().ends_with("/release.bin"));
    assert_eq!(out.body(record), b"data");

    let again = go(run(), 0);
    assert_eq!(again.record().outcome, OutcomeName::Skipped);
    assert_eq!(again.record().mirror, Some(1), "what the first run said");
    assert_eq!(asked(&home).await, ["/release.bin"]);
    assert_eq!(asked(&mirror).await, ["/pub/r.bin"]);
}

#[test]
fn a_url_that_answers_needs_no_mirror() {
    let (home, mirror) = (serving("ok"), serving("no"));
    let done = fetch(line(&home.url("/"), &[mirror.url("/")])).expect_exit(0);
    assert_eq!((done.record().mirror, done.record().attempts), (None, 1));
    assert!(!done.stdout.contains("mirror"), "{}", done.stdout);
    assert_eq!(mirror.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mirror_has_all_retries_and_they_are_tried_in_order() {
    let second = site(vec![status(503)], page("data")).await;
    let mirrors = [refusing(), second.uri(), format!("{}/unused", second.uri())];
    let run = fetch(line(&refusing(), &mirrors)).arg("--retries=1");
    let done = go(run, 0);
    let record = done.record();
    assert_eq!((record.mirror, record.attempts), (Some(2), 6));
    assert_eq!(asked(&second).await, ["/", "/"]);
}

#[test]
fn the_error_is_that_of_the_last_mirror() {
    let mirror = missing();
    let mirrors = [refusing(), mirror.url("/x")];
    let run = fetch(line(&refusing(), &mirrors)).arg("--retries=0");
    let done = run.expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Status, 3));
    assert_eq!(done.message(), "mirror 2 of 2: 404 Not Found");
    let record = done.record();
    assert_eq!((record.mirror, record.status), (Some(2), Some(404)));
    assert_eq!(record.final_url, Some(mirror.url("/x")));
    assert!(done.stderr.contains("1 failed"), "{}", done.stderr);
}

#[test]
fn a_body_that_is_not_the_expected_one_moves_on() {
    let (home, mirror) = (serving("old"), serving("new"));
    let hash = Sha256::of(b"new");
    let list = json!({ "url": home.url("/"), "sha256": hash, "mirrors": [mirror.url("/")] });
    let out = Out::new();
    let run = out.run().arg("--input-format=jsonl");
    let done = run.stdin(list.to_string()).expect_exit(0);
    let record = done.record();
    assert_eq!((record.mirror, record.attempts), (Some(1), 3));
    assert_eq!(
        (record.sha256, out.body(record)),
        (Some(hash), b"new".to_vec())
    );
    assert!(out.unfinished().is_empty());

    // The mirror is checked as well.
    let list = list.to_string().replace(&hash.to_string(), &"0".repeat(64));
    let done = fetch(list).arg("--retries=0").expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Checksum, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_may_redirect_and_its_retries_start_at_the_mirror() {
    let (home, node) = (MockServer::start().await, MockServer::start().await);
    get("/file").respond_with(status(404)).mount(&home).await;
    get("/mirror")
        .respond_with(redirect(format!("{}/node", node.uri())))
        .mount(&home)
        .await;
    get("/node")
        .respond_with(status(503))
        .up_to_n_times(1)
        .mount(&node)
        .await;
    get("/node").respond_with(page("data")).mount(&node).await;
    let mirrors = [format!("{}/mirror", home.uri())];
    let done = go(fetch(line(&format!("{}/file", home.uri()), &mirrors)), 0);
    let record = done.record();
    assert_eq!(asked(&home).await, ["/file", "/mirror", "/mirror"]);
    assert_eq!((record.mirror, record.redirects), (Some(1), 1));
    assert_eq!((record.attempts, record.status), (5, Some(200)));
}

#[test]
fn secrets_stay_with_the_origin_for_which_they_were_given() {
    let home = missing();
    let (stranger, own) = (missing(), missing());
    let with_user =
        |server: &Server, user: &str| server.url("/").replacen("//", &format!("//{user}:pw@"), 1);
    let list = json!({
        "url": with_user(&home, "me"),
        "headers": { "X-Line": "s3cret" },
        "mirrors": [home.url("/again"), stranger.url("/"), with_user(&own, "you")],
    });
    let args = [
        "-HX-Run: s3cret",
        "-HCookie: s3cret=1",
        "-HAccept: text/csv",
    ];
    let done = fetch(list.to_string()).args(args).expect_exit(1);
    assert_eq!(done.record().mirror, Some(3));
    let sent = |server: &Server, name: &str| {
        let requests = server.requests();
        let values = requests
            .iter()
            .map(|request| header(request, name).map(str::to_owned));
        values.collect::<Vec<_>>()
    };
    let basic = |user_and_password| Some(format!("Basic {user_and_password}"));
    let (me, you) = (basic("bWU6cHc="), basic("eW91OnB3"));
    assert_eq!(sent(&home, "authorization"), [me.clone(), me]);
    assert_eq!(sent(&stranger, "authorization"), [None]);
    assert_eq!(sent(&own, "authorization"), [you]);
    for name in ["x-line", "x-run", "cookie"] {
        assert!(sent(&home, name).iter().all(Option::is_some), "{name}");
        assert_eq!(sent(&stranger, name), [None], "{name}");
        assert_eq!(sent(&own, name), [None], "{name}");
    }
    for server in [&home, &stranger, &own] {
        assert_eq!(sent(server, "accept")[0].as_deref(), Some("text/csv"));
    }
    assert!(!done.stdout.contains("pw@"), "{}", done.stdout);

    let run = fetch(line(&home.url("/u"), &[stranger.url("/u")])).args(["-u", "me:pw"]);
    run.expect_exit(1);
    assert!(sent(&home, "authorization").pop().flatten().is_some());
    assert_eq!(sent(&stranger, "authorization"), [None, None]);
}

/// A redirect of the mirror leaves the mirror's origin, and with it its credentials.
#[test]
fn the_userinfo_of_a_mirror_does_not_follow_its_redirects() {
    let end = serving("ok");
    let to = format!("Location: {}", end.url("/"));
    let mirror = Server::http(move |_| response("302 Found", &[&to], b""));
    let at = mirror.url("/").replacen("//", "//you:pw@", 1);
    fetch(line(&refusing(), &[at]))
        .arg("--retries=0")
        .expect_exit(0);
    assert!(header(&mirror.requests()[0], "authorization").is_some());
    assert_eq!(header(&end.requests()[0], "authorization"), None);
}

#[test]
fn jobs_of_a_host_that_is_given_up_go_on_at_their_mirrors() {
    let (dead, mirror) = (refusing(), serving("ok"));
    let list = (0..200).map(|n| line(&format!("{dead}{n}"), &[mirror.url(&format!("/{n}"))]));
    let list: String = list.collect();
    let done = fetch(list).expect_exit(0);
    assert_eq!(done.records.len(), 200);
    assert!(done.records.iter().all(|record| record.mirror == Some(1)));
    let unsent = done.records.iter().filter(|record| record.attempts == 1);
    assert!(unsent.clone().count() > 100, "{}", done.stdout);
    assert!(unsent.into_iter().all(|record| record.total_ms.is_none()));
    assert_eq!(mirror.requests().len(), 200);
}

#[test]
fn the_retries_of_a_mirror_are_those_of_its_host() {
    let busy = |address| {
        Server::at(address, |connection| {
            while connection.request()?.is_some() {
                connection.send(&response("500 Broken", &[], b""))?;
            }
            Ok(())
        })
    };
    let (home, mirror) = (busy("127.0.0.1:0"), busy("127.0.0.2:0"));
    let run = fetch(line(&home.url("/"), &[mirror.url("/")]));
    let run = run.settings("retries = 2\n[host.\"127.0.0.2\"]\nretries = 1\n");
    assert_eq!(run.expect_exit(1).record().attempts, 5);
    assert_eq!((home.requests().len(), mirror.requests().len()), (3, 2));
}

#[test]
fn a_pack_has_the_redirects_of_the_url_and_the_body_of_its_mirror() {
    let home = Server::http(|request| match path(request) {
        "/" => response("302 Found", &["Location: /gone"], b""),
        _ => response("404 Not Found", &[], b"page"),
    });
    let mirror = serving("data");
    let out = Out::new();
    let pack = out.beside("x.warc");
    let list = line(&home.url("/"), &[mirror.url("/m")]);
    let run = || {
        fetch(list.clone())
            .args(["--pack", pack.to_str().unwrap()])
            .expect_exit(0)
    };
    assert_eq!((run().record().attempts, run().skipped()), (3, 1));
    let text = String::from_utf8_lossy(&fs::read(&pack).unwrap()).into_owned();
    let has = |url: String| {
        let uri = format!("WARC-Target-URI: {url}\r\n");
        text.split("WARC/1.1")
            .any(|record| record.contains(&uri) && record.contains("Type: response"))
    };
    assert!(
        has(home.url("/")) && has(home.url("/gone")) && has(mirror.url("/m")),
        "{text}"
    );
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn a_mirror_waits_for_the_turn_of_its_host() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let mirror = Server::http(move |_| {
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        thread::sleep(Duration::from_millis(30));
        now.fetch_sub(1, SeqCst);
        response("200 OK", &[], b"ok")
    });
    let homes: Vec<_> = (0..5).map(|_| missing()).collect();
    let list = homes
        .iter()
        .map(|home| line(&home.url("/"), &[mirror.url("/")]));
    let list: String = list.collect();
    let done = fetch(list).arg("--per-host=1").expect_exit(0);
    assert_eq!((done.records.len(), most.load(SeqCst)), (5, 1));
}

const TAG: &str = "ETag: \"a\"";

/// Sends the first five of ten bytes, then closes.
fn cut_off() -> Server {
    Server::start(|connection| {
        connection.request()?;
        let whole = response("200 OK", &[TAG, "Connection: close"], b"0123456789");
        connection.send(&whole[..whole.len() - 5])
    })
}

#[test]
fn a_mirror_continues_a_body_only_if_it_has_the_same_version() {
    let same = Server::http(|request| {
        assert_eq!(header(request, "if-range"), Some("\"a\""));
        let range = "Content-Range: bytes 5-9/10";
        response("206 Partial Content", &[TAG, range], b"56789")
    });
    let other = Server::http(|request| match header(request, "range") {
        Some(_) => {
            let range = "Content-Range: bytes 5-10/11";
            response("206 Partial Content", &["ETag: \"b\"", range], b"fghijk")
        }
        None => response("200 OK", &["ETag: \"b\""], b"abcdefghijk"),
    });
    for (mirror, resumed_at, body) in [
        (&same, Some(5), b"0123456789".as_slice()),
        (&other, None, b"abcdefghijk"),
    ] {
        let out = Out::new();
        let home = cut_off();
        let run = out.run().args(["--input-format=jsonl", "--retries=0"]);
        let list = line(&home.url("/x"), &[mirror.url("/y")]);
        let done = run.stdin(list).expect_exit(0);
        let record = done.record();
        assert_eq!((record.mirror, record.resumed_at), (Some(1), resumed_at));
        assert_eq!(out.body(record), body);
        assert!(out.unfinished().is_empty());
    }
}

#[test]
fn a_mirror_gets_no_conditional_request_of_another_server() {
    const PAGE: &[&str] = &["ETag: \"1\""];
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let home = Server::http(move |_| match down.load(SeqCst) {
        true => response("404 Not Found", &[], b""),
        false => response("200 OK", PAGE, b"same"),
    });
    let mirror = Server::http(|_| response("200 OK", PAGE, b"same"));
    let out = Out::new();
    let list = line(&home.url("/"), &[mirror.url("/")]);
    let run = || {
        let run = out.run().args(["--input-format=jsonl", "--refresh"]);
        run.stdin(list.clone()).expect_exit(0)
    };
    let condition = |server: &Server| {
        let last = server.requests().pop().unwrap();
        header(&last, "if-none-match").map(str::to_owned)
    };
    assert_eq!(run().record().change, Some(ContentChange::New));
    is_down.store(false, SeqCst);
    let second = run();
    assert_eq!(second.record().change, Some(ContentChange::Unchanged));
    assert_eq!(second.record().mirror, None);
    assert_eq!(condition(&home), None, "its validator is the mirror's");
    is_down.store(true, SeqCst);
    let third = run();
    assert_eq!(condition(&home).as_deref(), Some("\"1\""));
    assert_eq!(condition(&mirror), None, "its validator is that of the URL");
    assert_eq!(third.record().change, Some(ContentChange::Unchanged));
    assert_eq!(third.record().mirror, Some(1));
}

#[test]
fn what_is_wrong_here_does_not_move_on() {
    let (home, mirror) = (missing(), serving("no"));
    let list = line(&home.url("/"), &[mirror.url("/")]);
    let denied = fetch(list.clone()).arg("--deny-private").expect_exit(1);
    assert_eq!(denied.failure().0, ErrorKind::Denied);
    // A request that may change something is for one server.
    let posted = fetch(list).arg("-dx").expect_exit(1);
    assert_eq!(posted.message(), "404 Not Found");
    let invalid = line(&home.url("/"), &["example.com".to_owned()]);
    let invalid = fetch(invalid).expect_exit(1);
    assert_eq!(invalid.failure(), (ErrorKind::InvalidUrl, 0));
    assert_eq!(mirror.connections(), 0);
    assert_eq!(home.requests().len(), 1);
}

#[test]
fn a_table_has_mirrors_separated_by_blanks_and_failed_lines_keep_them() {
    let (home, mirror) = (missing(), serving("ok"));
    let out = Out::new();
    let failed = out.beside("again.jsonl");
    let (a, b) = (refusing(), mirror.url("/b"));
    let list = format!("URL,mirrors\n{0},{a} {b}\n{0},\n{0},{a}\n", home.url("/x"));
    let run = Run::new()
        .text()
        .args(["--input-format=csv", "--csv", "--ordered", "--retries=0"]);
    let run = run.arg("--failed").arg(failed.to_str().unwrap());
    let done = run.stdin(list).expect_exit(1);
    let mut reader = done.stdout.lines();
    let header = reader.next().unwrap().split(',');
    let column = header.clone().position(|name| name == "mirror").unwrap();
    let rows: Vec<_> = reader
        .map(|row| row.split(',').nth(column).unwrap())
        .collect();
    assert_eq!(rows, ["2", "", "1"]);
    let again = fs::read_to_string(&failed).unwrap();
    let lines: Vec<serde_json::Value> = again
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let url = home.url("/x");
    assert_eq!(
        lines,
        [json!({ "url": url }), json!({ "url": url, "mirrors": [a] })]
    );
    let done = Run::new()
        .text()
        .args(["-w", "%{mirror} %{attempts}\n", "--retries=0"]);
    let done = done.arg(failed.to_str().unwrap()).expect_exit(1);
    let mut said: Vec<_> = done.stdout.lines().collect();
    said.sort();
    assert_eq!(said, [" 1", "1 2"]);
}

#[test]
fn faults_are_simulated_at_each_of_the_urls() {
    let (home, mirror) = (serving("a"), serving("b"));
    let list = line(&home.url("/"), &[mirror.url("/")]);
    let spec = format!("--simulate-failure=refused=100%@{}", home.addr);
    let args = ["--retries=1", "--timeline"];
    let done = fetch(list.clone())
        .args(args)
        .arg(&spec)
        .env("LC_ALL", "C.UTF-8");
    let done = done.expect_exit(0);
    let record = done.record();
    assert_eq!((record.mirror, record.attempts), (Some(1), 3));
    assert!(record.simulated);
    assert_eq!(home.connections(), 0);
    let row = done.stderr.lines().find(|line| line.starts_with("200 "));
    assert_eq!(row.unwrap().matches('✗').count(), 2, "{}", done.stderr);
    let spec = format!("{spec},404=100%@{}", mirror.addr);
    let done = fetch(list).arg("--retries=1").arg(spec).expect_exit(1);
    assert_eq!(done.message(), "mirror 1 of 1: 404 Not Found");
}
