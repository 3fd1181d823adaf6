//! What happens after a run: the summary file, email, a command, a POST. A notification that fails
//! is a warning; the exit code is that of the run.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::CommandFactory;
use fetchall::program::{
    AtomicFile, Attachment, Config, Delivery, Email, FailedUrl, HttpOptions, SmtpServer,
};
use fetchall::{OutcomeName, Record, ReportError, Summary};
use url::Url;

use super::Cli;
use super::empty_list::EmptyListGuard;
use super::environment::RUN_PREFIX;
use super::usage_error::UsageError;
use super::wording::{end_text, mail_text};
use super::{environment, redact, secrets};

/// Maximum number of failures listed in an email.
const MAX_FAILURES: usize = 50;
/// Maximum size of a report that is attached: mail servers reject much larger messages.
const MAX_ATTACHED_BYTES: u64 = 5 << 20;
/// The error for a password on the command line.
const SHOWN_PASSWORD: &str = "do not put a password on the command line, where every user can see \
     it: use FETCHALL_SMTP_PASSWORD or --smtp-password-file";
/// Time limit for `--notify-cmd`.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The first [`MAX_FAILURES`] failures of a run.
type SharedFailures = Arc<Mutex<Vec<FailedUrl>>>;

/// Writes the summary file and sends the notifications of a run.
pub(crate) struct RunNotifier {
    email: Option<(Email, Delivery)>,
    lists: Option<String>,
    failures: SharedFailures,
    report: Option<PathBuf>,
    summary: Option<(PathBuf, Arc<AtomicFile>)>,
    command: Option<String>,
    url: Option<Url>,
    http: HttpOptions,
    quiet: bool,
    empty_list: EmptyListGuard,
}

impl RunNotifier {
    /// Creates the notifier from the command line.
    ///
    /// # Errors
    /// [`UsageError`] when the mail server is invalid or its password cannot be read.
    pub(crate) fn from_cli(cli: &Cli) -> Result<Self, UsageError> {
        let email = Email {
            from: cli.notification.email_from.clone(),
            to: cli.notification.email_to.clone(),
            ..Email::default()
        };
        let delivery = delivery(cli)?;
        Ok(Self {
            email: (!email.to.is_empty()).then_some((email, delivery)),
            lists: lists(cli),
            failures: SharedFailures::default(),
            summary: None,
            report: cli.report.clone(),
            command: cli.notification.notify_cmd.clone(),
            url: cli.notification.notify_url.clone(),
            http: HttpOptions::default(),
            quiet: cli.quiet,
            empty_list: EmptyListGuard::from_cli(cli),
        })
    }

    /// Opens the file for the summary, if requested, so that a failure shows before the run. The
    /// library does not do it, because the summary includes the exit code, and because a run that
    /// fails to start must also replace the summary of the previous one.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub(crate) fn open(&mut self, path: Option<&Path>) -> Result<(), ReportError> {
        if let Some(path) = path {
            let file = AtomicFile::create(path).map_err(|source| unwritten(path, source))?;
            self.summary = Some((path.to_owned(), Arc::new(file)));
        }
        Ok(())
    }

    /// Writes the summary file, if requested. If it is a pipe, waits for its reader until
    /// `interrupt` completes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn write(
        &self,
        summary: &Summary,
        code: u8,
        interrupt: impl Future<Output = ()>,
    ) -> Result<(), ReportError> {
        let Some((path, file)) = &self.summary else {
            return Ok(());
        };
        if self.empty_list.keeps(path, summary) {
            return Ok(());
        }
        let (file, json) = (Arc::clone(file), json(summary, code));
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut writing = tokio::task::spawn_blocking({
            let is_ending = Arc::clone(&is_ending);
            move || file.commit(json.as_bytes(), &|| is_ending.load(Relaxed))
        });
        let written = tokio::select! {
            written = &mut writing => written,
            () = interrupt => {
                is_ending.store(true, Relaxed);
                writing.await
            }
        };
        written
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| unwritten(path, source))
    }

    /// Returns the warning about a list without a URL.
    pub(crate) fn warning(&self, summary: &Summary) -> Option<String> {
        self.empty_list.warning(summary)
    }

    /// Takes the TLS settings from `config`, and collects failures of the run for the email. Tells
    /// the run which files an empty list must not replace.
    pub(crate) fn attach_to(&mut self, config: &mut Config) {
        config.report.kept_if_empty = self.empty_list.kept().to_vec();
        self.http.cacert.clone_from(&config.http.cacert);
        self.http.insecure = config.http.insecure;
        if !matches!(self.email, Some((_, Delivery::Smtp(_)))) {
            return;
        }
        let failures = Arc::clone(&self.failures);
        config.report.on_record = Some(Box::new(move |record| add_failure(&failures, record)));
    }

    /// Sends all notifications. `code` is the exit code of the run.
    pub(crate) async fn notify_all(&self, summary: &Summary, code: u8) {
        if let Some((email, delivery)) = &self.email {
            self.mail(email, delivery, summary).await;
        }
        let json = json(summary, code);
        if let Some(command) = &self.command {
            let variables = variables(summary, code);
            let ran =
                fetchall::program::run_command(command, &json, &variables, COMMAND_TIMEOUT).await;
            warn("--notify-cmd", ran);
        }
        if let Some(url) = &self.url {
            warn(
                "--notify-url",
                fetchall::program::notify_url(url, &json, &self.http).await,
            );
        }
    }

    async fn mail(&self, email: &Email, delivery: &Delivery, summary: &Summary) {
        let text = fetchall::program::render_summary(summary, end_text);
        let about = {
            let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            Email::about(summary, &text, self.lists.as_deref(), &failures)
        };
        let about = match about {
            Ok(about) => about,
            Err(error) => return warn("--email-to", Err(error)),
        };
        let email = Email {
            from: email.from.clone(),
            to: email.to.clone(),
            attachments: self.attachments(summary),
            ..about
        };
        let mut out: Box<dyn Write> = if self.quiet {
            Box::new(io::sink())
        } else {
            Box::new(io::stderr())
        };
        let sent = fetchall::program::deliver(&email, delivery, &mut *out).await;
        warn("--email-to", sent.map_err(|error| mail_text(&error)));
    }

    /// Returns the report as an attachment, if it exists and is at most [`MAX_ATTACHED_BYTES`].
    fn attachments(&self, summary: &Summary) -> Vec<Attachment> {
        let is_written = |path: &&PathBuf| !self.empty_list.keeps(path, summary);
        let Some(path) = self.report.as_ref().filter(is_written) else {
            return Vec::new();
        };
        // Reading a pipe would block; its content is gone already.
        let is_fit = |file: fs::Metadata| file.is_file() && file.len() <= MAX_ATTACHED_BYTES;
        let is_small = fs::metadata(path).is_ok_and(is_fit);
        let html = is_small.then(|| fs::read(path).ok()).flatten();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let attachment = name.zip(html).map(|(name, html)| Attachment { name, html });
        attachment.into_iter().collect()
    }
}

/// Returns a short name of the inputs for the subject line. URLs on the command line are left out:
/// they may hold a password.
fn lists(cli: &Cli) -> Option<String> {
    if cli.demo {
        return Some("--demo".to_owned());
    }
    let name = |input: &OsString| match input.to_string_lossy() {
        text if text == "-" => Some("stdin".to_owned()),
        text if text.contains("://") => None,
        text => {
            let name = Path::new(&*text).file_name();
            name.map(|name| name.to_string_lossy().into_owned())
        }
    };
    if cli.inputs.is_empty() {
        return Some("stdin".to_owned());
    }
    let mut names = cli.inputs.iter().filter_map(name);
    let first = names.next()?;
    Some(match names.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    })
}

fn json(summary: &Summary, code: u8) -> String {
    format!("{}\n", summary.to_json(Some(code)))
}

fn unwritten(path: &Path, source: io::Error) -> ReportError {
    let what = path.display().to_string();
    ReportError { what, source }
}

fn delivery(cli: &Cli) -> Result<Delivery, UsageError> {
    let Some(server) = &cli.notification.smtp else {
        return Ok(Delivery::Simulated("; use --smtp URL to send it"));
    };
    let failed = |message| UsageError::Secret {
        option: "--smtp",
        message,
    };
    let server = SmtpServer::parse(server).map_err(|message| {
        let is_shown = Url::parse(server).is_ok_and(|url| url.password().is_some());
        failed(if is_shown {
            SHOWN_PASSWORD.to_owned()
        } else {
            message
        })
    })?;
    let password =
        secrets::smtp_password(cli.notification.smtp_password_file.as_deref()).map_err(failed)?;
    let server = match password {
        Some(password) => server.with_password(password).map_err(failed)?,
        None => server,
    };
    Ok(Delivery::Smtp(server.trusting(cli.request.cacert.clone())))
}

fn add_failure(failures: &SharedFailures, record: &Record) {
    let Some(error) = record
        .error
        .as_ref()
        .filter(|_| record.outcome == OutcomeName::Failed)
    else {
        return;
    };
    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    if failures.len() < MAX_FAILURES {
        let status = record.status.map(|status| status.to_string());
        let is_status = error.kind.as_str() == "status";
        let label = status.filter(|_| is_status);
        failures.push(FailedUrl {
            label: label.unwrap_or_else(|| error.kind.to_string()),
            url: record.url.clone(),
            message: error.message.clone(),
        });
    }
}

/// Returns the changes to the environment of `--notify-cmd`: the outcome of the run is added, and
/// variables that may hold a secret are removed or replaced.
fn variables(summary: &Summary, code: u8) -> Vec<(String, Option<String>)> {
    let outcome = match code {
        0 => "ok",
        1 => "failed",
        130 | 141 | 143 => "interrupted",
        _ => "broken",
    };
    let all = [
        ("OUTCOME", outcome.to_owned()),
        ("EXIT_CODE", code.to_string()),
        ("INPUT", summary.input.to_string()),
        ("FETCHED", summary.fetched.to_string()),
        ("FAILED", summary.failed.to_string()),
        ("SKIPPED", summary.skipped.to_string()),
        ("LEFT", summary.left.to_string()),
    ];
    let added = all.map(|(name, value)| (format!("{RUN_PREFIX}{name}"), Some(value)));
    let hidden = environment::hidden(&Cli::command(), std::env::vars_os());
    hidden.into_iter().chain(added).collect()
}

/// Prints a warning if a notification failed. Also with `-q`: otherwise its absence would go
/// unnoticed.
fn warn<E: std::fmt::Display>(option: &str, sent: Result<(), E>) {
    if let Err(error) = sent {
        // Ignored if stderr is closed.
        let message = redact::message(&error.to_string());
        let _ = writeln!(io::stderr(), "fetchall: warning: {option}: {message}");
    }
}
