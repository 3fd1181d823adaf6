//! The options of notifications.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::value_parsers;

/// Who is told of the end of a run, and how.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct NotificationArgs {
    /// Email the summary to these addresses.
    ///
    /// Sent when the run has ended, with the failures, and with the --report file if it is small.
    /// Separate addresses with commas. Without --smtp, sending is simulated: it takes three seconds
    /// and prints a message. A failed delivery is a warning and does not change the exit code.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = value_parsers::address, help_heading = "Notifications")]
    pub email_to: Vec<String>,
    /// Mail server, as smtps://USER@HOST[:PORT].
    ///
    /// smtps:// is implicit TLS (port 465), smtp:// is STARTTLS (port 587). The password comes from
    /// FETCHALL_SMTP_PASSWORD or a file. Use --cacert for a server with a private CA.
    /// smtp://HOST:PORT?tls=none is unencrypted; a password is sent that way only to this machine.
    #[arg(
        long,
        value_name = "URL",
        requires = "email_to",
        help_heading = "Notifications"
    )]
    pub smtp: Option<String>,
    /// File with the SMTP password.
    ///
    /// The password is its first line [default: the value of FETCHALL_SMTP_PASSWORD].
    #[arg(
        long,
        value_name = "FILE",
        requires = "smtp",
        help_heading = "Notifications"
    )]
    pub smtp_password_file: Option<PathBuf>,
    /// Sender address.
    ///
    /// [default: the user of --smtp, or fetchall@ its host]
    #[arg(long, value_name = "ADDR", requires = "smtp", value_parser = value_parsers::address, help_heading = "Notifications")]
    pub email_from: Option<String>,
    /// Run a shell command when done.
    ///
    /// It gets the JSON summary on stdin. Its environment has FETCHALL_RUN_OUTCOME (ok, failed,
    /// broken, or after a signal or a closed stdout interrupted), FETCHALL_RUN_EXIT_CODE and the
    /// counts FETCHALL_RUN_INPUT, _FETCHED, _FAILED, _SKIPPED and _LEFT. Variables that may hold a
    /// secret, such as FETCHALL_USER, are removed, and proxies lose their credentials. Its output
    /// goes to stderr. It is killed after 60 s; a failure is a warning.
    #[arg(long, value_name = "CMD", help_heading = "Notifications")]
    pub notify_cmd: Option<String>,
    /// POST the JSON summary to this URL.
    ///
    /// Sent when the run has ended. Any status other than 2xx is a warning.
    #[arg(long, value_name = "URL", value_parser = value_parsers::http_url, help_heading = "Notifications")]
    pub notify_url: Option<Url>,
}
