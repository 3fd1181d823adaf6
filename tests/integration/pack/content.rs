use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{NAMES, Packing, body_of, noise, pages, path_of, place};
use crate::support::{Run, Server, Texts, Warc, WarcRecord, closed_port, response, warcio_checks};

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
    coder.write_all(body).unwrap();
    coder.finish().unwrap()
}

/// Bodies of all kinds.
fn sorts() -> Server {
    Server::http(|request| match path_of(request) {
        "/empty" => response("200 OK", &[], b""),
        "/blank" => response("203 Good", &[], blank()),
        "/gzip" => response(
            "200 OK",
            &["Content-Encoding: gzip"],
            &gzip(&noise(1, 9000)),
        ),
        "/medium" => response("200 OK", &[], &noise(2, 1_500_000)),
        path => response("200 OK", &["X-Path: yes"], &body_of(path)),
    })
}

/// A body that looks like the end of one record and the start of the next.
fn blank() -> &'static [u8] {
    b"\r\n\r\nWARC/1.1\r\n\r\n"
}

fn sort(path: &str) -> Vec<u8> {
    match path {
        "/empty" => Vec::new(),
        "/blank" => blank().to_vec(),
        "/gzip" => noise(1, 9000),
        "/medium" => noise(2, 1_500_000),
        path => body_of(path),
    }
}

#[test]
fn every_body_is_read_alone_at_the_place_that_record_and_journal_say() {
    let server = sorts();
    let paths = ["/empty", "/blank", "/gzip", "/medium", "/page", "/empty"];
    for name in NAMES {
        let packing = Packing::new(name);
        let urls = paths.map(|path| server.url(path));
        let done = packing.run().arg("--ordered").urls(&urls).expect_exit(0);
        let mut places = BTreeSet::new();
        for (record, path) in done.records.iter().zip(paths) {
            let response = packing.response(record);
            assert!(response.payload() == sort(path), "{path}");
            assert_eq!(response.target(), server.url(path));
            assert_eq!(record.bytes, Some(sort(path).len() as u64));
            places.insert((record.line, place(record).offset));
        }
        let journaled = packing.journaled();
        let places_in = |records: &[fetchall::Record]| -> BTreeSet<_> {
            let of = |record: &fetchall::Record| (record.line, place(record).offset);
            records.iter().map(of).collect()
        };
        assert_eq!(places_in(&journaled), places);
        let offsets: BTreeSet<_> = places.iter().map(|(_, offset)| offset).collect();
        assert_eq!(
            offsets.len(),
            paths.len(),
            "equal lines have each their own"
        );
        warcio_checks(&packing.path(), urls.iter().map(String::as_str));
    }
}

#[test]
fn with_raw_a_response_keeps_its_coding_and_its_header() {
    let server = sorts();
    let packing = Packing::new(NAMES[0]);
    packing
        .run()
        .arg("--raw")
        .urls([server.url("/gzip")])
        .expect_exit(0);
    let warc = Warc::read(&packing.path());
    let coded = warc.one("response", "/gzip");
    assert!(coded.payload() == gzip(&noise(1, 9000)));
    assert_eq!(
        coded.http_field("Content-Encoding").as_deref(),
        Some("gzip")
    );
    assert_eq!(coded.http_field("X-Crawl-Content-Encoding"), None);
}

#[test]
fn a_response_stands_there_as_it_came_but_decoded() {
    let server = sorts();
    let packing = Packing::of(NAMES[0], &["/gzip", "/page"].map(|path| server.url(path)));
    let warc = Warc::read(&packing.path());
    let coded = warc.one("response", "/gzip");
    let field = |name| coded.http_field(name);
    assert_eq!(field("X-Crawl-Content-Encoding").as_deref(), Some("gzip"));
    assert_eq!(field("Content-Length").as_deref(), Some("9000"));
    assert_eq!(field("Content-Encoding"), None);
    let plain = warc.one("response", "/page");
    assert!(plain.http_head().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(plain.http_field("x-path").as_deref(), Some("yes"));
    assert_eq!(plain.field("WARC-Protocol"), Some("http/1.1"));
}

#[test]
fn a_group_is_metadata_request_and_response_that_name_each_other() {
    let server = pages();
    let packing = Packing::of(NAMES[0], &[server.url("/a")]);
    let warc = Warc::read(&packing.path());
    let kinds: Vec<_> = warc
        .0
        .iter()
        .map(|record| record.field("WARC-Type"))
        .collect();
    let expected = ["warcinfo", "metadata", "request", "response"];
    assert_eq!(kinds, expected.map(Some));
    let [info, metadata, request, response] = &warc.0[..] else {
        panic!("{kinds:?}")
    };
    let id = |record: &WarcRecord| record.field("WARC-Record-ID").map(str::to_owned);
    let other = |record: &WarcRecord| record.field("WARC-Concurrent-To").map(str::to_owned);
    assert_eq!(other(metadata), id(response));
    assert_eq!(other(request), id(response));
    assert_eq!(other(response), id(request));
    for record in [metadata, request, response] {
        assert_eq!(record.field("WARC-Warcinfo-ID"), id(info).as_deref());
        assert_eq!(record.target(), server.url("/a"));
    }
    assert_eq!(info.field("WARC-Filename"), Some(NAMES[0]));
    assert_eq!(metadata.block_field("line").as_deref(), Some("1"));
}

#[test]
fn a_request_stands_there_as_it_was_sent() {
    let server = pages();
    let packing = Packing::new(NAMES[0]);
    packing
        .run()
        .args(["-A", "tester/1", "-H", "X-Mine: yes"])
        .urls([server.url("/a?b=c")])
        .expect_exit(0);
    let warc = Warc::read(&packing.path());
    let stands = warc.one("request", "/a?b=c").http_head();
    let sent = &server.requests()[0];
    let lines = |head: &str| -> BTreeSet<_> { head.lines().map(str::to_lowercase).collect() };
    assert!(sent.contains("x-mine: yes") && stands.contains("tester/1"));
    // Any header of the user may contain a token, so all of them are masked.
    assert_eq!(
        lines(&stands),
        lines(&sent.replace("x-mine: yes", "x-mine: ***"))
    );
}

#[test]
fn no_secret_gets_into_a_pack() {
    let server = pages();
    for name in NAMES {
        let packing = Packing::new(name);
        let userinfo = server.url("/b").replace("//", "//me:s3cret@");
        packing
            .run()
            .args(["-H", "Authorization: Bearer s3cret"])
            .args(["-H", "Cookie: id=s3cret"])
            .urls([server.url("/a")])
            .expect_exit(0);
        packing.run().urls([userinfo]).expect_exit(0);
        let warc = Warc::read(&packing.path());
        let head = |end| warc.one("request", end).http_head();
        assert!(head("/a").contains("authorization: ***\r\n"));
        assert!(head("/a").contains("cookie: ***\r\n"));
        assert!(head("/b").contains("authorization: ***\r\n"));
        let text = format!("{:?}", warc.0.iter().map(shown).collect::<Vec<_>>());
        // The last one is "me:s3cret" in base64.
        for secret in ["s3cret", "bWU6czNjcmV0"] {
            assert!(!text.contains(secret), "{text}");
        }
        let sent = server.requests().concat();
        assert!(sent.contains("Bearer s3cret") && sent.contains("bWU6czNjcmV0"));
    }
}

fn shown(record: &WarcRecord) -> String {
    format!("{record:?}{}", String::from_utf8_lossy(&record.block))
}

#[test]
fn the_body_of_a_request_stands_behind_its_head() {
    let server = pages();
    let packing = Packing::new(NAMES[0]);
    let own = format!(r#"{{"url":"{}","body":"own=1"}}"#, server.url("/own"));
    let none = format!(r#"{{"url":"{}","method":"GET"}}"#, server.url("/none"));
    let runs = format!(r#"{{"url":"{}"}}"#, server.url("/runs"));
    packing
        .run()
        .args(["--input-format=jsonl", "-d", "of the run"])
        .urls([own, none, runs])
        .expect_exit(0);
    let warc = Warc::read(&packing.path());
    for (path, method, body) in [
        ("/own", "POST", "own=1"),
        ("/runs", "POST", "of the run"),
        ("/none", "GET", ""),
    ] {
        let request = warc.one("request", path);
        let line = format!("{method} {path} HTTP/1.1\r\n");
        assert!(request.http_head().starts_with(&line), "{request:?}");
        assert_eq!(request.payload(), body.as_bytes(), "{path}");
        let length = request.http_field("content-length");
        assert_eq!(
            length.unwrap_or_default(),
            match body.len() {
                0 => String::new(),
                length => length.to_string(),
            }
        );
        let sent = server.requests();
        let sent = sent.iter().find(|sent| sent.starts_with(&line)).unwrap();
        assert!(sent.ends_with(&format!("\r\n\r\n{body}")), "{sent}");
    }
}

#[test]
fn a_redirect_leads_to_a_record_of_where_it_ended() {
    let server = Server::http(|request| match path_of(request) {
        "/one" => response("302 Found", &["Location: /two"], b"moved"),
        "/two" => response("307 Temporary Redirect", &["Location: /three"], b""),
        path => response("200 OK", &[], &body_of(path)),
    });
    let packing = Packing::new(NAMES[0]);
    let done = packing.run().urls([server.url("/one")]).expect_exit(0);
    let response = packing.response(done.record());
    assert_eq!(response.target(), server.url("/three"));
    assert!(response.payload() == body_of("/three"));
    let warc = Warc::read(&packing.path());
    let metadata = warc.one("metadata", "/three");
    let field = |name| metadata.block_field(name);
    assert_eq!(field("via"), Some(server.url("/two")));
    assert_eq!(field("seed"), Some(server.url("/one")));
    assert_eq!(field("hopsFromSeed").as_deref(), Some("RR"));
    let again = packing.run().urls([server.url("/one")]).expect_exit(0);
    assert_eq!(again.record().pack, done.record().pack);
}

#[test]
fn without_failures_in_the_pack_they_are_in_the_journal_alone_and_are_tried_again() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            let mut answer = match path_of(&request) {
                "/missing" => response("404 Not Found", &[], b"no"),
                path => response("200 OK", &[], &body_of(path)),
            };
            if path_of(&request) == "/cut" {
                answer.truncate(answer.len() - 1);
                return connection.send(&answer);
            }
            connection.send(&answer)?;
        }
        Ok(())
    });
    let urls = ["/missing", "/cut", "/whole"].map(|path| server.url(path));
    let refused = format!("http://{}/refused", closed_port());
    let urls: Vec<_> = urls.into_iter().chain([refused]).collect();
    let packing = Packing::new(NAMES[0]);
    let run = || {
        let flags = ["--retries=1", "--pack-failed=no"];
        packing.run().args(flags).urls(&urls)
    };
    let done = run().expect_exit(1);
    for path in ["/missing", "/cut", "/refused"] {
        assert!(!done.of(path).ok && done.of(path).pack.is_none(), "{path}");
    }
    assert_eq!(packing.journaled().len(), 4);
    let before = packing.bytes();
    warcio_checks(&packing.path(), [server.url("/whole").as_str()]);

    let asked = server.requests().len();
    run().expect_exit(1);
    assert_eq!(server.requests().len() - asked, 3, "one 404 and two cuts");
    assert!(packing.bytes() == before, "nothing was added");
}

#[test]
fn what_was_cut_in_the_middle_is_fetched_from_its_begin() {
    let was_cut = AtomicBool::new(false);
    let server = Server::start(move |connection| {
        while let Some(request) = connection.request()? {
            let tags = ["ETag: \"1\"", "Accept-Ranges: bytes"];
            let answer = response("200 OK", &tags, &noise(3, 3 << 20));
            if !was_cut.swap(true, Ordering::SeqCst) {
                return connection.send(&answer[..2 << 20]);
            }
            assert!(!request.to_lowercase().contains("range:"), "{request}");
            connection.send(&answer)?;
        }
        Ok(())
    });
    let packing = Packing::new(NAMES[1]);
    let done = packing.run().urls([server.url("/")]).expect_exit(0);
    assert_eq!(done.record().attempts, 2);
    assert!(packing.response(done.record()).payload() == noise(3, 3 << 20));
    assert_eq!(Warc::read(&packing.path()).0.len(), 4);
}

#[test]
fn a_large_body_comes_through_and_leaves_no_file_behind() {
    // Compression is slow in an unoptimized build.
    for (name, length) in [(NAMES[0], 3 << 20), (NAMES[1], 20 << 20)] {
        let server = Server::http(move |_| response("200 OK", &[], &noise(4, length)));
        let packing = Packing::new(name);
        let done = packing.run().urls([server.url("/large")]).expect_exit(0);
        assert_eq!(done.record().bytes, Some(length as u64));
        assert!(packing.response(done.record()).payload() == noise(4, length));
        assert_eq!(packing.files(), [name.to_owned(), format!("{name}.jsonl")]);
        warcio_checks(&packing.path(), [server.url("/large").as_str()]);
    }
}

#[test]
fn synced_and_hashed() {
    let server = pages();
    let urls = super::urls(&server, 30);
    for name in NAMES {
        let packing = Packing::new(name);
        let flags = ["--sync", "--sha256"];
        let done = packing.run().args(flags).urls(&urls).expect_exit(0);
        packing.expect_all(&done, &urls);
        for record in packing.journaled() {
            assert!(record.sha256.is_some());
            assert_eq!(record.sha256, done.of(&record.url).sha256);
        }
    }
}

#[test]
fn the_journal_may_stand_elsewhere() {
    let server = pages();
    let urls = super::urls(&server, 3);
    let packing = Packing::new(NAMES[0]);
    let other = tempfile::tempdir().unwrap();
    let journal = other.path().join("other.jsonl");
    let run = || {
        packing
            .run()
            .arg("--journal")
            .arg(journal.to_str().unwrap())
    };
    run().urls(&urls).expect_exit(0);
    assert_eq!(packing.files(), [NAMES[0]]);
    let again = run().urls(&urls).expect_exit(0);
    assert_eq!(again.skipped(), 3);
    packing.expect_all(&again, &urls);
}

#[test]
fn a_head_request_has_no_body_to_pack() {
    let server = Server::start(|connection| {
        while let Some(_request) = connection.request()? {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")?;
        }
        Ok(())
    });
    let packing = Packing::new(NAMES[0]);
    let line = format!(r#"{{"url":"{}","method":"HEAD"}}"#, server.url("/a"));
    let run = packing.run().arg("--input-format=jsonl").urls([line]);
    let done = run.expect_exit(0);
    let response = packing.response(done.record());
    assert_eq!(response.payload(), b"");
    let announced = response.http_field("X-Crawl-Content-Length");
    assert_eq!(announced.as_deref(), Some("77"));
    warcio_checks(&packing.path(), [server.url("/a").as_str()]);
}

#[test]
fn bodies_go_to_one_place_only() {
    let mut texts = Texts::new();
    for flag in ["-odir", "--body", "-I"] {
        let args = ["--pack", "pages.warc.gz", flag, "http://a/"];
        let done = Run::new().args(args).expect_exit(2);
        texts.add(format!("--pack and {flag}"), &done.stderr);
    }
    insta::assert_snapshot!("bodies_in_two_places", texts);
}
