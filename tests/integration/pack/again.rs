use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fetchall::{ContentChange, OutcomeName};

use super::{NAMES, Packing, body_of, pages, path_of, place, urls};
use crate::support::{Server, Warc, response, warcio_checks};

#[test]
fn the_same_command_again_has_nothing_to_do() {
    let server = pages();
    let urls = urls(&server, 20);
    for name in NAMES {
        let packing = Packing::of(name, &urls);
        let (pack, journal) = (packing.bytes(), std::fs::read(packing.journal()).unwrap());
        let asked = server.requests().len();
        let done = packing.run().urls(&urls).expect_exit(0);
        assert_eq!(done.skipped(), 20);
        insta::assert_snapshot!("nothing_to_do", crate::support::said(&done.stderr));
        assert!(
            done.records
                .iter()
                .all(|record| record.outcome == OutcomeName::Skipped)
        );
        assert_eq!(server.requests().len(), asked);
        assert!(packing.bytes() == pack, "unchanged");
        assert!(std::fs::read(packing.journal()).unwrap() == journal);
        packing.expect_all(&done, &urls);
    }
}

#[test]
fn a_longer_list_adds_to_a_pack() {
    let server = pages();
    let urls = urls(&server, 30);
    for name in NAMES {
        let packing = Packing::of(name, &urls[..10]);
        let before = packing.bytes();
        let done = packing.run().urls(&urls).expect_exit(0);
        assert!(packing.bytes().starts_with(&before), "only added to");
        packing.expect_all(&done, &urls);
        assert_eq!(Warc::read(&packing.path()).of_kind("warcinfo").len(), 2);
    }
}

/// A page that can change, with a validator.
fn changing() -> (Server, Arc<AtomicBool>) {
    let changed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&changed);
    let server = Server::http(move |request| {
        let is_new = flag.load(Ordering::SeqCst) && path_of(request) == "/changes";
        let tag = if is_new { "\"2\"" } else { "\"1\"" };
        if request.contains(&format!("if-none-match: {tag}")) {
            return response("304 Not Modified", &[], b"");
        }
        let body = if is_new { "/new" } else { path_of(request) };
        response("200 OK", &[&format!("ETag: {tag}")], &body_of(body))
    });
    (server, changed)
}

#[test]
fn refreshed_pages_that_are_unchanged_stay_where_they_are() {
    let (server, _) = changing();
    let urls = ["/stays", "/changes"].map(|path| server.url(path));
    for name in NAMES {
        let packing = Packing::of(name, &urls);
        let before = packing.bytes();
        let done = packing.run().arg("--refresh").urls(&urls).expect_exit(0);
        for record in &done.records {
            assert_eq!(record.change, Some(ContentChange::Unchanged));
        }
        assert!(packing.bytes() == before);
        packing.expect_all(&done, &urls);
        let again = packing.run().urls(&urls).expect_exit(0);
        packing.expect_all(&again, &urls);
    }
}

#[test]
fn a_changed_page_is_added_and_its_new_place_counts() {
    for name in NAMES {
        let (server, changed) = changing();
        let urls = ["/stays", "/changes"].map(|path| server.url(path));
        let packing = Packing::of(name, &urls);
        let before = packing.bytes();
        changed.store(true, Ordering::SeqCst);
        let done = packing.run().arg("--refresh").urls(&urls).expect_exit(0);
        assert_eq!(done.of("/stays").change, Some(ContentChange::Unchanged));
        assert_eq!(done.of("/changes").change, Some(ContentChange::Changed));
        assert!(packing.bytes().starts_with(&before), "only added to");

        let again = packing.run().urls(&urls).expect_exit(0);
        let record = again.of("/changes");
        assert!(place(record).offset > before.len() as u64);
        assert!(packing.response(record).payload() == body_of("/new"));
        let stays = packing.response(again.of("/stays"));
        assert!(stays.payload() == body_of("/stays"));
        let captured = [&urls[0], &urls[1], &urls[1]];
        warcio_checks(&packing.path(), captured.map(String::as_str));
    }
}

/// A server without validators sends everything again.
#[test]
fn what_comes_again_just_as_it_was_is_not_added() {
    let server = Server::http(|request| {
        let repeat = if path_of(request) == "/large" {
            20_000
        } else {
            1
        };
        response("200 OK", &[], &body_of(path_of(request)).repeat(repeat))
    });
    let urls = ["/small", "/large"].map(|path| server.url(path));
    for name in NAMES {
        let packing = Packing::of(name, &urls);
        let before = packing.bytes();
        let done = packing.run().arg("--refresh").urls(&urls).expect_exit(0);
        for record in &done.records {
            assert_eq!(
                (record.status, record.change),
                (Some(200), Some(ContentChange::Unchanged))
            );
        }
        assert!(packing.bytes() == before);
    }
}
