//! Notifications after a run: email, a command, a POST.

mod command;
mod mail;
mod smtp;
mod webhook;

use std::error::Error;
use std::io;

#[cfg(feature = "cli")]
pub(crate) use command::run_noting_stderr;
pub use command::{CommandError, run_command};
pub use mail::{Attachment, Delivery, Email, FailedUrl, deliver, send_email};
pub use smtp::{MailError, SmtpServer};
pub use webhook::WebhookError;
pub(crate) use webhook::post_json;

/// Whether an error is caused by TLS, such as an invalid certificate. `io::Error` wraps TLS errors
/// without naming them as its source, so both chains are searched.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inside.is_some_and(|inside| is_of_tls(inside)) || error.source().is_some_and(is_of_tls)
}
