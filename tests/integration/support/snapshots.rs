//! Prepares messages for snapshots: replaces what differs between runs by placeholders.

use std::fmt::Write;

/// Replaces each `(from, to)`, then paths of `tempfile` by `TMP`, names of temporary files by
/// `RANDOM`, ports of loopback servers by `PORT` and numbers of system errors by `N`. Ports of
/// fewer than four digits are kept, because tests use fixed ones.
pub fn placeholders(text: &str, replace: &[(&str, &str)]) -> String {
    let text = replace
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let temporary = std::env::temp_dir().join(".tmp");
    let letters = |tail: &str| tail.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let text = replace_tail(&text, temporary.to_str().unwrap(), "TMP", letters);
    let text = replace_tail(&text, "/.fetchall-", "/.fetchall-RANDOM", letters);
    let digits = |tail: &str| tail.bytes().take_while(u8::is_ascii_digit).count();
    let text = replace_tail(&text, "(os error ", "(os error N", digits);
    ["127.0.0.1:", "127.0.0.1+http+", "localhost:", "[::1]:"]
        .iter()
        .fold(text, |text, host| {
            replace_tail(&text, host, &format!("{host}PORT"), |tail| {
                Some(digits(tail)).filter(|count| *count > 3).unwrap_or(0)
            })
        })
}

/// Replaces durations by `TIME` and rates by `N`.
pub fn times(text: &str) -> String {
    let word = |word: &str| {
        let is_figure = |char: char| char.is_ascii_digit() || char == '.';
        let (Some(start), Some(end)) = (word.find(is_figure), word.rfind(is_figure)) else {
            return word.to_owned();
        };
        let unit = word[end + 1..].trim_end_matches([',', ';', ':', ')', '\n']);
        match unit {
            "ms" | "s" => {
                let behind = &word[end + 1 + unit.len()..];
                format!("{}TIME{behind}", &word[..start])
            }
            "/s" => format!("{}N{}", &word[..start], &word[end + 1..]),
            _ => word.to_owned(),
        }
    };
    text.split_inclusive(' ')
        .map(|part| match part.strip_suffix(' ') {
            Some(part) => word(part) + " ",
            None => word(part),
        })
        .collect()
}

/// Appends an entry with a title to a page. A page of entries is one snapshot.
pub fn entry(page: &mut String, title: &str, said: &str) {
    writeln!(page, "## {title}\n{}\n", said.trim_end()).unwrap();
}

/// Replaces each `start` together with the bytes after it that `tail` counts, unless that is 0.
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
