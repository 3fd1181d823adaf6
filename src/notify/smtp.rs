//! Sending through a mail server (RFC 5321), over TLS.

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
use crate::model::{chain_text, escape_control, is_control};

/// Limit for a delivery as a whole, to all recipients together.
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);
/// Where TLS comes first (RFC 8314 §3.3).
const SUBMISSIONS: u16 = 465;
/// Where TLS is asked for by STARTTLS (RFC 6409 §3.1).
const SUBMISSION: u16 = 587;
/// Most characters that a server's answer is repeated with.
const MAX_REPLY_CHARS: usize = 500;
/// What is wrong with a password on the command line.
const PASSWORD_HINT: &str = "a password does not belong on a command line, which everybody on this \
     machine can see: put it into FETCHALL_SMTP_PASSWORD or --smtp-password-file";

/// How much of the talk with a server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// From the first byte.
    Tls,
    /// From STARTTLS on; without it nothing is sent.
    StartTls,
    /// Not at all: it was asked for.
    None,
}

/// A mail server, and who uses it. Its `Debug` shows no password.
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

/// Why an e-mail was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// An address that is none.
    #[error("{address:?} is no e-mail address: {cause}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        cause: lettre::address::AddressError,
    },
    /// The message can't be put together.
    #[error("the e-mail can't be put together: {}", chain_text(.0))]
    Message(#[from] lettre::error::Error),
    /// The file of certificate authorities.
    #[error("cannot use the certificates in {}: {cause}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The server is not reached, not trusted, or refuses.
    #[error(
        "cannot send the e-mail to {to} through {server}: {}{}",
        why(cause),
        hint(cause)
    )]
    Smtp {
        /// Whom it was for.
        to: String,
        /// Host and port.
        server: String,
        /// What happened.
        #[source]
        cause: SmtpError,
    },
    /// It took too long.
    #[error("cannot send the e-mail to {to} through {server}: not done within {} s", limit.as_secs())]
    TimedOut {
        /// Whom it was for.
        to: String,
        /// Host and port.
        server: String,
        /// The limit.
        limit: Duration,
    },
    /// It was not sent to several.
    #[error("{first}; it was not sent to {others} either")]
    Several {
        /// Why not to the first of them.
        #[source]
        first: Box<MailError>,
        /// Whom else it was for.
        others: String,
    },
    /// Nobody can be told.
    #[error("cannot say so: {0}")]
    Output(#[from] io::Error),
}

/// What happened, down to the last cause. What a server says is text of a stranger: it may have
/// no effect on a terminal, nor fill it.
fn why(error: &SmtpError) -> String {
    let said = |source| chain_text(source).lines().collect::<Vec<_>>().join(" ");
    let said = error.source().map(said);
    let text = match (error.status(), said) {
        (Some(code), Some(said)) => format!("it answered {code} {said}"),
        (Some(code), None) => format!("it answered {code}"),
        (None, Some(said)) => said,
        (None, None) => chain_text(error),
    };
    escape_control(&text)
        .chars()
        .take(MAX_REPLY_CHARS)
        .collect()
}

/// What can be done about it.
fn hint(error: &SmtpError) -> &'static str {
    let code = error.status().map(|code| code.to_string());
    match code.as_deref() {
        // RFC 4954 §6.
        Some("530" | "534" | "535") => {
            "; the user stands in --smtp smtps://USER@HOST, the password in FETCHALL_SMTP_PASSWORD or the \
             file of --smtp-password-file"
        }
        _ if is_of_tls(error) => "; --cacert names the authority of a private mail server",
        _ => "",
    }
}

impl SmtpServer {
    /// Reads `smtps://USER@HOST[:PORT]` (TLS from the start, port 465) or
    /// `smtp://USER@HOST[:PORT]` (STARTTLS, port 587; with `?tls=none` no encryption, and no
    /// password but for this machine).
    ///
    /// # Errors
    /// A sentence that says what would be right. It repeats no password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "the form is smtps://USER@HOST[:PORT] or smtp://USER@HOST[:PORT]";
        // Parsing would delete it, and join what stands on both sides.
        if text.trim().contains(['\t', '\r', '\n']) {
            return Err(format!("it has a tab or line end inside; {form}"));
        }
        let url = Url::parse(text).map_err(|error| format!("{error}; {form}"))?;
        let mut encryption = match url.scheme() {
            "smtps" => Encryption::Tls,
            "smtp" => Encryption::StartTls,
            // Only with the slashes it is a scheme for sure; else it may be a user name.
            other if text.contains("://") => {
                return Err(format!("{other:?} is no scheme of mail servers; {form}"));
            }
            _ => return Err(form.to_owned()),
        };
        match url.query() {
            None | Some("tls=required") => {}
            Some("tls=none") if encryption == Encryption::StartTls => encryption = Encryption::None,
            // What else stands there may be a password.
            Some(_) => return Err(format!("what follows its ? means nothing here; {form}")),
        }
        if url.password().is_some() {
            return Err(PASSWORD_HINT.to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("it names no host; {form}"))?;
        if !matches!(url.path(), "" | "/") {
            return Err(format!("a path means nothing here; {form}"));
        }
        let usual = if encryption == Encryption::Tls {
            SUBMISSIONS
        } else {
            SUBMISSION
        };
        let user = percent_decode_str(url.username()).decode_utf8();
        let user = user.map_err(|_| "the user is no UTF-8".to_owned())?;
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

    /// With a password for its user.
    ///
    /// # Errors
    /// When there is no user, or everybody on the way could read it.
    pub fn with_password(self, password: String) -> Result<Self, String> {
        if self.user.is_none() {
            return Err("there is a password but no user: smtps://USER@HOST".to_owned());
        }
        if self.encryption == Encryption::None && !self.is_loopback() {
            return Err(
                "a password is not sent without encryption, but to this machine: leave ?tls=none away"
                    .to_owned(),
            );
        }
        Ok(Self {
            password: Some(password),
            ..self
        })
    }

    /// Only these authorities are trusted, instead of the system's.
    #[must_use]
    pub fn trusting(self, authorities: Option<PathBuf>) -> Self {
        Self {
            authorities,
            ..self
        }
    }

    /// With another limit than 30 s for all recipients together.
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

    /// Who an e-mail is from when nobody says so.
    fn default_sender(&self) -> String {
        match &self.user {
            Some(user) if user.contains('@') => user.clone(),
            _ => match Host::parse(&self.host) {
                Ok(Host::Domain(host)) => format!("fetchall@{host}"),
                _ => "fetchall@localhost".to_owned(),
            },
        }
    }

    /// Sends an e-mail to everybody it is for.
    ///
    /// # Errors
    /// Why it was not sent to the first who did not get it, and who else did not. The others
    /// have got it all the same.
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
            .map_err(|cause| self.failed("anybody".to_owned(), cause))?;
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

/// The message: text and HTML for whoever shows which, and the files.
fn message(email: &Email, from: &Address, to: &[Address]) -> Result<Message, MailError> {
    let mailbox = |address: &Address| Mailbox::new(None, address.clone());
    let mut builder = Message::builder()
        .from(mailbox(from))
        .subject(single_line(&email.subject))
        .date_now()
        .message_id(None)
        .raw_header(HeaderValue::new(
            // RFC 3834 §5: nobody's holiday is to answer it.
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

/// No line of a header ends within it.
fn single_line(text: &str) -> String {
    let blank = |c: char| if is_control(c) { ' ' } else { c };
    text.chars().map(blank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_the_usual_ports_and_encryption() {
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
    fn what_is_wrong_is_told_without_the_password() {
        let error = |text: &str| SmtpServer::parse(text).unwrap_err();
        let told = error("smtps://ann:s3cret@h");
        assert!(!told.contains("s3cret"), "{told}");
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
    fn a_header_can_t_be_slipped_in() {
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
