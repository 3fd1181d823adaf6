//! Lists that are sitemaps or feeds, and sitemaps that are fetched to be read.

use std::fs;
use std::sync::{Arc, OnceLock};

use fetchall::{ErrorKind, Record};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support;
use crate::support::mock::{Without, get, go, page, redirect, status};
use crate::support::{Done, Out, Run, Server, response};

fn sitemap(urls: &[String]) -> String {
    let urls = urls
        .iter()
        .map(|url| format!("<url><loc>{url}</loc></url>"));
    format!("<urlset>{}</urlset>", urls.collect::<String>())
}

fn index(urls: &[String]) -> String {
    let urls = urls
        .iter()
        .map(|url| format!("<sitemap><loc>{url}</loc></sitemap>"));
    format!(
        "<?xml version=\"1.0\"?>\n<sitemapindex>{}</sitemapindex>",
        urls.collect::<String>()
    )
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A server with `/page` for everything that is not mounted.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let other = Mock::given(method("GET")).respond_with(page("a page"));
    other.with_priority(9).mount(&server).await;
    server
}

async fn mount(server: &MockServer, at: &str, answer: ResponseTemplate, times: u64) {
    let mock = get(at).respond_with(answer).expect(times);
    mock.mount(server).await;
}

fn fetch(urls: impl IntoIterator<Item = String>) -> Run {
    Run::new()
        .arg("--input-format=sitemap")
        .arg("--ordered")
        .arg("--retries=0")
        .args(urls)
}

fn ends(done: &Done, server: &MockServer) -> Vec<String> {
    let end = |record: &Record| record.url.replace(&server.uri(), "");
    done.records.iter().map(end).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sitemaps_of_an_index_are_fetched_and_read_in_its_order() {
    let server = server().await;
    let at = |path: &str| format!("{}{path}", server.uri());
    let children = [
        "/a.xml",
        "/b.xml.gz",
        "/moved.xml",
        "/gone.xml",
        "/c.txt",
        "/nested.xml",
        "/cut.xml",
        "/d.xml",
    ];
    mount(&server, "/index.xml", page(index(&children.map(at))), 1).await;
    let dated = format!(
        "<urlset><url><loc>{}</loc><lastmod>2026-01-02</lastmod></url><url><loc>{}</loc></url></urlset>",
        at("/1?a=1&amp;b=2"),
        at("/2")
    );
    mount(&server, "/a.xml", page(dated), 2).await;
    mount(
        &server,
        "/b.xml.gz",
        page(gzip(&sitemap(&[at("/3"), "nonsense".into()]))),
        1,
    )
    .await;
    mount(&server, "/moved.xml", redirect("/target.xml"), 1).await;
    mount(&server, "/target.xml", page(sitemap(&[at("/4")])), 1).await;
    mount(&server, "/gone.xml", status(404), 1).await;
    mount(
        &server,
        "/c.txt",
        page(format!("{}\n\n{}\n", at("/5"), at("/6"))),
        1,
    )
    .await;
    mount(&server, "/nested.xml", page(index(&[at("/a.xml")])), 1).await;
    mount(
        &server,
        "/cut.xml",
        page(format!("<urlset><url><loc>{}</loc></url><url>", at("/7"))),
        1,
    )
    .await;
    mount(&server, "/d.xml", page(sitemap(&[at("/8")])), 1).await;

    let done = go(fetch([at("/index.xml")]), 1);
    assert_eq!(
        ends(&done, &server),
        [
            "/1?a=1&b=2",
            "/2",
            "/3",
            "nonsense",
            "/4",
            "/gone.xml",
            "/5",
            "/6",
            "/nested.xml",
            "/7",
            "/cut.xml",
            "/8"
        ]
    );
    let place = |end: &str| {
        let record = done.of(end);
        (record.input.replace(&server.uri(), ""), record.line)
    };
    assert_eq!(place("/2"), ("/a.xml".into(), 2));
    assert_eq!(place("nonsense"), ("/b.xml.gz".into(), 2));
    assert_eq!(place("/6"), ("/c.txt".into(), 3));
    assert_eq!(place("/gone.xml"), ("/index.xml".into(), 4));
    let columns = |end: &str| {
        done.of(end)
            .columns
            .as_ref()
            .map(|it| it.as_json().to_owned())
    };
    assert_eq!(
        columns("b=2").as_deref(),
        Some(r#"{"lastmod":"2026-01-02"}"#)
    );
    assert_eq!(columns("/2"), None);
    let dates = fetch([at("/a.xml")])
        .text()
        .args(["-w", "%{columns.lastmod}|"]);
    assert_eq!(go(dates, 0).stdout, "2026-01-02||");
    let failed = |end: &str| {
        let error = done.of(end).error.as_ref().unwrap();
        (error.kind, error.message.clone())
    };
    assert_eq!(failed("/gone.xml").0, ErrorKind::Status);
    assert_eq!(done.of("/gone.xml").status, Some(404));
    for (end, why) in [
        ("/nested.xml", "an index inside an index"),
        ("/cut.xml", "ends before its last element"),
    ] {
        let (kind, message) = failed(end);
        assert_eq!(kind, ErrorKind::Decode);
        assert!(message.contains(why), "{message}");
    }
    assert!(
        done.stderr.contains("12 URLs: 8 fetched, 4 failed"),
        "{}",
        done.stderr
    );
}

/// A hundred sitemaps through one connection: nothing waits for what waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_sitemaps_as_for_pages() {
    let server = server().await;
    let at = |path: String| format!("{}{path}", server.uri());
    let children: Vec<_> = (0..100).map(|n| at(format!("/{n}.xml"))).collect();
    mount(&server, "/index.xml", page(index(&children)), 1).await;
    for n in 0..100 {
        let pages = [at(format!("/page{n}")), at(format!("/more{n}"))];
        mount(&server, &format!("/{n}.xml"), page(sitemap(&pages)), 1).await;
    }
    let done = go(
        fetch([at("/index.xml".into())]).args(["-j1", "--per-host=1"]),
        0,
    );
    assert_eq!(done.records.len(), 200);
    assert_eq!(ends(&done, &server)[..3], ["/page0", "/more0", "/page1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sitemap_is_a_get_with_the_headers_of_the_run_and_is_retried() {
    let server = server().await;
    let at = |path: &str| format!("{}{path}", server.uri());
    let busy = get("/a.xml")
        .respond_with(status(503))
        .up_to_n_times(1)
        .with_priority(1);
    busy.expect(1).mount(&server).await;
    Mock::given(method("GET"))
        .and(path("/a.xml"))
        .and(header("x-key", "1"))
        .and(Without("content-type"))
        .respond_with(page(sitemap(&[at("/1")])))
        .with_priority(2)
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/1"))
        .respond_with(status(204))
        .expect(1)
        .mount(&server)
        .await;
    let run = fetch([at("/a.xml")]);
    let done = go(
        run.args([
            "-XPUT",
            "-dx",
            "-HX-Key: 1",
            "--retries=1",
            "--retry-delay=1ms",
        ]),
        0,
    );
    assert_eq!(ends(&done, &server), ["/1"]);
}

#[test]
fn files_and_stdin_are_sitemaps_by_their_content() {
    let server = Server::http(|_| response("200 OK", &[], b"x"));
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| server.url(path);
    let rss = format!(
        "<rss><channel><link>{}</link><item><link>{}</link></item></channel></rss>",
        at("/home"),
        at("/1")
    );
    let atom = format!(
        "\n<feed><entry><link href=\"{}\"/></entry></feed>",
        at("/1")
    );
    let utf16: Vec<u8> = "\u{feff}<?xml version=\"1.0\"?>"
        .encode_utf16()
        .chain(sitemap(&[at("/1")]).encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let lists = [
        ("list.xml", sitemap(&[at("/1")]).into_bytes()),
        ("list.xml.gz", gzip(&sitemap(&[at("/1")]))),
        ("feed.rss", rss.clone().into_bytes()),
        ("no-extension", rss.into_bytes()),
        ("atom.txt", atom.into_bytes()),
        ("utf16", utf16),
    ];
    for (name, bytes) in lists {
        let file = dir.path().join(name);
        fs::write(&file, &bytes).unwrap();
        let done = Run::new().arg(file.to_str().unwrap()).expect_exit(0);
        assert_eq!(done.record().url, at("/1"), "{name}");
        assert_eq!(done.record().line, 1);
        let done = Run::new().stdin(bytes).expect_exit(0);
        assert_eq!(done.record().url, at("/1"), "{name} on stdin");
    }
    // What `cat` makes of several, padded.
    let feed = format!("<rss><item><link>{}</link></item></rss>\0\n", at("/2"));
    let done = Run::new()
        .stdin(sitemap(&[at("/1")]) + &feed)
        .expect_exit(0);
    assert_eq!(done.records.len(), 2, "{}", done.stdout);
    let done = Run::new()
        .arg("--input-format=text")
        .stdin("<urlset/>")
        .expect_exit(1);
    assert_eq!(done.failure().0, ErrorKind::InvalidUrl);
    let appended = "<urlset></urlset>\nhttp://127.0.0.1:1/";
    let behind = [
        "<urlset/><![CDATA[x]]>",
        "<urlset/>&amp;",
        "<urlset/><p>x</p>",
    ];
    for xml in ["<?xml version=\"1.0\"?><svg/>", "<urlset><url>", appended]
        .into_iter()
        .chain(behind)
    {
        let done = Run::new().text().stdin(xml).expect_exit(2);
        assert!(done.stderr.contains("cannot read -: "), "{}", done.stderr);
    }
}

/// Blanks and `#` mean something else in the text list that `--failed` is.
#[test]
fn failed_entries_are_the_same_requests_again() {
    let server = Server::http(|_| response("404 Not Found", &[], b"no"));
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("again.txt");
    let at = server.url("/");
    let with_password = at.replace("http://", "http://me:p%2541w @");
    let list = format!(
        "<urlset><url><loc></loc></url><url><loc>{at}1 #c</loc></url><url><loc>{at}2 3</loc></url>\
         <url><loc># x</loc></url><url><loc>{at}4&#xA0;</loc></url><url><loc>no url</loc></url>\
         <url><loc>{with_password}5 </loc></url></urlset>"
    );
    let sent = |list: String| {
        let before = server.requests().len();
        let done = Run::new()
            .args(["--ordered", "--failed", failed.to_str().unwrap()])
            .stdin(list)
            .expect_exit(1);
        assert_eq!(done.records.len(), 7, "{}", done.stdout);
        let mut requests = server.requests().split_off(before);
        requests.sort();
        requests
    };
    let first = sent(list);
    assert_eq!(first.len(), 4);
    assert_eq!(sent(fs::read_to_string(&failed).unwrap()), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_fetches_sitemaps_again_and_skips_their_pages() {
    let server = server().await;
    let at = |path: &str| format!("{}{path}", server.uri());
    mount(
        &server,
        "/a.xml",
        page(sitemap(&[at("/1"), at("/2"), at("/a.xml")])),
        5,
    )
    .await;
    let out = Out::new();
    let run = || out.run().arg("--input-format=sitemap").args([at("/a.xml")]);
    go(run(), 0);
    let again = go(run(), 0);
    // The third page is the sitemap itself, which is a page like any other where it is listed.
    assert_eq!(again.skipped(), 3);
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("failed.txt");
    let arg = format!("--failed={}", failed.display());
    go(
        fetch([at("/a.xml"), "http://127.0.0.1:1/b.xml".into()]).arg(arg),
        1,
    );
    assert_eq!(
        fs::read_to_string(failed).unwrap(),
        "http://127.0.0.1:1/b.xml\n"
    );
}

#[test]
fn a_run_that_ends_while_a_sitemap_is_awaited_does_not_say_that_the_list_is_empty() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.hang()
    });
    let run = fetch([server.url("/a.xml")]).text();
    let done = run.args(["--stop-after=300ms", "--max-time=1s"]).go();
    assert!(!done.stderr.contains("list is empty"), "{}", done.stderr);
    assert!(
        done.stderr.contains("input not fully read"),
        "{}",
        done.stderr
    );
}

/// A sitemap is read, not saved: it takes no file from a URL that was saved under its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_the_name_of_a_sitemap_stays_that_of_its_url() {
    let server = server().await;
    let at = |path: &str| format!("{}{path}", server.uri());
    mount(&server, "/sitemap.xml", page(sitemap(&[at("/1")])), 2).await;
    let out = Out::new();
    let saved = out.run().args(["--retries=0"]).arg(at("/sitemap.xml"));
    let file = saved.expect_exit(0).record().file.clone().unwrap();
    fs::remove_dir_all(out.path()).unwrap();
    let line = format!("{{\"url\":\"{}\",\"file\":\"{file}\"}}\n", at("/page"));
    let list = || {
        let run = out.run().args(["--input-format=jsonl", "--retries=0"]);
        run.stdin(line.clone()).expect_exit(0)
    };
    list();
    let read = out.run().args(["--input-format=sitemap", "--retries=0"]);
    let read = read.arg(at("/sitemap.xml")).expect_exit(0);
    assert_eq!(read.record().url, at("/1"));
    assert_eq!(list().skipped(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_run_wants_of_bodies_is_not_wanted_of_a_sitemap() {
    let server = MockServer::start().await;
    let image = format!("{}/image", server.uri());
    let image_page = page("PNG").insert_header("content-type", "image/png");
    get("/image").respond_with(image_page).mount(&server).await;
    let list =
        page(sitemap(std::slice::from_ref(&image))).insert_header("content-type", "text/xml");
    let whole = get("/s.xml")
        .and(Without("range"))
        .and(Without("if-none-match"));
    whole.respond_with(list).expect(1).mount(&server).await;
    let run = fetch([format!("{}/s.xml", server.uri())]).args([
        "--expect-type=image/*",
        "-HRange: bytes=0-9",
        "-HIf-None-Match: \"a\"",
    ]);
    assert_eq!(go(run, 0).record().url, image);
}

/// Its server chooses the URLs, and could collect what is meant for others.
#[test]
fn what_is_meant_for_the_site_does_not_go_where_its_sitemap_points() {
    let elsewhere = Server::http(|_| response("200 OK", &[], b"ok"));
    let (page, foreign) = (Arc::new(OnceLock::new()), elsewhere.url("/page"));
    let own = Arc::clone(&page);
    let site = Server::http(move |request| {
        let urlset = |urls: &[&String]| {
            let urls: String = urls
                .iter()
                .map(|url| format!("<url><loc>{url}</loc></url>"))
                .collect();
            format!("<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>")
        };
        match support::path(request) {
            "/map.xml" => response(
                "200 OK",
                &[],
                urlset(&[&foreign, own.get().unwrap()]).as_bytes(),
            ),
            "/map.txt" => response(
                "200 OK",
                &[],
                format!("{foreign}\n{}\n", own.get().unwrap()).as_bytes(),
            ),
            _ => response("200 OK", &[], b"ok"),
        }
    });
    page.set(site.url("/page")).unwrap();
    for map in ["/map.xml", "/map.txt"] {
        let run = Run::new().args(["--input-format=sitemap", "-u", "me:pw", "-b", "sid=1"]);
        let done = run
            .args(["-H", "X-Key: k3y", &site.url(map)])
            .expect_exit(0);
        assert_eq!(done.records.len(), 2);
        for (server, is_own) in [(&site, true), (&elsewhere, false)] {
            let requests = server.requests();
            let last = requests.last().unwrap();
            assert_eq!(support::path(last), "/page");
            for name in ["authorization", "cookie", "x-key"] {
                assert_eq!(
                    support::header(last, name).is_some(),
                    is_own,
                    "{map} {name}"
                );
            }
        }
    }
}
