//! The media types that a body is expected to have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Types under which servers send a page as a page, or as its source.
const PAGE_TYPES: [&str; 3] = ["text/html", "application/xhtml+xml", "text/plain"];

/// A list of media types (`application/pdf`) and ranges of them (`image/*`, `*/*`), in lower case
/// and separated by commas. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTypes(Arc<str>);

impl ExpectedTypes {
    /// Whether a `Content-Type` is one of these types. Its parameters do not matter.
    #[must_use]
    pub fn accepts(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        let (kind, _) = essence.split_once('/').unwrap_or((&essence, ""));
        self.0
            .split(',')
            .any(|range| match range.strip_suffix("/*") {
                Some("*") => true,
                Some(expected) => expected == kind,
                None => range == essence,
            })
    }

    /// Whether a body with these types may be an HTML page.
    #[must_use]
    pub fn accepts_page(&self) -> bool {
        PAGE_TYPES.iter().any(|page| self.accepts(page))
    }

    /// Returns the memory of the list, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

impl FromStr for ExpectedTypes {
    type Err = String;

    /// Parses a comma-separated list. Errors are messages that name the wrong part.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut list = String::with_capacity(text.len());
        for range in text.split(',') {
            let range = range.trim();
            if !is_range(range) {
                // A URL may have a password, which a comma has cut in two.
                let shown = match range.split_once("://") {
                    Some((scheme, _)) => format!("{scheme}://…"),
                    None => range.to_owned(),
                };
                return Err(format!(
                    "expected a media type such as image/* or application/pdf, not {shown:?}"
                ));
            }
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&range.to_ascii_lowercase());
        }
        Ok(Self(list.into()))
    }
}

/// Whether the text is `TYPE/SUBTYPE`, `TYPE/*` or `*/*`.
fn is_range(text: &str) -> bool {
    match text.split_once('/') {
        Some((kind, "*")) => kind == "*" || is_token(kind),
        Some((kind, subtype)) => is_token(kind) && is_token(subtype),
        None => false,
    }
}

/// Whether the text is a name as in a registered media type (RFC 6838 §4.2).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

impl fmt::Display for ExpectedTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn types(text: &str) -> ExpectedTypes {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_in_the_wrong_column_shows_no_password() {
        for text in ["http://me:s3cret@a/b", "http://me:s3c,ret@a/b"] {
            let error = ExpectedTypes::from_str(text).unwrap_err();
            assert!(error.ends_with("\"http://…\""), "{error}");
        }
    }

    #[test]
    fn a_type_is_accepted_by_its_name_or_range() {
        let some = types(" Image/* ,application/pdf");
        for accepted in [
            "image/png",
            "IMAGE/svg+xml; charset=utf-8",
            " application/PDF ;x=1",
        ] {
            assert!(some.accepts(accepted), "{accepted}");
        }
        for other in [
            "text/html",
            "application/pdfx",
            "imagex/png",
            "application/x-pdf",
            "pdf",
            "",
        ] {
            assert!(!some.accepts(other), "{other}");
        }
        assert!(types("*/*").accepts("text/html") && types("*/*").accepts("nonsense"));
        assert_eq!(some.to_string(), "image/*,application/pdf");
    }

    #[test]
    fn a_page_may_come_as_html_xhtml_or_plain_text() {
        for list in [
            "text/*",
            "*/*",
            "application/*",
            "image/*,text/html",
            "text/plain",
        ] {
            assert!(types(list).accepts_page(), "{list}");
        }
        for list in ["image/*,application/pdf", "text/csv", "application/json"] {
            assert!(!types(list).accepts_page(), "{list}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_named() {
        for (list, wrong) in [
            ("image", "\"image\""),
            ("image/png,", "\"\""),
            ("", "\"\""),
            ("image/png; q=1", "\"image/png; q=1\""),
            ("*/png", "\"*/png\""),
            ("image/*png", "\"image/*png\""),
            ("a/b/c", "\"a/b/c\""),
        ] {
            let error = list.parse::<ExpectedTypes>().unwrap_err();
            assert!(error.ends_with(wrong), "{list}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_list_reads_back_and_accepts_its_own_types(
            list in proptest::collection::vec("[a-zA-Z0-9]{1,6}/[a-zA-Z0-9.+-]{1,8}", 1..5)
        ) {
            let types = types(&list.join(" , "));
            prop_assert_eq!(&types, &types.to_string().parse().unwrap());
            for one in list {
                prop_assert!(types.accepts(&one));
                let (kind, _) = one.split_once('/').unwrap();
                let range: ExpectedTypes = format!("{kind}/*").parse().unwrap();
                prop_assert!(range.accepts(&one));
            }
        }
    }
}
