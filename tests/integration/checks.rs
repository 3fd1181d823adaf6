use std::fs;

use fetchall::{ErrorKind, OutcomeName};

use crate::support::{Done, Out, Run, Server, Texts, path, response};

/// Images, a document, a page that claims to be an image, and one that does not.
fn gallery() -> Server {
    Server::http(|request| match path(request) {
        "/a.png" => response("200 OK", &["Content-Type: image/png"], b"\x89PNG\r\n"),
        "/a.svg" => response(
            "200 OK",
            &["Content-Type: Image/SVG+xml; charset=utf-8"],
            b"<?xml version=\"1.0\"?>\n<!-- made by hand --><svg/>",
        ),
        "/a.pdf" => response("200 OK", &["Content-Type: application/pdf"], b"%PDF-1.7"),
        "/untyped" => response("200 OK", &[], b"\x89PNG\r\n"),
        "/untyped-page" => response("200 OK", &[], b"\n<!-- x --><!DOCTYPE HTML><p>"),
        "/login" => response("200 OK", &["Content-Type: text/html"], b"<html>log in"),
        "/disguised" => response("200 OK", &["Content-Type: image/png"], b"<html>log in"),
        _ => response("404 Not Found", &["Content-Type: text/html"], b"<html>no"),
    })
}

const PATHS: [&str; 8] = [
    "/a.png",
    "/a.svg",
    "/a.pdf",
    "/untyped",
    "/untyped-page",
    "/login",
    "/disguised",
    "/gone",
];

fn kind_of(done: &Done, end: &str) -> Option<ErrorKind> {
    done.of(end).error.as_ref().map(|error| error.kind)
}

fn message_of<'a>(done: &'a Done, end: &str) -> &'a str {
    &done.of(end).error.as_ref().unwrap().message
}

#[test]
fn only_the_expected_types_are_saved() {
    let server = gallery();
    let out = Out::new();
    let urls = PATHS.map(|path| server.url(path));
    let done = out
        .run()
        .args(["--expect-type", "image/*, application/PDF"])
        .urls(urls)
        .expect_exit(1);
    for fine in ["/a.png", "/a.svg", "/a.pdf", "/untyped"] {
        assert!(done.of(fine).ok, "{fine}: {}", done.stdout);
        assert!(out.file(done.of(fine)).exists());
    }
    let mut texts = Texts::new();
    for other in ["/untyped-page", "/login", "/disguised"] {
        let record = done.of(other);
        assert_eq!(
            kind_of(&done, other),
            Some(ErrorKind::ContentType),
            "{other}"
        );
        assert_eq!((record.status, record.attempts), (Some(200), 1), "final");
        assert_eq!((record.file.as_ref(), record.bytes), (None, None));
        texts.add(other, message_of(&done, other));
    }
    insta::assert_snapshot!("not_of_an_expected_type", texts);
    assert_eq!(kind_of(&done, "/gone"), Some(ErrorKind::Status));
    assert!(out.unfinished().is_empty());
    let host = out.file(done.of("/a.png"));
    let saved = fs::read_dir(host.parent().unwrap()).unwrap();
    assert_eq!(saved.count(), 4, "nothing else");
}

#[test]
fn a_line_has_its_own_types_and_any_other_type_column_does_not_matter() {
    let server = gallery();
    let list = format!(
        "url,type\n{0}/a.png,\"text/*,image/png\"\n{0}/a.pdf,text/*\n{0}/login,photo\n{0}/untyped,\n{0}/a.svg,image/\n",
        server.url("")
    );
    let run = || Run::new().args(["--input-format=csv"]).stdin(list.clone());
    let done = run().expect_exit(1);
    assert!(done.of("/a.png").ok && done.of("/login").ok && done.of("/untyped").ok);
    assert_eq!(kind_of(&done, "/a.pdf"), Some(ErrorKind::ContentType));
    assert_eq!(kind_of(&done, "/a.svg"), Some(ErrorKind::InvalidUrl));
    assert_eq!(
        message_of(&done, "/a.svg"),
        "invalid input: invalid type: expected a media type such as image/* or application/pdf, not \"image/\""
    );
    let done = run().arg("--expect-type=image/png").expect_exit(1);
    assert_eq!(kind_of(&done, "/login"), Some(ErrorKind::ContentType));
    for types in [r#""image/*""#, r#"["application/pdf", "image/*"]"#] {
        let line = format!(r#"{{"url":"{}","type":{types}}}"#, server.url("/login"));
        let done = Run::new()
            .args(["--input-format=jsonl", "-I"])
            .stdin(line)
            .expect_exit(1);
        assert_eq!(
            done.failure(),
            (ErrorKind::ContentType, 1),
            "also for a HEAD"
        );
    }
}

/// An earlier run took the login page for the image.
#[test]
fn what_was_saved_with_another_type_is_not_done() {
    let server = gallery();
    let out = Out::new();
    let run = || out.run().args([server.url("/login"), server.url("/a.png")]);
    run().expect_exit(0);
    assert_eq!(run().expect_exit(0).skipped(), 2);
    let done = run().arg("--expect-type=image/*").expect_exit(1);
    assert_eq!(kind_of(&done, "/login"), Some(ErrorKind::ContentType));
    assert_eq!(done.of("/a.png").outcome, OutcomeName::Skipped);
}

/// The first bytes were saved by a run that expected no type.
#[test]
fn a_resumed_page_is_found_too() {
    const HALF: usize = 4096;
    let server = Server::start(|connection| {
        let request = connection.request()?.unwrap_or_default();
        let is_rest = request.to_ascii_lowercase().contains("range: ");
        let (range, body) = match is_rest {
            true => {
                let (total, last) = (2 * HALF, 2 * HALF - 1);
                let range = format!("Content-Range: bytes {HALF}-{last}/{total}\r\n");
                (
                    format!("206 Partial Content\r\n{range}Content-Length: {HALF}"),
                    [b'x'; HALF],
                )
            }
            false => {
                let mut body = [b' '; HALF];
                body[..6].copy_from_slice(b"<html>");
                (format!("200 OK\r\nContent-Length: {}", 2 * HALF), body)
            }
        };
        let rest = "Content-Type: image/png\r\nETag: \"1\"\r\nConnection: close\r\n\r\n";
        connection.send(format!("HTTP/1.1 {range}\r\n{rest}").as_bytes())?;
        connection.send(&body)
    });
    let out = Out::new();
    let url = server.url("/a.png");
    out.run().args(["--retries=0", &url]).expect_exit(1);
    assert_eq!(out.unfinished().len(), 2, "the part and its list");
    let done = out
        .run()
        .args(["--expect-type=image/*", &url])
        .expect_exit(1);
    assert_eq!(done.failure().0, ErrorKind::ContentType);
    assert!(out.unfinished().is_empty(), "{:?}", out.unfinished());
}

#[test]
fn a_simulated_type_meets_the_real_check() {
    let server = gallery();
    let fault = "--simulate-failure=content_type=100%";
    let done = Run::new()
        .args([fault, "--expect-type=image/*", &server.url("/a.png")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::ContentType, 1));
    assert_eq!(
        done.message(),
        "unexpected content type: application/x-simulated-fault, expected image/*"
    );
    assert!(done.record().simulated && done.record().status == Some(200));
    let done = Run::new()
        .args([fault, &server.url("/a.png")])
        .expect_exit(1);
    assert_eq!(done.failure().0, ErrorKind::ContentType, "without a check");
}

#[test]
fn a_list_that_names_no_type_is_a_usage_error() {
    let done = Run::new()
        .text()
        .args(["--expect-type=image", "http://127.0.0.1:1/"])
        .expect_exit(2);
    assert!(done.stderr.contains("image/*"), "{}", done.stderr);
}
