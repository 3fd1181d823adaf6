use std::fs::{self, File};
use std::ops::Range;

use super::{NAMES, Packing, pages, place, urls};
use crate::support::{Done, Run, Texts, said};

/// Without byte counts: which bodies are fetched again depends on the order of the first run.
fn told(done: &Done) -> String {
    let told = said(&done.stderr);
    let lines = told.lines().filter(|line| !line.ends_with(" in TIME"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Packing {
    /// Returns the ends of the groups in the pack, in order.
    fn ends(&self) -> Vec<u64> {
        self.journaled().iter().map(|r| place(r).end()).collect()
    }

    fn cut(&self, length: u64) {
        let file = File::options().write(true).open(self.path()).unwrap();
        file.set_len(length).unwrap();
    }

    fn append(&self, bytes: &[u8]) {
        fs::write(self.path(), [&self.bytes(), bytes].concat()).unwrap();
    }

    fn forget_last_line(&self) {
        let journal = fs::read_to_string(self.journal()).unwrap();
        let lines: Vec<_> = journal.lines().collect();
        let kept = lines[..lines.len() - 1].join("\n") + "\n";
        fs::write(self.journal(), kept).unwrap();
    }
}

/// Returns where the last group is.
fn places_of_last(packing: &Packing) -> Range<usize> {
    let ends = packing.ends();
    let end = |n: usize| usize::try_from(ends[n]).unwrap();
    end(ends.len() - 2)..end(ends.len() - 1)
}

#[test]
fn what_a_killed_run_left_behind_the_last_record_is_cut_off() {
    let server = pages();
    let urls = urls(&server, 6);
    let mut texts = Texts::new();
    for name in NAMES {
        let packing = Packing::of(name, &urls);
        let before = packing.bytes();
        let last = places_of_last(&packing);
        // The start of a record, or one or more whole ones.
        for torn in [&before[last.start..][..200], &before[last.clone()]] {
            packing.append(torn);
            let done = packing.run().urls(&urls).expect_exit(0);
            assert!(done.stderr.contains(name), "{}", done.stderr);
            assert_eq!(done.skipped(), 6);
            texts.hide(format!(" {} bytes", torn.len()), " N bytes");
            texts.add(name, &told(&done));
            assert!(packing.bytes() == before);
            packing.expect_all(&done, &urls);
        }
    }
    insta::assert_snapshot!("torn_behind_the_last_record", texts);
}

#[test]
fn what_a_killed_second_run_left_is_cut_off() {
    let server = pages();
    let urls = urls(&server, 6);
    for name in NAMES {
        let packing = Packing::of(name, &urls[..4]);
        let (before, journal) = (packing.bytes(), fs::read(packing.journal()).unwrap());
        packing.run().urls(&urls).expect_exit(0);
        let after = packing.bytes();
        for length in (before.len() + 1..=after.len())
            .step_by(97)
            .chain([after.len()])
        {
            fs::write(packing.path(), &after[..length]).unwrap();
            fs::write(packing.journal(), &journal).unwrap();
            packing.run().urls(&urls[..1]).expect_exit(0);
            assert!(packing.bytes() == before, "{name}, {length}");
        }
    }
}

#[test]
fn a_url_whose_line_is_removed_from_the_journal_is_fetched_again() {
    let server = pages();
    let urls = urls(&server, 6);
    for name in NAMES {
        for removed in ["/0\"", "/3\"", "/5\""] {
            let packing = Packing::of(name, &urls);
            let journal = fs::read_to_string(packing.journal()).unwrap();
            let lines = journal.split_inclusive('\n');
            let kept: String = lines.filter(|line| !line.contains(removed)).collect();
            fs::write(packing.journal(), kept).unwrap();
            let done = packing.run().urls(&urls).expect_exit(0);
            assert_eq!(done.skipped(), 5, "{removed}");
            for record in &done.records {
                assert_eq!(packing.response(record).target(), record.url);
            }
            packing.run().arg("--verify").expect_exit(0);
        }
    }
}

#[test]
fn what_the_journal_does_not_know_is_fetched_again() {
    let server = pages();
    let urls = urls(&server, 6);
    let mut texts = Texts::new();
    for name in NAMES {
        let packing = Packing::of(name, &urls);
        packing.forget_last_line();
        let kept = packing.ends();
        let more = packing.bytes().len() as u64 - kept[4];
        texts.hide(format!(" {more} bytes"), " N bytes");
        let asked = server.requests().len();
        let done = packing.run().urls(&urls).expect_exit(0);
        assert_eq!(done.skipped(), 5);
        texts.add(name, &told(&done));
        assert_eq!(server.requests().len() - asked, 1);
        assert_eq!(packing.ends()[..5], kept);
        packing.expect_all(&done, &urls);
    }
    insta::assert_snapshot!("not_known_to_the_journal", texts);
}

#[test]
fn what_was_cut_from_a_pack_is_fetched_again_and_the_rest_stays() {
    let server = pages();
    let urls = urls(&server, 6);
    let mut texts = Texts::new();
    for name in NAMES {
        for (missing, into_the_next) in [(2, 50), (2, 0), (6, 0), (6, 7)] {
            let packing = Packing::of(name, &urls);
            let kept: usize = 6 - missing;
            let ends = packing.ends();
            let end = kept.checked_sub(1).map_or(0, |last| ends[last]);
            packing.cut(end + into_the_next);
            let rest = packing.bytes();
            let done = packing.run().urls(&urls).expect_exit(0);
            assert!(done.stderr.contains(name), "{}", done.stderr);
            assert_eq!(done.skipped(), kept);
            let case = format!("{name}, {missing} missing, {into_the_next} bytes more");
            texts.add(case, &told(&done));
            assert!(
                packing
                    .bytes()
                    .starts_with(&rest[..usize::try_from(end).unwrap()])
            );
            packing.expect_all(&done, &urls);
            let again = packing.run().urls(&urls).expect_exit(0);
            texts.add("again", &told(&again));
            packing.expect_all(&again, &urls);
        }
    }
    insta::assert_snapshot!("cut_from_a_pack", texts);
}

#[test]
fn what_is_not_there_is_remembered_when_others_took_its_place() {
    let server = pages();
    let urls = urls(&server, 8);
    for name in NAMES {
        let packing = Packing::of(name, &urls[..4]);
        packing.cut(0);
        // None of the lost URLs, but the same number of bytes.
        packing.run().urls(&urls[4..]).expect_exit(0);
        packing.run().urls(&urls[4..]).expect_exit(0);
        let done = packing.run().urls(&urls).expect_exit(0);
        packing.expect_all(&done, &urls);
    }
}

#[test]
fn what_another_run_fetched_without_a_pack_is_not_in_it() {
    let server = pages();
    let urls = urls(&server, 4);
    for name in NAMES {
        let packing = Packing::new(name);
        let journal = packing.journal();
        let journal = ["--journal", journal.to_str().unwrap()];
        Run::new().args(journal).urls(&urls[..2]).expect_exit(0);
        let done = packing.run().urls(&urls).expect_exit(0);
        packing.expect_all(&done, &urls);
        let again = packing.run().urls(&urls).expect_exit(0);
        packing.expect_all(&again, &urls);
    }
}
