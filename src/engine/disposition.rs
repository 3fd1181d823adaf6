//! The file name in `Content-Disposition` (RFC 6266). It is only recorded: names on disk are a
//! function of the URL.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::model::{is_control, prefix_within};

/// Longest file name on common file systems, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Longest extension that is kept when a name is shortened, in bytes.
const MAX_EXTENSION_BYTES: usize = 32;

/// Returns the file name in a `Content-Disposition`, without directories and control characters.
///
/// `filename*` (RFC 8187) takes precedence over `filename`, wherever it stands. Like browsers, this
/// accepts a missing disposition type, a missing closing quote, and UTF-8 or Latin-1 as it is.
pub(super) fn file_name(value: &[u8]) -> Option<String> {
    let mut plain = None;
    let mut rest = value;
    while let Some((name, value)) = next_parameter(&mut rest) {
        if name.eq_ignore_ascii_case(b"filename*") {
            let name = extended(&unquoted(value)).and_then(|name| base_name(&name));
            if name.is_some() {
                return name;
            }
        } else if name.eq_ignore_ascii_case(b"filename") && plain.is_none() {
            plain = base_name(&text(&unquoted(value)));
        }
    }
    plain
}

/// Takes the next `name=value` off `rest`. Parts without an equals sign, such as the disposition
/// type, are passed over.
fn next_parameter<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    while !rest.is_empty() {
        let end = part_end(rest);
        let part = rest.get(..end).unwrap_or_default();
        *rest = rest.get(end + 1..).unwrap_or_default();
        if let Some(equals) = memchr::memchr(b'=', part) {
            let (name, value) = part.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            return Some((name.trim_ascii(), value.trim_ascii()));
        }
    }
    None
}

/// Returns the position of the next semicolon outside quotes, or else the length.
fn part_end(text: &[u8]) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends = |byte: &u8| {
        let escapes = is_quoted && !is_escaped && *byte == b'\\';
        is_quoted ^= *byte == b'"' && !is_escaped;
        is_escaped = escapes;
        *byte == b';' && !is_quoted
    };
    text.iter().position(ends).unwrap_or(text.len())
}

/// Removes the quotes around a quoted string. A backslash escapes only a quote or a backslash: in
/// front of anything else it most likely separates directories.
fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return Cow::Borrowed(value);
    };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => text.push(bytes.next_if(|next| b"\"\\".contains(next)).unwrap_or(byte)),
            _ => text.push(byte),
        }
    }
    Cow::Owned(text)
}

/// Decodes `charset'language'percent-encoded` (RFC 8187 §3.2); `None` if it is not valid.
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _, coded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(coded).collect();
    if charset.eq_ignore_ascii_case(b"utf-8") {
        return String::from_utf8(bytes).ok();
    }
    charset
        .eq_ignore_ascii_case(b"iso-8859-1")
        .then(|| latin1(&bytes))
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => latin1(bytes),
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the last component of a path, bounded in length and harmless to display; `None` if
/// nothing remains that can name a file.
fn base_name(path: &str) -> Option<String> {
    let last = path.rsplit(['/', '\\']).next()?;
    let visible: String = last.chars().filter(|c| !is_control(*c)).collect();
    let name = shortened(visible.trim());
    let is_name = !name.trim_matches(['.', ' ']).is_empty();
    is_name.then_some(name)
}

/// Cuts a long name before its extension.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let dot = name.rfind('.').unwrap_or(name.len());
    let (stem, extension) = match name.len() - dot <= MAX_EXTENSION_BYTES {
        true => name.split_at(dot),
        false => (name, ""),
    };
    let stem = prefix_within(stem, MAX_NAME_BYTES - extension.len());
    format!("{stem}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    fn name(value: &str) -> Option<String> {
        file_name(value.as_bytes())
    }

    /// The examples of RFC 6266 §5, and what servers send.
    #[test]
    fn the_name_is_found_in_all_its_forms() {
        for (value, expected) in [
            ("Attachment; filename=example.html", "example.html"),
            ("INLINE; FILENAME= \"an example.html\"", "an example.html"),
            ("attachment; filename*= UTF-8''%e2%82%ac%20rates", "€ rates"),
            (
                "attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates",
                "€ rates",
            ),
            ("attachment; filename*=utf-8'en'%e2%82%ac; filename=e", "€"),
            ("attachment; filename*=iso-8859-1''%a3.txt", "£.txt"),
            ("attachment; filename*=\"utf-8''a%20b\"", "a b"),
            ("attachment; filename=\"a;b=c.txt\"; size=3", "a;b=c.txt"),
            (r#"attachment; filename="a\"b\\\"; x"; y=z"#, "\"; x"),
            ("filename=a.txt", "a.txt"),
            ("attachment; filename=\"a.txt", "a.txt"),
            ("attachment; filename=ü.txt", "ü.txt"),
            ("attachment;filename=a b.txt ;x", "a b.txt"),
            ("attachment; filename=a.txt; filename=b.txt", "a.txt"),
        ] {
            assert_eq!(name(value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(
            file_name(b"attachment; filename=\xfc.txt").as_deref(),
            Some("ü.txt"),
            "Latin-1"
        );
    }

    #[test]
    fn an_invalid_extended_name_leaves_the_plain_one() {
        for bad in ["utf-8''%ff", "utf-8", "koi8-r''%c1", "utf-8''", "utf-8''.."] {
            let value = format!("attachment; filename*={bad}; filename=a");
            assert_eq!(name(&value).as_deref(), Some("a"), "{value}");
        }
    }

    #[test]
    fn directories_and_control_characters_are_removed() {
        for (value, expected) in [
            ("attachment; filename=\"/etc/passwd\"", Some("passwd")),
            (r#"attachment; filename="C:\temp\a.txt""#, Some("a.txt")),
            (r#"attachment; filename="C:\\temp\\a.txt""#, Some("a.txt")),
            ("attachment; filename*=utf-8''..%2f..%2Fa", Some("a")),
            ("attachment; filename*=utf-8''a%0a%1b%00b", Some("ab")),
            ("attachment; filename*=utf-8''a%e2%80%aeb", Some("ab")),
            ("attachment; filename=..", None),
            ("attachment; filename=\"a/\"", None),
            ("attachment; filename=\"\"", None),
            ("attachment", None),
            ("", None),
        ] {
            assert_eq!(name(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = name(&format!("attachment; filename={}.tar.gz", "ü".repeat(300))).unwrap();
        assert!(long.len() <= MAX_NAME_BYTES && long.len() > MAX_NAME_BYTES - 2);
        assert!(
            long.ends_with("ü.gz") || long.ends_with("ü.tar.gz"),
            "{long}"
        );
        let long = name(&format!("attachment; filename=a.{}", "x".repeat(300))).unwrap();
        assert_eq!(long.len(), MAX_NAME_BYTES);
    }

    proptest! {
        #[test]
        fn any_value_gives_a_name_or_none(value in any::<Vec<u8>>()) {
            let mut with_name = b"attachment; filename=".to_vec();
            with_name.extend(&value);
            for value in [value, with_name] {
                if let Some(name) = file_name(&value) {
                    prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(is_control));
                    prop_assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES);
                    prop_assert!(name != "." && name != "..");
                }
            }
        }

        #[test]
        fn a_name_survives_both_forms(name in "[a-zA-Zü€\"; ='%]{1,40}\\.[a-z]{1,4}") {
            let escaped = name.replace('"', "\\\"");
            let plain = format!("attachment; filename=\"{escaped}\"; x=y");
            let name = name.trim();
            prop_assert_eq!(file_name(plain.as_bytes()).unwrap(), name);
            let coded = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let extended = format!("attachment; filename=z; filename*=UTF-8''{coded}");
            prop_assert_eq!(file_name(extended.as_bytes()).unwrap(), name);
        }
    }
}
