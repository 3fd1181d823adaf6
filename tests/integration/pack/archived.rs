use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fetchall::{ErrorKind, OutcomeName};

use super::{NAMES, Packing, noise, path_of, place};
use crate::support::{
    Authority, Server, TlsServer, VERSIONS, Warc, WarcRecord, closed_port, response, warcio_checks,
    warcio_tool,
};

/// Returns the targets of all responses, revisits included, in order.
fn responses(packing: &Packing) -> Vec<String> {
    let warc = Warc::read(&packing.path());
    let kinds = ["response", "revisit"];
    let is_response = |record: &&WarcRecord| kinds.contains(&record.field("WARC-Type").unwrap());
    let found = warc.0.iter().filter(is_response);
    found.map(|record| record.target().to_owned()).collect()
}

/// Redirects and failures of several kinds.
fn site() -> Server {
    Server::http(|request| match path_of(request) {
        "/one" => response("302 Found", &["Location: /two", "X-Hop: 1"], b"moved"),
        "/two" => response("307 Temporary Redirect", &["Location: /three"], b""),
        "/round" => response("302 Found", &["Location: /round"], b"round"),
        "/missing" => response("404 Not Found", &["X-Path: yes"], &noise(1, 900)),
        "/broken" => response("500 Internal Server Error", &[], b"broken"),
        path => response("200 OK", &[], path.repeat(100).as_bytes()),
    })
}

#[test]
fn redirects_and_final_failures_are_responses_of_their_own() {
    let server = site();
    let urls = ["/one", "/missing", "/broken", "/round"].map(|path| server.url(path));
    for name in NAMES {
        let packing = Packing::new(name);
        let run = || packing.run().args(["--retries=1", "--retry-delay=1ms"]);
        let done = run().urls(&urls).expect_exit(1);
        let warc = Warc::read(&packing.path());
        let hop = warc.one("response", "/one");
        assert!(hop.http_head().starts_with("HTTP/1.1 302 Found\r\n"));
        assert_eq!(hop.http_field("x-hop").as_deref(), Some("1"));
        assert_eq!(hop.payload(), b"moved");
        assert_eq!(warc.one("response", "/two").payload(), b"");
        let via = |end: &str, name: &str| warc.one("metadata", end).block_field(name);
        assert_eq!(via("/two", "via"), Some(server.url("/one")));
        assert_eq!(via("/two", "hopsFromSeed").as_deref(), Some("R"));
        assert_eq!(via("/three", "hopsFromSeed").as_deref(), Some("RR"));
        let order: Vec<_> = responses(&packing);
        let at = |end: &str| order.iter().position(|url| url.ends_with(end)).unwrap();
        assert!(at("/one") < at("/two") && at("/two") < at("/three"));

        let missing = packing.response(done.of("/missing"));
        assert!(missing.payload() == noise(1, 900));
        assert_eq!(missing.http_field("x-path").as_deref(), Some("yes"));
        // Only the last of two attempts is final.
        let broken = packing.response(done.of("/broken"));
        assert_eq!(broken.payload(), b"broken");
        assert_eq!(done.of("/broken").attempts, 2);
        // Two redirects were followed, and the third was not.
        assert_eq!(
            done.of("/round").error.as_ref().unwrap().kind,
            ErrorKind::Redirect
        );
        assert_eq!(packing.response(done.of("/round")).payload(), b"round");
        assert_eq!(
            order.iter().filter(|url| url.ends_with("/round")).count(),
            3
        );
        let targets = order.iter().map(String::as_str);
        warcio_checks(&packing.path(), targets);

        for record in packing.journaled() {
            assert_eq!(record.pack, done.of(&record.url).pack);
        }
    }
}

#[test]
fn a_failure_in_a_pack_is_not_done_and_not_cut_off() {
    let server = site();
    let urls = ["/page", "/missing"].map(|path| server.url(path));
    for name in NAMES {
        let packing = Packing::new(name);
        packing.run().arg("-j1").urls(&urls).expect_exit(1);
        let before = packing.bytes();
        let done = packing.run().urls(&urls).expect_exit(1);
        assert!(!done.stderr.contains("discarded"), "{}", done.stderr);
        assert_eq!(done.of("/page").outcome, OutcomeName::Skipped);
        assert!(packing.bytes().starts_with(&before), "only added to");
        assert!(place(done.of("/missing")).offset >= before.len() as u64);
        let missing = packing.response(done.of("/missing"));
        assert!(missing.payload() == noise(1, 900));
        let expected = ["/page", "/missing", "/missing"].map(|path| server.url(path));
        warcio_checks(&packing.path(), expected.iter().map(String::as_str));
    }
}

#[test]
fn a_redirect_stays_although_its_job_has_no_response_in_the_end() {
    let gone = closed_port();
    let server = Server::http(move |_| {
        let to = format!("Location: http://{gone}/");
        response("302 Found", &[&to], b"moved")
    });
    let packing = Packing::new(NAMES[0]);
    let run = || packing.run().arg("--retries=0").arg(server.url("/one"));
    let done = run().expect_exit(1);
    let length = packing.bytes().len() as u64;
    let record = done.record();
    assert_eq!((record.pack, record.pack_end), (None, Some(length)));
    let again = run().expect_exit(1);
    assert!(!again.stderr.contains("discarded"), "{}", again.stderr);
    assert_eq!(
        responses(&packing),
        [server.url("/one"), server.url("/one")]
    );
}

#[test]
fn the_last_failure_of_each_mirror_is_archived() {
    let server = Server::http(|request| match path_of(request) {
        "/one" => response("404 Not Found", &[], b"none"),
        "/two" => response("500 Internal Server Error", &[], b"broken"),
        _ => response("200 OK", &[], b"whole"),
    });
    for (name, (last, code)) in NAMES.into_iter().zip([("/three", 0), ("/one", 1)]) {
        let packing = Packing::new(name);
        let [url, mirror, last] = ["/one", "/two", last].map(|path| server.url(path));
        let line = format!(r#"{{"url":"{url}","mirrors":["{mirror}","{last}"]}}"#);
        let run = || {
            let run = packing.run().args(["--input-format=jsonl", "--retries=1"]);
            run.urls([line.clone()])
        };
        let done = run().expect_exit(code);
        assert_eq!(done.record().attempts, 4, "the second one is tried twice");
        let expected = [url, mirror, last];
        assert_eq!(responses(&packing), expected);
        warcio_checks(&packing.path(), expected.iter().map(String::as_str));
        packing.run().arg("--verify").expect_exit(0);
        let before = packing.bytes();
        let again = run().expect_exit(code);
        assert!(!again.stderr.contains("discarded"), "{}", again.stderr);
        assert!(packing.bytes().starts_with(&before));

        let packing = Packing::new(name);
        let run = packing
            .run()
            .args(["--input-format=jsonl", "--pack-failed=no"]);
        run.args(["--retries=0"]).urls([line]).expect_exit(code);
        assert_eq!(
            responses(&packing).len(),
            1 - usize::try_from(code).unwrap()
        );
    }
}

#[test]
fn without_failures_a_pack_has_only_bodies() {
    let server = site();
    let urls = ["/one", "/missing"].map(|path| server.url(path));
    let packing = Packing::new(NAMES[1]);
    let run = || packing.run().arg("--pack-failed=no").urls(&urls);
    let done = run().expect_exit(1);
    assert_eq!(responses(&packing), [server.url("/three")]);
    assert_eq!(done.of("/missing").pack, None);
    let before = packing.bytes();
    run().expect_exit(1);
    assert!(packing.bytes() == before);
}

#[test]
fn a_get_that_replaces_a_head_and_fails_stands_there_as_a_get() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            connection.send(&match request.starts_with("HEAD") {
                true => response("405 Method Not Allowed", &[], b""),
                false => response("404 Not Found", &[], b"none"),
            })?;
        }
        Ok(())
    });
    let packing = Packing::new(NAMES[0]);
    let line = format!(r#"{{"url":"{}","method":"HEAD"}}"#, server.url("/a"));
    let run = packing.run().arg("--input-format=jsonl").urls([line]);
    let done = run.expect_exit(1);
    assert_eq!(packing.response(done.record()).payload(), b"none");
    let warc = Warc::read(&packing.path());
    let request = warc.one("request", "/a").http_head();
    assert!(request.starts_with("GET /a "), "{request}");
}

#[test]
fn simulated_responses_are_not_archived() {
    let server = site();
    let packing = Packing::new(NAMES[1]);
    packing
        .run()
        .args(["--retries=0", "--simulate-failure=404=100%"])
        .arg(server.url("/page"))
        .expect_exit(1);
    assert_eq!(packing.bytes(), b"");
}

/// Bodies of failures that end early or do not end.
fn endings() -> Server {
    Server::start(|connection| {
        while let Some(request) = connection.request()? {
            let head =
                |length: usize| format!("HTTP/1.1 404 No\r\nContent-Length: {length}\r\n\r\n");
            match path_of(&request) {
                "/long" => connection.send(&response("404 No", &[], &noise(1, 300_000)))?,
                "/cut" => {
                    connection.send(head(10).as_bytes())?;
                    return connection.send(b"half");
                }
                "/slow" => {
                    connection.send(head(10).as_bytes())?;
                    connection.send(b"half")?;
                    return connection.hang();
                }
                _ => connection.send(&response("404 No", &[], b"whole"))?,
            }
        }
        Ok(())
    })
}

#[test]
fn what_is_incomplete_says_why() {
    let server = endings();
    let packing = Packing::new(NAMES[0]);
    let urls = ["/long", "/cut", "/slow", "/whole"].map(|path| server.url(path));
    let done = packing.run().urls(&urls).expect_exit(1);
    let found = |path: &str| {
        let record = packing.response(done.of(path));
        let truncated = record.field("WARC-Truncated").map(str::to_owned);
        (truncated, record)
    };
    let (truncated, long) = found("/long");
    assert_eq!(truncated.as_deref(), Some("length"));
    assert!(long.payload() == &noise(1, 300_000)[..256 * 1024]);
    assert_eq!(long.http_field("content-length").as_deref(), Some("262144"));
    let announced = long.http_field("X-Crawl-Content-Length");
    assert_eq!(announced.as_deref(), Some("300000"));
    for (path, reason) in [("/cut", "disconnect"), ("/slow", "time")] {
        let (truncated, record) = found(path);
        assert_eq!(truncated.as_deref(), Some(reason), "{path}");
        assert_eq!(record.payload(), b"half", "{path}");
    }
    let (truncated, whole) = found("/whole");
    assert_eq!((truncated, whole.payload()), (None, &b"whole"[..]));
    warcio_checks(&packing.path(), urls.iter().map(String::as_str));
}

#[test]
fn a_failure_keeps_its_coding_and_a_body_that_is_wrong_is_kept_as_far_as_decoded() {
    let coded = super::content::gzip(&noise(2, 3000));
    let server = Server::start({
        let coded = coded.clone();
        move |connection| {
            while let Some(request) = connection.request()? {
                let gzip = ["Content-Encoding: gzip"];
                match path_of(&request) {
                    "/coded" => connection.send(&response("403 No", &gzip, &coded))?,
                    "/checked" => connection.send(&response("200 OK", &gzip, &coded))?,
                    _ => {
                        let answer = response("200 OK", &[], &noise(3, 2_000_000));
                        return connection.send(&answer[..answer.len() - 1]);
                    }
                }
            }
            Ok(())
        }
    });
    let packing = Packing::new(NAMES[0]);
    let checked = format!(
        r#"{{"url":"{}","sha256":"{}"}}"#,
        server.url("/checked"),
        "0".repeat(64)
    );
    let lines = ["/coded", "/cut"].map(|path| format!(r#"{{"url":"{}"}}"#, server.url(path)));
    let run = packing.run().args(["--input-format=jsonl", "--retries=0"]);
    let done = run.urls(lines.into_iter().chain([checked])).expect_exit(1);
    let record = packing.response(done.of("/coded"));
    assert!(record.payload() == coded);
    assert_eq!(
        record.http_field("content-encoding").as_deref(),
        Some("gzip")
    );

    let record = packing.response(done.of("/checked"));
    assert!(record.payload() == noise(2, 3000));
    let field = |name| record.http_field(name);
    assert_eq!(field("content-encoding"), None);
    assert_eq!(field("x-crawl-content-encoding").as_deref(), Some("gzip"));
    assert_eq!(record.field("WARC-Truncated"), None);

    let record = packing.response(done.of("/cut"));
    assert!(record.payload() == &noise(3, 2_000_000)[..256 * 1024]);
    assert_eq!(record.field("WARC-Truncated"), Some("length"));
}

/// The same three bodies again and again.
fn duplicates() -> Server {
    Server::http(|request| {
        let path = path_of(request);
        let found = format!("X-Path: {path}");
        match path.split('?').next().unwrap() {
            "/large" => response("200 OK", &[&found], &noise(1, 1_200_000)),
            "/small" => response("200 OK", &[&found], b"small"),
            "/missing" => response("404 Not Found", &[&found], &noise(2, 2000)),
            _ => response("200 OK", &[&found], &noise(2, 2000)),
        }
    })
}

#[test]
fn an_equal_body_is_stored_once() {
    let server = duplicates();
    let paths = [
        "/page?1", "/large?1", "/small?1", "/page?2", "/large?2", "/small?2", "/missing",
    ];
    let urls = paths.map(|path| server.url(path));
    for name in NAMES {
        let packing = Packing::new(name);
        let run = || packing.run().args(["-j1", "--sha256"]).urls(&urls);
        let done = run().expect_exit(1);
        let warc = Warc::read(&packing.path());
        for (path, first, body) in [
            ("/page?2", "/page?1", noise(2, 2000)),
            ("/missing", "/page?1", noise(2, 2000)),
            ("/large?2", "/large?1", noise(1, 1_200_000)),
        ] {
            let revisit = warc.one("revisit", path);
            let original = warc.one("response", first);
            let field = |name| revisit.field(name);
            assert_eq!(
                field("WARC-Profile"),
                Some("http://netpreservecommons.org/warc/1.1/revisit/identical-payload-digest")
            );
            assert_eq!(field("WARC-Refers-To"), original.field("WARC-Record-ID"));
            assert_eq!(field("WARC-Refers-To-Date"), original.field("WARC-Date"));
            assert_eq!(field("WARC-Refers-To-Target-URI"), Some(original.target()));
            let digest = original.field("WARC-Payload-Digest");
            assert_eq!(field("WARC-Payload-Digest"), digest);
            assert_eq!(revisit.payload(), b"", "only the head");
            assert_eq!(revisit.http_field("x-path").as_deref(), Some(path));
            let request = warc.one("request", path).field("WARC-Concurrent-To");
            assert_eq!(request, field("WARC-Record-ID"));

            let record = done.of(path);
            assert_eq!(record.pack, done.of(first).pack, "the body");
            assert!(record.pack_end > record.pack.map(|place| place.end()));
            assert!(packing.response(record).payload() == body);
        }
        assert_eq!(warc.one("response", "/small?2").payload(), b"small");
        warcio_checks(&packing.path(), urls.iter().map(String::as_str));

        let before = packing.bytes();
        let again = run().expect_exit(1);
        assert_eq!(again.skipped(), 6);
        assert!(!again.stderr.contains("discarded"), "{}", again.stderr);
        assert_eq!(again.of("/page?2").sha256, done.of("/page?1").sha256);
        assert!(packing.bytes().starts_with(&before));

        let refreshed = packing
            .run()
            .arg("--refresh")
            .urls(&urls[..5])
            .expect_exit(0);
        for record in &refreshed.records {
            let change = Some(fetchall::ContentChange::Unchanged);
            assert_eq!(record.change, change, "{}", record.url);
        }
    }
}

#[test]
fn a_pack_that_lost_failures_and_revisits_is_continued() {
    let server = duplicates();
    let urls = ["/page?1", "/page?2", "/missing"].map(|path| server.url(path));
    for name in NAMES {
        let packing = Packing::new(name);
        let run = || packing.run().arg("-j1").urls(&urls);
        let done = run().expect_exit(1);
        let kept = place(done.of("/page?1")).end();
        let file = std::fs::File::options().write(true).open(packing.path());
        file.unwrap().set_len(kept).unwrap();
        let done = run().expect_exit(1);
        assert_eq!(done.skipped(), 1);
        assert!(packing.response(done.of("/page?2")).payload() == noise(2, 2000));
        let again = run().expect_exit(1);
        assert_eq!(again.skipped(), 2, "{}", again.stderr);
        assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    }
}

#[test]
fn address_and_protocol_are_known_except_behind_a_proxy() {
    let server = site();
    let packing = Packing::of(NAMES[0], &[server.url("/page")]);
    let warc = Warc::read(&packing.path());
    for kind in ["request", "response"] {
        let record = warc.one(kind, "/page");
        assert_eq!(record.field("WARC-IP-Address"), Some("127.0.0.1"));
        assert_eq!(record.fields("WARC-Protocol"), ["http/1.1"]);
    }
    assert_eq!(warc.one("metadata", "/page").field("WARC-IP-Address"), None);

    let packing = Packing::new(NAMES[0]);
    let proxied = packing.run().args(["-x", &server.url("")]);
    proxied.arg("http://far.invalid/page").expect_exit(0);
    let warc = Warc::read(&packing.path());
    assert_eq!(warc.one("response", "/page").field("WARC-IP-Address"), None);
}

#[test]
fn the_version_of_tls_is_known_also_of_resumed_sessions() {
    let authority = Authority::new();
    let file = authority.file();
    for (version, expected) in VERSIONS.into_iter().zip(["tls/1.2", "tls/1.3"]) {
        let (certificate, key) = authority.files("localhost");
        let pem = |file: &tempfile::NamedTempFile| std::fs::read(file.path()).unwrap();
        let config = versioned(&pem(&certificate), &pem(&key), version);
        let server = TlsServer::start(config);
        let packing = Packing::new(NAMES[0]);
        let urls: Vec<_> = (0..3).map(|n| format!("{}{n}", server.url())).collect();
        for trust in [
            format!("--cacert={}", file.path().display()),
            "-k".to_owned(),
        ] {
            let run = packing.run().args(["-j1", &trust]).urls(&urls);
            run.expect_exit(0);
            std::fs::remove_file(packing.journal()).unwrap();
            let warc = Warc::read(&packing.path());
            std::fs::remove_file(packing.path()).unwrap();
            for record in warc.of_kind("response") {
                assert_eq!(record.fields("WARC-Protocol"), ["http/1.1", expected]);
            }
            assert_eq!(warc.of_kind("response").len(), 3);
        }
    }
}

fn versioned(
    certificate: &[u8],
    key: &[u8],
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

#[test]
fn many_long_failures_at_once_take_bounded_memory() {
    let server = Server::http(|_| {
        thread::sleep(Duration::from_millis(50));
        response("404 No", &[], &noise(7, 300_000))
    });
    let urls = super::urls(&server, 100);
    let packing = Packing::new(NAMES[1]);
    let done = packing
        .run()
        .args(["-j100", "--per-host=100"])
        .urls(&urls)
        .expect_exit(1);
    for record in &done.records {
        let response = packing.response(record);
        assert!(noise(7, 300_000).starts_with(response.payload()));
        assert_eq!(response.field("WARC-Truncated"), Some("length"));
    }
}

/// Reads a pack with FastWARC, checking all digests, and with the indexer of pywb.
const READERS: &str = r#"
import sys
from fastwarc.warc import ArchiveIterator, WarcRecordType
types = WarcRecordType.response | WarcRecordType.revisit
for record in ArchiveIterator(open(sys.argv[1], 'rb'), record_types=types):
    if record.record_type == WarcRecordType.response:
        assert record.verify_payload_digest(), record.headers
    print(record.headers['WARC-Type'], record.http_headers.status_code, record.headers['WARC-Target-URI'])
from pywb.indexer.cdxindexer import write_cdx_index
import io
out = io.BytesIO()
with open(sys.argv[1], 'rb') as file:
    write_cdx_index(out, file, 'pack.warc.gz', include_all=False, cdxj=True, sort=False, minimal=False)
for line in out.getvalue().decode().splitlines():
    if not line.startswith(' CDX'):
        print(line)
"#;

/// Other readers stop at 32 KiB.
#[test]
fn warcio_and_pywb_read_long_heads() {
    let long = format!("X-Long: {}", "y".repeat(8000));
    let server = Server::http(move |request| match path_of(request) {
        "/head" => response("200 OK", &[long.as_str(); 5], &noise(1, 900)),
        path => response("200 OK", &[], &path.as_bytes()[..20]),
    });
    for name in NAMES {
        let packing = Packing::new(name);
        let long = server.url(&format!("/{}", "a".repeat(40_000)));
        let urls = [
            long,
            server.url("/head"),
            server.url("/the-last-one-of-all"),
        ];
        let done = packing.run().arg("-j1").urls(&urls).expect_exit(0);
        assert_eq!(done.records.len(), 3);
        let warc = Warc::read(&packing.path());
        assert!(warc.one("response", "aaaa").head_length() > 40_000);
        assert!(warc.one("response", "/head").http_head().len() > 40_000);
        warcio_checks(&packing.path(), urls.iter().map(String::as_str));
        let Some(python) = warcio_tool::python_with("pywb") else {
            return;
        };
        let indexed = run_python(&python, PYWB, &packing);
        let mut found: Vec<_> = indexed.lines().collect();
        found.sort_unstable();
        let mut expected = urls.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

/// Prints the URLs that pywb finds in a pack.
const PYWB: &str = r#"
import io, json, sys
from pywb.indexer.cdxindexer import write_cdx_index
out = io.BytesIO()
with open(sys.argv[1], 'rb') as file:
    write_cdx_index(out, file, 'pack', include_all=False, cdxj=True, sort=False, minimal=False)
for line in out.getvalue().decode().splitlines():
    if not line.startswith(' CDX'):
        print(json.loads(line.split(' ', 2)[2])['url'])
"#;

/// Returns what a script prints about a pack.
fn run_python(python: &str, script: &str, packing: &Packing) -> String {
    let mut command = std::process::Command::new(python);
    let output = command.args(["-c", script]).arg(packing.path()).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// FastWARC reads record heads of at most 32 KiB.
#[test]
fn a_revisit_of_long_urls_would_have_too_long_a_head() {
    let server = Server::http(|_| response("200 OK", &[], &noise(1, 900)));
    for name in NAMES {
        let packing = Packing::new(name);
        let url = |fill: &str| server.url(&format!("/{}", fill.repeat(20_000)));
        let urls = [url("a"), url("b"), server.url("/c"), server.url("/d")];
        let done = packing.run().arg("-j1").urls(&urls).expect_exit(0);
        let warc = Warc::read(&packing.path());
        assert_eq!(warc.of_kind("revisit").len(), 2, "of the short ones");
        assert!(warc.0.iter().all(|record| record.head_length() < 32 * 1024));
        assert!(packing.response(done.of("bbbb")).payload() == noise(1, 900));
        let Some(python) = warcio_tool::python_with("fastwarc") else {
            return;
        };
        let script = "import sys; from fastwarc.warc import ArchiveIterator; \
                      print(sum(1 for _ in ArchiveIterator(open(sys.argv[1], 'rb'))))";
        let output = std::process::Command::new(&python)
            .args(["-c", script])
            .arg(packing.path())
            .output()
            .unwrap();
        let read = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            read.trim(),
            "13",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn fastwarc_and_pywb_read_it() {
    let Some(python) = warcio_tool::python_with("fastwarc, pywb") else {
        return;
    };
    let server = Server::http(|request| match path_of(request) {
        "/one" => response("302 Found", &["Location: /page"], b"moved"),
        "/missing" => response("404 Not Found", &[], &noise(2, 900)),
        _ => response("200 OK", &["Content-Type: text/html"], &noise(1, 900)),
    });
    for name in NAMES {
        let packing = Packing::new(name);
        let urls = ["/one", "/again", "/missing"].map(|path| server.url(path));
        packing.run().arg("-j1").urls(&urls).expect_exit(1);
        let output = std::process::Command::new(&python)
            .args(["-c", READERS])
            .arg(packing.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines: Vec<_> = said.lines().collect();
        let (read, indexed) = lines.split_at(4);
        let url = |path| server.url(path);
        let expected = [
            format!("response 302 {}", url("/one")),
            format!("response 200 {}", url("/page")),
            format!("revisit 200 {}", url("/again")),
            format!("response 404 {}", url("/missing")),
        ];
        let mut read: Vec<_> = read.iter().map(ToString::to_string).collect();
        read.sort();
        let mut sorted = expected.to_vec();
        sorted.sort();
        assert_eq!(read, sorted);
        assert_eq!(indexed.len(), 4, "{said}");
        for (path, text) in [
            ("/one", r#""status": "302""#),
            ("/page", r#""status": "200""#),
            ("/again", r#""mime": "warc/revisit""#),
            ("/missing", r#""status": "404""#),
        ] {
            let url = format!(r#""url": "{}""#, url(path));
            let line = indexed.iter().find(|line| line.contains(&url)).unwrap();
            assert!(line.contains(text), "{line}");
        }
    }
}
