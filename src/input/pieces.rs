//! Reading lists, as the micro-benchmarks see it.

use std::io::{self, Cursor};
use std::sync::Arc;

use super::InputFormat;
use super::compressed::Stream;
use super::list::{Origin, Rules, Step, list};
use crate::model::Entry;

/// Reads a list to its end; gives the number of its jobs.
///
/// # Errors
/// When it is none of this format.
pub fn count_jobs(format: InputFormat, bytes: Vec<u8>) -> io::Result<usize> {
    let stream = Stream::new(Box::new(Cursor::new(bytes)));
    let mut list = list(format, stream, Rules::default());
    let input: Arc<str> = "-".into();
    let mut jobs = 0;
    loop {
        let origin = Origin {
            input: &input,
            number: jobs as u64,
        };
        match list.next(&origin)? {
            Step::Found(Entry::Job(_)) => jobs += 1,
            Step::Found(Entry::Invalid(_)) | Step::Nothing => {}
            Step::End => return Ok(jobs),
        }
    }
}
