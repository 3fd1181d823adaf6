//! E-mail. Without a mail server it is simulated, and says so.

use std::io::{self, Write};
use std::time::Duration;

use askama::Template;
use indicatif::HumanCount;

use super::smtp::{MailError, SmtpServer};
use crate::model::Summary;

/// How long the simulated sending takes.
const SIMULATED_SEND_TIME: Duration = Duration::from_secs(3);

/// How an e-mail leaves.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// Not at all: the time it would take passes, and that is said.
    #[default]
    Simulated,
    /// Through a server.
    Smtp(SmtpServer),
}

/// An e-mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Email {
    /// The address it comes from; `None`: that of the user of the server, or `fetchall` on it.
    pub from: Option<String>,
    /// The addresses it goes to. Each gets one of its own, so that one that is refused keeps it
    /// from nobody else.
    pub to: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// Files that go along.
    pub attachments: Vec<Attachment>,
}

/// A file that goes along with an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, without a folder.
    pub name: String,
    /// What it holds: an HTML page.
    pub html: Vec<u8>,
}

/// A URL that failed, as an e-mail tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedUrl {
    /// Its status, or the kind of its error.
    pub label: String,
    /// The URL.
    pub url: String,
    /// Why it failed.
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
    /// The e-mail about a run: `text` is its summary for people, `lists` what it has read, and
    /// `failures` are the first of them.
    ///
    /// # Errors
    /// Never, for texts that fit in memory.
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

/// How it went, in the few words that a list of e-mails shows.
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

/// Sends an e-mail, or pretends to: takes three seconds, then writes `Email Sent!`.
///
/// This is the slow job of the exercises; it waits without keeping anybody else from
/// working.
///
/// # Errors
/// When `out` can't be written to.
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

/// Delivers an e-mail; what there is to say about it goes to `out`.
///
/// # Errors
/// [`MailError`] when it could not be delivered to everybody; that is told of the first one, and the
/// others have got it. [`MailError::Output`] when `out` can't be written to.
pub async fn deliver(
    email: &Email,
    delivery: &Delivery,
    out: &mut (impl Write + ?Sized),
) -> Result<(), MailError> {
    let to = email.to.join(", ");
    let to = crate::model::escape_control(&to);
    match delivery {
        Delivery::Simulated => {
            writeln!(out, "simulated e-mail to {to}; give --smtp URL to send it")?;
            out.flush()?;
            send_email(out).await?;
        }
        Delivery::Smtp(server) => {
            server.send(email).await?;
            writeln!(out, "e-mail sent to {to}")?;
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
    async fn it_takes_three_seconds_and_says_that_it_is_simulated() {
        let start = Instant::now();
        let email = Email {
            to: vec!["ann@example.com".into()],
            ..Email::default()
        };
        let mut out = Vec::new();
        deliver(&email, &Delivery::Simulated, &mut out)
            .await
            .unwrap();
        assert_eq!(start.elapsed(), SIMULATED_SEND_TIME);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "simulated e-mail to ann@example.com; give --smtp URL to send it\nEmail Sent!\n"
        );
    }

    #[test]
    fn it_tells_the_summary_and_the_failures_as_text_and_as_html() {
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
    fn the_subject_says_how_it_went() {
        let told = |input, fetched, skipped, left, ended_by| {
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
            told(1, 1, 0, 0, None),
            told(10, 2, 8, 0, None),
            told(10, 2, 0, 8, Some(EndReason::Shutdown)),
        ];
        insta::assert_snapshot!("subjects", page.join("\n"));
    }
}
