//! Masks secrets and escapes control characters in messages before they are printed. A password
//! may be typed into the wrong option, and file names may come from others.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use fetchall::program::escape_control;

/// Replaces a secret.
pub(super) const MASK: &str = "***";
/// An `@`, and its forms in URLs, in nested URLs, in JSON, and in the widths that input methods
/// produce.
const AT_SIGNS: [&str; 6] = ["@", "%40", "%2540", "\\u0040", "＠", "﹫"];
/// A colon, in the same forms.
const COLONS: [&str; 6] = [":", "%3a", "%253a", "\\u003a", "：", "﹕"];

/// Returns the value with everything masked that looks like `USER:PASSWORD@`.
pub(super) fn value(text: &str) -> Cow<'_, str> {
    let masked = userinfo(text).and_then(|range| {
        let (before, after) = (text.get(..range.start)?, text.get(range.end..)?);
        Some(format!("{before}{MASK}{after}"))
    });
    masked.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Returns the name of a file or a key as messages show it: masked, and on one line.
pub(super) fn name(text: &str) -> String {
    escape_control(&value(text)).into_owned()
}

/// Whether a value contains something that looks like `USER:PASSWORD@`.
pub(super) fn has_userinfo(text: &str) -> bool {
    userinfo(text).is_some()
}

/// Returns the range of the userinfo: from after the scheme, or the slash before the user, to the
/// last `@`, since a password may contain any character. The user may be an email address, or a
/// token without a password.
fn userinfo(text: &str) -> Option<Range<usize>> {
    let text = text.to_ascii_lowercase();
    let end = AT_SIGNS.iter().filter_map(|at| text.rfind(at)).max()?;
    let before_end = text.get(..end)?;
    let (colon, sign) = COLONS
        .iter()
        .filter_map(|sign| Some((before_end.find(sign)?, *sign)))
        .min()?;
    let after_colon = before_end.get(colon + sign.len()..)?;
    if text.get(colon..)?.starts_with("://") {
        let start = colon + "://".len();
        return (start < end).then_some(start..end);
    }
    let before_colon = before_end.get(..colon)?;
    // In `5%@HOST:80,dns=5%@HOST`, a port follows the colon.
    let port = after_colon
        .split(',')
        .next()
        .filter(|_| after_colon.contains(','));
    let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
    if before_colon.contains('@') && is_port {
        return None;
    }
    let start = before_colon.rfind(['/', '=', ' ', '"', '\'']);
    let start = start.map_or(0, |at| at + 1);
    let start = start + usize::from(text.get(start..)?.starts_with('@'));
    (start < colon || !after_colon.is_empty()).then_some(start..end)
}

/// Returns the message with userinfo masked, word by word, and control characters escaped. Line
/// breaks are kept.
pub(crate) fn message(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\n', '"', '\'']) {
        let end = word.len() - usize::from(word.ends_with([' ', '\n', '"', '\'']));
        let (word, separator) = word.split_at(end);
        // Messages explain these forms.
        let is_form = word.contains("://USER@HOST") || word.starts_with("USER:@FILE");
        let word = if is_form { word.into() } else { value(word) };
        shown.push_str(&escape_control(&word));
        shown.push_str(separator);
    }
    shown
}

/// Redacts the messages written to a stream. Each write must be a whole message.
pub(super) struct RedactingWriter<W>(pub W);

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let shown = message(&text);
        if shown == text {
            return self.0.write(bytes);
        }
        self.0.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn userinfo_is_masked_while_paths_and_typos_stay() {
        for (text, shown) in [
            ("u:PW@h", "***@h"),
            ("http://u:PW@h/x", "http://***@h/x"),
            ("https://token@h/x", "https://***@h/x"),
            ("http://http://u:PW@h", "http://***@h"),
            ("u:PW://x@h", "***@h"),
            ("u:P W\"'/@@h", "***@h"),
            ("u%3aPW%40h", "***%40h"),
            ("u:PW%2540h", "***%2540h"),
            ("u:PW\\u0040h", "***\\u0040h"),
            ("/tmp/u:PW@h/ca.pem", "/tmp/***@h/ca.pem"),
            ("@/tmp/u:PW@h", "@/tmp/***@h"),
            ("--proxi=u:PW@h", "--proxi=***@h"),
            ("ann@example.com", "ann@example.com"),
            ("reset=5%@h:80,dns=5%@h:81", "reset=5%@h:80,dns=5%@h:81"),
            ("/home/ann/urls@2.txt", "/home/ann/urls@2.txt"),
            ("C:\\urls.txt", "C:\\urls.txt"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1/"),
            ("token:@h", "***@h"),
            ("ann@example.com:PW@h", "***@h"),
            ("reset=5%@u:PW@h", "reset=***@h"),
            ("u：PW＠h", "***＠h"),
            ("ann@example.com:,PW@h", "***@h"),
            (":@", ":@"),
            ("64", "64"),
        ] {
            assert_eq!(value(text), shown, "{text}");
        }
    }

    #[test]
    fn messages_are_masked_word_by_word_and_keep_their_own_lines() {
        for (text, shown) in [
            (
                "cannot read u:PW@h: no such file\nnext",
                "cannot read ***@h: no such file\nnext",
            ),
            (
                "a\u{1b}[31m\u{9b}b\u{202e}",
                "a\\u{1b}[31m\\u{9b}b\\u{202e}",
            ),
            (
                "expected smtps://USER@HOST[:PORT]",
                "expected smtps://USER@HOST[:PORT]",
            ),
            ("remove --user: USER:@FILE", "remove --user: USER:@FILE"),
        ] {
            assert_eq!(message(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_password_stays(
            before in "(/tmp/|http://|@/|x=|)",
            password in "[A-Z][ -~]{0,9}[A-Z]",
            at in "(@|%40|%2540)",
        ) {
            let shown = value(&format!("{before}u:{password}{at}h")).into_owned();
            let is_there = !password.contains('@') && shown.contains(&password);
            prop_assert!(!is_there, "{}", shown);
        }
    }
}
