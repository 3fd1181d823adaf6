//! The outputs of the program: results, files, notices and the progress display.

use std::path::Path;
use std::sync::Arc;

use super::problem::RESULTS;
use crate::config::{ReportOptions, ResultFormat};
use crate::engine::Shutdown;
use crate::model::LiveStats;
use crate::report::{
    CookieFile, CsvReporter, FailedLines, HtmlReport, JsonlReporter, NoticeReporter, Output,
    Progress, Pump, ReportError, Reporter, SharedEndingCheck, TemplateReporter, TextReporter,
    Timeline,
};

/// Starts the progress display, if the run has one.
pub(super) fn start_progress(options: &ReportOptions, live: &Arc<LiveStats>) -> Option<Progress> {
    let screen = options.screen.as_ref()?;
    Some(Progress::start(screen, Arc::clone(live)))
}

/// Adds the reporter of notices, and prints these warnings on it. It writes without tearing the
/// progress display.
pub(super) fn add_notices(pump: &mut Pump, options: &mut ReportOptions, warnings: &[String]) {
    let Some(stream) = options.notices.take() else {
        return;
    };
    let mut notices = NoticeReporter::new(Output::new(stream, options.screen.clone()));
    for warning in warnings {
        notices.write_notice(warning);
    }
    pump.add("notices", Box::new(notices));
}

/// Adds the reporters that write to files of their own.
pub(super) fn add_files(
    pump: &mut Pump,
    options: &ReportOptions,
    shutdown: &Shutdown,
) -> Result<(), ReportError> {
    let is_ending: SharedEndingCheck = Arc::new({
        let shutdown = shutdown.clone();
        move || shutdown.ended_by().is_some() || shutdown.abort_token().is_cancelled()
    });
    if let Some(path) = &options.failed {
        let end = if options.failed_with_nul { 0 } else { b'\n' };
        add_file(pump, path, |path| {
            let is_ending = Arc::clone(&is_ending);
            let is_kept = options.kept_if_empty.iter().any(|kept| kept == path);
            Ok(Box::new(FailedLines::create(
                path, end, is_kept, is_ending,
            )?))
        })?;
    }
    if let Some((path, jar)) = &options.cookie_jar {
        add_file(pump, path, |path| {
            let (jar, is_ending) = (Arc::clone(jar), Arc::clone(&is_ending));
            let is_kept = options.kept_if_empty.iter().any(|kept| kept == path);
            Ok(Box::new(CookieFile::create(path, jar, is_kept, is_ending)?))
        })?;
    }
    if let Some(path) = &options.page {
        add_file(pump, path, |path| {
            let is_kept = options.kept_if_empty.iter().any(|kept| kept == path);
            let end_text = options.end_text.unwrap_or(|reason| reason.to_string());
            Ok(Box::new(HtmlReport::create(
                path, is_kept, is_ending, end_text,
            )?))
        })?;
    }
    Ok(())
}

/// Adds the reporters that write to the streams of the program.
pub(super) fn add_streams(pump: &mut Pump, options: &mut ReportOptions) {
    if let Some((format, stream)) = options.results.take() {
        let screen = options.screen.clone().filter(|_| options.shares_screen);
        let end: &[u8] = match (options.print0, &format) {
            (true, _) => b"\0",
            // A template contains its own line ends.
            (false, ResultFormat::Template(_)) => b"",
            (false, _) => b"\n",
        };
        let output = Output::new(stream, screen).with_terminator(end);
        match format {
            ResultFormat::Text => pump.add(RESULTS, Box::new(TextReporter::new(output, false))),
            ResultFormat::ColorText => pump.add(RESULTS, Box::new(TextReporter::new(output, true))),
            ResultFormat::Json => pump.add(RESULTS, Box::new(JsonlReporter::new(output))),
            ResultFormat::Csv(columns) => {
                pump.add(RESULTS, Box::new(CsvReporter::new(output, &columns)));
            }
            ResultFormat::Template(template) => {
                pump.add(RESULTS, Box::new(TemplateReporter::new(output, template)));
            }
        }
    }
    if let Some((style, stream)) = options.timeline.take() {
        let output = Output::new(stream, options.screen.clone());
        pump.add("timeline", Box::new(Timeline::new(output, style)));
    }
}

/// Adds a reporter that writes to the file at `path`.
fn add_file(
    pump: &mut Pump,
    path: &Path,
    create: impl FnOnce(&Path) -> std::io::Result<Box<dyn Reporter>>,
) -> Result<(), ReportError> {
    let what = path.display().to_string();
    match create(path) {
        Ok(reporter) => {
            pump.add(what, reporter);
            Ok(())
        }
        Err(source) => Err(ReportError { what, source }),
    }
}
