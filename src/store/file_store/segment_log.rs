//! The list of what is there of a body in segments, in a file beside it, so that a run that is killed
//! loses little. A range is listed only after its bytes were written.
//!
//! The first line is that of the body in the list of parts, each further one a range: the offset of
//! its first byte, a blank, and the offset after its last. The last line may be torn.

use std::io::{self, BufRead, BufReader, Read};

use crate::model::ByteRanges;

/// Ranges are listed once they have this part of the body in all...
const BODY_PART: u64 = 64;
/// ...or this many bytes; with sync this many, because it takes long...
const LISTED_BYTES: u64 = 1 << 20;
const SYNCED_BYTES: u64 = 8 << 20;
/// ...but for a huge body this part of it, so that the list stays short.
const HUGE_BODY_PART: u64 = 8192;

/// Bytes of a list that are read. What is longer is none of ours.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// The end of the names of these lists.
const EXTENSION: &str = ".segments";

/// Returns the name of the list of the body with this id.
pub(crate) fn log_name(id: u64) -> String {
    format!("{id}{EXTENSION}")
}

/// Returns the id of the body whose list has this name.
pub(crate) fn id_of_log(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.parse().ok()
}

/// What is written, and not listed yet.
#[derive(Debug)]
pub(crate) struct SegmentLog {
    head: String,
    threshold: u64,
    pending: ByteRanges,
    has_file: bool,
}

impl SegmentLog {
    /// Creates the list of a body of `total` bytes, which `head` describes.
    pub(crate) fn new(head: String, total: u64, is_synced: bool) -> Self {
        let usual = match is_synced {
            true => SYNCED_BYTES,
            false => LISTED_BYTES.min(total / BODY_PART),
        };
        Self {
            head,
            threshold: usual.max(total / HUGE_BODY_PART),
            pending: ByteRanges::default(),
            has_file: false,
        }
    }

    /// Adds bytes that were written. Returns whether enough are pending.
    pub(crate) fn add(&mut self, start: u64, end: u64) -> bool {
        self.pending.add(start, end);
        self.pending.length() >= self.threshold
    }

    /// Returns the text to add to the file: the ranges that are pending, or all that were `written`
    /// if it is new, which the second value says. Then nothing is pending.
    pub(crate) fn take_text(&mut self, written: &ByteRanges) -> (String, bool) {
        let pending = std::mem::take(&mut self.pending);
        let is_new = !std::mem::replace(&mut self.has_file, true);
        let (mut text, ranges) = match is_new {
            true => (format!("{}\n", self.head), written),
            false => (String::new(), &pending),
        };
        for (start, end) in ranges.iter() {
            text.push_str(&format!("{start} {end}\n"));
        }
        (text, is_new)
    }
}

/// Reads a list. Returns its first line, and the ranges up to the first line that is none.
pub(crate) fn read_log(file: impl Read) -> io::Result<(Vec<u8>, ByteRanges)> {
    let mut file = BufReader::new(file.take(MAX_LOG_BYTES));
    let mut head = Vec::new();
    file.read_until(b'\n', &mut head)?;
    let mut ranges = ByteRanges::default();
    let mut line = String::new();
    while file.read_line(&mut line).is_ok_and(|read| read > 0) {
        let Some((start, end)) = parse_range(&line) else {
            break;
        };
        ranges.add(start, end);
        line.clear();
    }
    Ok((head, ranges))
}

/// Parses a line that is complete.
fn parse_range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.strip_suffix('\n')?.split_once(' ')?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_listed_once_there_are_enough() {
        let mut log = SegmentLog::new("{}".into(), 640, false);
        let mut written: ByteRanges = [(0, 3), (5, 14)].into_iter().collect();
        assert!(!log.add(5, 14));
        written.add(20, 21);
        assert!(log.add(20, 21));
        let first = log.take_text(&written);
        assert_eq!(first, ("{}\n0 3\n5 14\n20 21\n".to_owned(), true));
        assert!(!log.add(21, 23));
        assert_eq!(log.take_text(&written), ("21 23\n".to_owned(), false));
        assert!(SegmentLog::new(String::new(), 1 << 30, false).add(0, 1 << 20));
        assert!(!SegmentLog::new(String::new(), 1 << 30, true).add(0, 1 << 20));
        assert!(!SegmentLog::new(String::new(), 1 << 40, false).add(0, 1 << 26));
    }

    proptest! {
        #[test]
        fn a_torn_list_says_less_and_nothing_else(
            ranges in prop::collection::vec((0u64..1000, 0u64..1000), 0..9), cut in 0usize..200
        ) {
            let text: String = ranges.iter().map(|(start, end)| format!("{start} {end}\n")).collect();
            let text = format!("head\n{text}");
            let torn = &text.as_bytes()[..cut.min(text.len())];
            let (head, read) = read_log(torn).unwrap();
            prop_assert!(b"head\n".starts_with(head.as_slice()));
            let lines = torn.iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
            let whole: ByteRanges = ranges.iter().take(lines).copied().collect();
            prop_assert_eq!(read, whole);
        }
    }
}
