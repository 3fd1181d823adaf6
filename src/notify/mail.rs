//! E-mail. Without a mail server it is simulated, and says so.

use std::io::{self, Write};
use std::time::Duration;

/// How long the simulated sending takes.
const SENDING: Duration = Duration::from_secs(3);

/// How an e-mail leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Not at all: the time it would take passes, and that is said.
    #[default]
    Simulated,
}

/// An e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The address it goes to.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
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
    tokio::time::sleep(SENDING).await;
    writeln!(out, "Email Sent!")?;
    out.flush()
}

/// Delivers an e-mail; what there is to say about it goes to `out`.
///
/// # Errors
/// When `out` can't be written to.
pub async fn deliver(
    email: &Email,
    delivery: &Delivery,
    out: &mut (impl Write + ?Sized),
) -> io::Result<()> {
    match delivery {
        Delivery::Simulated => {
            let to = crate::model::harmless(&email.to);
            writeln!(out, "simulated e-mail to {to}; give --smtp URL to send it")?;
            out.flush()?;
            send_email(out).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn it_takes_three_seconds_and_says_that_it_is_simulated() {
        let start = Instant::now();
        let email = Email {
            to: "ann@example.com".into(),
            subject: String::new(),
            text: String::new(),
        };
        let mut out = Vec::new();
        deliver(&email, &Delivery::Simulated, &mut out)
            .await
            .unwrap();
        assert_eq!(start.elapsed(), SENDING);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "simulated e-mail to ann@example.com; give --smtp URL to send it\nEmail Sent!\n"
        );
    }
}
