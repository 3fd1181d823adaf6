//! JSON that is safe to display in terminals and log viewers.

use std::io::Write as _;

use serde::Serialize;

use super::text::is_control;

/// Appends a value as JSON with all [control characters](is_control) escaped, not only those that
/// JSON requires to be. The JSON value is the same.
///
/// # Errors
/// The errors of [`serde_json::to_writer`].
pub fn write_json(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    let start = out.len();
    serde_json::to_writer(&mut *out, value)?;
    let written = out.get(start..).unwrap_or_default();
    // Nearly all records are plain ASCII, and one check of the whole text is cheapest.
    if written.is_ascii() && memchr::memchr(0x7f, written).is_none() {
        return Ok(());
    }
    // The remaining control characters are inside strings, where an escape is valid.
    let written = out.split_off(start);
    let text = String::from_utf8_lossy(&written);
    let mut rest = &*text;
    while let Some(at) = rest.find(is_control) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut after = after.chars();
        // No control character is above U+FFFF, so four digits suffice.
        let control = after.next().map_or(0, u32::from);
        write!(out, "\\u{control:04x}").map_err(serde_json::Error::io)?;
        rest = after.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        write_json(&mut out, &text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn controls_are_escaped_and_nothing_else_is() {
        assert_eq!(
            json("a\u{9b}b\u{202e}c\u{7f}\n\u{1b}\"ü€😀"),
            "\"a\\u009bb\\u202ec\\u007f\\n\\u001b\\\"ü€😀\""
        );
        assert_eq!(json("\u{2069}\u{200e}"), "\"\\u2069\\u200e\"");
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(text in "[\\u{0}-\\u{a0}\\u{200b}-\\u{2070}é😀]*") {
            let json = json(&text);
            prop_assert!(!json.chars().any(is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
