use fetchall::ErrorKind;

use crate::support::{Run, entry, pages};

fn explain(kind: &str) -> String {
    Run::new()
        .text()
        .args(["--explain", kind])
        .expect_exit(0)
        .stdout
}

#[test]
fn every_kind_is_explained_as_plain_text_in_a_pipe() {
    for kind in ErrorKind::ALL {
        let page = explain(kind.as_str());
        assert!(page.starts_with(&format!("{kind}\n\n")), "{page}");
        for label in ["Means: ", "Retried: ", "Next: ", "Flags: ", "Rehearse: "] {
            assert_eq!(page.matches(&format!("\n{label}")).count(), 1, "{page}");
        }
        assert!(!page.contains(['\u{1b}', '`', '*', '#']), "{page}");
        let is_command = |line: &str| line.starts_with("Rehearse: ");
        let mut lines = page.lines().filter(|line| !is_command(line));
        assert!(lines.all(|line| line.chars().count() <= 80), "{page}");
    }
}

#[test]
fn color_makes_headings_of_it() {
    let done = Run::new()
        .text()
        .args(["--color=always", "--explain=dns"])
        .expect_exit(0);
    assert!(done.stdout.starts_with("\u{1b}["), "{:?}", done.stdout);
}

/// The rehearsal in a section ends with the error kind of that section.
#[test]
fn what_rehearses_a_kind_gives_that_kind() {
    let server = pages();
    let mut rehearsed = 0;
    for kind in ErrorKind::ALL {
        let page = explain(kind.as_str());
        let Some((_, drill)) = page.split_once("--simulate-failure=") else {
            continue;
        };
        let mut args = drill.split_whitespace();
        let spec = args.next().unwrap().replace("30%", "100%");
        let done = Run::new()
            .arg(format!("--simulate-failure={spec}"))
            .args(args)
            .args(["--retries=0", &server.url("/a")])
            .expect_exit(1);
        assert_eq!(done.failure().0, *kind);
        rehearsed += 1;
    }
    assert_eq!(rehearsed, 16);
    let drill = |page: &str| explain(page).contains("\nRehearse: ");
    assert!(ErrorKind::ALL.iter().all(|kind| drill(kind.as_str())));
}

#[test]
fn the_other_rehearsals_do_so_too() {
    let failure = |run: Run| run.go().failure().0;
    assert_eq!(
        failure(Run::new().stdin("example.com\n")),
        ErrorKind::InvalidUrl
    );
    let server = pages();
    let line = format!("{{\"url\":\"{}\",\"size\":1}}\n", server.url("/a"));
    assert_eq!(
        failure(Run::new().args(["--input-format", "jsonl"]).stdin(line)),
        ErrorKind::Checksum
    );
    assert_eq!(
        failure(Run::new().args(["--deny-private", "http://127.0.0.1/"])),
        ErrorKind::Denied
    );
    let done = Run::new()
        .args(["--demo", "--max-size=1KiB"])
        .expect_exit(1);
    assert_eq!(
        done.of("/file").error.as_ref().unwrap().kind,
        ErrorKind::TooLarge
    );
    let pages = tempfile::tempdir().unwrap();
    std::fs::write(pages.path().join("127.0.0.1+http+1"), "").unwrap();
    let url = server.url("/a");
    let port = url.split(':').nth(2).unwrap().split('/').next().unwrap();
    std::fs::write(pages.path().join(format!("127.0.0.1+http+{port}")), "").unwrap();
    assert_eq!(
        failure(Run::new().args(["-o", pages.path().to_str().unwrap(), &url])),
        ErrorKind::Save
    );
}

#[test]
fn statuses_are_explained_too() {
    let mut page = String::new();
    for status in ["404", "429", "503", "418", "599", "200", "304"] {
        entry(&mut page, status, &explain(status));
    }
    insta::assert_snapshot!("statuses", page);
}

#[test]
fn classes_of_statuses_are_explained_too() {
    let mut page = String::new();
    for class in ["5xx", "4XX", "3xx", "2xx"] {
        entry(&mut page, class, &explain(class));
    }
    insta::assert_snapshot!("classes", page);
}

#[test]
fn without_a_kind_all_are_listed() {
    let done = Run::new().text().arg("--explain").expect_exit(0);
    for kind in ErrorKind::ALL {
        assert!(done.stdout.contains(&format!("\n  {kind} ")), "{kind}");
    }
}

#[test]
fn what_is_no_kind_gets_the_nearest_one_and_all_of_them() {
    let mut page = String::new();
    for kind in [
        "dnss",
        "dsn",
        "6xx",
        "connect-timeout",
        "Timeout",
        "xyzzy",
        "4040",
        "",
        "a\u{1b}[2Jb",
    ] {
        let done = Run::new().text().args(["--explain", kind]).expect_exit(2);
        assert!(!done.stderr.contains('\u{1b}') && done.stdout.is_empty());
        entry(&mut page, &format!("{kind:?}"), &done.stderr);
    }
    insta::assert_snapshot!("no_kinds", page);
}
