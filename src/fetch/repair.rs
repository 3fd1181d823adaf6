//! Repairs invalid responses, so that the HTTP parser accepts what curl and browsers tolerate.
//! Header lines that can't be repaired are dropped.

use http::{HeaderName, StatusCode, header};
use percent_encoding::percent_encode_byte;

use super::chunk_repair::ChunkRepairer;
use super::wire_lines::{MAX_HEAD_BYTES, without_line_end};
use crate::model::{elide_middle, escape_control};

/// The version of a repaired status line.
const HTTP_1_1: &[u8] = b"HTTP/1.1";
/// Length of the protocol's name and version, in bytes.
const VERSION_BYTES: usize = HTTP_1_1.len();
/// Position of the status in a repaired head.
const STATUS: std::ops::Range<usize> = VERSION_BYTES + 1..VERSION_BYTES + 4;
/// The failure where 1xx responses are limited.
const TOO_MANY_INTERIM: &str = "too many 1xx responses";
/// Maximum number of characters of a header line in a message.
const MAX_LINE_CHARS: usize = 80;

/// A response is invalid in a way that can be neither repaired nor left to the parser.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BeyondRepair(pub &'static str);

/// Buffers the bytes of a connection until the final head is complete, and returns them repaired;
/// also those of a chunked body.
#[derive(Debug, Default)]
pub(super) struct ResponseRepairer {
    /// The received part of the head.
    raw: Vec<u8>,
    /// Where to continue the search for its end.
    searched: usize,
    /// Bytes received so far of the head, including blank lines before it; also of the interim heads
    /// if `bounds_interim`.
    gathered: usize,
    /// Whether interim heads are limited, too.
    bounds_interim: bool,
    /// Whether all further bytes belong to the body.
    is_done: bool,
    /// The chunked body; any other is passed on unchanged.
    chunks: Option<ChunkRepairer>,
    /// Whether the head is the response to a CONNECT.
    is_for_tunnel: bool,
    /// The status of the last head.
    status: Option<StatusCode>,
    /// An invalid line of the final head that was meant to say where the body ends.
    flawed_length: Option<String>,
    /// What can neither be repaired nor left to the parser.
    failure: Option<&'static str>,
}

impl ResponseRepairer {
    /// Creates a repairer for a proxy's response to CONNECT, which it reduces to the final status
    /// line. Any 2xx opens the tunnel (RFC 9110 §9.3.6) and becomes a 200, because the client
    /// accepts no other.
    pub(super) fn for_tunnel() -> Self {
        Self {
            is_for_tunnel: true,
            ..Self::bounding_interim(true)
        }
    }

    /// Creates a repairer that limits the size of all interim heads together if `bounds_interim`.
    /// Otherwise they end with the timeout, as those that the usual client reads.
    pub(super) fn bounding_interim(bounds_interim: bool) -> Self {
        Self {
            bounds_interim,
            ..Self::default()
        }
    }

    /// Adds received bytes. Returns those that are ready for the parser: none while a head is
    /// incomplete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.raw.extend_from_slice(bytes);
        let mut ready = Vec::new();
        if !self.is_done {
            self.gathered += bytes.len();
            self.push_heads(&mut ready);
        }
        if self.is_done {
            match &mut self.chunks {
                None => ready.append(&mut self.raw),
                Some(chunks) => {
                    let pushed = chunks.push(&std::mem::take(&mut self.raw), &mut ready);
                    self.failure = pushed.err();
                }
            }
        }
        ready
    }

    /// Appends the heads that are complete.
    fn push_heads(&mut self, ready: &mut Vec<u8>) {
        while !self.is_done && self.failure.is_none() {
            match self.next_head() {
                // curl and browsers reject it, too.
                Some(head) if head.contains(&0) => {
                    self.failure = Some("NUL byte in the response head");
                }
                Some(head) => self.push_head(repair(&head), ready),
                // Not HTTP/1, or too long: left to the parser, which reports it.
                None if !may_be_head(&self.raw) || self.gathered > MAX_HEAD_BYTES => {
                    self.is_done = true;
                }
                None => return,
            }
        }
    }

    fn push_head(&mut self, head: RepairedHead, ready: &mut Vec<u8>) {
        self.is_done = !is_interim(&head.bytes);
        self.status = StatusCode::from_bytes(status_of(&head.bytes)).ok();
        match self.is_for_tunnel {
            true => ready.extend(self.tunnel_response(&head.bytes)),
            false => ready.extend(head.bytes),
        }
        if self.is_done {
            let is_chunked = head.is_chunked && !self.is_for_tunnel;
            self.chunks = is_chunked.then(ChunkRepairer::default);
            self.flawed_length = head.flaw;
        } else if !self.bounds_interim {
            self.gathered = self.raw.len();
        } else if self.gathered > MAX_HEAD_BYTES {
            self.failure = Some(TOO_MANY_INTERIM);
        }
    }

    /// Returns why the bytes that follow those returned so far are invalid, if they are.
    pub(super) fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    /// Whether there were more 1xx responses than allowed.
    pub(super) fn has_endless_interim(&self) -> bool {
        self.failure == Some(TOO_MANY_INTERIM)
    }

    /// Whether all further bytes are passed on unchanged.
    pub(super) fn is_transparent(&self) -> bool {
        self.is_done && self.chunks.is_none()
    }

    /// Whether a chunked body has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.chunks.as_ref().is_some_and(ChunkRepairer::has_ended)
    }

    /// Whether a line of the trailers ended with a line feed alone.
    pub(super) fn has_bare_trailers(&self) -> bool {
        self.chunks
            .as_ref()
            .is_some_and(ChunkRepairer::has_bare_trailers)
    }

    /// Takes the invalid line of the final head that was meant to say where the body ends.
    pub(super) fn flawed_length(&mut self) -> Option<String> {
        self.flawed_length.take()
    }

    /// Returns the status of the final head, once it is complete.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.status.filter(|_| self.is_done)
    }

    fn tunnel_response(&self, head: &[u8]) -> Vec<u8> {
        match self.status {
            Some(_) if !self.is_done => Vec::new(),
            Some(status) if status.is_success() => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            _ => {
                let line = memchr::memchr(b'\n', head).and_then(|end| head.get(..=end));
                [line.unwrap_or(head), b"\r\n"].concat()
            }
        }
    }

    fn next_head(&mut self) -> Option<Vec<u8>> {
        if self.searched == 0 {
            let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
            let blank = self.raw.iter().take_while(is_line_end).count();
            self.raw.drain(..blank);
        }
        let end = end_of_head(&self.raw, self.searched);
        // The blank line may be split between this piece and the next.
        self.searched = self.raw.len().saturating_sub(2);
        let rest = self.raw.split_off(end?);
        self.searched = 0;
        Some(std::mem::replace(&mut self.raw, rest))
    }
}

/// Returns the end of the first blank line after `from`. A bare line feed also ends a line (RFC 9112
/// §2.2).
fn end_of_head(raw: &[u8], from: usize) -> Option<usize> {
    let ends = memchr::memchr_iter(b'\n', raw.get(from..)?).map(|at| from + at + 1);
    ends.into_iter().find(|end| {
        let head = raw.get(..*end).unwrap_or_default();
        head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
    })
}

fn may_be_head(raw: &[u8]) -> bool {
    [&b"HTTP/1."[..], b"HTTP/2 ", b"HTTP/2.0 "]
        .iter()
        .any(|start| {
            let mut both = raw.iter().zip(*start);
            both.all(|(one, other)| one.eq_ignore_ascii_case(other))
        })
}

/// Returns the status of a repaired head.
fn status_of(head: &[u8]) -> &[u8] {
    let is_longer = head.get(STATUS.end).is_some_and(u8::is_ascii_digit);
    head.get(STATUS).filter(|_| !is_longer).unwrap_or_default()
}

/// Whether another head follows: after all 1xx except 101, which the parser rejects.
fn is_interim(head: &[u8]) -> bool {
    let status = status_of(head);
    status.starts_with(b"1") && status != b"101"
}

/// A head that the parser accepts.
#[derive(Debug, Default, PartialEq, Eq)]
struct RepairedHead {
    bytes: Vec<u8>,
    /// An invalid line that was meant to say where the body ends.
    flaw: Option<String>,
    /// Whether the body is chunked (RFC 9112 §6.3).
    is_chunked: bool,
}

/// Repairs a head.
fn repair(head: &[u8]) -> RepairedHead {
    let mut repaired = RepairedHead::default();
    let mut lines = head.split(|byte| *byte == b'\n').map(without_line_end);
    let status_line = lines.next().unwrap_or_default();
    let (mut headers, mut has_transfer_coding) = (Vec::new(), false);
    for line in unfolded(lines) {
        match RepairedLine::of(&line) {
            RepairedLine::Header(name, value) => {
                let mut value = &*value;
                if name.eq_ignore_ascii_case(b"transfer-encoding") {
                    value = without_empty_end(value);
                    if value.is_empty() && has_transfer_coding {
                        continue;
                    }
                    has_transfer_coding = true;
                    let last = value.rsplit(|byte| *byte == b',').next();
                    let last = last.unwrap_or_default().trim_ascii();
                    repaired.is_chunked = last.eq_ignore_ascii_case(b"chunked");
                }
                headers.extend([name, b": ", value, b"\r\n"].concat());
            }
            RepairedLine::FlawedLength => {
                let line = String::from_utf8_lossy(&line);
                let shown = || elide_middle(&escape_control(&line), MAX_LINE_CHARS);
                repaired.flaw.get_or_insert_with(shown);
            }
            RepairedLine::Nothing => {}
        }
    }
    let status_line = repaired_status_line(status_line, has_transfer_coding);
    repaired.bytes = [&status_line[..], b"\r\n", &headers, b"\r\n"].concat();
    repaired
}

/// Removes empty elements from the end of a list (RFC 9110 §5.6.1.2). The parser takes the last
/// element for the last coding.
fn without_empty_end(value: &[u8]) -> &[u8] {
    let is_empty = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
    let end = value.iter().rposition(|byte| !is_empty(byte));
    end.and_then(|end| value.get(..=end)).unwrap_or_default()
}

/// Repairs a status line (RFC 9112 §4). Some servers send the protocol in lower case, several
/// spaces, or letters directly after the status; some gateways pass on HTTP/2 as the version.
fn repaired_status_line(line: &[u8], has_transfer_coding: bool) -> Vec<u8> {
    let mut line = without_controls(line);
    for version in [&b"HTTP/2 "[..], b"HTTP/2.0 "] {
        let start = line.get(..version.len()).unwrap_or_default();
        if start.eq_ignore_ascii_case(version) {
            line.splice(..version.len() - 1, HTTP_1_1.iter().copied());
        }
    }
    let Some((version, rest)) = line.split_at_mut_checked(VERSION_BYTES) else {
        return line;
    };
    version.make_ascii_uppercase();
    if version == b"HTTP/1.0" && has_transfer_coding {
        // Only HTTP/1.1 has transfer codings, and the parser enforces that. The connection ends
        // with this response in any case.
        version.copy_from_slice(HTTP_1_1);
    }
    let digits = rest.trim_ascii_start();
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if count != 3 || !rest.starts_with(b" ") {
        return line;
    }
    let (status, reason) = digits.split_at(count);
    let version: &[u8] = version;
    [version, b" ", status, b" ", reason.trim_ascii()].concat()
}

/// Joins each header line with its folded continuation lines (RFC 9112 §5.2).
fn unfolded<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut whole: Vec<Vec<u8>> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        match whole.last_mut() {
            Some(last) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                last.push(b' ');
                last.extend(line.trim_ascii());
            }
            _ => whole.push(line.to_vec()),
        }
    }
    whole
}

/// The result of repairing a header line.
#[derive(Debug, PartialEq, Eq)]
enum RepairedLine<'a> {
    /// A valid name and value.
    Header(&'a [u8], Vec<u8>),
    /// An invalid line that was meant to say where the body ends.
    FlawedLength,
    /// An unusable line, which is dropped.
    Nothing,
}

impl<'a> RepairedLine<'a> {
    fn of(line: &'a [u8]) -> Self {
        let colon = memchr::memchr(b':', line);
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let name = name.trim_ascii_end();
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let Some(known) = HeaderName::from_bytes(name)
            .ok()
            .filter(|_| colon.is_some())
        else {
            return match is_like_length(line) {
                true => Self::FlawedLength,
                false => Self::Nothing,
            };
        };
        let is_plain = value.iter().all(is_plain);
        if (known == header::CONTENT_LENGTH && !is_length(value))
            || (known == header::TRANSFER_ENCODING && !is_plain)
        {
            Self::FlawedLength
        } else if known == header::SET_COOKIE && !is_plain {
            // RFC 6265bis §5.6: a cookie with control bytes is dropped.
            Self::Nothing
        } else {
            Self::Header(name, repaired_value(&known, value))
        }
    }
}

/// Whether an invalid header line was probably meant to say where the body ends.
fn is_like_length(line: &[u8]) -> bool {
    let letters = line.iter().filter(|byte| byte.is_ascii_alphabetic());
    let letters: Vec<_> = letters.map(u8::to_ascii_lowercase).collect();
    letters.starts_with(b"contentlength") || letters.starts_with(b"transferencoding")
}

/// Whether a value is a length, or a list of lengths. Nothing but digits (RFC 9110 §8.6): curl reads
/// `+5` as 5 and browsers ignore it, so a body would not have the same end for everyone.
fn is_length(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').all(|length| {
        let length = length.trim_ascii();
        let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        is_number && fits_parser(length)
    })
}

/// Whether the parser accepts so large a number; its two largest values have other meanings.
fn fits_parser(digits: &[u8]) -> bool {
    let number = std::str::from_utf8(digits).ok();
    let number = number.and_then(|digits| digits.parse::<u64>().ok());
    number.is_some_and(|number| number <= u64::MAX - 2)
}

fn is_plain(byte: &u8) -> bool {
    *byte == b'\t' || !byte.is_ascii_control()
}

/// Returns the value without control bytes. In a URL they are percent-encoded, as in browsers.
fn repaired_value(name: &HeaderName, value: &[u8]) -> Vec<u8> {
    if name != header::LOCATION {
        return without_controls(value);
    }
    let mut repaired = Vec::with_capacity(value.len());
    for byte in value {
        match is_plain(byte) {
            true => repaired.push(*byte),
            false => repaired.extend(percent_encode_byte(*byte).bytes()),
        }
    }
    repaired
}

fn without_controls(line: &[u8]) -> Vec<u8> {
    let bytes = line.iter();
    bytes
        .map(|byte| if is_plain(byte) { *byte } else { b' ' })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repaired(lines: &str) -> (String, Option<String>) {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        let RepairedHead { bytes, flaw, .. } = repair(head.as_bytes());
        let repaired = String::from_utf8(bytes).unwrap();
        let lines = repaired.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap();
        (lines.trim_end().replace("\r\n", "|"), flaw)
    }

    #[test]
    fn invalid_lines_are_repaired_or_dropped() {
        for (lines, expected) in [
            ("X-A: 1\r\nX-B:2", "X-A: 1|X-B: 2"),
            ("X-A : 1", "X-A: 1"),
            (
                "Transfer-Encoding: chunked , ,",
                "Transfer-Encoding: chunked",
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: ,",
                "Transfer-Encoding: chunked",
            ),
            ("Transfer-Encoding: ,", "Transfer-Encoding:"),
            ("X-A: 1\nX-B: 2\r\r", "X-A: 1|X-B: 2"),
            ("X-A: one\r\n two\r\n\tthree", "X-A: one two three"),
            (" folded: below nothing\r\nX-A: 1", "X-A: 1"),
            ("X[0]: 1\r\n folded\r\nX-A: 1", "X-A: 1"),
            ("X A: 1\r\n: 2\r\nno colon\r\nX-A: 1", "X-A: 1"),
            ("X-A: a\rb\u{1}c\u{7f}d\te", "X-A: a b c d\te"),
            ("Location: /a\rb\u{1}c\u{7f}d", "Location: /a%0Db%01c%7Fd"),
            (
                "Set-Cookie: a=b\u{1}c\r\nSet-Cookie: b=1",
                "Set-Cookie: b=1",
            ),
            (
                "Content-Length : 5\r\nContent-Length:\r\n 5",
                "Content-Length: 5|Content-Length: 5",
            ),
            ("Content-Length: 5, 5", "Content-Length: 5, 5"),
            (
                "Transfer-Encoding\t: gzip, chunked",
                "Transfer-Encoding: gzip, chunked",
            ),
            (
                "X-Content-Length: x\r\nContent-Length1: x",
                "X-Content-Length: x|Content-Length1: x",
            ),
        ] {
            assert_eq!(repaired(lines), (expected.to_owned(), None), "{lines:?}");
        }
    }

    #[test]
    fn a_status_line_is_repaired_if_its_status_is_unambiguous() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK", "HTTP/1.1 200 OK"),
            ("HTTP/1.0 200 OK", "HTTP/1.0 200 OK"),
            ("HTTP/1.1 200", "HTTP/1.1 200 "),
            ("HTTP/1.1  404   Not \u{1}Found", "HTTP/1.1 404 Not  Found"),
            ("http/1.1 200 OK", "HTTP/1.1 200 OK"),
            ("HTTP/1.1 200x OK", "HTTP/1.1 200 x OK"),
            ("HTTP/1.1 2000 OK", "HTTP/1.1 2000 OK"),
            ("HTTP/1.1200 OK", "HTTP/1.1200 OK"),
            ("HTTP/1.1 OK", "HTTP/1.1 OK"),
            ("HTTP/1", "HTTP/1"),
            ("HTTP/2 200 OK", "HTTP/1.1 200 OK"),
            ("http/2.0  200", "HTTP/1.1 200 "),
            ("HTTP/2.1 200 OK", "HTTP/2.1 200 OK"),
            ("HTTP/3 200 OK", "HTTP/3 200 OK"),
        ] {
            let repaired = repaired_status_line(line.as_bytes(), false);
            assert_eq!(String::from_utf8(repaired).unwrap(), expected);
        }
        let chunked = "http/1.0 200 OK\r\nTransfer-encoding: chunked\r\n\r\n";
        let expected = "HTTP/1.1 200 OK\r\nTransfer-encoding: chunked\r\n\r\n";
        assert_eq!(repair(chunked.as_bytes()).bytes, expected.as_bytes());
    }

    #[test]
    fn a_flawed_length_is_reported_and_dropped() {
        for line in [
            "Content-Length: 5x",
            "Content-Length : 5x",
            "Content-Length: -5",
            "Content-Length: 99999999999999999999",
            "Content-Length: 5, 18446744073709551614",
            "Content-Length: +5",
            "Content-Length: ",
            "Content-Length: 5,",
            "Content-Length: 5\u{1}",
            "Content Length: 5",
            "Content-Length 5",
            " Content-Length: 5",
            ": Content-Length: 5",
            "content-length\u{1}: 5",
            "Transfer-Encoding: chunked\u{7f}",
            "Transfer -Encoding: chunked",
            "Transfer-Encoding chunked",
        ] {
            let lines = format!("{line}\r\nContent-Length: 5");
            let (kept, flaw) = repaired(&lines);
            assert_eq!(kept, "Content-Length: 5", "{line:?}");
            let flaw = flaw.unwrap();
            assert!(!flaw.contains(char::is_control), "{flaw:?}");
        }
        let long = format!("Content-Length: {}x", "1".repeat(1000));
        assert_eq!(repaired(&long).1.unwrap().chars().count(), MAX_LINE_CHARS);
    }

    #[test]
    fn consecutive_heads_are_repaired_however_they_are_split() {
        let interim = "HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\nLink: a\r\n\r\n";
        let sent =
            format!("\r\n\n{interim}\r\nHTTP/1.1 200 OK\nContent Length: 2\nX : 1\n\nX : 2\n\n");
        let expected =
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX: 1\r\n\r\nX : 2\n\n";
        for size in 1..sent.len() {
            let mut repairer = ResponseRepairer::default();
            let (mut ready, mut flaws) = (Vec::new(), Vec::new());
            for piece in sent.as_bytes().chunks(size) {
                ready.extend(repairer.push(piece));
                flaws.extend(repairer.flawed_length());
            }
            assert_eq!(String::from_utf8(ready).unwrap(), expected, "{size}");
            assert!(repairer.is_transparent());
            assert_eq!(flaws, ["Content Length: 2"]);
        }
    }

    #[test]
    fn a_response_to_connect_is_reduced_to_its_final_status_line() {
        for (sent, expected, status) in [
            (
                "HTTP/1.1 200 Connected\r\nX A: 1\r\n\r\n",
                "HTTP/1.1 200 OK\r\n\r\n",
                200,
            ),
            ("HTTP/1.0  204 x\n\n", "HTTP/1.1 200 OK\r\n\r\n", 204),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n",
                "HTTP/1.1 200 OK\r\n\r\n",
                201,
            ),
            (
                "HTTP/1.1 502 no way\r\nX A: 1\r\n\r\n",
                "HTTP/1.1 502 no way\r\n\r\n",
                502,
            ),
            ("HTTP/1.1 101 x\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n", 101),
            ("HTTP/1.1 2000 x\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", 0),
        ] {
            for size in [1, 7, sent.len()] {
                let mut repairer = ResponseRepairer::for_tunnel();
                let mut ready = Vec::new();
                for piece in sent.as_bytes().chunks(size) {
                    ready.extend(repairer.push(piece));
                }
                assert_eq!(String::from_utf8(ready).unwrap(), expected);
                let code = repairer.status().map_or(0, |status| status.as_u16());
                assert_eq!(code, status);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_head_or_too_long_are_passed_on_unchanged() {
        for sent in ["ICY 200 OK\r\n", "HTTP/2x", "HTTP/3 200 OK\r\n"] {
            let mut repairer = ResponseRepairer::default();
            assert_eq!(repairer.push(sent.as_bytes()), sent.as_bytes());
            assert!(repairer.is_transparent());
        }
        for piece in ["HTTP/1.1 200 OK\r\nX: x", "\r\n\r\n\r\n"] {
            let mut repairer = ResponseRepairer::default();
            let pushes = (0..).take_while(|_| {
                repairer.push(piece.as_bytes());
                !repairer.is_transparent()
            });
            assert!(pushes.count() <= MAX_HEAD_BYTES / piece.len());
        }
    }

    #[test]
    fn a_nul_ends_a_head_and_says_so() {
        let mut repairer = ResponseRepairer::default();
        let ready = repairer.push(b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 O\0K\r\n\r\n");
        assert_eq!(ready, b"HTTP/1.1 103 x\r\n\r\n");
        assert_eq!(repairer.failure(), Some("NUL byte in the response head"));
    }

    #[test]
    fn a_row_of_interim_heads_ends_where_it_is_bounded() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
        let count = |bounds_interim| {
            let mut repairer = ResponseRepairer::bounding_interim(bounds_interim);
            let pushes = (0..MAX_HEAD_BYTES / 10).take_while(|_| {
                let ready = repairer.push(interim);
                repairer.failure().is_none() && ready == interim
            });
            pushes.count()
        };
        assert_eq!(count(true), MAX_HEAD_BYTES / interim.len());
        assert_eq!(count(false), MAX_HEAD_BYTES / 10);
    }

    #[test]
    fn a_chunked_body_is_repaired_and_any_other_passed_on() {
        for (coding, expected) in [
            ("chunked", "1\r\nx\r\n0\r\n\r\n"),
            ("gzip, Chunked ", "1\r\nx\r\n0\r\n\r\n"),
            ("chunked, identity", "1\nx\n0\nA: b\n\n"),
            ("chunked\r\nTransfer-Encoding: gzip", "1\nx\n0\nA: b\n\n"),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
            let sent = format!("{head}1\nx\n0\nA: b\n\n");
            for size in [1, 5, sent.len()] {
                let mut repairer = ResponseRepairer::default();
                let pieces = sent.as_bytes().chunks(size);
                let ready: Vec<u8> = pieces.flat_map(|piece| repairer.push(piece)).collect();
                let ready = String::from_utf8(ready).unwrap();
                assert_eq!(ready.split_once("\r\n\r\n").unwrap().1, expected);
                assert_eq!(repairer.has_ended(), expected.contains('\r'));
            }
        }
    }

    proptest! {
        /// The parser accepts any repaired head, and no valid line is lost.
        #[test]
        fn a_repaired_head_is_valid(
            lines in proptest::collection::vec("[ \t]?[ -~\u{1}\r\u{7f}]{0,20}", 0..8),
            end in prop_oneof![Just("\r\n"), Just("\n")],
        ) {
            let head = format!("HTTP/1.1 200 OK{end}X-First: 1{end}{}{end}{end}", lines.join(end));
            let repaired = repair(head.as_bytes()).bytes;
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&repaired);
            prop_assert_eq!(parsed, Ok(httparse::Status::Complete(repaired.len())));
            prop_assert_eq!(response.headers[0].name, "X-First");
        }
    }
}
