//! JSON that is safe to display in terminals and log viewers.

use serde::Serialize;

use super::text::is_control;

/// Appends a value as JSON with all [control characters](is_control) escaped, not only those that
/// JSON requires to be. The JSON value is the same.
///
/// # Errors
/// The errors of [`serde_json::to_writer`].
pub(crate) fn write_json(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    let start = out.len();
    serde_json::to_writer(&mut *out, value)?;
    let written = out.get(start..).unwrap_or_default();
    // Nearly all records are plain ASCII, and one check of the whole text is cheapest.
    if written.is_ascii() && memchr::memchr(0x7f, written).is_none() {
        return Ok(());
    }
    let written = out.split_off(start);
    escape_json(out, &String::from_utf8_lossy(&written));
    Ok(())
}

/// Appends JSON with the [control characters](is_control) escaped that are not yet. They are inside
/// strings, where an escape is valid, or white space between values.
pub(crate) fn escape_json(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find(|c| is_control(c) && !c.is_ascii_whitespace()) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut after = after.chars();
        // No control character is above U+FFFF, so four digits suffice.
        let control = after.next().map_or(0, u32::from);
        out.extend_from_slice(format!("\\u{control:04x}").as_bytes());
        rest = after.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Writes an object field by field. Faster than serde_json, which searches all bytes one by one for
/// what to escape, those of the names as well.
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    has_fields: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Appends to `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            has_fields: false,
        }
    }

    #[inline]
    fn name(&mut self, name: &'static str) {
        let before = if self.has_fields { b',' } else { b'{' };
        self.has_fields = true;
        self.out.extend_from_slice(&[before, b'"']);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Writes a number, if there is one.
    #[inline]
    pub(crate) fn number(&mut self, name: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            self.name(name);
            let mut digits = itoa::Buffer::new();
            self.out.extend_from_slice(digits.format(number).as_bytes());
        }
    }

    /// Writes a boolean.
    #[inline]
    pub(crate) fn flag(&mut self, name: &'static str, flag: bool) {
        self.name(name);
        let text: &[u8] = if flag { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
    }

    /// Writes a text, if there is one.
    ///
    /// # Errors
    /// The errors of [`write_json`].
    #[inline]
    pub(crate) fn text(
        &mut self,
        name: &'static str,
        text: Option<&str>,
    ) -> serde_json::Result<()> {
        let Some(text) = text else {
            return Ok(());
        };
        self.name(name);
        if !is_plain_text(text) {
            return write_json(self.out, &text);
        }
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
        Ok(())
    }

    /// Writes any other value, if there is one.
    ///
    /// # Errors
    /// The errors of [`write_json`].
    pub(crate) fn value(
        &mut self,
        name: &'static str,
        value: Option<&impl Serialize>,
    ) -> serde_json::Result<()> {
        let Some(value) = value else {
            return Ok(());
        };
        self.name(name);
        write_json(self.out, value)
    }

    /// Ends the object, which must have a field.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Whether nothing in a text needs an escape. Checking all bytes, eight at a time, is several times
/// as fast as searching for the first one that does.
fn is_plain_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(last) = bytes.last_chunk() else {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\');
        return bytes.iter().all(is_plain);
    };
    // The last word may overlap the one before it.
    let words = bytes.as_chunks().0.iter().chain([last]);
    words.fold(true, |all, word| {
        all & is_plain_word(u64::from_ne_bytes(*word))
    })
}

/// Whether each byte is printable ASCII and neither a quote nor a backslash ("Bit Twiddling Hacks"
/// by Sean Eron Anderson: "Determine if a word has a byte less than n").
fn is_plain_word(word: u64) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const TOP: u64 = EACH << 7;
    let has_less_than = |word: u64, byte: u8| word.wrapping_sub(EACH * u64::from(byte)) & !word;
    let has = |byte: u8| has_less_than(word ^ (EACH * u64::from(byte)), 1);
    let found = word | has_less_than(word, b' ') | has(b'"') | has(b'\\') | has(0x7f);
    found & TOP == 0
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
        fn letters_alone_are_plain(text in "[a-z]{0,40}", at in 0..40usize, byte in 0..128u8) {
            prop_assert!(is_plain_text(&text));
            let mut bytes = text.into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
                let is_plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
                prop_assert_eq!(is_plain_text(&String::from_utf8(bytes).unwrap()), is_plain);
            }
        }

        #[test]
        fn the_value_stays_the_same(text in "[\\u{0}-\\u{a0}\\u{200b}-\\u{2070}é😀]*") {
            let json = json(&text);
            prop_assert!(!json.chars().any(is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
