//! Telling somebody that the run is over. Runs after everything else.

mod command;
mod mail;
mod smtp;
mod webhook;

pub use command::{CommandError, run_command};
pub use mail::{Attachment, Delivery, Email, FailedUrl, deliver, send_email};
pub use smtp::{MailError, SmtpServer};
pub use webhook::{WebhookError, post_json};
