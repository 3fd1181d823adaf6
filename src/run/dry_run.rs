//! `--dry-run`: prints the target file of each URL without fetching anything.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::problem::{Problem, RESULTS, RunError};
use super::saving::{check_shard, journal_path};
use crate::config::{Config, ResultFormat};
use crate::input::{self, Batch};
use crate::model::{
    ErrorText, ListEntry, Outcome, ShardTally, Summary, escape_control, write_json,
};
use crate::report::{NoticeReporter, Output, ReportError, shard_sizes};
use crate::schedule::ScheduleOptions;
use crate::store::file_of;

/// A URL and its target file, or the error of an invalid line.
#[derive(Serialize)]
struct DryRunLine<'a> {
    line: u64,
    input: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Writes the target file of each URL to the results, as `FILE<TAB>URL` or JSON Lines. Nothing is
/// fetched, created or locked. Invalid lines count as failed, all others as skipped.
///
/// # Errors
/// [`RunError`] when an input cannot be read or the results cannot be written.
pub async fn dry_run(mut config: Config) -> Result<Summary, RunError> {
    let Some((format, mut out)) = config.report.results else {
        return Ok(Summary::default());
    };
    let end = if config.report.print0 { '\0' } else { '\n' };
    let mut summary = Summary {
        list_ended: true,
        ..Summary::default()
    };
    config.input.saves_files |= config.save.dir.is_some();
    let live = Arc::default();
    let shard = config.input.shard;
    check_shard(&journal_path(&config.save), shard)?;
    let tally = shard.map(|shard| Arc::new(Mutex::new(ShardTally::new(shard.of()))));
    config.input.tally = tally.clone();
    let mut batches = input::open(config.input, live).map_err(Problem::from)?;
    let error_text = config.engine.error_text;
    while let Some(batch) = batches.recv().await {
        write(batch, (&format, end), error_text, &mut *out, &mut summary).map_err(|problem| {
            RunError {
                summary: Box::new(summary.clone()),
                problem,
            }
        })?;
    }
    if let (Some(shard), Some(tally), Some(notices)) = (shard, tally, config.report.notices) {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notices = NoticeReporter::new(Output::new(notices, None));
        for line in shard_sizes(&mut tally, shard, |host| interval(&config.schedule, host)) {
            notices.write_notice(&line);
        }
    }
    Ok(summary)
}

/// Returns the minimum time between two requests to a host, as far as the options say.
fn interval(options: &ScheduleOptions, host: &str) -> Duration {
    let own = options.hosts.get(host).and_then(|own| own.host_interval);
    let of_all = options.rate.map_or(0.0, |rate| 1.0 / rate);
    let of_all = Duration::try_from_secs_f64(of_all).unwrap_or_default();
    own.unwrap_or(options.host_interval).max(of_all)
}

/// Said of a sitemap that would have to be fetched.
const NOT_READ: &str = "a sitemap; a dry run does not fetch it, so its URLs are not known";

fn write(
    batch: Batch,
    (format, end): (&ResultFormat, char),
    error_text: ErrorText,
    out: &mut dyn Write,
    summary: &mut Summary,
) -> Result<(), Problem> {
    let failed = |source| {
        Problem::Report(ReportError {
            what: RESULTS.to_owned(),
            source,
        })
    };
    let mut text = Vec::new();
    for entry in batch? {
        summary.input += u64::from(!matches!(entry, ListEntry::Sitemap(_)));
        let place = match &entry {
            ListEntry::Job(job) | ListEntry::Sitemap(job) => &job.position,
            ListEntry::Invalid(line) => &line.position,
            ListEntry::Failed(settled) => &settled.position,
        };
        let (url, file, error) = match &entry {
            ListEntry::Job(job) => {
                summary.skipped += 1;
                (job.url.as_str(), Some(file_of(job)), None)
            }
            ListEntry::Sitemap(job) => (job.url.as_str(), None, Some(NOT_READ.to_owned())),
            ListEntry::Failed(settled) => {
                summary.failed += 1;
                let message = match &settled.outcome {
                    Outcome::Failed(error) => Some(error_text(error)),
                    Outcome::Fetched(_) | Outcome::Skipped => None,
                };
                (&*settled.record.url, None, message)
            }
            ListEntry::Invalid(line) => {
                summary.failed += 1;
                (line.shown.as_str(), None, Some(error_text(&line.error)))
            }
        };
        let line = DryRunLine {
            line: place.line,
            input: &place.input,
            url,
            file: file.as_ref().map(|file| file.as_str()),
            error,
        };
        put(&mut text, &line, format)
            .and_then(|()| write!(text, "{end}"))
            .map_err(failed)?;
    }
    out.write_all(&text)
        .and_then(|()| out.flush())
        .map_err(failed)
}

fn put(text: &mut Vec<u8>, line: &DryRunLine<'_>, format: &ResultFormat) -> std::io::Result<()> {
    if *format == ResultFormat::Json {
        return Ok(write_json(text, line)?);
    }
    let url = escape_control(line.url);
    match (line.file, &line.error) {
        (Some(file), _) => write!(text, "{}\t{url}", escape_control(file)),
        (None, Some(error)) => write!(text, "-\t{url}\t{}", escape_control(error)),
        (None, None) => Ok(()),
    }
}
