//! Heads of requests and responses in the form of HTTP/1.1, which WARC asks for
//! (§6.3.2, §6.5.2). HTTP/2 has no text form of its own, and readers know this one;
//! `WARC-Protocol` says what it was.

use std::io::Write as _;

use http::{HeaderName, HeaderValue, Version, header};
use url::Position;

use super::render::RequestHead;
use crate::model::ResponseHead;

/// Stands for a value that may be a secret.
const MASK: &[u8] = b"***";

/// The head of a request as it was sent, but for secrets: an archive is passed around.
pub fn request_head(out: &mut Vec<u8>, request: &RequestHead<'_>) {
    let url = request.url;
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(url[Position::BeforePath..Position::AfterQuery].as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !request.headers.contains_key(header::HOST) {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        field(out, b"host", host.as_bytes());
    }
    for (name, value) in request.headers {
        let shown = if is_secret(name, value) {
            MASK
        } else {
            value.as_bytes()
        };
        field(out, name.as_str().as_bytes(), shown);
    }
    if !request.body.is_empty() && !request.headers.contains_key(header::CONTENT_LENGTH) {
        number_field(out, "content-length", request.body.len() as u64);
    }
    out.extend_from_slice(b"\r\n");
}

fn is_secret(name: &HeaderName, value: &HeaderValue) -> bool {
    let names = [
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ];
    value.is_sensitive() || names.contains(name)
}

/// The head of a response whose body stands decoded behind it. What described the body
/// on the wire is kept under another name, as Common Crawl does: a reader would decode
/// it once more, or stop at the wrong length. A content coding that the body still has
/// keeps its name.
pub fn response_head(out: &mut Vec<u8>, head: &ResponseHead, body_len: u64) {
    status_line(out, head);
    let true_length = body_len.to_string();
    let mut has_length = false;
    let mut kept = head.kept_coding.as_ref().map(|kept| &kept.value);
    for (name, value) in &*head.headers {
        if *name == header::CONTENT_LENGTH && value.as_bytes() == true_length.as_bytes() {
            has_length = true;
        } else if *name == header::CONTENT_ENCODING && kept == Some(value) {
            kept = None;
        } else if let Some(renamed) = renamed(name) {
            field(out, renamed, value.as_bytes());
            continue;
        }
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if !has_length {
        field(out, b"Content-Length", true_length.as_bytes());
    }
    if let Some(kept) = kept {
        field(out, b"Content-Encoding", kept.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    let version: &[u8] = match head.version {
        Version::HTTP_09 | Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    };
    out.extend_from_slice(version);
    out.extend_from_slice(head.status.as_str().as_bytes());
    // The space stays even where there is no reason to give (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(
        head.status
            .canonical_reason()
            .unwrap_or_default()
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
}

fn renamed(name: &HeaderName) -> Option<&'static [u8]> {
    match *name {
        header::CONTENT_ENCODING => Some(b"X-Crawl-Content-Encoding"),
        header::CONTENT_LENGTH => Some(b"X-Crawl-Content-Length"),
        header::TRANSFER_ENCODING => Some(b"X-Crawl-Transfer-Encoding"),
        _ => None,
    }
}

/// One line of a head. Values may be any bytes but CR and LF, which the types of `http`
/// rule out.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// One line of a head whose value is a number.
pub fn number_field(out: &mut Vec<u8>, name: &str, value: u64) {
    // A Vec takes every write.
    let _ = write!(out, "{name}: {value}\r\n");
}

/// What the protocols of the wire are called in `WARC-Protocol` (IIPC proposal,
/// iipc/warc-specifications#42).
pub fn protocol(version: Version, is_tls: bool) -> Option<&'static [u8]> {
    match version {
        Version::HTTP_09 => Some(b"http/0.9"),
        Version::HTTP_10 => Some(b"http/1.0"),
        Version::HTTP_11 => Some(b"http/1.1"),
        Version::HTTP_2 if is_tls => Some(b"h2"),
        Version::HTTP_2 => Some(b"h2c"),
        Version::HTTP_3 => Some(b"h3"),
        _ => None,
    }
}
