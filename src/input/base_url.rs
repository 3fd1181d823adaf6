//! The URL below which the files of a manifest are.

use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// Characters of a file name that a path has as they are.
const PATH_CHARACTERS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+')
    .remove(b'@')
    .remove(b',')
    .remove(b'=');

/// The URL of the folder with the files of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Arc<str>);

impl FromStr for BaseUrl {
    type Err = String;

    /// Parses an http or https URL; a `/` is appended to a path without one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("expected a URL that starts with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a base URL has no user name or password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a base URL has no query or fragment".to_owned());
        }
        let slash = if url.path().ends_with('/') { "" } else { "/" };
        Ok(Self(format!("{url}{slash}").into()))
    }
}

impl BaseUrl {
    /// Returns the URL of a file.
    pub fn join(&self, name: &str) -> String {
        format!("{}{}", self.0, utf8_percent_encode(name, PATH_CHARACTERS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_a_folder() {
        for (text, url) in [
            ("https://a.test", "https://a.test/x"),
            ("https://a.test/b", "https://a.test/b/x"),
            ("http://a.test:81/b/", "http://a.test:81/b/x"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().join("x"), url);
        }
        for text in [
            "a.test",
            "/pub",
            "ftp://a.test/",
            "http://me:s3cret@a.test/",
            "http://a.test/?x",
            "http://a.test/#x",
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
