//! Decides, without I/O, whether a partial body may be kept and whether a response continues it
//! (RFC 9110 §14, §15.3.7). Bytes of two versions are never joined.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use url::Url;

use super::attempt_outcome::{BodySource, PartialContent};
use super::coding;
use crate::model::{Attempt, BodyVersion, PartialBody, ResponseHead};

/// Minimum age of a `Last-Modified` for use as a strong validator: old enough, relative to `Date`,
/// to rule out a second change within the same second and clock differences
/// (RFC 9110 §8.8.2.2; the 60 s are from RFC 7232).
const STRONG_DATE_AGE: Duration = Duration::from_secs(60);

/// The response does not continue the partial body: another version, or other bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RangeMismatch;

/// Returns where the body comes from, according to the response of `url` to a range request;
/// `None` if the response is not about the range: it is treated like any other.
pub(super) fn classify_response<'a>(
    part: &'a PartialBody,
    url: &Url,
    head: &ResponseHead,
) -> Result<Option<BodySource<'a>>, RangeMismatch> {
    match head.status {
        StatusCode::PARTIAL_CONTENT => {
            let rest = rest(part, url, head).ok_or(RangeMismatch)?;
            Ok(Some(BodySource::Response(Some(rest))))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let total = content_range(head).and_then(|range| range.total);
            let is_same_url = part.version.url == *url;
            let is_whole = total == Some(part.length)
                && (is_same_url || part.version.total.is_some())
                && part.version.total.is_none_or(|total| total == part.length);
            if is_whole && !contradicts_version(&part.version, head) {
                Ok(Some(BodySource::Part(part)))
            } else {
                Err(RangeMismatch)
            }
        }
        // Another answer than the whole body: the rest under the wrong status, or nothing at all.
        StatusCode::OK if is_rest_as_whole(part, url, head) => Err(RangeMismatch),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => Err(RangeMismatch),
        _ => Ok(None),
    }
}

/// Whether a 200 has a part of the body, not all of it: it says so, or has another length under the
/// same strong validator. That of another URL says nothing (RFC 9110 §8.8.1).
fn is_rest_as_whole(part: &PartialBody, url: &Url, head: &ResponseHead) -> bool {
    if let Some(range) = content_range(head) {
        return range.bytes.is_some_and(|(first, _)| first > 0);
    }
    let length = head.content_length().filter(|_| coding::is_plain(head));
    part.version.url == *url
        && matches_version(&part.version, head)
        && part
            .version
            .total
            .zip(length)
            .is_some_and(|(total, length)| total != length)
}

/// Whether a server limits the length of a range: the response ends before the body does.
pub(super) fn is_limited(part: &PartialBody, head: &ResponseHead) -> bool {
    let range = content_range(head).filter(|_| head.status == StatusCode::PARTIAL_CONTENT);
    range.is_some_and(
        |range| match (range.bytes, range.total.or(part.version.total)) {
            (Some((_, last)), Some(total)) => {
                last.saturating_add(1) < part.request_end().unwrap_or(total)
            }
            _ => false,
        },
    )
}

/// Returns the range of a 206 if it continues the partial body.
fn rest(part: &PartialBody, url: &Url, head: &ResponseHead) -> Option<PartialContent> {
    let Some(ContentRange {
        bytes: Some((first, last)),
        total,
    }) = content_range(head)
    else {
        // Several ranges, or an invalid Content-Range.
        return None;
    };
    let known = part.version.total;
    // Without a known total length the body can never be found complete.
    let total = total.or(known)?;
    let length = last.saturating_sub(first).saturating_add(1);
    // Validators are not unique across resources (RFC 9110 §8.8.1). If another URL sent the partial
    // body, the total length must be known and match, too.
    let is_same_url = part.version.url == *url;
    let fits = first == part.length
        && (is_same_url || known.is_some())
        && first <= last
        && last < total
        && known.is_none_or(|known| known == total)
        && head
            .content_length()
            .is_none_or(|announced| announced == length);
    (fits && coding::is_plain(head) && matches_version(&part.version, head))
        .then_some(PartialContent { length, total })
}

/// Whether a 206 without a requested range has the whole body nevertheless.
pub(super) fn is_whole(head: &ResponseHead) -> bool {
    let Some(ContentRange {
        bytes: Some((0, last)),
        total: Some(total),
    }) = content_range(head)
    else {
        return false;
    };
    last.checked_add(1) == Some(total) && head.content_length() == Some(total)
}

/// Maximum bytes of a validator that is kept. Typical ones have less than 100.
const MAX_VALIDATOR_BYTES: usize = 300;

/// Returns the version of a body if it could be resumed after an interruption.
pub(super) fn version(attempt: &Attempt, head: &ResponseHead) -> Option<BodyVersion> {
    let takes_ranges = head.header_str(header::ACCEPT_RANGES) != Some("none");
    // The URL is stored with the partial body, so it must not contain a secret.
    if !(attempt.is_plain_get()
        && !attempt.has_secret_url()
        && takes_ranges
        && head.status == StatusCode::OK
        && coding::is_plain(head))
    {
        return None;
    }
    // Servers choose the length, and every waiting URL keeps its validator in memory.
    let validator = strong_validator(head).filter(|one| one.len() <= MAX_VALIDATOR_BYTES)?;
    Some(BodyVersion {
        job_url: attempt.job.url.clone(),
        url: attempt.url().clone(),
        validator,
        total: head.content_length(),
    })
}

/// Returns the validator to send in `If-Range`: a strong `ETag`, else a `Last-Modified` that is
/// old enough to be strong.
fn strong_validator(head: &ResponseHead) -> Option<HeaderValue> {
    match head.headers.get(header::ETAG) {
        Some(tag) if is_strong(tag) => Some(tag.clone()),
        // With a weak ETag the date is not strong either.
        Some(_) => None,
        None => strong_date(head),
    }
}

fn is_strong(tag: &HeaderValue) -> bool {
    let tag = tag.as_bytes();
    tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"")
}

fn strong_date(head: &ResponseHead) -> Option<HeaderValue> {
    let date = |name| httpdate::parse_http_date(head.header_str(name)?).ok();
    let (modified, sent) = (date(header::LAST_MODIFIED)?, date(header::DATE)?);
    let age = sent.duration_since(modified).ok()?;
    (age >= STRONG_DATE_AGE)
        .then(|| head.headers.get(header::LAST_MODIFIED).cloned())
        .flatten()
}

/// Whether the response carries the validator of this version. It must: a server that ignores
/// `If-Range` would send a range of whatever version it has.
fn matches_version(version: &BodyVersion, head: &ResponseHead) -> bool {
    head.headers.get(validator_name(version)) == Some(&version.validator)
}

/// Whether the response carries the validator of another version.
fn contradicts_version(version: &BodyVersion, head: &ResponseHead) -> bool {
    head.headers
        .get(validator_name(version))
        .is_some_and(|validator| *validator != version.validator)
}

fn validator_name(version: &BodyVersion) -> header::HeaderName {
    if version.is_tagged() {
        header::ETAG
    } else {
        header::LAST_MODIFIED
    }
}

/// A `Content-Range` (RFC 9110 §14.4).
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    /// First and last byte, inclusive; `None` in a 416.
    bytes: Option<(u64, u64)>,
    total: Option<u64>,
}

fn content_range(head: &ResponseHead) -> Option<ContentRange> {
    let text = head.header_str(header::CONTENT_RANGE)?.trim();
    let (unit, rest) = text.split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.trim().split_once('/')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    let bytes = match range.trim() {
        "*" => None,
        range => {
            let (first, last) = range.split_once('-')?;
            Some((number(first.trim())?, number(last.trim())?))
        }
    };
    Some(ContentRange { bytes, total })
}

/// Parses digits only: `str::parse` would accept a plus sign.
fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ByteRanges, Job};
    use http::{HeaderMap, Method};

    /// Classifies a response of the URL that sent the partial body.
    fn answer<'a>(part: &'a PartialBody, head: &ResponseHead) -> RangeAnswer<'a> {
        super::classify_response(part, &part.version.url, head)
    }

    type RangeAnswer<'a> = Result<Option<BodySource<'a>>, RangeMismatch>;

    fn rest_of(length: u64, total: u64) -> RangeAnswer<'static> {
        let rest = PartialContent { length, total };
        Ok(Some(BodySource::Response(Some(rest))))
    }

    fn is_complete(answer: &RangeAnswer<'_>) -> bool {
        matches!(answer, Ok(Some(BodySource::Part(_))))
    }

    fn head(status: u16, headers: &[(&'static str, &'static str)]) -> ResponseHead {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        ResponseHead::http11(StatusCode::from_u16(status).unwrap(), map)
    }

    fn attempt(method: Method) -> Attempt {
        let job = Job::plain("http://a/b");
        Attempt::new(job, method, false)
    }

    fn part(validator: &'static str, total: Option<u64>) -> PartialBody {
        PartialBody {
            version: BodyVersion {
                job_url: Url::parse("http://a.test/x").unwrap(),
                url: Url::parse("http://a/b").unwrap(),
                validator: HeaderValue::from_static(validator),
                total,
            },
            length: 500,
            beyond: ByteRanges::default(),
        }
    }

    #[test]
    fn a_body_with_a_strong_validator_is_worth_keeping() {
        const OLD: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:00 GMT");
        const NOW: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:50:00 GMT");
        const TOO_SOON: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:59 GMT");
        let get = attempt(Method::GET);
        let kept = |headers: &[(&'static str, &'static str)]| {
            version(&get, &head(200, headers)).map(|version| version.validator)
        };
        assert_eq!(kept(&[("etag", "\"a\"")]).unwrap(), "\"a\"");
        assert_eq!(kept(&[OLD, NOW]).unwrap(), OLD.1);
        for headers in [
            [].as_slice(),
            &[("etag", "W/\"a\"")],
            &[("etag", "W/\"a\""), OLD, NOW],
            &[("etag", "a")],
            &[OLD],
            &[OLD, TOO_SOON],
            &[("etag", "\"a\""), ("content-encoding", "gzip")],
            &[("etag", "\"a\""), ("transfer-encoding", "gzip, chunked")],
            &[("etag", "\"a\""), ("accept-ranges", "none")],
        ] {
            assert_eq!(kept(headers), None, "{headers:?}");
        }
        let good = head(200, &[("etag", "\"a\""), ("content-length", "7")]);
        assert_eq!(version(&get, &good).unwrap().total, Some(7));
        assert_eq!(version(&attempt(Method::POST), &good), None);
        assert_eq!(version(&get, &head(203, &[("etag", "\"a\"")])), None);
    }

    #[test]
    fn only_the_rest_of_the_same_version_continues_a_part() {
        let tagged = part("\"a\"", Some(1000));
        let of = |headers: &[(&'static str, &'static str)]| answer(&tagged, &head(206, headers));
        const TAG: (&str, &str) = ("etag", "\"a\"");
        let rest = |length| rest_of(length, 1000);
        assert_eq!(
            of(&[TAG, ("content-range", "bytes 500-999/1000")]),
            rest(500)
        );
        assert_eq!(of(&[TAG, ("content-range", "bytes 500-999/*")]), rest(500));
        assert_eq!(
            of(&[TAG, ("content-range", "Bytes 500-599/1000")]),
            rest(100)
        );
        for headers in [
            [TAG].as_slice(),
            &[("content-range", "bytes 500-999/1000")],
            &[("etag", "\"b\""), ("content-range", "bytes 500-999/1000")],
            &[("etag", "W/\"a\""), ("content-range", "bytes 500-999/1000")],
            &[TAG, ("content-range", "bytes 499-999/1000")],
            &[TAG, ("content-range", "bytes 501-999/1000")],
            &[TAG, ("content-range", "bytes 0-999/1000")],
            &[TAG, ("content-range", "bytes 500-1000/1000")],
            &[TAG, ("content-range", "bytes 500-999/1001")],
            &[TAG, ("content-range", "bytes 500-499/1000")],
            &[TAG, ("content-range", "bytes */1000")],
            &[TAG, ("content-range", "lines 500-999/1000")],
            &[TAG, ("content-range", "bytes +500-999/1000")],
            &[
                TAG,
                ("content-range", "bytes 500-999/1000"),
                ("content-length", "499"),
            ],
            &[
                TAG,
                ("content-range", "bytes 500-999/1000"),
                ("content-encoding", "gzip"),
            ],
            &[TAG, ("content-type", "multipart/byteranges; boundary=x")],
        ] {
            assert_eq!(of(headers), Err(RangeMismatch), "{headers:?}");
        }
        let unsized_part = part("\"a\"", None);
        let known_now = head(206, &[TAG, ("content-range", "bytes 500-999/1000")]);
        assert_eq!(answer(&unsized_part, &known_now), rest(500));
        let never_known = head(206, &[TAG, ("content-range", "bytes 500-999/*")]);
        assert_eq!(answer(&unsized_part, &never_known), Err(RangeMismatch));
        let dated = part("Sun, 06 Nov 1994 08:49:00 GMT", Some(1000));
        let same = head(
            206,
            &[
                ("last-modified", "Sun, 06 Nov 1994 08:49:00 GMT"),
                ("content-range", "bytes 500-999/1000"),
            ],
        );
        assert_eq!(answer(&dated, &same), rest(500));
        let silent = head(206, &[("content-range", "bytes 500-999/1000")]);
        assert_eq!(answer(&dated, &silent), Err(RangeMismatch));
    }

    #[test]
    fn a_range_that_covers_everything_is_the_whole() {
        for (range, length, is_whole) in [
            ("bytes 0-9/10", "10", true),
            ("bytes 0-9/10", "9", false),
            ("bytes 0-8/10", "9", false),
            ("bytes 1-9/10", "9", false),
            ("bytes 0-9/*", "10", false),
            ("bytes */10", "10", false),
        ] {
            let head = head(206, &[("content-range", range), ("content-length", length)]);
            assert_eq!(super::is_whole(&head), is_whole, "{range}");
        }
        assert!(!super::is_whole(&head(206, &[])));
        // Nothing would show that it was cut off.
        assert!(!super::is_whole(&head(
            206,
            &[("content-range", "bytes 0-9/10")]
        )));
    }

    #[test]
    fn a_416_completes_what_is_whole() {
        let is_mismatch = |part: &PartialBody, headers: &[(&'static str, &'static str)]| {
            answer(part, &head(416, headers)) == Err(RangeMismatch)
        };
        let whole = ("content-range", "bytes */500");
        for total in [None, Some(500)] {
            let part = part("\"a\"", total);
            let answer = answer(&part, &head(416, &[whole]));
            assert!(is_complete(&answer), "{answer:?}");
        }
        let part = part("\"a\"", Some(1000));
        assert!(is_mismatch(&part, &[whole]));
        assert!(is_mismatch(&part, &[]));
        let part = self::part("\"a\"", None);
        assert!(is_mismatch(&part, &[("content-range", "bytes */501")]));
        assert!(is_mismatch(&part, &[whole, ("etag", "\"b\"")]));
        assert_eq!(answer(&part, &head(200, &[])), Ok(None));
        assert_eq!(answer(&part, &head(503, &[])), Ok(None));
    }

    #[test]
    fn a_200_is_the_whole_unless_it_says_otherwise() {
        const TAG: (&str, &str) = ("etag", "\"a\"");
        let part = part("\"a\"", Some(1000));
        for (headers, is_whole) in [
            (&[TAG, ("content-length", "1000")][..], true),
            (&[TAG, ("content-length", "500")], false),
            (&[("etag", "\"b\""), ("content-length", "500")], true),
            (&[("content-range", "bytes 500-999/1000")], false),
            (&[("content-range", "bytes 0-999/1000")], true),
        ] {
            let answer = answer(&part, &head(200, headers));
            assert_eq!(answer.is_ok(), is_whole, "{headers:?}");
        }
        let elsewhere = Url::parse("http://b.test/signed?2").unwrap();
        let other = head(200, &[TAG, ("content-length", "500")]);
        assert_eq!(classify_response(&part, &elsewhere, &other), Ok(None));
        assert_eq!(answer(&part, &head(204, &[])), Err(RangeMismatch));
    }

    #[test]
    fn at_another_url_the_total_length_has_to_be_known_and_to_fit() {
        let elsewhere = Url::parse("http://b.test/signed?2").unwrap();
        let rest = head(
            206,
            &[("etag", "\"v1\""), ("content-range", "bytes 10-99/100")],
        );
        let other = head(
            206,
            &[("etag", "\"v1\""), ("content-range", "bytes 10-98/99")],
        );
        let nothing_left = head(416, &[("content-range", "bytes */10")]);
        let part = |total| PartialBody {
            version: BodyVersion {
                job_url: Url::parse("http://a.test/x").unwrap(),
                url: Url::parse("http://a.test/signed?1").unwrap(),
                validator: HeaderValue::from_static("\"v1\""),
                total,
            },
            length: 10,
            beyond: ByteRanges::default(),
        };
        let (unknown, short, long) = (part(None), part(Some(10)), part(Some(100)));
        let answer = |part, head| super::classify_response(part, &elsewhere, head);
        assert_eq!(answer(&long, &rest), rest_of(90, 100));
        assert_eq!(answer(&long, &other), Err(RangeMismatch));
        assert_eq!(answer(&unknown, &rest), Err(RangeMismatch));
        assert!(is_complete(&answer(&short, &nothing_left)));
        assert_eq!(answer(&unknown, &nothing_left), Err(RangeMismatch));
    }
}
