//! Checks that a body is of an expected media type, by its `Content-Type` and its first bytes: a
//! login page sent in place of an image is no success.

use http::header;

use super::EngineOptions;
use crate::model::{Attempt, Cause, ExpectedTypes, FetchError, Job, ResponseHead, elide_middle};

/// Number of first bytes in which HTML is looked for.
pub(super) const START_BYTES: usize = 1024;
/// Maximum length of a `Content-Type` in a message, in characters.
const MAX_SHOWN_CHARS: usize = 100;

/// How HTML begins: those patterns of the MIME Sniffing Standard (§7.1) that no other common format
/// begins with.
const HTML_STARTS: [&[u8]; 10] = [
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<body",
    b"<title",
    b"<meta",
    b"<script",
    b"<iframe",
    b"<div",
    b"<table",
];

/// Returns the types that are expected of a job: those of its line, or else of the run. Files that
/// the run itself needs are no content.
pub(super) fn expected<'a>(job: &'a Job, options: &'a EngineOptions) -> Option<&'a ExpectedTypes> {
    if job.is_auxiliary() {
        return None;
    }
    let own = job
        .options
        .as_ref()
        .and_then(|own_options| own_options.types.as_ref());
    own.or(options.expected_types.as_ref())
}

/// Checks the `Content-Type` of a response. One that does not say is accepted.
///
/// # Errors
/// `content_type` if it is not expected.
pub(super) fn check(
    attempt: &Attempt,
    head: &ResponseHead,
    options: &EngineOptions,
) -> Result<(), FetchError> {
    let Some(expected) = expected(&attempt.job, options) else {
        return Ok(());
    };
    let Some(found) = head.headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let found = String::from_utf8_lossy(found.as_bytes());
    if found.trim().is_empty() || expected.accepts(&found) {
        return Ok(());
    }
    Err(unexpected(&elide_middle(&found, MAX_SHOWN_CHARS), expected))
}

fn unexpected(found: &str, expected: &ExpectedTypes) -> FetchError {
    FetchError::ContentType(Cause::from_text(format!("{found}, expected {expected}")))
}

/// Looks for an HTML page in the first bytes of a body that must not be one.
pub(super) struct PageGuard {
    expected: ExpectedTypes,
    /// The first bytes, until there are enough to decide.
    start: Vec<u8>,
    is_done: bool,
}

impl PageGuard {
    /// Returns a guard if a body with these types cannot be a page.
    pub(super) fn new(expected: Option<&ExpectedTypes>) -> Option<Self> {
        let expected = expected.filter(|expected| !expected.accepts_page())?;
        Some(Self {
            expected: expected.clone(),
            start: Vec::new(),
            is_done: false,
        })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `content_type` if the body is a page.
    pub(super) fn update(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        if self.is_done {
            return Ok(());
        }
        let missing = START_BYTES.saturating_sub(self.start.len());
        let piece = piece.get(..missing).unwrap_or(piece);
        self.start.extend_from_slice(piece);
        if self.start.len() < START_BYTES {
            return Ok(());
        }
        self.finish()
    }

    /// Decides, at the end of the body at the latest.
    ///
    /// # Errors
    /// `content_type` if the body is a page.
    pub(super) fn finish(&mut self) -> Result<(), FetchError> {
        if !self.is_done && is_page(&self.start) {
            return Err(unexpected("HTML by its first bytes", &self.expected));
        }
        self.is_done = true;
        self.start = Vec::new();
        Ok(())
    }
}

/// Whether a body begins as an HTML page does, after blanks, comments and an XML declaration.
fn is_page(start: &[u8]) -> bool {
    let mut rest = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    loop {
        rest = rest.trim_ascii_start();
        rest = match skipped(rest, b"<!--", b"-->").or_else(|| skipped(rest, b"<?xml", b"?>")) {
            Some(after) => after,
            None => return HTML_STARTS.iter().any(|mark| begins_with(rest, mark)),
        };
    }
}

/// Returns what follows a part that begins and ends so, if the text begins with one.
fn skipped<'a>(text: &'a [u8], begin: &[u8], end: &[u8]) -> Option<&'a [u8]> {
    let inner = text.strip_prefix(begin)?;
    let at = memchr::memmem::find(inner, end)?;
    inner.get(at + end.len()..)
}

/// Whether the text begins with this tag, in any case.
fn begins_with(text: &[u8], tag: &[u8]) -> bool {
    let begin = text.get(..tag.len()).unwrap_or_default();
    let ends_tag = |byte: &u8| byte.is_ascii_whitespace() || b">/".contains(byte);
    begin.eq_ignore_ascii_case(tag) && text.get(tag.len()).is_none_or(ends_tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_is_known_by_its_first_bytes() {
        for page in [
            "<!DOCTYPE html><html>",
            "\u{feff}\r\n\t <!doctype HTML PUBLIC \"x\">",
            "<HTML>",
            "<html lang=en>",
            "<head/>",
            "<!-- saved -->\n<!-- twice --> <html>",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE html>",
            "<script\n>",
            "<html",
        ] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for other in [
            "",
            "<",
            "<svg xmlns=\"\">",
            "<?xml version=\"1.0\"?><svg>",
            "<!-- by an editor --><svg>",
            "<!-- never ends",
            "<header>",
            "<!DOCTYPE svg>",
            "<!doctype htmlx>",
            "{\"a\":\"<html>\"}",
            "\u{89}PNG\r\n",
            "%PDF-1.7 <html>",
        ] {
            assert!(!is_page(other.as_bytes()), "{other}");
        }
    }

    fn guard(expected: &str) -> Option<PageGuard> {
        PageGuard::new(Some(&expected.parse().unwrap()))
    }

    fn is_found(body: &[u8], pieces: usize) -> bool {
        let mut guard = guard("image/*").unwrap();
        let mut pieces = body.chunks(pieces);
        pieces.any(|piece| guard.update(piece).is_err()) || guard.finish().is_err()
    }

    #[test]
    fn a_page_fails_only_where_none_is_expected() {
        assert!(guard("text/html").is_none() && guard("*/*").is_none());
        assert!(PageGuard::new(None).is_none());
        let mut guard = guard("image/*,application/pdf").unwrap();
        guard.update(b"<html>").unwrap();
        let error = guard.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            "unexpected content type: HTML by its first bytes, expected image/*,application/pdf"
        );
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_body_do_not_matter(blanks in 0..2000usize, pieces in 1..3000usize) {
            let page = format!("{}<html>", " ".repeat(blanks));
            let is_early = page.len() <= START_BYTES;
            if is_early {
                prop_assert!(is_found(page.as_bytes(), pieces));
            }
            prop_assert!(!is_found(&b"\x89PNG".repeat(blanks), pieces));
        }

        #[test]
        fn any_bytes_are_decided(bytes in any::<Vec<u8>>()) {
            is_page(&bytes);
            is_page(&[b"<!--", bytes.as_slice()].concat());
        }
    }
}
