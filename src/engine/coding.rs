//! Decides which codings of a body are decoded and which are kept. The coding of a compressed file
//! is not a transport detail: a `.tar.gz` served with `Content-Encoding: gzip`, as common servers
//! do, stays a `.tar.gz`, or it would not match its published checksum.

use http::{HeaderValue, header};
use url::Url;

use crate::fetch::{ContentCoding, codings, extension, transfer_codings};
use crate::model::{Attempt, FetchError, KeptCoding, ResponseHead};

/// Media types of compressed files: those of the IANA registry (RFC 6713, RFC 8878), and older
/// names from the tables of Apache, Debian and shared-mime-info.
const TYPES: &[(&str, ContentCoding)] = &[
    ("application/gzip", ContentCoding::Gzip),
    ("application/x-gzip", ContentCoding::Gzip),
    ("application/x-gunzip", ContentCoding::Gzip),
    ("application/gzipped", ContentCoding::Gzip),
    ("application/gzip-compressed", ContentCoding::Gzip),
    ("application/x-gzip-compressed", ContentCoding::Gzip),
    ("application/x-tgz", ContentCoding::Gzip),
    ("application/x-compressed-tar", ContentCoding::Gzip),
    ("application/x-gtar-compressed", ContentCoding::Gzip),
    ("application/tar+gzip", ContentCoding::Gzip),
    ("application/x-tar-gz", ContentCoding::Gzip),
    ("image/svg+xml-compressed", ContentCoding::Gzip),
    ("application/zstd", ContentCoding::Zstd),
    ("application/x-zstd", ContentCoding::Zstd),
    ("application/x-zstd-compressed-tar", ContentCoding::Zstd),
    ("application/x-brotli", ContentCoding::Brotli),
    ("application/zlib", ContentCoding::Deflate),
];

/// The extension of a compressed image that browsers decode, and its media type in that case.
const PICTURE: (&str, &str) = ("svgz", "image/svg+xml");

/// Returns the content coding that the body keeps, if any. With `raw` it keeps them all.
pub(super) fn kept(attempt: &Attempt, head: &ResponseHead, raw: bool) -> Option<KeptCoding> {
    let named = head.headers.get(header::CONTENT_ENCODING)?;
    let known = codings(&head.headers);
    // Rules and lists are read here, so that they are decoded whatever the user wants of bodies.
    let is_read = attempt.job.is_auxiliary();
    // The file's own coding was applied first, so it is listed first.
    let first = known.as_deref().and_then(<[_]>::first).copied();
    let is_own = !is_read && first.is_some_and(|first| is_own(attempt, head, first));
    match known {
        Some(known) if known.is_empty() => None,
        Some(_) if is_read || !raw => first.filter(|_| is_own).map(|first| KeptCoding {
            value: HeaderValue::from_static(first.name()),
            is_own,
        }),
        // An unknown coding cannot be decoded, so all that was applied before it is kept as well.
        _ => Some(KeptCoding {
            value: all(head).unwrap_or_else(|| named.clone()),
            is_own,
        }),
    }
}

/// Joins all `Content-Encoding` lines into one value.
fn all(head: &ResponseHead) -> Option<HeaderValue> {
    let values = head.headers.get_all(header::CONTENT_ENCODING).iter();
    let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&values.join(&b", "[..])).ok()
}

/// How a body is sent, according to the head. Read once, because every header lookup computes a
/// hash.
pub(super) struct BodyFraming {
    /// The [codings to decode](undone). An error matters only if the body is read.
    pub codings: Result<Vec<ContentCoding>, FetchError>,
    /// The announced length on the wire, in bytes.
    pub length: Option<u64>,
    /// Whether there is a `Transfer-Encoding`.
    pub has_transfer_coding: bool,
}

impl BodyFraming {
    pub(super) fn of(head: &ResponseHead) -> Self {
        Self {
            codings: undone(head),
            length: head.content_length(),
            has_transfer_coding: head.headers.contains_key(header::TRANSFER_ENCODING),
        }
    }
}

/// Returns the codings to decode, in the order in which they were applied: the content codings that
/// are not kept, then the transfer codings, which are never kept.
///
/// # Errors
/// `protocol` when a transfer coding is not supported.
fn undone(head: &ResponseHead) -> Result<Vec<ContentCoding>, FetchError> {
    // A shortcut: most responses have neither header.
    let has = |name| head.headers.contains_key(name);
    if !has(header::CONTENT_ENCODING) && !has(header::TRANSFER_ENCODING) {
        return Ok(Vec::new());
    }
    let mut undone = content(head);
    undone.extend(transfer_codings(head)?);
    Ok(undone)
}

fn content(head: &ResponseHead) -> Vec<ContentCoding> {
    let mut content = codings(&head.headers).unwrap_or_default();
    if let Some(kept) = &head.kept_coding {
        let commas = kept.value.as_bytes().split(|byte| *byte == b',');
        let is_coding = |name: &&[u8]| {
            let name = name.trim_ascii();
            !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")
        };
        let count = commas.filter(is_coding).count();
        content.drain(..count.min(content.len()));
    }
    content
}

/// Whether the stored bytes are the ones that byte ranges count.
pub(super) fn is_plain(head: &ResponseHead) -> bool {
    let is_kept = head.kept_coding.as_ref().is_none_or(|kept| kept.is_own);
    is_kept && undone(head).is_ok_and(|undone| undone.is_empty())
}

/// Whether the extension or the media type says that this coding is the file's own format.
fn is_own(attempt: &Attempt, head: &ResponseHead, coding: ContentCoding) -> bool {
    let media_type = head.header_str(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is_picture = media_type.eq_ignore_ascii_case(PICTURE.1);
    let mut types = TYPES.iter();
    let of_type = |(known, of): &(&str, _)| *of == coding && known.eq_ignore_ascii_case(media_type);
    let of_url = |url: &Url| {
        extension(url).is_some_and(|name| {
            let is_page = is_picture && name.eq_ignore_ascii_case(PICTURE.0);
            !is_page && ContentCoding::of_extension(&name) == Some(coding)
        })
    };
    types.any(of_type) || of_url(&attempt.job.url) || of_url(attempt.url())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Job;
    use http::{HeaderMap, HeaderName, Method, StatusCode};

    fn attempt(url: &str) -> Attempt {
        let job = Job::plain(url);
        Attempt::new(job, Method::GET, false)
    }

    fn head(headers: &[(HeaderName, &'static str)]) -> ResponseHead {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        ResponseHead::http11(StatusCode::OK, map)
    }

    /// Returns the coding that is kept and those that are decoded.
    fn plan(
        url: &str,
        media_type: &'static str,
        coding: &'static str,
        raw: bool,
    ) -> (Option<String>, Vec<&'static str>) {
        let mut head = head(&[
            (header::CONTENT_TYPE, media_type),
            (header::CONTENT_ENCODING, coding),
        ]);
        head.kept_coding = kept(&attempt(url), &head, raw);
        let kept = head.kept_coding.as_ref();
        let kept = kept.map(|kept| kept.value.to_str().unwrap().to_owned());
        let undone = undone(&head).unwrap();
        (kept, undone.into_iter().map(ContentCoding::name).collect())
    }

    #[test]
    fn the_coding_of_a_compressed_file_is_kept() {
        const HTML: &str = "text/html";
        for (path, media_type, coding) in [
            ("a.tar.gz", "application/x-tar", "gzip"),
            ("a.tgz?x=1", HTML, "gzip"),
            ("dir.d/A.TAR.GZ#top", HTML, "gzip"),
            ("a%2Egz", HTML, "gzip"),
            ("a.t%67z", HTML, "gzip"),
            ("a.br", HTML, "br"),
            ("a.tar.zst", HTML, "zstd"),
            ("a.zz", HTML, "deflate"),
            ("a.svgz", "application/octet-stream", "gzip"),
            ("a.svg.gz", "image/svg+xml", "gzip"),
            ("download", "application/x-gzip", "gzip"),
            ("download", "Application/GZIP; charset=binary", "gzip"),
            ("download", "application/zstd", "zstd"),
        ] {
            let url = format!("http://a.test/{path}");
            let expected = (Some(coding.to_owned()), vec![]);
            assert_eq!(plan(&url, media_type, coding, false), expected, "{path}");
        }
    }

    #[test]
    fn a_coding_for_transport_is_decoded() {
        for (path, media_type, coding, undone) in [
            ("a.html", "text/html", "gzip", vec!["gzip"]),
            ("a.gz/", "text/html", "gzip", vec!["gzip"]),
            ("a.gz/index", "text/html", "gzip", vec!["gzip"]),
            ("a?file=x.gz", "text/html", "gzip", vec!["gzip"]),
            (".gz", "text/html", "gzip", vec!["gzip"]),
            ("agz", "text/html", "gzip", vec!["gzip"]),
            ("a.gz", "application/gzip", "br", vec!["br"]),
            ("a.gz", "application/gzip", "br, gzip", vec!["br", "gzip"]),
            ("a.zst", "text/html", "gzip", vec!["gzip"]),
            ("a.svgz", "image/svg+xml", "gzip", vec!["gzip"]),
            (
                "a.SVGZ",
                "Image/SVG+XML; charset=utf-8",
                "gzip",
                vec!["gzip"],
            ),
        ] {
            let url = format!("http://a.test/{path}");
            assert_eq!(
                plan(&url, media_type, coding, false),
                (None, undone),
                "{path}"
            );
        }
        assert_eq!(
            plan("http://a.test/a.gz", "", "identity", false),
            (None, vec![])
        );
    }

    #[test]
    fn the_coding_of_the_file_is_the_first_one() {
        let url = "http://a.test/a.tar.gz";
        let kept = Some("gzip".to_owned());
        assert_eq!(
            plan(url, "", "gzip, gzip", false),
            (kept.clone(), vec!["gzip"])
        );
        assert_eq!(
            plan(url, "", "identity, GZip", false),
            (kept.clone(), vec![])
        );
        assert_eq!(plan(url, "", "x-gzip, br", false), (kept, vec!["br"]));
    }

    #[test]
    fn raw_and_unknown_codings_are_kept_as_a_whole() {
        let url = "http://a.test/page";
        for (coding, raw) in [("gzip, br", true), ("x-own", false), ("gzip, x-own", false)] {
            assert_eq!(
                plan(url, "text/html", coding, raw),
                (Some(coding.to_owned()), vec![])
            );
        }
        let headers = [
            (header::CONTENT_ENCODING, "gzip"),
            (header::CONTENT_ENCODING, "br"),
            (header::TRANSFER_ENCODING, "deflate, chunked"),
        ];
        let mut head = head(&headers);
        head.kept_coding = kept(&attempt(url), &head, true);
        assert_eq!(head.kept_coding.as_ref().unwrap().value, "gzip, br");
        assert_eq!(
            undone(&head).unwrap(),
            [ContentCoding::Deflate],
            "the transfer coding is not kept"
        );
    }

    #[test]
    fn the_extension_of_the_input_url_or_of_the_final_url_decides() {
        let headers = [(header::CONTENT_ENCODING, "gzip")];
        let head = head(&headers);
        for (input, end) in [
            ("http://a.test/latest.tar.gz", "http://b.test/blob"),
            ("http://a.test/latest", "http://b.test/v1.tar.gz"),
        ] {
            let mut redirected = attempt(input);
            redirected.hop = Some(Box::new(crate::model::Hop {
                url: Url::parse(end).unwrap(),
                visited: vec![],
                left_origin: false,
                requests: Vec::new(),
                cookies: crate::model::ChainCookies::default(),
            }));
            assert!(kept(&redirected, &head, false).is_some(), "{input}");
        }
    }

    #[test]
    fn ranges_apply_to_bodies_stored_as_sent() {
        let of = |url: &str, headers: &[(HeaderName, &'static str)], raw| {
            let mut head = head(headers);
            head.kept_coding = kept(&attempt(url), &head, raw);
            is_plain(&head)
        };
        let gzip = [(header::CONTENT_ENCODING, "gzip")];
        assert!(of("http://a.test/a.gz", &gzip, false) && of("http://a.test/a.gz", &gzip, true));
        assert!(!of("http://a.test/a", &gzip, false) && !of("http://a.test/a", &gzip, true));
        assert!(of(
            "http://a.test/a",
            &[(header::TRANSFER_ENCODING, "chunked")],
            false
        ));
        assert!(!of(
            "http://a.test/a",
            &[(header::TRANSFER_ENCODING, "gzip, chunked")],
            false
        ));
    }
}
