//! Shows values of options without the secrets in them. Which part of a value may be one depends on
//! the option.

use std::ffi::OsStr;
use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use fetchall::program::{SmtpServer, escape_control};
use http::HeaderName;

use super::options::long;
use super::redact::{self, MASK};
use super::{secrets, value_parsers};

/// Returns the value of an option with everything masked that may be a secret. A user name may be
/// a token, too.
pub(super) fn masked(option: &str, text: &str) -> String {
    match option {
        "user" | "proxy-user" => MASK.to_owned(),
        "data" | "header" if text.starts_with('@') => redact::value(text).into_owned(),
        "data" => MASK.to_owned(),
        "cert" => match text.split_once(':') {
            Some((file, _)) if !Path::new(text).exists() => format!("{file}:{MASK}"),
            _ => redact::value(text).into_owned(),
        },
        "cookie" if text.contains('=') => MASK.to_owned(),
        "header" => match text.split_once(':') {
            Some((name, _)) if name.parse::<HeaderName>().is_ok() => format!("{name}: {MASK}"),
            _ => MASK.to_owned(),
        },
        "notify-cmd" | "pack-done" => command(text),
        // If one part is wrong, such as a missing host, any other part may be the password.
        "notify-url" if value_parsers::http_url(text).is_err() => MASK.to_owned(),
        "proxy" if value_parsers::proxy(text).is_err() => MASK.to_owned(),
        "smtp" if SmtpServer::parse(text).is_err() => MASK.to_owned(),
        // A secret path is often the only protection of such a URL.
        "notify-url" | "proxy" => {
            secrets::without_path(&secrets::without_userinfo(text, MASK), MASK)
        }
        "smtp" => secrets::without_userinfo(text, MASK),
        // A method contains no whitespace: what follows may be a header or a whole request.
        "request" => {
            let text = redact::value(text);
            match text.split_once(char::is_whitespace) {
                Some((method, _)) => format!("{method} {MASK}"),
                None => text.into_owned(),
            }
        }
        _ => redact::value(text).into_owned(),
    }
}

/// Returns the program of a command and masks its arguments, which may be tokens. Masks everything
/// if the command starts with something else, such as the assignment of a variable.
fn command(text: &str) -> String {
    let (program, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let is_program = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    match (program.bytes().all(is_program), rest.is_empty()) {
        (false, _) => MASK.to_owned(),
        (true, true) => program.to_owned(),
        (true, false) => format!("{program} {MASK}"),
    }
}

/// The option values of a call that may not be shown as they are, with what to show instead.
#[derive(Debug, Default)]
pub(crate) struct Redactions(Vec<(String, String)>);

impl Redactions {
    /// Collects the values of all options, including merged settings.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let mut all = Self::default();
        let has_value = |arg: &&Arg| arg.get_action().takes_values();
        for arg in command.get_arguments().filter(has_value) {
            let values = matches.get_raw(arg.get_id().as_str());
            for raw in values.into_iter().flatten() {
                all.add(long(arg), raw);
            }
        }
        all
    }

    /// Adds the value of an option, given by its long name.
    fn add(&mut self, option: &str, raw: &OsStr) {
        let text = raw.to_string_lossy();
        // Messages show the name of a file without its @.
        let text = text.strip_prefix('@').unwrap_or(&text);
        let masked = if secrets::SECRET_OPTIONS.contains(&option) {
            // Their errors do not repeat the value, and a short value may occur in any word.
            redact::value(text).into_owned()
        } else {
            masked(option, text)
        };
        let shown = escape_control(&masked);
        if shown != text {
            self.0.push((text.to_owned(), shown.into_owned()));
        }
    }

    /// Returns the message with the values replaced.
    pub(crate) fn apply(&self, message: String) -> String {
        let replace = |text: String, (raw, shown): &(String, String)| text.replace(raw, shown);
        self.0.iter().fold(message, replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_whatever_form_they_have() {
        for (option, text, shown) in [
            ("user", "me:s3cret", "***"),
            ("user", "s3cret", "***"),
            ("proxy-user", "me:s3cret", "***"),
            ("header", "X-Token: s3cret", "X-Token: ***"),
            ("header", "s3cret", "***"),
            ("header", "@headers.txt", "@headers.txt"),
            ("data", "s3cret", "***"),
            ("cert", "me.pem:s3cret", "me.pem:***"),
            ("cert", "me.pem", "me.pem"),
            ("cookie", "a=s3cret", "***"),
            ("cookie", "cookies.txt", "cookies.txt"),
            (
                "proxy",
                "http://me:s3cret@proxy:3128",
                "http://***@proxy:3128",
            ),
            ("proxy", "me:s3@cret@proxy:3128", "***@proxy:3128"),
            ("proxy", "proxy:3128", "proxy:3128"),
            ("smtp", "smtps://me@mail:465", "smtps://***@mail:465"),
            // Invalid, so that any part of it may be the password.
            ("smtp", "smtps://me:s3cret@mail:465", "***"),
            ("smtp", "me:s3cret", "***"),
            ("proxy", "me:s3cret", "***"),
            ("proxy", "http://me:s3cret", "***"),
            ("proxy", "http://me:s3cret%40proxy:3128", "***"),
            ("proxy", "http://proxy:3128/s3cret", "http://proxy:3128/***"),
            ("notify-url", "s3cret", "***"),
            ("notify-url", "me:s3cret", "***"),
            ("cacert", "/x/me:s3cret@h", "/x/***@h"),
            ("request", "GET s3cret", "GET ***"),
            ("request", "GET", "GET"),
            ("header", "me s3cret: x", "***"),
            ("notify-cmd", "/opt/notify", "/opt/notify"),
            ("notify-cmd", "notify;s3cret", "***"),
            ("notify-cmd", "notify>https://me:s3cret@h", "***"),
            (
                "notify-url",
                "https://a.example/s3cret?b=c",
                "https://a.example/***",
            ),
            ("notify-url", "htp:/me:s3cret@h", "***"),
            ("notify-url", "a.example/s3cret", "***"),
            ("notify-cmd", "notify s3cret", "notify ***"),
            ("notify-cmd", "notify\ns3cret", "notify ***"),
            ("notify-cmd", "TOKEN=s3cret notify", "***"),
            ("notify-cmd", "notify --token=s3cret", "notify ***"),
            ("smtp", "smtp://h?password=s3cret", "***"),
            ("smtp", "smtp://me@h/s3cret?tls=required", "***"),
            (
                "smtp",
                "smtp://me@127.0.0.1:25?tls=none",
                "smtp://***@127.0.0.1:25?tls=none",
            ),
            ("output-dir", "https://me:s3cret@h/", "https://***@h/"),
            ("concurrency", "64", "64"),
        ] {
            assert_eq!(masked(option, text), shown, "{option} {text}");
        }
    }

    /// Every option in [`secrets::SECRET_OPTIONS`] has an arm in [`masked`].
    #[test]
    fn every_secret_option_is_masked() {
        let values = [
            "https://me:s3cret@h/?s3cret",
            "s3cret:x",
            "x: s3cret",
            "me:s3cret@h",
            "x s3cret",
        ];
        for option in secrets::SECRET_OPTIONS {
            let plain = values.map(str::to_owned);
            assert_ne!(values.map(|text| masked(option, text)), plain, "{option}");
        }
    }

    #[test]
    fn known_values_are_masked_even_if_they_contain_blanks() {
        let mut redactions = Redactions::default();
        redactions.add("cacert", OsStr::new("/x/u:P W@h"));
        redactions.add("header", OsStr::new("@/x/u:A B@h"));
        redactions.add("report", OsStr::new("a\nb"));
        redactions.add("user", OsStr::new("a:b"));
        let shown = redactions.apply("x /x/u:P W@h, /x/u:A B@h: a\nb: a:b".to_owned());
        assert_eq!(shown, "x /x/***@h, /x/***@h: a\\nb: a:b");
    }
}
