use std::collections::BTreeSet;
use std::time::Duration;

use fetchall::ErrorKind;

use super::{MEMORY, RETRIES, SLACK, STALL, check_all, look_at, tight};
use crate::support::faults::{self, End, Fault};
use crate::support::{Run, Texts};

/// Maximum memory of a run with all faults at once, in KiB.
const MANY: u64 = 128 * 1024;

/// Runs every fault of a table alone, this number of them concurrently.
fn check(table: &[Fault], at_once: usize) {
    let server = faults::server();
    check_all(table, at_once, |fault| {
        let url = server.url(&format!("/{}/17", fault.name));
        let done = tight().arg(&url).go();
        let ended = look_at(fault.end, &done, STALL, MEMORY);
        ended.map_err(|problem| format!("{}: {problem}", fault.name))
    });
}

#[test]
fn connections_that_end_break_or_fall_silent() {
    // These runs wait most of the time.
    check(faults::CONNECTIONS, 4);
}

#[test]
fn heads_that_never_end_are_too_large_or_are_none() {
    check(faults::HEADS, 1);
}

#[test]
fn bodies_whose_length_or_chunks_are_wrong() {
    check(faults::FRAMINGS, 1);
}

#[test]
fn codings_that_are_broken_falsely_labelled_or_bombs() {
    check(faults::CODINGS, 1);
}

#[test]
fn redirects_that_lead_nowhere_or_in_circles() {
    check(faults::REDIRECTS, 1);
}

#[test]
fn a_path_means_one_behaviour() {
    let mut names = BTreeSet::new();
    for fault in faults::all() {
        assert!(
            names.insert(fault.name),
            "{} stands there twice",
            fault.name
        );
        let found = faults::named(&format!("/{}/17", fault.name));
        assert!(found.is_some_and(|found| std::ptr::eq(found, fault)));
    }
    assert!(faults::named("/good/17").is_none() && faults::named("/").is_none());
}

#[test]
fn whatever_follows_a_body_is_no_answer_to_the_next_request() {
    let server = faults::server();
    // All faults share few connections, many times: bytes left on a connection would reach another
    // request.
    for name in [
        "junk-after-the-body",
        "junk-after-the-chunks",
        "no-content-with-a-body",
        "not-modified-with-a-body",
    ] {
        let urls = (0..60).map(|n| match n % 2 {
            0 => server.url(&format!("/{name}/{n}")),
            _ => server.url(&format!("/good/{n}")),
        });
        // The good pages must arrive, however busy the machine is.
        let done = Run::new()
            .args(["-j2", "--body", "--retries=0", "--stall-timeout=20s"])
            .urls(urls)
            .go();
        let good = done
            .records
            .iter()
            .filter(|record| record.url.contains("/good/"));
        let mut count = 0;
        for record in good {
            let path = record.url.split(&server.addr.to_string()).nth(1);
            assert_eq!(record.body.as_deref(), path, "{name}: {record:?}");
            count += 1;
        }
        assert_eq!(count, 30, "{name}: {}", done.stdout);
        assert!(!done.stdout.contains("poison"), "{name}: {}", done.stdout);
    }
}

#[test]
fn a_body_that_follows_the_head_of_a_head_is_no_answer_to_the_next_request() {
    let server = faults::server();
    let urls: Vec<_> = (0..60).map(|n| server.url(&format!("/good/{n}"))).collect();
    let args = ["-I", "-j2", "--stall-timeout=20s"];
    let done = Run::new().args(args).urls(&urls).expect_exit(0);
    for record in &done.records {
        let path = record.url.split(&server.addr.to_string()).nth(1).unwrap();
        assert_eq!(record.etag, Some(format!("\"{path}\"")), "{record:?}");
        assert_eq!(record.bytes, Some(0));
    }
    assert_eq!(done.records.len(), 60);
}

#[test]
fn the_messages_say_what_is_wrong_and_which_flag_is_meant() {
    let server = faults::server();
    let mut texts = Texts::new();
    for name in [
        "no-head",
        "trickling-head",
        "stall-before-the-body",
        "truncated-length",
        "truncated-between-chunks",
        "unsolicited-part",
        "endless-body",
        "huge-length",
        "cut-gzip",
        "redirect-chain",
        "redirect-without-location",
        "redirect-loop",
        "redirect-to-a-file",
    ] {
        let done = tight()
            .args(["--retries=0", &server.url(&format!("/{name}/1"))])
            .go();
        texts.add(name, done.message());
    }
    insta::assert_snapshot!("messages_about_servers", texts);
}

#[test]
fn a_record_leaves_out_what_is_no_text() {
    let server = faults::server();
    let done = tight()
        .arg(server.url("/no-utf-8-in-values/1"))
        .expect_exit(0);
    let record = done.record();
    let left_out = (&record.content_type, &record.etag, &record.last_modified);
    assert_eq!(left_out, (&None, &None, &None));
}

#[test]
fn all_of_them_at_once_add_up_and_each_ends_as_it_does_alone() {
    let server = faults::server();
    let urls = faults::all().map(|fault| server.url(&format!("/{}/18", fault.name)));
    let good = (0..100).map(|n| server.url(&format!("/good/{n}")));
    let urls: Vec<_> = urls.chain(good).collect();
    // Longer, because all requests share the processors with their server.
    let limits = [
        "-j512",
        "--per-host=512",
        "--stall-timeout=5s",
        "--retries=2",
    ];
    let done = tight().args(limits).urls(&urls).expect_exit(1);
    assert_eq!(done.records.len(), urls.len(), "{}", done.stderr);
    for record in &done.records {
        let path = record.url.split(&server.addr.to_string()).nth(1).unwrap();
        let kind = record.error.as_ref().map(|error| error.kind);
        let end = faults::named(path).map_or(End::Fetched(0), |fault| fault.end);
        // Other faults have made the host known for malformed responses, so its endless lines and
        // rows of heads are bounded.
        if path.starts_with("/endless-") && kind == Some(ErrorKind::Protocol) {
            continue;
        }
        // Bytes left on a connection may break the next request on it, whichever that is.
        let died = matches!(end, End::Transient(_)) && kind == Some(ErrorKind::Reset);
        assert!(end.fits(kind) || died, "{path}: {record:?}");
        assert!(
            record.attempts >= end.attempts(RETRIES),
            "{path}: {record:?}"
        );
    }
    assert!(
        done.took < 6 * Duration::from_secs(5) + 2 * SLACK,
        "{:?}",
        done.took
    );
    assert!(done.peak < MANY, "{} KiB", done.peak);
}
