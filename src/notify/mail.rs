//! Email. Without a mail server, sending is simulated and a message says so.

use std::io::{self, Write};
use std::time::Duration;

use askama::Template;
use indicatif::HumanCount;

use super::smtp::{MailError, SmtpServer};
use crate::model::Summary;

/// Duration of a simulated delivery.
const SIMULATED_SEND_TIME: Duration = Duration::from_secs(3);

/// How an email is delivered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// Simulated: takes three seconds and prints a message, with this text behind it.
    Simulated(&'static str),
    /// Sent through a mail server.
    Smtp(SmtpServer),
}

/// An email.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Email {
    /// The sender address; `None`: the user of the mail server, or `fetchall` at its host.
    pub from: Option<String>,
    /// The recipients. Each is sent a separate message, so that a rejected address does not affect
    /// the others.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The plain text body.
    pub text: String,
    /// The HTML body.
    pub html: Option<String>,
    /// Attached files.
    pub attachments: Vec<Attachment>,
}

/// A file attached to an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file name, without a directory.
    pub name: String,
    /// The content: an HTML page.
    pub html: Vec<u8>,
}

/// A failed URL in an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedUrl {
    /// Its status, or else its error kind.
    pub label: String,
    /// The URL.
    pub url: String,
    /// The error message.
    pub message: String,
}

#[derive(Template)]
#[template(path = "mail.html", config = "src/askama.toml")]
struct EmailTemplate<'a> {
    head: &'a str,
    lines: Vec<&'a str>,
    failures: &'a [FailedUrl],
    more: Option<String>,
}

impl Email {
    /// Creates the email about a run. `text` is the rendered summary, `lists` names the inputs, and
    /// `failures` are the first failures of the run.
    ///
    /// # Errors
    /// When the HTML template cannot be rendered, which does not happen in practice.
    pub fn about(
        summary: &Summary,
        text: &str,
        lists: Option<&str>,
        failures: &[FailedUrl],
    ) -> io::Result<Self> {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let more = summary.failed.saturating_sub(failures.len() as u64);
        let more = (more > 0).then(|| HumanCount(more).to_string());
        let mut plain = format!("{text}\n");
        for failure in failures {
            let FailedUrl {
                label,
                url,
                message,
            } = failure;
            plain.push_str(&format!("\n{label}  {url}\n    {message}\n"));
        }
        if let Some(more) = &more {
            plain.push_str(&format!("\nand {more} more\n"));
        }
        let page = EmailTemplate {
            head,
            lines: lines.collect(),
            failures,
            more,
        };
        let html = page.render().map_err(io::Error::other)?;
        Ok(Self {
            subject: subject(summary, lists),
            text: plain,
            html: Some(html),
            ..Self::default()
        })
    }
}

/// Returns the subject: the outcome, short enough for the list view of a mail program.
fn subject(summary: &Summary, lists: Option<&str>) -> String {
    let noun = if summary.input == 1 { "URL" } else { "URLs" };
    let all = format!("{} {noun}", HumanCount(summary.input));
    let mut text = match summary.failed {
        0 if summary.fetched == summary.input => format!("fetchall: {all} fetched"),
        0 => format!("fetchall: {} of {all} fetched", HumanCount(summary.fetched)),
        failed => format!("fetchall: {} of {all} failed", HumanCount(failed)),
    };
    for (n, name) in [(summary.skipped, "skipped"), (summary.left, "left")] {
        if n > 0 {
            text.push_str(&format!(", {} {name}", HumanCount(n)));
        }
    }
    if summary.ended_by.is_some() {
        text.push_str(", ended early");
    }
    if let Some(lists) = lists {
        text.push_str(&format!(" ({lists})"));
    }
    text
}

/// Simulates sending an email: waits three seconds, then writes `Email Sent!`.
///
/// The guide uses it as the example of a slow job. It waits asynchronously, so that other tasks
/// continue.
///
/// # Errors
/// When `out` cannot be written to.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let mut out = Vec::new();
/// fetchall::send_email(&mut out).await?;
/// assert_eq!(out, b"Email Sent!\n");
/// # Ok(())
/// # }
/// ```
pub async fn send_email(out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    tokio::time::sleep(SIMULATED_SEND_TIME).await;
    writeln!(out, "Email Sent!")?;
    out.flush()
}

/// Delivers an email, and writes a confirmation to `out`.
///
/// # Errors
/// [`MailError`] when it could not be delivered to at least one recipient. The others have received
/// it. [`MailError::Output`] when `out` cannot be written to.
pub async fn deliver(
    email: &Email,
    delivery: &Delivery,
    out: &mut (impl Write + ?Sized),
) -> Result<(), MailError> {
    let to = email.to.join(", ");
    let to = crate::model::escape_control(&to);
    match delivery {
        Delivery::Simulated(next) => {
            writeln!(out, "simulated email to {to}{next}")?;
            out.flush()?;
            send_email(out).await?;
        }
        Delivery::Smtp(server) => {
            server.send(email).await?;
            writeln!(out, "email sent to {to}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EndReason;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_email_takes_three_seconds_and_says_so() {
        let start = Instant::now();
        let email = Email {
            to: vec!["ann@example.com".into()],
            ..Email::default()
        };
        let mut out = Vec::new();
        deliver(&email, &Delivery::Simulated("; x"), &mut out)
            .await
            .unwrap();
        assert_eq!(start.elapsed(), SIMULATED_SEND_TIME);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "simulated email to ann@example.com; x\nEmail Sent!\n"
        );
    }

    #[test]
    fn an_email_has_the_summary_and_the_failures_as_text_and_as_html() {
        let failed = FailedUrl {
            label: "404".into(),
            url: "http://a/<b>".into(),
            message: "404 Not Found".into(),
        };
        let summary = Summary {
            input: 10_000,
            failed: 1_235,
            ..Summary::default()
        };
        let text = "10,000 URLs: 8,765 fetched, 1,235 failed\nin 2s";
        let email = Email::about(&summary, text, Some("urls.txt"), &[failed]).unwrap();
        insta::assert_snapshot!("subject_of_failures", email.subject);
        assert_eq!(
            email.text,
            format!("{text}\n\n404  http://a/<b>\n    404 Not Found\n\nand 1,234 more\n")
        );
        let html = email.html.unwrap();
        assert!(
            html.contains("http://a/&#60;b&#62;") && !html.contains("<b>"),
            "{html}"
        );
        assert!(html.contains("and 1,234 more"), "{html}");
    }

    #[test]
    fn the_subject_has_the_outcome() {
        let subject_of = |input, fetched, skipped, left, ended_by| {
            let summary = Summary {
                input,
                fetched,
                skipped,
                left,
                ended_by,
                ..Summary::default()
            };
            subject(&summary, None)
        };
        let page = [
            subject_of(1, 1, 0, 0, None),
            subject_of(10, 2, 8, 0, None),
            subject_of(10, 2, 0, 8, Some(EndReason::Shutdown)),
        ];
        insta::assert_snapshot!("subjects", page.join("\n"));
    }
}
