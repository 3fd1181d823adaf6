//! Content codings that are kept, decoded, or truncated.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use fetchall::ErrorKind;

use crate::support::{Out, Run, Server, header, path, response, scripted};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
    coder.write_all(body).unwrap();
    coder.finish().unwrap()
}

const PAGE: &[u8] = b"a page, or a tar archive";

/// A server that labels `.gz` files with a content coding.
fn labels() -> Server {
    Server::http(|request| match path(request) {
        "/moved.tar.gz" => response("302 Found", &["Location: /blob"], b""),
        "/typed" => {
            let headers = ["Content-Encoding: gzip", "Content-Type: application/x-gzip"];
            response("200 OK", &headers, &gzip(PAGE))
        }
        "/over.tar.gz" => {
            let headers = ["Content-Encoding: gzip, gzip"];
            response("200 OK", &headers, &gzip(&gzip(PAGE)))
        }
        _ => response("200 OK", &["Content-Encoding: gzip"], &gzip(PAGE)),
    })
}

#[test]
fn a_packed_file_meets_its_published_checksum() {
    let server = labels();
    let sum = sha256(&gzip(PAGE));
    for path in [
        "/pkg-1.0.tar.gz",
        "/PKG.TGZ?x=1",
        "/moved.tar.gz",
        "/typed",
        "/over.tar.gz",
    ] {
        let length = gzip(PAGE).len();
        let list = format!("url,sha256,size\n{},{sum},{length}\n", server.url(path));
        for flags in [&[][..], &["--no-compression"]] {
            let args = ["--input-format=csv"]
                .iter()
                .chain(flags)
                .map(ToString::to_string);
            let done = Run::new().args(args).stdin(list.clone()).expect_exit(0);
            assert_eq!(
                done.record().content_encoding.as_deref(),
                Some("gzip"),
                "{path}"
            );
        }
    }
}

/// A coded body is never empty, but only the end of the connection tells that this one is.
#[test]
fn no_byte_of_a_coded_body_is_truncated_where_nothing_marks_the_end() {
    for coding in ["gzip", "x-gzip", "br", "zstd", "deflate", "gzip, gzip"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n");
        let cut = format!("{head}Connection: close\r\n\r\n").into_bytes();
        let server = scripted(vec![cut, response("200 OK", &[], PAGE)]);
        let done = Run::new().arg(server.url("/")).expect_exit(0);
        assert_eq!(done.record().attempts, 2, "{coding}");
        for end in [
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let server = scripted(vec![format!("{head}{end}").into_bytes()]);
            let done = Run::new().arg(server.url("/")).expect_exit(0);
            let record = done.record();
            assert_eq!((record.attempts, record.bytes), (1, Some(0)), "{coding}");
        }
    }
}

#[test]
fn an_empty_element_does_not_hide_that_a_body_is_chunked() {
    for coding in [
        "chunked,",
        "chunked , ",
        ",chunked, ,",
        "chunked\r\nTransfer-Encoding:",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let server = scripted(vec![format!("{head}5\r\nhello\r\n0\r\n\r\n").into_bytes()]);
        let done = Run::new().args(["--body", &server.url("/")]).expect_exit(0);
        let record = done.record();
        assert_eq!(record.body.as_deref(), Some("hello"), "{coding}");
        assert_eq!((record.attempts, record.resends), (1, 1), "{coding}");
    }
}

fn sha256(body: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn with_raw_every_body_is_as_it_came_and_the_record_says_its_coding() {
    let server = labels();
    let page = Run::new()
        .args(["--body", &server.url("/page")])
        .expect_exit(0);
    let record = page.record();
    assert_eq!(record.body.as_deref().map(str::as_bytes), Some(PAGE));
    assert_eq!(record.content_encoding, None);
    let raw = Run::new()
        .args(["--raw", "--body", &server.url("/page")])
        .expect_exit(0);
    let record = raw.record();
    assert_eq!(record.bytes, Some(gzip(PAGE).len() as u64));
    assert_eq!(record.content_encoding.as_deref(), Some("gzip"));
    assert!(record.body_base64.is_some() && record.body.is_none());
    for request in server.requests() {
        assert!(
            request.contains("accept-encoding: gzip, br, zstd, deflate"),
            "{request}"
        );
    }
}

#[test]
fn a_coding_that_is_cut_off_with_its_connection_is_tried_again() {
    let body: Vec<u8> = (0..3000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n";
    let wire = [&head[..], &gzip(&body)].concat();
    for bytes in [1, 5, 500] {
        let cut = wire[..head.len() + bytes].to_vec();
        let server = scripted(vec![cut, wire.clone()]);
        let done = Run::new().arg(server.url("/page")).expect_exit(0);
        let record = done.record();
        assert_eq!(
            (record.attempts, record.bytes),
            (2, Some(3000)),
            "{bytes} bytes came"
        );
    }
    let cut = wire[..wire.len() - 4].to_vec();
    let server = scripted(vec![cut]);
    let done = Run::new()
        .args(["--retries=1", &server.url("/page")])
        .expect_exit(1);
    let error = done.record().error.clone().unwrap();
    let came = gzip(&body).len() - 4;
    assert!(error.transient);
    assert_eq!(done.failure(), (ErrorKind::Truncated, 2));
    let text = error.message.replace(&came.to_string(), "N");
    insta::assert_snapshot!("coding_that_is_cut_off", text);
}

/// If only the end of the connection marks the end of the body, the coding shows whether it is
/// complete.
#[test]
fn a_packed_file_that_is_cut_off_is_tried_again() {
    let mut whole = GzEncoder::new(Vec::new(), Compression::none());
    whole.write_all(&[b'x'; 300_000]).unwrap();
    let whole = whole.finish().unwrap();
    for (path, args) in [
        ("/a.tar.gz", &[][..]),
        ("/page", &["--raw"]),
        ("/dl?type", &[]),
    ] {
        for cut in [1, 2000, whole.len() - 20] {
            let (body, seen) = (whole.clone(), AtomicUsize::new(0));
            let server = Server::start(move |connection| {
                connection.request()?;
                let is_first = seen.fetch_add(1, SeqCst) == 0;
                let body = if is_first { &body[..cut] } else { &body };
                connection.send(
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/gzip\r\n\r\n",
                )?;
                connection.send(body)
            });
            let out = Out::new();
            let done = out
                .run()
                .args(args.iter().copied())
                .arg(server.url(path))
                .expect_exit(0);
            assert_eq!(done.record().attempts, 2, "{path} cut at {cut}");
            assert!(out.body(done.record()) == whole);
        }
    }
}

/// As nginx does with `gzip_types *`: the file would come packed twice.
#[test]
fn of_a_packed_file_no_coding_is_requested() {
    let server = Server::http(|request| {
        let file = gzip(PAGE);
        let accepts = header(request, "accept-encoding").unwrap_or_default();
        match path(request) {
            "/latest" => response("302 Found", &["Location: /d.csv.gz"], b""),
            _ if accepts.contains("gzip") => {
                response("200 OK", &["Content-Encoding: gzip"], &gzip(&file))
            }
            _ => response("200 OK", &[], &file),
        }
    });
    for path in ["/d.csv.gz", "/D.TGZ?x=1", "/latest", "/d.csv%2egz"] {
        let sum = sha256(&gzip(PAGE));
        let list = format!("url,sha256\n{},{sum}\n", server.url(path));
        let run = Run::new().arg("--input-format=csv").stdin(list);
        assert_eq!(run.expect_exit(0).record().content_encoding, None, "{path}");
    }
    let own = ["-H", "Accept-Encoding: gzip", "--raw"];
    let done = Run::new().args(own).arg(server.url("/d.gz")).expect_exit(0);
    assert!(done.record().content_encoding.is_some());
    // A page is compressed as ever.
    Run::new().arg(server.url("/page.html")).expect_exit(0);
    let last = server.requests().pop().unwrap();
    assert!(header(&last, "accept-encoding").unwrap().contains("gzip"));
}
