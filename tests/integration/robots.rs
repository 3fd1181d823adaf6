//! `--robots` and `--respect`: what sites want.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use fetchall::{ErrorKind, Record};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::support::mock::{asked, get, go, page, redirect, status};
use crate::support::{
    Connection, Done, Out, Run, Server, Warc, closed_port, header, logged, path, response, said,
};

/// A server with this robots.txt and a page everywhere else.
async fn site(robots: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    get("/robots.txt").respond_with(robots).mount(&server).await;
    let pages = Mock::given(any()).respond_with(page("a page"));
    pages.with_priority(9).mount(&server).await;
    server
}

fn fetch(server: &MockServer, paths: &[&str]) -> Run {
    let urls = paths.iter().map(|path| format!("{}{path}", server.uri()));
    obedient().urls(urls)
}

fn obedient() -> Run {
    Run::new().args(["--robots", "--retry-delay=1ms"])
}

fn kind(record: &Record) -> Option<ErrorKind> {
    record.error.as_ref().map(|error| error.kind)
}

fn message(record: &Record) -> &str {
    record.error.as_ref().map_or("", |error| &error.message)
}

/// Returns how often the robots.txt was requested, and the other paths, sorted.
async fn asked_of(server: &MockServer) -> (usize, Vec<String>) {
    let (robots, mut others): (Vec<_>, Vec<_>) = asked(server)
        .await
        .into_iter()
        .partition(|path| path == "/robots.txt");
    others.sort();
    (robots.len(), others)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_disallowed_fails_and_is_not_requested() {
    let rules = "User-agent: *\nDisallow: /\n\nUser-agent: fetchall\nDisallow: /private/\n\
                 Disallow: /*?id=\nAllow: /private/open$\n";
    let server = site(page(rules)).await;
    let paths = [
        "/",
        "/private/a",
        "/private/open",
        "/private/open/",
        "/b?id=1",
        "/robots.txt",
    ];
    let done = go(fetch(&server, &paths), 1);
    let failed: Vec<_> = done.records.iter().filter(|record| !record.ok).collect();
    assert_eq!(failed.len(), 3);
    for record in failed {
        assert_eq!(kind(record), Some(ErrorKind::Robots), "{}", record.url);
        let error = record.error.as_ref().unwrap();
        assert!(!error.transient && record.attempts == 0 && record.status.is_none());
    }
    let said_of_a = message(done.of("/private/a"));
    assert_eq!(said_of_a, "disallowed by robots.txt: /private/");
    assert!(
        said(&done.stderr).contains("failed: 3 robots"),
        "{}",
        done.stderr
    );
    let (robots, others) = asked_of(&server).await;
    // Once for the run, and once for the list.
    assert_eq!(
        (robots, others),
        (2, vec!["/".into(), "/private/open".into()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_robots_txt_per_origin_whatever_the_concurrency() {
    let (one, other) = (site(page("")).await, site(status(404)).await);
    for concurrency in ["-j1", "-j64", "-j512"] {
        let urls = (0..400).flat_map(|n| [&one, &other].map(|site| format!("{}/{n}", site.uri())));
        let run = obedient()
            .args([concurrency, "--per-host=64", "--threads=2"])
            .urls(urls);
        assert_eq!(go(run, 0).records.len(), 800);
        for server in [&one, &other] {
            let (robots, others) = asked_of(server).await;
            assert_eq!((robots, others.len()), (1, 400), "{concurrency}");
            let first = &server.received_requests().await.unwrap()[0];
            assert_eq!(first.url.path(), "/robots.txt", "nothing before it");
            server.reset().await;
        }
        get("/robots.txt").respond_with(page("")).mount(&one).await;
        get("/robots.txt")
            .respond_with(status(404))
            .mount(&other)
            .await;
        for server in [&one, &other] {
            let pages = Mock::given(any()).respond_with(page("a page"));
            pages.with_priority(9).mount(server).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_nothing_is_asked() {
    let server = site(page("User-agent: *\nDisallow: /")).await;
    let done = go(Run::new().urls([format!("{}/x", server.uri())]), 0);
    assert!(done.record().ok);
    assert_eq!(asked(&server).await, ["/x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_server_decides() {
    let closed = "User-agent: *\nDisallow: /";
    let bom = format!("\u{feff}{}", closed.replace('\n', "\r\n"));
    let html = page("<html>no rules: here</html>").insert_header("content-type", "text/html");
    for (answer, allowed, requests, transient) in [
        (page("User-agent: *\nAllow: /"), true, 1, false),
        (page(closed), false, 1, false),
        (page(bom), false, 1, false),
        (
            page("User-agent: *\nDisallow:\n\nUser-agent: fetchall\nDisallow: /"),
            false,
            1,
            false,
        ),
        (page(""), true, 1, false),
        (html, true, 1, false),
        (status(204), true, 1, false),
        (status(400), true, 1, false),
        (status(401), true, 1, false),
        (status(403), true, 1, false),
        (status(404), true, 1, false),
        (status(410), true, 1, false),
        (status(429), false, 2, true),
        (status(500), false, 2, true),
        (status(501), false, 1, true),
        (status(503), false, 2, true),
        (redirect("/robots.txt?again"), true, 4, false),
        (redirect("ftp://a.test/"), true, 1, false),
    ] {
        let shown = format!("{answer:?}");
        let server = site(answer).await;
        let run = fetch(&server, &["/x", "/y"]).args(["--retries=1", "--retry-max-delay=10ms"]);
        let done = go(run, i32::from(!allowed));
        let (robots, others) = asked_of(&server).await;
        assert_eq!(others.len(), if allowed { 2 } else { 0 }, "{shown}");
        assert!(
            robots == requests || shown.contains("429"),
            "{robots} for {shown}"
        );
        for record in &done.records {
            let error = record.error.as_ref();
            assert_eq!(error.is_none(), allowed, "{shown}");
            assert!(
                error.is_none_or(|error| error.kind == ErrorKind::Robots),
                "{shown}"
            );
            assert!(
                error.is_none_or(|error| error.transient == transient),
                "{shown}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robots_txt_that_fails_at_first_is_asked_for_again() {
    for (first, wait) in [
        (status(503), 0),
        (status(500), 0),
        (status(429).insert_header("retry-after", "1"), 950),
        (status(503).insert_header("retry-after", "1"), 950),
    ] {
        let server = MockServer::start().await;
        let robots = get("/robots.txt").respond_with(first).up_to_n_times(1);
        robots.with_priority(1).mount(&server).await;
        let rules = page("User-agent: *\nDisallow: /x");
        get("/robots.txt").respond_with(rules).mount(&server).await;
        get("/y").respond_with(page("y")).mount(&server).await;
        let done = go(fetch(&server, &["/x", "/y"]), 1);
        assert_eq!(kind(done.of("/x")), Some(ErrorKind::Robots));
        assert!(done.of("/y").ok && done.of("/y").attempts == 1);
        assert!(done.took >= Duration::from_millis(wait), "{:?}", done.took);
        assert_eq!(asked_of(&server).await, (2, vec!["/y".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robots_txt_is_followed_to_another_origin_and_counts_where_it_was_asked_for() {
    let rules = "User-agent: *\nDisallow: /x";
    let other = MockServer::start().await;
    get("/rules").respond_with(page(rules)).mount(&other).await;
    get("/robots.txt")
        .respond_with(status(404))
        .mount(&other)
        .await;
    get("/x").respond_with(page("x")).mount(&other).await;
    let server = site(redirect(format!("{}/rules", other.uri()))).await;
    let run = fetch(&server, &["/x", "/y"]).urls([format!("{}/x", other.uri())]);
    // Redirects of the list are off; those to a robots.txt are not.
    let done = go(run.args(["--max-redirects=0"]), 1);
    let fetched = |server: &MockServer, path: &str| {
        let url = format!("{}{path}", server.uri());
        done.records
            .iter()
            .any(|record| record.url == url && record.ok)
    };
    assert!(!fetched(&server, "/x") && fetched(&server, "/y") && fetched(&other, "/x"));
    assert_eq!(asked_of(&server).await, (1, vec!["/y".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_redirects_to_a_robots_txt_are_followed() {
    for (redirects, is_closed) in [(5, true), (6, false)] {
        let server = MockServer::start().await;
        let at = |number: u32| match number {
            0 => "/robots.txt".to_owned(),
            number => format!("/r{number}"),
        };
        for number in 0..redirects {
            let mock = get(&at(number)).respond_with(redirect(at(number + 1)));
            mock.mount(&server).await;
        }
        let rules = page("User-agent: *\nDisallow: /x");
        get(&at(redirects)).respond_with(rules).mount(&server).await;
        get("/x").respond_with(page("x")).mount(&server).await;
        let done = go(fetch(&server, &["/x"]), i32::from(is_closed));
        assert_eq!(done.record().ok, !is_closed, "{redirects}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_a_redirect_is_checked() {
    let closed = site(page("User-agent: *\nDisallow: /secret")).await;
    let server = site(page("User-agent: *\nDisallow: /hidden")).await;
    for (at, to) in [
        ("/away", format!("{}/secret", closed.uri())),
        ("/aside", "/hidden".to_owned()),
        ("/open", format!("{}/open", closed.uri())),
    ] {
        get(at).respond_with(redirect(to)).mount(&server).await;
    }
    let done = go(fetch(&server, &["/away", "/aside", "/open"]), 1);
    for path in ["/away", "/aside"] {
        let record = done.of(path);
        assert_eq!(kind(record), Some(ErrorKind::Robots));
        assert_eq!((record.attempts, record.redirects), (1, 1));
    }
    assert!(done.of("/open").ok);
    assert_eq!(asked_of(&closed).await, (1, vec!["/open".to_owned()]));
    let (robots, others) = asked_of(&server).await;
    assert_eq!((robots, others.len()), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_has_rules_of_its_own() {
    let closed = site(page("User-agent: *\nDisallow: /")).await;
    let open = site(status(404)).await;
    let line = |first: &MockServer, second: &MockServer| {
        let (first, second) = (first.uri(), second.uri());
        format!("{{\"url\": \"{first}/m\", \"mirrors\": [\"{second}/m\"]}}\n")
    };
    let list = format!("{}{}", line(&closed, &open), line(&closed, &closed));
    let done = go(
        obedient().arg("--input-format=jsonl").arg("-").stdin(list),
        1,
    );
    assert!(
        done.records
            .iter()
            .any(|record| record.ok && record.mirror == Some(1))
    );
    let failed = done.records.iter().find(|record| !record.ok).unwrap();
    assert_eq!(kind(failed), Some(ErrorKind::Robots));
    assert_eq!(asked_of(&closed).await, (1, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_has_its_own_groups() {
    let rules = "User-agent: mybot\nDisallow: /x\n\nUser-agent: *\nDisallow: /y\n";
    let server = site(page(rules)).await;
    let done = go(fetch(&server, &["/x", "/y"]), 1);
    assert!(done.of("/x").ok && !done.of("/y").ok);
    let run = fetch(&server, &["/x", "/y"]).arg("--robots-agent=MyBot");
    let done = go(run, 1);
    assert!(done.of("/y").ok && !done.of("/x").ok);
    let wrong =
        Run::new()
            .text()
            .args(["--robots", "--robots-agent=my bot/1", "http://127.0.0.1:9/"]);
    assert!(go(wrong, 2).stderr.contains("product token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crawl_delay_spaces_requests_within_bounds() {
    for (delay, max, gap) in [
        ("0.2", "30s", 200),
        ("60", "100ms", 100),
        ("1e30", "100ms", 100),
    ] {
        let server = site(page(format!(
            "User-agent: *\nCrawl-delay: {delay}\nDisallow: /x"
        )))
        .await;
        let run = fetch(&server, &["/1", "/x/1", "/2", "/x/2", "/3", "/x/3"]);
        let done = go(run.args(["-v", &format!("--crawl-delay-max={max}")]), 1);
        let mut starts: Vec<_> = done.records.iter().filter(|it| it.ok).collect();
        starts.sort_by_key(|record| record.started_ms);
        let starts: Vec<_> = starts
            .iter()
            .filter_map(|record| record.started_ms)
            .collect();
        assert_eq!(starts.len(), 3);
        // The clock of records is in milliseconds.
        assert!(
            starts.windows(2).all(|pair| pair[1] - pair[0] >= gap - 2),
            "{starts:?}"
        );
        assert!(
            done.took < Duration::from_millis(gap * 2 + 3000),
            "what is disallowed waits for none"
        );
        assert!(
            logged(&done.stderr, "host").contains("crawl delay"),
            "{}",
            done.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_list_and_the_run_ask_for_is_not_asked_of_robots_txt() {
    let server = site(page("User-agent: *\nDisallow: /x")).await;
    let run = fetch(&server, &["/x", "/y"]).args([
        "-XPOST",
        "-dform",
        "-HRange: bytes=0-3",
        "-HIf-None-Match: \"a\"",
        "--max-size=6",
        "--expect-type=image/*",
    ]);
    let done = go(run, 1);
    assert_eq!(kind(done.of("/x")), Some(ErrorKind::Robots));
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests[0].url.path(), "/robots.txt");
    assert_eq!(requests[0].method.as_str(), "GET");
    for name in ["range", "if-none-match", "content-type", "content-length"] {
        assert!(!requests[0].headers.contains_key(name), "{name}");
    }
    assert_eq!(requests[1].method.as_str(), "POST");
}

/// A raw server whose robots.txt is `answer`, after which the connection ends.
fn broken(
    answer: impl Fn(&mut Connection) -> std::io::Result<()> + Send + Sync + 'static,
) -> Server {
    Server::start(move |connection| {
        while let Some(request) = connection.request()? {
            if path(&request) == "/robots.txt" {
                return answer(connection);
            }
            connection.send(&response("200 OK", &[], b"ok"))?;
        }
        Ok(())
    })
}

#[test]
fn a_file_that_does_not_come_whole_allows_nothing() {
    let open = b"User-agent: *\nAllow: /\n";
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let cut = broken(move |connection| connection.send(&[&head[..], open].concat()));
    let gzip = broken(|connection| {
        connection.send(&response("200 OK", &["Content-Encoding: gzip"], b"no gzip"))
    });
    let nonsense = broken(|connection| connection.send(b"SSH-2.0\r\n\r\n"));
    let slow = broken(move |connection| {
        connection.send(head)?;
        connection.hang()
    });
    for (server, retries) in [(cut, 2), (gzip, 1), (nonsense, 1), (slow, 2)] {
        let run = obedient().args(["--retries=1", "--stall-timeout=300ms"]);
        let done = run.urls([server.url("/x")]).expect_exit(1);
        let record = done.record();
        assert_eq!(kind(record), Some(ErrorKind::Robots), "{}", message(record));
        assert!(record.error.as_ref().unwrap().transient);
        assert!(
            message(record).starts_with("not requested, because robots.txt could not be read: ")
        );
        let asked = server.asked();
        assert!(asked.iter().all(|path| path == "/robots.txt"), "{asked:?}");
        assert!(asked.len() >= retries, "{asked:?} {}", message(record));
    }
}

#[test]
fn a_host_that_is_not_reached_fails_as_it_does_without() {
    let urls = ["/x", "/y"].map(|path| format!("http://{}{path}", closed_port()));
    let done = obedient().arg("--retries=0").urls(urls).expect_exit(1);
    for record in &done.records {
        assert_eq!(
            kind(record),
            Some(ErrorKind::Refused),
            "{}",
            message(record)
        );
        assert!(record.error.as_ref().unwrap().transient && record.attempts == 0);
    }
}

#[test]
fn what_comes_after_500_kib_is_not_read() {
    for ending in ["Content-Length: 9999999999", "Connection: close"] {
        let server = broken(move |connection| {
            let head = format!("HTTP/1.1 200 OK\r\n{ending}\r\n\r\nUser-agent: *\nDisallow: /x\n");
            connection.send(head.as_bytes())?;
            let filler = "# nothing\n".repeat(10_000);
            // Never ends by itself.
            while connection.stream.write_all(filler.as_bytes()).is_ok() {
                thread::yield_now();
            }
            Ok(())
        });
        let done = obedient()
            .urls([server.url("/x"), server.url("/y")])
            .expect_exit(1);
        assert!(done.of("/y").ok, "{ending}");
        assert_eq!(kind(done.of("/x")), Some(ErrorKind::Robots));
        assert_eq!(server.asked(), ["/robots.txt", "/y"]);
    }
}

/// Also with `--raw`, which is about bodies that are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_coded_robots_txt_is_decoded_or_allows_nothing() {
    let rules = "User-agent: *\nDisallow: /x\n";
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(rules.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let coded = |coding: &str| {
        let body = ResponseTemplate::new(200).set_body_raw(packed.clone(), "application/gzip");
        body.insert_header("Content-Encoding", coding)
    };
    for args in [&[][..], &["--raw"]] {
        let server = site(coded("gzip")).await;
        let done = go(fetch(&server, &["/x", "/y"]).args(args.to_vec()), 1);
        assert_eq!(kind(done.of("/x")), Some(ErrorKind::Robots), "{args:?}");
        assert!(done.of("/y").ok, "{args:?}");
        let server = site(coded("x-own")).await;
        let run = fetch(&server, &["/x", "/y"]).args(args.to_vec());
        let done = go(run.arg("--retries=0"), 1);
        for record in &done.records {
            assert_eq!(kind(record), Some(ErrorKind::Robots), "{args:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robots_txt_at_a_host_that_is_not_reached_allows_nothing() {
    let elsewhere = format!("http://{}/robots.txt", closed_port());
    let server = site(redirect(&elsewhere)).await;
    let done = go(fetch(&server, &["/x"]).arg("--retries=0"), 1);
    assert_eq!(kind(done.record()), Some(ErrorKind::Robots));
    assert!(
        message(done.record()).contains("refused"),
        "{}",
        message(done.record())
    );
}

/// The rules of the file apply to other resources at its path.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_file_itself_needs_no_permission() {
    let server = site(page("User-agent: *\nDisallow: /")).await;
    let done = go(fetch(&server, &["/robots.txt", "/robots.txt?x"]), 1);
    assert!(done.of("/robots.txt").ok);
    assert_eq!(kind(done.of("?x")), Some(ErrorKind::Robots));
}

#[test]
fn long_robots_txts_of_many_origins_take_bounded_memory() {
    let rules: String = (0..15_000)
        .map(|n| format!("Disallow: /p{n:06}/abcdefghij\n"))
        .collect();
    let rules = format!("User-agent: *\n{rules}");
    let server = Server::http(move |request| match path(request) {
        "/robots.txt" => response("200 OK", &[], rules.as_bytes()),
        _ => response("200 OK", &[], b""),
    });
    let address = server.addr;
    let hosts: Vec<_> = (0..200)
        .map(|n| format!("n{n}.test:{}", address.port()))
        .collect();
    let rules = hosts
        .iter()
        .map(|host| format!("--resolve={host}:{}", address.ip()));
    let urls = hosts.iter().map(|host| format!("http://{host}/"));
    let done = obedient().args(rules).urls(urls).expect_exit(0);
    assert_eq!(done.records.len(), 200);
    // A debug build takes 25 MiB without the rules.
    assert!(done.peak < 128 << 10, "{} KiB", done.peak);
}

#[test]
fn a_slow_robots_txt_costs_other_hosts_nothing() {
    let slow = broken(|connection| {
        thread::sleep(Duration::from_millis(1500));
        connection.send(&response("404 Not Found", &[], b""))?;
        // Serves the pages, too.
        while connection.request()?.is_some() {
            connection.send(&response("200 OK", &[], b"ok"))?;
        }
        Ok(())
    });
    let quick = Server::http(|_| response("200 OK", &[], b""));
    let urls = (0..50).map(|n| slow.url(&format!("/{n}")));
    let others = (0..50).map(|n| quick.url(&format!("/{n}")));
    let done = obedient()
        .args(["-j4"])
        .urls(urls.chain(others))
        .expect_exit(0);
    let quickly = |record: &&Record| record.url.starts_with(&quick.url(""));
    assert!(done.records.iter().take(50).all(|record| quickly(&record)));
    assert_eq!(done.records.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_and_a_journal_have_no_robots_txt() {
    let out = Out::new();
    let pack = out.beside("crawl.warc");
    let server = site(page("User-agent: *\nDisallow: /x")).await;
    let cross = site(status(404)).await;
    get("/y")
        .respond_with(page("y").insert_header("x-robots-tag", "noai"))
        .mount(&server)
        .await;
    let run = || {
        let urls = [format!("{}/z", cross.uri())];
        let run = fetch(&server, &["/x", "/y", "/z"]).urls(urls);
        run.args(["--respect=noai,tdm", &format!("--pack={}", pack.display())])
    };
    let done = go(run(), 1);
    assert_eq!(done.records.iter().filter(|record| record.ok).count(), 2);
    assert_eq!(done.of("/y").x_robots_tag.as_deref(), Some("noai"));
    let kept = Warc::read(&pack);
    let targets: Vec<_> = kept
        .of_kind("response")
        .iter()
        .map(|one| one.target().to_owned())
        .collect();
    assert_eq!(targets.len(), 2, "{targets:?}");
    assert!(targets.iter().all(|url| url.ends_with("/z")), "{targets:?}");
    let again = go(run(), 1);
    assert_eq!(again.skipped(), 2);
    // Rules are those of a run, and never of an earlier one.
    assert_eq!(asked_of(&server).await.0, 2);
}

#[test]
fn what_is_respected_leaves_no_part() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            if header(&request, "range").is_none() {
                let head = "HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: 1000\r\n\r\n";
                return connection.send(&[head.as_bytes(), &[b'x'; 500]].concat());
            }
            let headers = [
                "ETag: \"v\"",
                "Content-Range: bytes 500-999/1000",
                "X-Robots-Tag: noai",
            ];
            connection.send(&response("206 Partial Content", &headers, &[b'x'; 500]))?;
        }
        Ok(())
    });
    let out = Out::new();
    let run = || out.run().arg("--retries=0").urls([server.url("/x")]);
    run().expect_exit(1);
    assert!(!out.unfinished().is_empty(), "a part, and its version");
    let done = run().arg("--respect=noai").expect_exit(1);
    assert_eq!(kind(done.record()), Some(ErrorKind::Robots));
    assert_eq!(out.unfinished(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sites_say_is_recorded() {
    let rules =
        "User-agent: *\nAllow: /\nContent-Usage: train-ai=n\nContent-Usage: /open/ search=y\n";
    let server = site(page(rules)).await;
    let tagged = page("x")
        .append_header("x-robots-tag", "noindex")
        .append_header("x-robots-tag", "otherbot: noai, max-snippet: 5")
        .insert_header("content-usage", "search=n")
        .insert_header("tdm-reservation", "1");
    get("/tagged").respond_with(tagged).mount(&server).await;
    let done = go(fetch(&server, &["/tagged", "/open/x", "/robots.txt"]), 0);
    let tagged = done.of("/tagged");
    let tag = "noindex, otherbot: noai, max-snippet: 5";
    assert_eq!(tagged.x_robots_tag.as_deref(), Some(tag));
    assert_eq!(
        tagged.content_usage.as_deref(),
        Some("search=n, train-ai=n")
    );
    assert_eq!(tagged.tdm_reservation.as_deref(), Some("1"));
    assert_eq!(
        done.of("/open/x").content_usage.as_deref(),
        Some("search=y")
    );
    let without = |done: &Done| done.of("/tagged").content_usage.clone();
    let run = || Run::new().urls([format!("{}/tagged", server.uri())]);
    assert_eq!(
        without(&go(run(), 0)).as_deref(),
        Some("search=n"),
        "not read"
    );
    let row = run().text().args([
        "-w",
        "%{x_robots_tag}|%{content_usage}|%{tdm_reservation}\n",
    ]);
    assert_eq!(go(row, 0).stdout, format!("{tag}|search=n|1\n"));
    let csv = go(run().text().arg("--csv"), 0).stdout;
    assert!(csv.contains(&format!(",\"{tag}\",search=n,1,")), "{csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_respected_fails_and_is_not_kept() {
    let server = MockServer::start().await;
    for (at, name, value) in [
        ("/noai", "x-robots-tag", "noai"),
        ("/index", "x-robots-tag", "noindex"),
        ("/usage", "content-usage", "train-ai=n"),
        ("/tdm", "tdm-reservation", "1"),
        ("/other", "x-robots-tag", "otherbot: noai"),
        ("/free", "tdm-reservation", "0"),
    ] {
        let tagged = page("body").insert_header(name, value);
        get(at).respond_with(tagged).mount(&server).await;
    }
    let paths = ["/noai", "/index", "/usage", "/tdm", "/other", "/free"];
    for (respect, failing) in [
        ("noai", &["/noai", "/usage"][..]),
        ("noindex", &["/index"]),
        ("tdm", &["/tdm"]),
        ("noai,noindex,tdm", &["/noai", "/index", "/usage", "/tdm"]),
    ] {
        let out = Out::new();
        let urls = paths.map(|path| format!("{}{path}", server.uri()));
        let done = go(
            out.run().args([format!("--respect={respect}")]).urls(urls),
            1,
        );
        for path in paths {
            let record = done.of(path);
            assert_eq!(record.ok, !failing.contains(&path), "{respect}: {path}");
            assert_eq!(record.file.is_some(), record.ok);
            if !record.ok {
                assert_eq!(kind(record), Some(ErrorKind::Robots));
                assert_eq!((record.status, record.attempts), (Some(200), 1));
                assert!(message(record).starts_with("use reserved by the site: "));
            }
        }
        assert!(out.unfinished().is_empty());
    }
    let wrong = Run::new()
        .text()
        .args(["--respect=noai,nofoo", "http://127.0.0.1:9/"]);
    let said = go(wrong, 2).stderr;
    assert!(said.contains("noai, noindex, tdm"), "{said}");
}

/// Also for the URLs that are known of by then, and those that come later.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_simulated_robots_txt_is_simulated() {
    let server = site(page("User-agent: *\nDisallow: /x")).await;
    let run = fetch(&server, &["/1", "/2"]).args(["--simulate-failure=500=100%", "--retries=0"]);
    let done = go(run, 1);
    for record in &done.records {
        assert_eq!(kind(record), Some(ErrorKind::Robots));
        assert!(record.simulated, "{record:?}");
    }
    assert!(
        done.stderr.contains("2 with simulated failures"),
        "{}",
        done.stderr
    );
    let real = site(status(500)).await;
    let done = go(fetch(&real, &["/1"]).arg("--retries=0"), 1);
    assert!(!done.record().simulated);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_can_be_rehearsed_and_is_explained() {
    let server = site(status(404)).await;
    let run = fetch(&server, &["/x"]).arg("--simulate-failure=robots=100%");
    let done = go(run, 1);
    assert_eq!(done.failure(), (ErrorKind::Robots, 1));
    assert!(done.record().simulated);
    assert_eq!(asked(&server).await, ["/robots.txt"]);
    let explained = go(Run::new().text().args(["--explain", "robots"]), 0);
    assert!(
        explained.stdout.contains("--robots"),
        "{}",
        explained.stdout
    );
}

/// It is read, not saved: it takes no file from a URL that was saved under its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_the_name_of_a_robots_txt_stays_that_of_its_url() {
    let server = site(page("User-agent: *\nDisallow: /no\n")).await;
    let at = |path: &str| format!("{}{path}", server.uri());
    let out = Out::new();
    let saved = go(out.run().arg(at("/robots.txt")), 0);
    let file = saved.record().file.clone().unwrap();
    std::fs::remove_dir_all(out.path()).unwrap();
    let line = format!("{{\"url\":\"{}\",\"file\":\"{file}\"}}\n", at("/page"));
    let list = || out.run().arg("--input-format=jsonl").stdin(line.clone());
    go(list(), 0);
    go(out.run().args(["--robots", &at("/other")]), 0);
    assert_eq!(go(list(), 0).skipped(), 1);
}
