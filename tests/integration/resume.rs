use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fetchall::ErrorKind;

use crate::support::{Done, Out, Server, header, path, response, scripted};

const TAG: &str = "ETag: \"a\"";
const OLD: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
const NOW: &str = "Date: Sun, 06 Nov 1994 08:59:37 GMT";
const CLOSE: &str = "Connection: close";

/// Returns a thousand bytes in which no two windows are equal.
fn body(version: u32) -> Vec<u8> {
    let numbers = (0..250u32).flat_map(|n| {
        n.wrapping_mul(2_654_435_761)
            .wrapping_add(version)
            .to_be_bytes()
    });
    numbers.collect()
}

fn whole(headers: &[&str]) -> Vec<u8> {
    let headers = [&[CLOSE], headers].concat();
    response("200 OK", &headers, &body(1))
}

/// Returns a response that ends after this number of body bytes.
fn cut(headers: &[&str], bytes: usize) -> Vec<u8> {
    let mut wire = whole(headers);
    wire.truncate(wire.len() - 1000 + bytes);
    wire
}

fn partial(range: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let range = format!("Content-Range: {range}");
    let headers = [&[CLOSE, &range], headers].concat();
    response("206 Partial Content", &headers, body)
}

/// Returns a response with the bytes of the body from here on.
fn rest(from: usize, headers: &[&str]) -> Vec<u8> {
    let range = format!("bytes {from}-999/1000");
    partial(&range, headers, &body(1)[from..])
}

/// The result of one URL against these replies: the requests and the record.
struct Case {
    out: Out,
    done: Done,
    requests: Vec<String>,
}

fn fetch(replies: Vec<Vec<u8>>) -> Case {
    let server = scripted(replies);
    let out = Out::new();
    let done = out.run().arg(server.url("/page")).expect_exit(0);
    let requests = server.requests();
    Case {
        out,
        done,
        requests,
    }
}

impl Case {
    /// Checks that the file is this version and complete, and that nothing else is left.
    fn expect_body(&self, version: u32) -> &Self {
        let record = self.done.record();
        assert!(self.out.body(record) == body(version), "{record:?}");
        assert_eq!(record.bytes, Some(1000));
        assert_eq!(&self.out.journal(), &self.done.records);
        assert!(self.out.unfinished().is_empty());
        self
    }

    /// Returns the `Range` of each request.
    fn ranges(&self) -> Vec<Option<&str>> {
        let range = |request| header(request, "range");
        self.requests.iter().map(|request| range(request)).collect()
    }
}

#[test]
fn a_cut_body_with_a_strong_validator_is_continued() {
    for (headers, validator) in [
        ([TAG].as_slice(), "\"a\""),
        (&[OLD, NOW], "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let case = fetch(vec![cut(headers, 400), rest(400, headers)]);
        case.expect_body(1);
        assert_eq!(case.ranges(), [None, Some("bytes=400-")]);
        let [first, second] = [0, 1].map(|at| case.requests[at].as_str());
        assert_eq!(header(first, "if-range"), None);
        assert_eq!(header(second, "if-range"), Some(validator));
        assert_ne!(header(first, "accept-encoding"), Some("identity"));
        assert_eq!(header(second, "accept-encoding"), Some("identity"));
        let record = case.done.record();
        assert_eq!((record.resumed_at, record.attempts), (Some(400), 2));
        assert_eq!(record.status, Some(206));
    }
}

#[test]
fn a_body_that_is_cut_again_goes_on_from_there() {
    let mut second = rest(400, &[TAG]);
    second.truncate(second.len() - 300);
    let case = fetch(vec![cut(&[TAG], 400), second, rest(700, &[TAG])]);
    case.expect_body(1);
    let ranges = [None, Some("bytes=400-"), Some("bytes=700-")];
    assert_eq!(case.ranges(), ranges);
    assert_eq!(case.done.record().resumed_at, Some(700));
}

/// Only the head was malformed, so the same request is sent again, with its range.
#[test]
fn a_flawed_head_of_the_rest_does_not_cost_what_is_here() {
    let flawed = || rest(400, &[TAG, "X[0]: 1"]);
    let case = fetch(vec![cut(&[TAG], 400), flawed(), flawed()]);
    case.expect_body(1);
    let ranges = [None, Some("bytes=400-"), Some("bytes=400-")];
    assert_eq!(case.ranges(), ranges);
    let record = case.done.record();
    assert_eq!((record.attempts, record.resends), (2, 1));
}

fn refused(status: &str) -> Vec<u8> {
    response(status, &[CLOSE], b"")
}

#[test]
fn a_rest_that_fails_for_good_is_followed_by_one_request_for_the_whole() {
    for status in [
        "304 Not Modified",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "406 Not Acceptable",
        "410 Gone",
        "412 Precondition Failed",
        "417 Expectation Failed",
        "501 Not Implemented",
        "505 HTTP Version Not Supported",
        "302 Found",
    ] {
        let case = fetch(vec![cut(&[TAG], 400), refused(status), whole(&[TAG])]);
        case.expect_body(1);
        assert_eq!(case.ranges(), [None, Some("bytes=400-"), None], "{status}");
        let record = case.done.record();
        assert_eq!((record.attempts, record.resends), (3, 0), "{status}");
        assert_eq!(record.resumed_at, None);
    }
    // Retries come first.
    let failed = || refused("500 Internal Server Error");
    let case = fetch(vec![
        cut(&[TAG], 400),
        failed(),
        failed(),
        failed(),
        whole(&[TAG]),
    ]);
    case.expect_body(1);
    assert_eq!(case.requests.len(), 5);
    assert_eq!(case.ranges()[4], None);
}

#[test]
fn the_part_is_kept_until_the_whole_begins_also_in_later_runs() {
    let server = scripted(vec![
        cut(&[TAG], 400),
        refused("404 Not Found"),
        refused("410 Gone"),
        rest(400, &[TAG]),
    ]);
    let out = Out::new();
    let run = || out.run().args(["--retries=0", &server.url("/page")]);
    run().expect_exit(1);
    let done = run().expect_exit(1);
    let record = done.record();
    assert_eq!(record.status, Some(410), "the second response counts");
    assert_eq!(record.attempts, 2);
    let done = run().expect_exit(0);
    assert_eq!(done.record().resumed_at, Some(400));
    assert!(out.body(done.record()) == body(1));
    let requests = server.requests();
    let ranges: Vec<_> = requests
        .iter()
        .map(|request| header(request, "range"))
        .collect();
    let range = Some("bytes=400-");
    assert_eq!(ranges, [None, range, None, range]);
}

#[test]
fn a_rest_that_is_longer_than_its_range_is_not_used() {
    let mut long = b"HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Range: bytes \
        400-999/1000\r\nTransfer-Encoding: chunked\r\n\r\n25b\r\n"
        .to_vec();
    long.extend(&body(1)[400..]);
    long.extend(b"abc\r\n0\r\n\r\n");
    let case = fetch(vec![cut(&[TAG], 400), long, whole(&[TAG])]);
    case.expect_body(1);
    assert_eq!(case.ranges(), [None, Some("bytes=400-"), None]);
}

#[test]
fn what_has_no_strong_validator_is_started_over() {
    for headers in [
        [].as_slice(),
        &["ETag: W/\"a\""],
        &[OLD],
        // A second change in the same minute would be invisible.
        &[OLD, "Date: Sun, 06 Nov 1994 08:50:36 GMT"],
        &[TAG, "Accept-Ranges: none"],
    ] {
        let case = fetch(vec![cut(headers, 400), whole(headers)]);
        case.expect_body(1);
        assert_eq!(case.ranges(), [None, None], "{headers:?}");
        assert_eq!(case.done.record().resumed_at, None);
    }
}

#[test]
fn what_comes_compressed_is_started_over() {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&body(1)).unwrap();
    let headers = [CLOSE, TAG, "Content-Encoding: gzip"];
    let packed = response("200 OK", &headers, &packer.finish().unwrap());
    let cut = packed[..packed.len() - 300].to_vec();
    let case = fetch(vec![cut, packed]);
    case.expect_body(1);
    assert_eq!(case.ranges(), [None, None]);
}

/// The coding belongs to the file: the received bytes are the stored ones.
#[test]
fn a_packed_file_that_is_labelled_as_coded_is_continued() {
    let headers = [
        TAG,
        "Content-Encoding: gzip",
        "Content-Type: application/gzip",
    ];
    let rest = partial("bytes 400-999/1000", &headers, &body(1)[400..]);
    let case = fetch(vec![cut(&headers, 400), rest]);
    case.expect_body(1);
    assert_eq!(case.ranges(), [None, Some("bytes=400-")]);
    assert_eq!(case.done.record().resumed_at, Some(400));
}

#[test]
fn an_answer_that_is_not_the_rest_of_this_version_is_not_glued_to_it() {
    let new = |range: &str, tag: &str| partial(range, &[tag], &body(2)[400..]);
    let changed = response("200 OK", &[CLOSE, "ETag: \"b\""], &body(2));
    for answer in [
        // Another start, another total, another version, an unknown version.
        partial("bytes 399-998/1000", &[TAG], &body(2)[399..999]),
        partial("bytes 0-599/1000", &[TAG], &body(2)[..600]),
        new("bytes 400-999/1001", TAG),
        new("bytes 400-999/1000", "ETag: \"b\""),
        new("bytes 400-999/1000", "ETag: W/\"a\""),
        new("bytes 400-999/1000", "X-None: 1"),
        // A length that differs from the range.
        new("bytes 400-899/1000", TAG),
        // Several ranges, or none.
        response(
            "206 Partial Content",
            &[CLOSE, TAG, "Content-Type: multipart/byteranges; boundary=x"],
            b"--x\r\nContent-Range: bytes 400-999/1000\r\n\r\n\r\n--x--\r\n",
        ),
        response("206 Partial Content", &[CLOSE, TAG], &body(2)[400..]),
        // The body is shorter now.
        response(
            "416 Range Not Satisfiable",
            &[CLOSE, TAG, "Content-Range: bytes */300"],
            b"",
        ),
        response("416 Range Not Satisfiable", &[CLOSE], b""),
    ] {
        let shown = String::from_utf8_lossy(&answer[..150.min(answer.len())]).into_owned();
        let case = fetch(vec![cut(&[TAG], 400), answer, changed.clone()]);
        case.expect_body(2);
        let ranges = [None, Some("bytes=400-"), None];
        assert_eq!(case.ranges(), ranges, "{shown}");
        assert_eq!(case.done.record().resumed_at, None, "{shown}");
    }
}

#[test]
fn a_server_that_sends_all_of_it_instead_of_the_rest_is_taken_at_its_word() {
    for tag in [TAG, "ETag: \"b\""] {
        let all = response("200 OK", &[CLOSE, tag], &body(2));
        let case = fetch(vec![cut(&[TAG], 400), all]);
        case.expect_body(2);
        assert_eq!(case.ranges(), [None, Some("bytes=400-")]);
        assert_eq!(case.done.record().resumed_at, None);
    }
}

#[test]
fn a_server_that_sends_a_piece_is_asked_for_the_next_one() {
    let piece = |from: usize, to: usize| {
        let range = format!("bytes {from}-{}/1000", to - 1);
        partial(&range, &[TAG], &body(1)[from..to])
    };
    let case = fetch(vec![
        cut(&[TAG], 400),
        piece(400, 600),
        piece(600, 601),
        piece(601, 1000),
    ]);
    case.expect_body(1);
    let ranges = [
        None,
        Some("bytes=400-"),
        Some("bytes=600-"),
        Some("bytes=601-"),
    ];
    assert_eq!(case.ranges(), ranges);
}

#[test]
fn a_416_completes_what_lacked_only_its_end() {
    let mut chunked =
        format!("HTTP/1.1 200 OK\r\n{TAG}\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n")
            .into_bytes();
    chunked.extend_from_slice(&body(1));
    chunked.extend_from_slice(b"\r\n");
    let end = response(
        "416 Range Not Satisfiable",
        &[
            CLOSE,
            "Content-Type: text/html",
            "Content-Range: bytes */1000",
        ],
        b"<html>no more",
    );
    let case = fetch(vec![chunked, end]);
    case.expect_body(1);
    assert_eq!(case.ranges(), [None, Some("bytes=1000-")]);
    let record = case.done.record();
    assert!(record.ok);
    assert_eq!(record.resumed_at, Some(1000));
    assert_eq!(record.etag.as_deref(), Some("\"a\""), "that of the body");
    assert_eq!(record.content_type, None, "not that of the error page");
}

#[test]
fn a_part_is_kept_for_the_next_run_when_its_url_fails() {
    let server = scripted(vec![cut(&[TAG], 400), rest(400, &[TAG])]);
    let out = Out::new();
    let url = server.url("/page");
    let first = out.run().args(["--retries=0", &url]).expect_exit(1);
    assert_eq!(first.failure(), (ErrorKind::Truncated, 1));
    assert_eq!(out.unfinished().len(), 2, "the part and the list of parts");
    let second = out.run().arg(&url).expect_exit(0);
    assert!(out.body(second.record()) == body(1));
    assert_eq!(second.record().resumed_at, Some(400));
    assert_eq!(header(&server.requests()[1], "if-range"), Some("\"a\""));
    assert!(out.unfinished().is_empty());
}

/// A server that redirects `/old` to the URL that `to` returns, and responds to every other URL
/// from the script.
fn redirecting(
    to: impl Fn(usize) -> &'static str + Send + Sync + 'static,
    replies: Vec<Vec<u8>>,
) -> Server {
    use std::sync::Mutex;
    let asked = Mutex::new((0, replies.into_iter()));
    Server::start(move |connection| {
        let request = connection.request()?.unwrap_or_default();
        let (old, replies) = &mut *asked.lock().unwrap();
        if request.starts_with("GET /old ") {
            let location = format!("Location: {}", to(*old));
            *old += 1;
            return connection.send(&response("302 Found", &[CLOSE, &location], b""));
        }
        connection.send(&replies.next().unwrap())
    })
}

#[test]
fn a_part_belongs_to_the_job_and_is_continued_wherever_its_redirects_end() {
    let paths = |server: &Server| -> Vec<_> {
        let requests = server.requests();
        requests
            .iter()
            .map(|request| path(request).to_owned())
            .collect()
    };
    // Within one run and across two, at the same URL and at another one.
    for retries in ["--retries=1", "--retries=0"] {
        for to in [["/new", "/new"], ["/signed?1", "/signed?2"]] {
            let replies = vec![cut(&[TAG], 400), rest(400, &[TAG])];
            let server = redirecting(move |n| to[n], replies);
            let out = Out::new();
            let old = server.url("/old");
            let mut done = out.run().args([retries, &old]).go();
            if retries == "--retries=0" {
                done = out.run().arg(&old).expect_exit(0);
            }
            assert!(out.body(done.record()) == body(1));
            assert_eq!(done.record().resumed_at, Some(400));
            assert_eq!(paths(&server), ["/old", to[0], "/old", to[1]]);
            assert_eq!(header(&server.requests()[3], "range"), Some("bytes=400-"));
            assert_eq!(header(&server.requests()[3], "if-range"), Some("\"a\""));
        }
    }
}

#[test]
fn what_is_of_another_version_or_length_at_the_end_of_a_new_chain_starts_over() {
    let whole = || response("200 OK", &[CLOSE, TAG], &body(2));
    let other_length = response(
        "206 Partial Content",
        &[CLOSE, TAG, "Content-Range: bytes 400-1001/1002"],
        &[b'x'; 602],
    );
    for answers in [vec![whole()], vec![other_length, whole()]] {
        let mut replies = vec![cut(&[TAG], 400)];
        replies.extend(answers);
        let server = redirecting(|n| ["/new", "/other"][n], replies);
        let out = Out::new();
        let old = server.url("/old");
        out.run().args(["--retries=0", &old]).expect_exit(1);
        let done = out.run().arg(&old).expect_exit(0);
        assert!(out.body(done.record()) == body(2));
        assert_eq!(done.record().resumed_at, None);
        assert!(out.unfinished().is_empty());
    }
}

#[test]
fn a_part_is_not_continued_for_another_line_that_has_its_file_now() {
    let server = scripted(vec![
        cut(&[TAG], 400),
        response("200 OK", &[CLOSE, TAG], &body(2)),
    ]);
    let out = Out::new();
    let line = |path: &str| format!("{{\"url\":\"{}\",\"file\":\"1\"}}", server.url(path));
    let run = |path: &str| {
        let args = ["--retries=0", "--input-format=jsonl"];
        out.run().args(args).stdin(line(path))
    };
    run("/a").expect_exit(1);
    let done = run("/b").expect_exit(0);
    assert!(out.body(done.record()) == body(2));
    assert_eq!(header(&server.requests()[1], "range"), None);
}

#[test]
fn a_page_that_is_gone_for_a_moment_keeps_its_part() {
    let gone = response("503 Service Unavailable", &[CLOSE], b"later");
    let case = fetch(vec![cut(&[TAG], 400), gone, rest(400, &[TAG])]);
    case.expect_body(1);
    let ranges = [None, Some("bytes=400-"), Some("bytes=400-")];
    assert_eq!(case.ranges(), ranges);
}

#[test]
fn a_user_who_asks_for_a_range_gets_it_and_nothing_is_continued() {
    let server = scripted(vec![cut(&[TAG], 400), rest(500, &[TAG])]);
    let out = Out::new();
    let done = out
        .run()
        .args(["-H", "Range: bytes=500-", &server.url("/page")])
        .expect_exit(0);
    assert!(out.body(done.record()) == body(1)[500..]);
    let requests = server.requests();
    let ranges: Vec<_> = requests
        .iter()
        .map(|request| header(request, "range"))
        .collect();
    assert_eq!(ranges, [Some("bytes=500-"); 2]);
}

/// Returns the response of a server that supports ranges.
fn honest(request: &str) -> Vec<u8> {
    let from = header(request, "range").and_then(|range| range.strip_prefix("bytes="));
    match from.and_then(|range| range.strip_suffix('-')) {
        Some("1000") => {
            let range = "Content-Range: bytes */1000";
            response("416 Range Not Satisfiable", &[CLOSE, range], b"")
        }
        Some(from) => rest(from.parse().unwrap(), &[TAG]),
        None => whole(&[TAG]),
    }
}

#[test]
fn equal_lines_do_not_get_into_each_others_parts() {
    let number = AtomicUsize::new(0);
    let server = Server::start(move |connection| {
        let answer = honest(&connection.request()?.unwrap_or_default());
        // Two of three responses are truncated, some before the body starts.
        let missing = match number.fetch_add(1, Ordering::SeqCst) % 6 {
            0 | 3 => 0,
            n => n * 97,
        };
        connection.send(&answer[..answer.len().saturating_sub(missing)])
    });
    let out = Out::new();
    let pages = (0..120).map(|n| server.url(&format!("/page{}", n % 20)));
    let done = out
        .run()
        .args(["--retries=60", "--retry-max-delay=5ms"])
        .urls(pages)
        .expect_exit(0);
    assert_eq!(done.records.len(), 120);
    for record in &done.records {
        assert!(out.body(record) == body(1), "{record:?}");
        assert_eq!(record.bytes, Some(1000));
    }
    assert!(out.unfinished().is_empty());
}

#[test]
fn simulated_cuts_are_continued_like_real_ones() {
    let server = Server::http(honest);
    let out = Out::new();
    let done = out
        .run()
        .args([
            "--simulate-failure=truncated=50%,reset=20%",
            "--retries=60",
            "--retry-max-delay=5ms",
        ])
        .urls((0..40).map(|n| server.url(&format!("/page{n}"))))
        .expect_exit(0);
    for record in &done.records {
        assert!(out.body(record) == body(1), "{record:?}");
    }
    let is_resumed = done
        .records
        .iter()
        .any(|record| record.resumed_at.is_some());
    assert!(is_resumed, "some were cut in their bodies");
}

/// Many servers and caches limit the size of a range.
#[test]
fn pieces_that_bring_much_use_up_no_retry() {
    const PIECE: usize = 64 * 1024;
    let long = body(1).repeat(400);
    let total = long.len();
    let sent = long.clone();
    let server = Server::http(move |request| {
        let Some(from) = header(request, "range") else {
            let mut wire = response("200 OK", &[TAG, CLOSE], &sent);
            wire.truncate(wire.len() - total + 1000);
            return wire;
        };
        let from: usize = from[6..from.len() - 1].parse().unwrap();
        let to = total.min(from + PIECE);
        let range = format!("bytes {from}-{}/{total}", to - 1);
        partial(&range, &[TAG], &sent[from..to])
    });
    let out = Out::new();
    let run = out
        .run()
        .args([server.url("/page"), "--retries=1".to_owned()]);
    let done = run.expect_exit(0);
    let record = done.record();
    assert!(out.body(record) == long);
    assert_eq!(record.attempts as usize, 1 + (total - 1000).div_ceil(PIECE));
    assert!(out.unfinished().is_empty());
}

/// A range that is refused, or not the rest of the same version, is followed by a request for the
/// whole body: it uses up no retry, and counts as an attempt.
#[test]
fn a_whole_request_after_a_failed_range_is_an_attempt_and_no_retry() {
    for refused in [
        response("416 Range Not Satisfiable", &[CLOSE], b""),
        partial("bytes 0-9/1000", &[TAG], &body(2)[..10]),
    ] {
        let attempt = [refused, cut(&[TAG], 500)];
        let replies = std::iter::once(cut(&[TAG], 500)).chain(attempt.into_iter().cycle());
        let server = scripted(replies.take(7).collect());
        let out = Out::new();
        let done = out.run().args(["--retries=3", &server.url("/page")]);
        let done = done.expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Truncated, 7));
        let ranges: Vec<_> = server.requests();
        let ranges = ranges
            .iter()
            .map(|request| header(request, "range").is_some());
        let expected = [false, true, false, true, false, true, false];
        assert_eq!(ranges.collect::<Vec<_>>(), expected);
    }
}

/// Some download scripts send the rest as if it were the whole, or nothing.
#[test]
fn the_rest_of_a_body_is_not_taken_for_the_whole() {
    let long = body(1);
    let range = format!("Content-Range: bytes 500-{}/{}", long.len() - 1, long.len());
    for wrong in [
        response("200 OK", &[TAG, &range], &long[500..]),
        response("200 OK", &[&range], &long[500..]),
        response("200 OK", &[TAG], &long[500..]),
        response("204 No Content", &[TAG], b""),
    ] {
        let whole = response("200 OK", &[TAG], &long);
        let server = scripted(vec![cut(&[TAG], 500), wrong, whole]);
        let out = Out::new();
        let run = out.run().args(["--retries=1", &server.url("/page")]);
        let done = run.expect_exit(0);
        assert!(out.body(done.record()) == long);
        assert_eq!(done.record().attempts, 3);
    }
    // A longer version is another one, whole, whatever was there before.
    let longer = body(2).repeat(2);
    let server = scripted(vec![cut(&[TAG], 500), response("200 OK", &[], &longer)]);
    let out = Out::new();
    let done = out.run().arg(server.url("/page")).expect_exit(0);
    assert!(out.body(done.record()) == longer);
}

/// Each range brings something, but too little to be asked for without end.
#[test]
fn where_ranges_are_limited_the_whole_is_requested_in_the_end() {
    let long = body(1);
    let sent = long.clone();
    let is_first = AtomicBool::new(true);
    let server = Server::http(move |request| {
        let total = sent.len();
        match header(request, "range") {
            None => {
                let mut wire = response("200 OK", &[TAG, CLOSE], &sent);
                if is_first.swap(false, Ordering::SeqCst) {
                    wire.truncate(wire.len() - total + 100);
                }
                wire
            }
            Some(from) => {
                let from: usize = from[6..from.len() - 1].parse().unwrap();
                let range = format!("bytes {from}-{}/{total}", from + 9);
                partial(&range, &[TAG], &sent[from..from + 10])
            }
        }
    });
    let out = Out::new();
    let run = out
        .run()
        .args(["--retries=2", "--retry-delay=1ms", &server.url("/page")]);
    let done = run.expect_exit(0);
    assert!(out.body(done.record()) == long);
    let ranges = server
        .requests()
        .iter()
        .filter(|it| header(it, "range").is_some())
        .count();
    assert_eq!((ranges, done.record().attempts), (2, 4));
}
