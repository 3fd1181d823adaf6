use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use fetchall::{ContentChange, OutcomeName};
use wiremock::{MockServer, ResponseTemplate};

use crate::support::mock::{HeaderLine, asked, get, go, page, status};
use crate::support::{Background, Done, Out, Server, binary, header, path, response, said, until};

const TAG: &str = "W/\"a\"";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A site whose pages change between the first and the second night.
struct Site {
    server: MockServer,
    out: Out,
}

async fn site() -> Site {
    let site = Site {
        server: MockServer::start().await,
        out: Out::new(),
    };
    site.first_night().await;
    site
}

const PATHS: [&str; 6] = ["/tagged", "/dated", "/plain", "/changed", "/gone", "/late"];

impl Site {
    async fn first_night(&self) {
        self.night(vec![
            ("/changed", page("before").insert_header("etag", "\"1\"")),
            ("/gone", page("gone").insert_header("etag", "\"1\"")),
        ])
        .await;
    }

    async fn second_night(&self) {
        self.night(vec![
            ("/changed", page("other").insert_header("etag", "\"2\"")),
            ("/late", page("late")),
        ])
        .await;
    }

    /// Serves these pages, and those that are the same every night.
    async fn night(&self, pages: Vec<(&str, ResponseTemplate)>) {
        self.server.reset().await;
        let pages = pages.into_iter();
        let pages = pages.map(|(path, answer)| (get(path), answer));
        let tagged = |answer: ResponseTemplate| answer.insert_header("etag", TAG);
        let text = |body| {
            page(body)
                .insert_header("content-type", "text/plain")
                .insert_header("content-disposition", "attachment; filename=a.txt")
        };
        let dated = text("dated").insert_header("last-modified", DATE);
        let same = [
            (
                get("/tagged").and(HeaderLine("if-none-match", TAG)),
                tagged(status(304)),
            ),
            (get("/tagged"), tagged(text("tagged"))),
            (
                get("/dated").and(HeaderLine("if-modified-since", DATE)),
                status(304),
            ),
            (get("/dated"), dated),
            (get("/plain"), page("plain")),
        ];
        for (request, answer) in pages.chain(same) {
            request.respond_with(answer).mount(&self.server).await;
        }
    }

    /// Runs with one page that is always missing.
    fn run(&self, args: &[&str]) -> Done {
        self.run_to(1, args)
    }

    fn run_to(&self, code: i32, args: &[&str]) -> Done {
        let urls = PATHS.map(|path| format!("{}{path}", self.server.uri()));
        go(self.out.run().args(args.iter().copied()).urls(urls), code)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_told_and_what_has_not_is_kept() {
    let site = site().await;
    let first = site.run(&["--refresh"]);
    assert_eq!(first.of("/tagged").change, Some(ContentChange::New));
    assert_eq!(first.of("/late").change, None);
    insta::assert_snapshot!("summary_of_the_first_night", said(&first.stderr));

    site.second_night().await;
    let second = site.run(&["--refresh"]);
    for (path, change, status, body) in [
        ("/tagged", ContentChange::Unchanged, 304, "tagged"),
        ("/dated", ContentChange::Unchanged, 304, "dated"),
        ("/plain", ContentChange::Unchanged, 200, "plain"),
        ("/changed", ContentChange::Changed, 200, "other"),
        ("/late", ContentChange::New, 200, "late"),
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
        (false, Some(404), Some(ContentChange::Gone))
    );
    assert_eq!(
        site.out.body(first.of("/gone")),
        b"gone",
        "its file is kept"
    );
    insta::assert_snapshot!("summary_of_the_second_night", said(&second.stderr));
    assert!(site.out.unfinished().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_need_not_repeat_what_has_not_changed() {
    let site = site().await;
    let first = site.run(&["--refresh"]);
    for _ in 0..2 {
        let again = site.run(&["--refresh"]);
        let (before, now) = (first.of("/dated"), again.of("/dated"));
        assert_eq!(now.status, Some(304));
        assert_eq!(now.last_modified, before.last_modified);
        assert_eq!(now.content_type, before.content_type);
        assert_eq!(now.filename.as_deref(), Some("a.txt"));
        assert_eq!((&now.file, now.bytes), (&before.file, before.bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_refresh_nobody_is_asked_and_what_is_not_there_is_fetched_whole() {
    let site = site().await;
    let first = site.run(&[]);
    assert_eq!(first.of("/tagged").change, None);
    let before = asked(&site.server).await.len();
    let second = site.run(&[]);
    assert_eq!(second.of("/tagged").outcome, OutcomeName::Skipped);
    assert_eq!(asked(&site.server).await[before..], ["/late"]);

    fs::remove_file(site.out.file(first.of("/tagged"))).unwrap();
    fs::write(site.out.file(first.of("/dated")), "of another length").unwrap();
    let third = site.run(&["--refresh"]);
    for (path, body) in [("/tagged", "tagged"), ("/dated", "dated")] {
        assert_eq!(third.of(path).status, Some(200), "{path}");
        assert_eq!(site.out.body(third.of(path)), body.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unchanged_is_not_written_again() {
    let site = site().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_gone_and_is_there_again_is_fetched_with_refresh() {
    let site = site().await;
    site.run(&["--refresh"]);
    site.second_night().await;
    site.run(&["--refresh"]);
    site.first_night().await;
    // Its file was kept, so that it is done.
    let done = site.run_to(0, &[]);
    assert_eq!(done.of("/gone").outcome, OutcomeName::Skipped);
    let again = site.run(&["--refresh"]);
    assert_eq!(again.of("/gone").outcome, OutcomeName::Fetched);
}

/// Otherwise the bytes of one version would stand under the record, and the validators, of another.
#[test]
fn a_refresh_that_is_killed_leaves_no_record_of_other_bytes() {
    let version = Arc::new(AtomicU8::new(0));
    let server = Server::http({
        let version = Arc::clone(&version);
        move |request| {
            let version = version.load(Ordering::SeqCst);
            let tag = format!("\"{version}\"");
            match header(request, "if-none-match") == Some(&tag) {
                true => response("304 Not Modified", &[&format!("ETag: {tag}")], b""),
                // All versions have the same length.
                false => {
                    let page = format!("{} {version}", path(request)).repeat(200);
                    response("200 OK", &[&format!("ETag: {tag}")], page.as_bytes())
                }
            }
        }
    });
    let urls: Vec<_> = (100..250).map(|n| server.url(&format!("/{n}"))).collect();
    for kill_after in [20, 70, 120] {
        let out = Out::new();
        let run = || out.run().arg("--sha256").urls(&urls);
        version.store(0, Ordering::SeqCst);
        run().expect_exit(0);
        version.store(1, Ordering::SeqCst);
        let before = server.requests().len();
        let mut command = binary();
        command
            .args(["--refresh", "-o"])
            .arg(out.path())
            .args(&urls);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Background(command.spawn().unwrap());
        until("some are fetched", || {
            server.requests().len() >= before + kill_after
        });
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        // What the server has now is what it had before the run that was killed.
        version.store(0, Ordering::SeqCst);
        run().arg("--refresh").expect_exit(0);
        let verified = out.run().arg("--verify").urls(&urls).go();
        assert_eq!(verified.code, Some(0), "{}", verified.stderr);
        for record in run().expect_exit(0).records {
            let file = out.path().join(record.file.unwrap());
            assert!(fs::read_to_string(file).unwrap().ends_with(" 0"));
        }
    }
}

/// With `*`, any body would be the same one.
#[test]
fn a_tag_that_names_no_version_is_not_sent_back() {
    for tag in ["ETag: *", "ETag:"] {
        let server = Server::http(move |_| response("200 OK", &[tag], b"page"));
        let out = Out::new();
        let url = server.url("/page");
        out.run().arg(&url).expect_exit(0);
        out.run().args(["--refresh", &url]).expect_exit(0);
        let last = server.requests().pop().unwrap();
        assert_eq!(header(&last, "if-none-match"), None, "{tag}");
    }
}
