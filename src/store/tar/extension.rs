//! The extension of a body in a tar.

use url::Url;

use crate::model::Record;

/// Maximum length of an extension that is taken from a URL; `geojson` has 7.
const MAX_EXTENSION_BYTES: usize = 8;
/// For a body of which nothing better is known.
const UNKNOWN: &str = "bin";
/// Readers of samples run code in files with these extensions, which a server must not choose.
const RUN_BY_READERS: [&str; 5] = ["pickle", "pkl", "pt", "pth", "pyd"];
/// Extensions of media types.
const BY_TYPE: [(&str, &str); 32] = [
    ("application/gzip", "gz"),
    ("application/javascript", "js"),
    ("application/json", "json"),
    ("application/msword", "doc"),
    ("application/pdf", "pdf"),
    ("application/rss+xml", "xml"),
    ("application/xhtml+xml", "html"),
    ("application/xml", "xml"),
    ("application/zip", "zip"),
    ("audio/flac", "flac"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("image/avif", "avif"),
    ("image/bmp", "bmp"),
    ("image/gif", "gif"),
    ("image/jpeg", "jpg"),
    ("image/jpg", "jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg"),
    ("image/tiff", "tiff"),
    ("image/webp", "webp"),
    ("text/css", "css"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/javascript", "js"),
    ("text/plain", "txt"),
    ("text/xml", "xml"),
    ("video/mp4", "mp4"),
    ("video/webm", "webm"),
];

/// Returns the extension of a body: that of its URL if it is a plain one, else that of its type.
pub(super) fn extension_of(record: &Record) -> String {
    let of_url = || extension_of_url(&record.url);
    let of_type = || extension_of_type(record.content_type.as_deref()?).map(str::to_owned);
    let found = of_url().or_else(of_type);
    let found = found.filter(|found| !RUN_BY_READERS.contains(&found.as_str()));
    found.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn extension_of_url(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let name = url.path_segments()?.next_back()?;
    let (_, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    let is_plain = extension.len() <= MAX_EXTENSION_BYTES
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && extension.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_plain.then(|| extension.to_ascii_lowercase())
}

fn extension_of_type(content_type: &str) -> Option<&'static str> {
    let essence = content_type.split(';').next()?.trim();
    let is_it = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(essence);
    BY_TYPE.iter().find(is_it).map(|(_, extension)| *extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InputPosition;

    #[test]
    fn the_url_decides_before_the_type() {
        for (url, content_type, expected) in [
            ("http://a.b/x.JPeG?y=z.png", "image/png", "jpeg"),
            ("http://a.b/x", "Image/PNG ; q=1", "png"),
            ("http://a.b/", "text/html; charset=utf-8", "html"),
            ("http://a.b/v1.2", "image/webp", "webp"),
            ("http://a.b/.png", "", "bin"),
            ("http://a.b/x.verylongone", "", "bin"),
            ("http://a.b/x.p%6Eg", "x/y", "bin"),
            ("http://a.b/x.mp3/", "audio/mpeg", "mp3"),
            ("http://a.b/x.pyd", "image/png", "bin"),
            ("http://a.b/x.PKL", "", "bin"),
        ] {
            let record = Record {
                content_type: Some(content_type.to_owned()),
                ..Record::for_line(&InputPosition::first(), url.to_owned())
            };
            assert_eq!(extension_of(&record), expected, "{url}");
        }
    }
}
