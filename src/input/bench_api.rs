//! Reading of lists for the micro-benchmarks.

use std::io::{self, Cursor};
use std::sync::Arc;

use super::InputFormat;
use super::detected::open_list;
use super::list::{EntryOrigin, ListRules, ListStep};
use super::stream::InputStream;
use crate::model::ListEntry;

/// Reads a list to its end and returns the number of its jobs.
///
/// # Errors
/// If the list does not have this format.
pub fn count_jobs(format: InputFormat, bytes: Vec<u8>) -> io::Result<usize> {
    let stream = InputStream::new(Box::new(Cursor::new(bytes)));
    let mut list = open_list(format, stream, &ListRules::default());
    let input: Arc<str> = "-".into();
    let mut jobs = 0;
    loop {
        let origin = EntryOrigin {
            input: &input,
            number: jobs as u64,
        };
        match list.next(&origin)? {
            ListStep::Found(ListEntry::Job(_)) => jobs += 1,
            ListStep::Found(_) | ListStep::Nothing => {}
            ListStep::End => return Ok(jobs),
        }
    }
}
