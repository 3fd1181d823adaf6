//! Text for users: durations, and untrusted strings made safe to display.

use std::borrow::Cow;
use std::time::Duration;

const YEAR: u64 = 365 * 24 * 3600;

/// Formats a duration: `250ms`, `1.5s`, `2m`, `1h 5m`.
#[must_use]
pub(crate) fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        YEAR.. => "more than a year".to_owned(),
        0 => format!("{ms}ms"),
        1..60 if ms.is_multiple_of(1000) => format!("{seconds}s"),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Parses a duration: `500ms`, `2m`, `1h30m`, `1.5s`; a bare number is seconds.
///
/// # Errors
/// A message with valid examples.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let example = || format!("invalid duration {text:?}; use 500ms, 30s, 2m or 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| example());
    }
    let signed: jiff::SignedDuration = text.parse().map_err(|_| example())?;
    Duration::try_from(signed).map_err(|_| example())
}

/// Characters that make a spreadsheet treat a cell as a formula: the signs themselves, their
/// full-width forms, and whitespace that is skipped before them. Formulas can run programs and send
/// the content of other cells elsewhere.
const FORMULA_STARTS: [char; 11] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\t', '\r', '\n',
];

/// Prefixes an apostrophe to a cell that a spreadsheet would treat as a formula, which makes it
/// text; also to one that looks like the result, so that it can be taken back. Numbers are
/// unaffected, since none is negative; so is `-`, the name of stdin.
pub(crate) fn escape_formula(cell: &str) -> Cow<'_, str> {
    let begun = cell.trim_start_matches('\'');
    if begun.starts_with(FORMULA_STARTS) && cell != "-" {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Takes back what [`escape_formula`] has done to a cell.
pub(crate) fn unescape_formula(cell: &str) -> &str {
    let inner = cell.strip_prefix('\'');
    inner
        .filter(|inner| escape_formula(inner) != *inner)
        .unwrap_or(cell)
}

/// Whether a character affects the text around it instead of being displayed: control characters,
/// including C1 (U+0080–U+009F), which some terminals obey, and bidirectional controls
/// (UAX #9 §2), which can make one name look like another.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes the [control characters](is_control) of untrusted text, so that no terminal acts on
/// them.
#[must_use]
pub fn escape_control(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    // Most texts are plain, and checking all bytes without branching is several times as fast as
    // searching for the first one that is not.
    let all_plain = text.bytes().fold(true, |all, byte| all & is_plain(byte));
    if all_plain || !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_control(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Shortens text to at most `most` characters by eliding the middle: the host and the end of a
/// URL are the most telling parts.
#[must_use]
pub(crate) fn elide_middle(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let tail = most.saturating_sub(1) / 2;
    let head = most.saturating_sub(1) - tail;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// Returns the longest beginning of a text that has at most `most` bytes.
pub(crate) fn prefix_within(text: &str, most: usize) -> &str {
    // str::floor_char_boundary needs Rust 1.91.
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// The spellings of the `@` that ends a password: in a URL, in JSON, percent-encoded once or
/// twice, and the wide and small forms that the URL standard maps to `@`.
const ATS: [&str; 6] = ["@", "\\u0040", "%40", "%2540", "\u{ff20}", "\u{fe6b}"];

/// Whether bytes may contain the `@` that ends a password.
#[must_use]
pub(crate) fn holds_at_sign(bytes: &[u8]) -> bool {
    ATS.iter()
        .any(|at| memchr::memmem::find(bytes, at.as_bytes()).is_some())
}

/// Masks anything that could be a password in a line that is not a valid URL: everything between
/// the scheme and the last `@`, in any of its [spellings](ATS). Masking too much is safer than
/// masking too little.
#[must_use]
pub(crate) fn mask_userinfo(line: &str) -> Cow<'_, str> {
    let at = ATS.iter().filter_map(|at| line.rfind(at)).max();
    let Some(at) = at.filter(|at| *at > 0) else {
        return Cow::Borrowed(line);
    };
    let (before, after) = line.split_at(at);
    let is_scheme = |text: &&str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let scheme = before
        .split_once("://")
        .map(|(scheme, _)| scheme)
        .filter(is_scheme)
        .map_or("", |scheme| &before[..scheme.len() + 3]);
    Cow::Owned(format!("{scheme}***{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_that_look_like_formulas_are_escaped() {
        for first in FORMULA_STARTS {
            let cell = format!("{first}1+1");
            assert_eq!(escape_formula(&cell), format!("'{cell}"));
        }
        assert_eq!(escape_formula("'=1"), "''=1");
        for cell in [
            "",
            "1",
            "0.5",
            "http://a/=1",
            "'a",
            "-",
            "a-b",
            "\u{ff0e}",
            "W/\"x\"",
        ] {
            assert_eq!(escape_formula(cell), cell);
        }
        for cell in ["=1", "'=1", "''@", "a", "'a", "'", ""] {
            assert_eq!(unescape_formula(&escape_formula(cell)), cell);
        }
    }

    #[test]
    fn a_prefix_ends_between_characters() {
        let prefixes = [0, 1, 2, 3, 4, 9].map(|most| prefix_within("a\u{fc}b", most));
        assert_eq!(prefixes, ["", "a", "a", "a\u{fc}", "a\u{fc}b", "a\u{fc}b"]);
    }

    #[test]
    fn the_middle_of_a_long_url_is_elided() {
        let url = format!("http://example.com/{}/end", "x".repeat(100));
        let short = elide_middle(&url, 60);
        assert_eq!(short.chars().count(), 60);
        assert!(short.starts_with("http://example.com/") && short.ends_with("/end"));
        assert_eq!(elide_middle("http://a/", 9), "http://a/");
        assert_eq!(elide_middle("abcdef", 4), "ab…f");
        assert_eq!(elide_middle("abcdef", 1), "…");
    }

    #[test]
    fn durations_are_formatted() {
        for (ms, text) in [
            (0, "0ms"),
            (250, "250ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (60_000, "1m"),
            (61_000, "1m 1s"),
            (3_660_000, "1h 1m"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn durations_are_parsed() {
        for (text, ms) in [
            ("0", 0),
            ("2", 2000),
            ("0.5", 500),
            ("500ms", 500),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in ["", "soon", "-1", "-1s", "nan", "inf", "1x"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            escape_control("a\u{1b}[31mb\u{9b}c"),
            "a\\u{1b}[31mb\\u{9b}c"
        );
        assert_eq!(escape_control("plain ü"), "plain ü");
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            let text = escape_control(&format!("a{c}b")).into_owned();
            assert_eq!(text, format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        assert_eq!(escape_control("\u{200d}\u{2065}"), "\u{200d}\u{2065}");
    }

    #[test]
    fn a_leading_at_masks_nothing() {
        assert_eq!(mask_userinfo("@SUM(A1)"), "@SUM(A1)");
    }

    #[test]
    fn no_part_of_a_password_remains() {
        for line in [
            "htp://user:se@cret@host/x",
            "user:secret@host",
            "http://user:sec/ret@host:99999/",
            "user:se://cret@host",
            "http://http://user:secret@host/",
            "{\"url\":\"http://user:secret\\u0040host/\"",
            "http://user:secret%40host/",
            "http://user:se@cret%2540host/",
            "http://user:secret\u{ff20}host/",
        ] {
            let shown = mask_userinfo(line);
            assert!(!shown.contains("se"), "{shown}");
            assert!(
                shown.ends_with("host/") || shown.contains("host"),
                "{shown}"
            );
        }
    }
}
