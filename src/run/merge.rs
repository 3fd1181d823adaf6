//! `--merge`: puts the journals of shards together.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::problem::{Problem, RESULTS, RunError, SaveError};
use super::run_blocking;
use super::saving::open_to_read;
use crate::config::Config;
use crate::input::Source;
use crate::model::Summary;
use crate::report::{JournalError, JournalMerge, ReportError};

/// Bytes of records that are written at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// Writes the newest record of each line in the journals, which are the files of the configuration, to
/// the results. Nothing is fetched. The summary is that of the whole list, and says why the journals
/// are not all of it.
///
/// # Errors
/// [`RunError`] when a journal cannot be read or the results cannot be written.
pub async fn merge(config: Config) -> Result<Summary, RunError> {
    let work = move || {
        let stream = config.report.results.map(|(_, stream)| stream);
        let stream = stream.unwrap_or_else(|| Box::new(io::sink()));
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, stream);
        let end: &[u8] = if config.report.print0 { b"\0" } else { b"\n" };
        let mut merge = JournalMerge::new(end);
        for source in &config.input.sources {
            if let Source::File(path) = source {
                let file = open(path)?;
                let added = merge.add(path, &file, &mut out);
                added
                    .map_err(|cause| unusable(path, cause))?
                    .map_err(unwritten)?;
            }
        }
        out.flush().map_err(unwritten)?;
        Ok(merge.finish())
    };
    Ok(run_blocking(work).await?)
}

fn open(path: &Path) -> Result<File, Problem> {
    open_to_read(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Problem::Save(SaveError::NoJournal(path.to_owned())),
        _ => unusable(path, cause.into()),
    })
}

fn unusable(path: &Path, cause: JournalError) -> Problem {
    Problem::Save(SaveError::Journal {
        path: path.to_owned(),
        cause,
    })
}

fn unwritten(source: io::Error) -> Problem {
    Problem::Report(ReportError {
        what: RESULTS.to_owned(),
        source,
    })
}
