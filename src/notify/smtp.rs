//! Sends email through a mail server (RFC 5321), over TLS.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Mailbox, Message, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use percent_encoding::percent_decode_str;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::{Email, is_of_tls};
use crate::model::{Hint, chain_text, escape_control, is_control};

/// Time limit for a whole delivery, to all recipients together.
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);
/// Port for submission with implicit TLS (RFC 8314 §3.3).
const SUBMISSIONS: u16 = 465;
/// Port for submission with STARTTLS (RFC 6409 §3.1).
const SUBMISSION: u16 = 587;
/// Maximum number of characters of a server's reply in a message.
const MAX_REPLY_CHARS: usize = 500;

/// How the connection to the server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// Implicit TLS, from the first byte.
    Tls,
    /// STARTTLS; if the server does not offer it, nothing is sent.
    StartTls,
    /// Unencrypted, on request.
    None,
}

/// A mail server with the credentials for it. Its `Debug` output shows no password.
#[derive(Clone)]
pub struct SmtpServer {
    host: String,
    port: u16,
    encryption: Encryption,
    user: Option<String>,
    password: Option<String>,
    authorities: Option<PathBuf>,
    limit: Duration,
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

/// Why an email was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// An address is invalid.
    #[error("invalid email address {address:?}: {cause}")]
    Address {
        /// The address as given.
        address: String,
        /// The cause.
        cause: lettre::address::AddressError,
    },
    /// The message cannot be built.
    #[error("cannot build the email: {}", chain_text(.0))]
    Message(#[from] lettre::error::Error),
    /// The file with the CA certificates cannot be used.
    #[error("cannot use the certificates in {}: {cause}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The server is unreachable or not trusted, or it rejected the message.
    #[error("cannot send the email to {to} through {server}: {}", why(cause))]
    Smtp {
        /// The recipient.
        to: String,
        /// Host and port.
        server: String,
        /// The cause.
        #[source]
        cause: SmtpError,
    },
    /// The delivery exceeded its time limit.
    #[error("cannot send the email to {to} through {server}: timed out after {} s", limit.as_secs())]
    TimedOut {
        /// The recipient.
        to: String,
        /// Host and port.
        server: String,
        /// The limit.
        limit: Duration,
    },
    /// Several recipients did not receive it.
    #[error("{first}; also not sent to {others}")]
    Several {
        /// The error of the first of them.
        #[source]
        first: Box<MailError>,
        /// The other recipients.
        others: String,
    },
    /// The confirmation cannot be written.
    #[error("cannot write the confirmation: {0}")]
    Output(#[from] io::Error),
}

/// Returns the cause of an error, down to the last one. The reply of a server is untrusted text, so
/// control characters are escaped and its length is limited.
fn why(error: &SmtpError) -> String {
    let said = |source| chain_text(source).lines().collect::<Vec<_>>().join(" ");
    let said = error.source().map(said);
    let text = match (error.status(), said) {
        (Some(code), Some(said)) => format!("server replied {code} {said}"),
        (Some(code), None) => format!("server replied {code}"),
        (None, Some(said)) => said,
        (None, None) => chain_text(error),
    };
    escape_control(&text)
        .chars()
        .take(MAX_REPLY_CHARS)
        .collect()
}

impl MailError {
    /// Returns what may help, if the cause tells.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        let Self::Smtp { cause, .. } = self else {
            return None;
        };
        let code = cause.status().map(|code| code.to_string());
        match code.as_deref() {
            // Authentication required or failed (RFC 4954 §6).
            Some("530" | "534" | "535") => Some(Hint::GiveMailLogin),
            _ => is_of_tls(cause).then_some(Hint::TrustMailCa),
        }
    }
}

impl SmtpServer {
    /// Parses `smtps://USER@HOST[:PORT]` (implicit TLS, port 465) or `smtp://USER@HOST[:PORT]`
    /// (STARTTLS, port 587; with `?tls=none` unencrypted, and then with a password only on
    /// loopback).
    ///
    /// # Errors
    /// A message with the expected form. It never repeats a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "expected smtps://USER@HOST[:PORT] or smtp://USER@HOST[:PORT]";
        // `Url::parse` would delete it and join the text on both sides.
        if text.trim().contains(['\t', '\r', '\n']) {
            return Err(format!("contains a tab or line break; {form}"));
        }
        let url = Url::parse(text).map_err(|error| format!("{error}; {form}"))?;
        let mut encryption = match url.scheme() {
            "smtps" => Encryption::Tls,
            "smtp" => Encryption::StartTls,
            // Without the slashes it may be a user name instead of a scheme.
            other if text.contains("://") => {
                return Err(format!("unsupported scheme {other}; {form}"));
            }
            _ => return Err(form.to_owned()),
        };
        match url.query() {
            None | Some("tls=required") => {}
            Some("tls=none") if encryption == Encryption::StartTls => encryption = Encryption::None,
            // Not repeated: it may be a password.
            Some(_) => return Err(format!("unexpected text after the ?; {form}")),
        }
        if url.password().is_some() {
            return Err(format!("contains a password, which belongs apart; {form}"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("missing host; {form}"))?;
        if !matches!(url.path(), "" | "/") {
            return Err(format!("unexpected path; {form}"));
        }
        let usual = if encryption == Encryption::Tls {
            SUBMISSIONS
        } else {
            SUBMISSION
        };
        let user = percent_decode_str(url.username()).decode_utf8();
        let user = user.map_err(|_| "the user is not UTF-8".to_owned())?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(usual),
            encryption,
            user: Some(user.into_owned()).filter(|user| !user.is_empty()),
            password: None,
            authorities: None,
            limit: SMTP_TIMEOUT,
        })
    }

    /// Sets the password of the user.
    ///
    /// # Errors
    /// When there is no user, or the password would be sent unencrypted over the network.
    pub fn with_password(self, password: String) -> Result<Self, String> {
        if self.user.is_none() {
            return Err("password without a user; use smtps://USER@HOST".to_owned());
        }
        if self.encryption == Encryption::None && !self.is_loopback() {
            return Err(
                "passwords are not sent unencrypted except to this machine; remove ?tls=none"
                    .to_owned(),
            );
        }
        Ok(Self {
            password: Some(password),
            ..self
        })
    }

    /// Sets a PEM file with the CA certificates to trust instead of the system's.
    #[must_use]
    pub fn trusting(self, authorities: Option<PathBuf>) -> Self {
        Self {
            authorities,
            ..self
        }
    }

    /// Sets the time limit for all recipients together; 30 s by default.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns the default sender address.
    fn default_sender(&self) -> String {
        match &self.user {
            Some(user) if user.contains('@') => user.clone(),
            _ => match Host::parse(&self.host) {
                Ok(Host::Domain(host)) => format!("fetchall@{host}"),
                _ => "fetchall@localhost".to_owned(),
            },
        }
    }

    /// Sends an email to all its recipients.
    ///
    /// # Errors
    /// [`MailError`] of the first recipient that failed, with the names of the others that did. The
    /// rest have received it.
    pub async fn send(&self, email: &Email) -> Result<(), MailError> {
        let usual = self.default_sender();
        let from = address(email.from.as_deref().unwrap_or(&usual))?;
        let to: Vec<_> = email
            .to
            .iter()
            .map(|to| address(to))
            .collect::<Result<_, _>>()?;
        let message = message(email, &from, &to)?.formatted();
        let transport = self.transport()?;
        let deadline = Instant::now() + self.limit;
        let mut first = None;
        let mut others = Vec::new();
        for one in to {
            let name = one.to_string();
            let envelope = Envelope::new(Some(from.clone()), vec![one])?;
            let sending = transport.send_raw(&envelope, &message);
            let sent = timeout_at(deadline, sending).await;
            match sent.map(|sent| sent.map(drop)) {
                Ok(Ok(())) => {}
                _ if first.is_some() => others.push(name),
                Ok(Err(cause)) => first = Some(self.failed(name, cause)),
                Err(_) => first = Some(self.timed_out(name)),
            }
        }
        match first {
            None => Ok(()),
            Some(first) if others.is_empty() => Err(first),
            Some(first) => Err(MailError::Several {
                first: Box::new(first),
                others: others.join(", "),
            }),
        }
    }

    fn failed(&self, to: String, cause: SmtpError) -> MailError {
        MailError::Smtp {
            to,
            server: self.name(),
            cause,
        }
    }

    fn timed_out(&self, to: String) -> MailError {
        MailError::TimedOut {
            to,
            server: self.name(),
            limit: self.limit,
        }
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailError> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .timeout(Some(self.limit))
            .tls(self.tls()?);
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(builder.build())
    }

    fn tls(&self) -> Result<Tls, MailError> {
        if self.encryption == Encryption::None {
            return Ok(Tls::None);
        }
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.authorities {
            let failed = |cause: String| MailError::Authorities {
                path: path.clone(),
                cause,
            };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let authority =
                Certificate::from_pem(&pem).map_err(|error| failed(error.to_string()))?;
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(authority);
        }
        let parameters = builder
            .build_rustls()
            .map_err(|cause| self.failed("any recipient".to_owned(), cause))?;
        Ok(match self.encryption {
            Encryption::Tls => Tls::Wrapper(parameters),
            _ => Tls::Required(parameters),
        })
    }
}

fn address(text: &str) -> Result<Address, MailError> {
    text.parse().map_err(|cause| MailError::Address {
        address: text.to_owned(),
        cause,
    })
}

/// Builds the message: text and HTML as alternatives, and the attachments.
fn message(email: &Email, from: &Address, to: &[Address]) -> Result<Message, MailError> {
    let mailbox = |address: &Address| Mailbox::new(None, address.clone());
    let mut builder = Message::builder()
        .from(mailbox(from))
        .subject(single_line(&email.subject))
        .date_now()
        .message_id(None)
        .raw_header(HeaderValue::new(
            // RFC 3834 §5: suppresses automatic replies, such as out-of-office messages.
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for one in to {
        builder = builder.to(mailbox(one));
    }
    let body = match &email.html {
        Some(html) => MultiPart::alternative_plain_html(email.text.clone(), html.clone()),
        None => {
            MultiPart::mixed().singlepart(lettre::message::SinglePart::plain(email.text.clone()))
        }
    };
    let mut whole = MultiPart::mixed().multipart(body);
    for file in &email.attachments {
        let part =
            Part::new(single_line(&file.name)).body(file.html.clone(), ContentType::TEXT_HTML);
        whole = whole.singlepart(part);
    }
    Ok(builder.multipart(whole)?)
}

/// Replaces control characters by spaces, so that no line break can start another header.
fn single_line(text: &str) -> String {
    let blank = |c: char| if is_control(c) { ' ' } else { c };
    text.chars().map(blank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_encryption_follow_from_the_scheme() {
        let server = |text| SmtpServer::parse(text).unwrap();
        assert!(SmtpServer::parse("smtps://ann@mail\n.example.com").is_err());
        let implicit = server("smtps://ann%40example.com@mail.example.com");
        assert_eq!((implicit.port, implicit.encryption), (465, Encryption::Tls));
        assert_eq!(implicit.user.as_deref(), Some("ann@example.com"));
        assert_eq!(implicit.default_sender(), "ann@example.com");
        let starttls = server("smtp://mail.example.com");
        assert_eq!(
            (starttls.port, starttls.encryption),
            (587, Encryption::StartTls)
        );
        assert_eq!(starttls.default_sender(), "fetchall@mail.example.com");
        let plain = server("smtp://[::1]:2525?tls=none");
        assert_eq!((plain.port, plain.encryption), (2525, Encryption::None));
        assert_eq!(plain.host, "::1");
    }

    #[test]
    fn errors_do_not_repeat_the_password() {
        let error = |text: &str| SmtpServer::parse(text).unwrap_err();
        let message = error("smtps://ann:s3cret@h");
        assert!(!message.contains("s3cret"), "{message}");
        let page = [
            "mail.example.com",
            "http://mail.example.com",
            "smtps://h?tls=none",
            "smtps://ann:s3cret@h",
        ];
        let page = page.map(|text| format!("{text}\n{}", error(text)));
        insta::assert_snapshot!("wrong_servers", page.join("\n\n"));
        let server = |text| SmtpServer::parse(text).unwrap();
        assert!(server("smtps://h").with_password("x".into()).is_err());
        assert!(
            server("smtp://a@h?tls=none")
                .with_password("x".into())
                .is_err()
        );
        assert!(
            server("smtp://a@localhost?tls=none")
                .with_password("x".into())
                .is_ok()
        );
        let known = server("smtps://a@h")
            .with_password("s3cret".into())
            .unwrap();
        assert!(!format!("{known:?}").contains("s3cret"));
    }

    #[test]
    fn a_header_cannot_be_injected() {
        let email = Email {
            subject: "all well\r\nBcc: eve@example.com".into(),
            text: "text".into(),
            ..Email::default()
        };
        let ann: Address = "ann@example.com".parse().unwrap();
        let message = message(&email, &ann, std::slice::from_ref(&ann))
            .unwrap()
            .formatted();
        let message = String::from_utf8(message).unwrap();
        assert!(
            message.contains("Subject: all well  Bcc: eve@example.com\r\n"),
            "{message}"
        );
        assert!(message.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(address("ann@example.com\r\nBcc: eve@example.com").is_err());
    }
}
