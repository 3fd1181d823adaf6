//! Messages as snapshots: what differs from run to run becomes a placeholder.

use std::fmt::Write;

/// The text with each `(from, to)` replaced, then folders of `tempfile` by `TMP`, the ports of
/// loopback servers by `PORT` and numbers of system errors by `N`. Ports of less than four digits
/// are those a test names itself.
pub fn placeholders(text: &str, replace: &[(&str, &str)]) -> String {
    let text = replace
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let temporary = std::env::temp_dir().join(".tmp");
    let text = replace_tail(&text, temporary.to_str().unwrap(), "TMP", |tail| {
        tail.bytes().take_while(u8::is_ascii_alphanumeric).count()
    });
    let digits = |tail: &str| tail.bytes().take_while(u8::is_ascii_digit).count();
    let text = replace_tail(&text, "(os error ", "(os error N", digits);
    ["127.0.0.1:", "localhost:", "[::1]:"]
        .iter()
        .fold(text, |text, host| {
            replace_tail(&text, host, &format!("{host}PORT"), |tail| {
                Some(digits(tail)).filter(|count| *count > 3).unwrap_or(0)
            })
        })
}

/// Adds what was said after `title`: a page of such entries is one snapshot.
pub fn entry(page: &mut String, title: &str, said: &str) {
    writeln!(page, "## {title}\n{}\n", said.trim_end()).unwrap();
}

/// Replaces each `start` and the bytes of what follows it that `tail` counts, if there are any.
fn replace_tail(text: &str, start: &str, to: &str, tail: impl Fn(&str) -> usize) -> String {
    let mut parts = text.split(start);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match tail(part) {
            0 => out.extend([start, part]),
            length => out.extend([to, &part[length..]]),
        }
    }
    out
}
