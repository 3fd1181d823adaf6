use std::collections::BTreeSet;

use super::{MEMORY, STALL, look_at, tight};
use crate::support::faults::{self, Fault};

/// Every behaviour of a table, one run for each; all that is wrong with any is told.
fn check(table: &[Fault]) {
    let server = faults::server();
    let mut problems = Vec::new();
    for fault in table {
        let url = server.url(&format!("/{}/17", fault.name));
        let done = tight().arg(&url).go();
        if let Err(problem) = look_at(fault.end, &done, STALL, MEMORY) {
            problems.push(format!("{}: {problem}", fault.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn connections_that_end_break_or_fall_silent() {
    check(faults::CONNECTIONS);
}

#[test]
fn heads_that_never_end_are_too_large_or_are_none() {
    check(faults::HEADS);
}

#[test]
fn bodies_whose_length_or_chunks_are_wrong() {
    check(faults::FRAMINGS);
}

#[test]
fn codings_that_are_broken_falsely_labelled_or_bombs() {
    check(faults::CODINGS);
}

#[test]
fn redirects_that_lead_nowhere_or_in_circles() {
    check(faults::REDIRECTS);
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
    // Beside each other on few connections, again and again: what is left on one of them would
    // meet somebody.
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
        let done = tight()
            .args(["-j2", "--body", "--retries=0"])
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
fn the_messages_say_what_is_wrong_and_which_flag_is_meant() {
    let server = faults::server();
    for (name, message) in [
        ("no-head", "no response head within 300ms (--stall-timeout)"),
        (
            "trickling-head",
            "no response head within 300ms (--stall-timeout)",
        ),
        (
            "stall-before-the-body",
            "the body stalled: 0 bytes in 300ms (--stall-timeout)",
        ),
        (
            "truncated-length",
            "the body was cut off: 4 of 100 bytes came",
        ),
        (
            "truncated-between-chunks",
            "the body was cut off: 4 bytes came, without the end of the body",
        ),
        (
            "unsolicited-part",
            "broken response: 206 Partial Content, but the whole was asked for",
        ),
        (
            "endless-body",
            "the body is larger than 4.0 MiB (--max-size)",
        ),
        (
            "huge-length",
            "the body is larger than 4.0 MiB (--max-size): 9223372036854775807 bytes were announced",
        ),
        ("cut-gzip", "could not decode the gzip body: it is cut off"),
        (
            "redirect-chain",
            "redirected more often than 10 times (--max-redirects)",
        ),
        (
            "redirect-without-location",
            "302 Found without a usable Location",
        ),
    ] {
        let done = tight()
            .args(["--retries=0", &server.url(&format!("/{name}/1"))])
            .go();
        assert_eq!(done.message(), message, "{name}");
    }
    for (name, part) in [
        ("redirect-loop", "redirected in a loop"),
        ("redirect-to-a-file", "redirected to a file: URL"),
    ] {
        let done = tight().arg(server.url(&format!("/{name}/1"))).go();
        assert!(done.message().contains(part), "{}", done.message());
    }
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
