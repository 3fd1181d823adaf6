use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fetchall::{Change, OutcomeName};

use crate::support::{Done, Out, Server, header, path, response};

const TAG: &str = "ETag: W/\"a\"";
const DATED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";

/// A site that is another one once the second night has come.
struct Site {
    server: Server,
    is_later: Arc<AtomicBool>,
    out: Out,
}

fn site() -> Site {
    let is_later = Arc::new(AtomicBool::new(false));
    let server = Server::http({
        let is_later = Arc::clone(&is_later);
        move |request| answer(request, is_later.load(Ordering::SeqCst))
    });
    Site {
        server,
        is_later,
        out: Out::new(),
    }
}

fn answer(request: &str, is_later: bool) -> Vec<u8> {
    let knows = |name, value: &str| header(request, name) == Some(value);
    let ok = |headers: &[&str], body: &[u8]| response("200 OK", headers, body);
    match path(request) {
        "/tagged" if knows("if-none-match", "W/\"a\"") => response("304 Not Modified", &[TAG], b""),
        "/tagged" => ok(&[TAG, "Content-Type: text/plain"], b"tagged"),
        "/dated" if knows("if-modified-since", &DATED[15..]) => {
            b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()
        }
        "/dated" => ok(&[DATED, "Content-Type: text/plain"], b"dated"),
        "/plain" => ok(&[], b"plain"),
        "/changed" if is_later => ok(&["ETag: \"2\""], b"other"),
        "/changed" => ok(&["ETag: \"1\""], b"before"),
        "/gone" if !is_later => ok(&["ETag: \"1\""], b"gone"),
        "/late" if is_later => ok(&[], b"late"),
        _ => response("404 Not Found", &[], b""),
    }
}

const PATHS: [&str; 6] = ["/tagged", "/dated", "/plain", "/changed", "/gone", "/late"];

impl Site {
    /// One page of it is always missing.
    fn run(&self, args: &[&str]) -> Done {
        self.run_to(1, args)
    }

    fn run_to(&self, code: i32, args: &[&str]) -> Done {
        let urls = PATHS.map(|path| self.server.url(path));
        self.out
            .run()
            .args(args.iter().copied())
            .urls(urls)
            .expect_exit(code)
    }
}

#[test]
fn what_has_changed_is_told_and_what_has_not_is_kept() {
    let site = site();
    let first = site.run(&["--refresh"]);
    assert_eq!(first.of("/tagged").change, Some(Change::New));
    assert_eq!(first.of("/late").change, None);
    assert!(
        first
            .stderr
            .contains("since the run before: 5 new, 0 changed, 0 unchanged, 0 gone"),
        "{}",
        first.stderr
    );

    site.is_later.store(true, Ordering::SeqCst);
    let second = site.run(&["--refresh"]);
    for (path, change, status, body) in [
        ("/tagged", Change::Unchanged, 304, "tagged"),
        ("/dated", Change::Unchanged, 304, "dated"),
        ("/plain", Change::Unchanged, 200, "plain"),
        ("/changed", Change::Changed, 200, "other"),
        ("/late", Change::New, 200, "late"),
    ] {
        let record = second.of(path);
        assert_eq!(record.outcome, OutcomeName::Fetched, "{path}");
        assert_eq!(
            (record.change, record.status),
            (Some(change), Some(status)),
            "{path}"
        );
        assert_eq!(site.out.body(record), body.as_bytes());
        assert_eq!(record.bytes, Some(body.len() as u64));
    }
    let gone = second.of("/gone");
    assert_eq!(
        (gone.ok, gone.status, gone.change),
        (false, Some(404), Some(Change::Gone))
    );
    assert_eq!(
        site.out.body(first.of("/gone")),
        b"gone",
        "its file is kept"
    );
    assert!(
        second
            .stderr
            .contains("since the run before: 1 new, 1 changed, 3 unchanged, 1 gone"),
        "{}",
        second.stderr
    );
    assert!(site.out.unfinished().is_empty());
}

#[test]
fn a_304_need_not_repeat_what_has_not_changed() {
    let site = site();
    let first = site.run(&["--refresh"]);
    for _ in 0..2 {
        let again = site.run(&["--refresh"]);
        let (before, now) = (first.of("/dated"), again.of("/dated"));
        assert_eq!(now.status, Some(304));
        assert_eq!(now.last_modified, before.last_modified);
        assert_eq!(now.content_type, before.content_type);
        assert_eq!((&now.file, now.bytes), (&before.file, before.bytes));
    }
}

#[test]
fn without_refresh_nobody_is_asked_and_what_is_not_there_is_fetched_whole() {
    let site = site();
    let first = site.run(&[]);
    assert_eq!(first.of("/tagged").change, None);
    let asked = site.server.requests().len();
    let second = site.run(&[]);
    assert_eq!(second.of("/tagged").outcome, OutcomeName::Skipped);
    assert_eq!(site.server.requests().len(), asked + 1, "only /late");

    fs::remove_file(site.out.file(first.of("/tagged"))).unwrap();
    fs::write(site.out.file(first.of("/dated")), "of another length").unwrap();
    let third = site.run(&["--refresh"]);
    for (path, body) in [("/tagged", "tagged"), ("/dated", "dated")] {
        assert_eq!(third.of(path).status, Some(200), "{path}");
        assert_eq!(site.out.body(third.of(path)), body.as_bytes());
    }
}

#[test]
fn what_is_unchanged_is_not_written_again() {
    let site = site();
    let first = site.run(&["--refresh"]);
    let written = |done: &Done, path| {
        fs::metadata(site.out.file(done.of(path)))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = ["/tagged", "/plain"].map(|path| written(&first, path));
    let second = site.run(&["--refresh"]);
    assert_eq!(
        ["/tagged", "/plain"].map(|path| written(&second, path)),
        before
    );
}

#[test]
fn a_page_that_was_gone_and_is_there_again_is_asked_for() {
    let site = site();
    site.run(&["--refresh"]);
    site.is_later.store(true, Ordering::SeqCst);
    site.run(&["--refresh"]);
    site.is_later.store(false, Ordering::SeqCst);
    // Not with --refresh: what failed last is fetched again.
    let done = site.run_to(0, &[]);
    assert_eq!(done.of("/gone").outcome, OutcomeName::Fetched);
    assert_eq!(done.of("/tagged").outcome, OutcomeName::Skipped);
}
