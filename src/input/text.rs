//! The text list: a URL a line; blank lines and `#` comments are no input.

use std::io::{self, BufRead, BufReader, Read};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::model::{
    Credentials, Entry, FetchError, InvalidLine, Job, Place, harmless, mask_userinfo,
};

/// Longest line, in bytes. Servers refuse URLs far shorter than this (RFC 9110 §4.1
/// asks for at least 8000 octets to be supported); a longer line is not held in memory.
const MAX_LINE: usize = 64 * 1024;
const NO_SCHEME: &str = "no scheme; URLs start with http:// or https://";
/// As much of a bad line as is shown.
const MAX_SHOWN: usize = 2048;

/// One line of a list, without its line end.
pub struct Line<'a> {
    bytes: &'a [u8],
    /// From 1.
    pub number: u64,
    /// Whether the line went on past [`MAX_LINE`]; the rest was dropped.
    too_long: bool,
}

impl Line<'_> {
    /// Whether the line is no input: blank, or a comment.
    pub fn is_comment(&self) -> bool {
        matches!(self.bytes.trim_ascii().first(), None | Some(b'#'))
    }
}

/// The lines of an input, read into one buffer that is used again and again.
pub struct Lines<'a, R: Read> {
    reader: &'a mut BufReader<R>,
    buffer: Vec<u8>,
    number: u64,
    bytes_read: u64,
}

impl<'a, R: Read> Lines<'a, R> {
    pub fn new(reader: &'a mut BufReader<R>) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            number: 0,
            bytes_read: 0,
        }
    }

    /// The next line, or `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        // One byte more than allowed, so that a line of just the limit is told from a
        // longer one.
        let limit = MAX_LINE as u64 + 1;
        let read = (&mut *self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.bytes_read += read as u64;
        self.number += 1;
        let ended = self.buffer.last() == Some(&b'\n');
        let too_long = !ended && self.buffer.len() > MAX_LINE;
        if too_long {
            self.bytes_read += self.reader.skip_until(b'\n')? as u64;
        }
        let mut bytes = self.buffer.as_slice();
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if self.number == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        Ok(Some(Line {
            bytes,
            number: self.number,
            too_long,
        }))
    }

    /// Whether a whole line is in memory already, so that reading on can't block.
    pub fn has_line_ready(&self) -> bool {
        memchr::memchr(b'\n', self.reader.buffer()).is_some()
    }

    /// Bytes read since this was last asked.
    pub fn take_bytes_read(&mut self) -> u64 {
        std::mem::take(&mut self.bytes_read)
    }
}

/// What a line is: nothing, a job, or a line that can't be fetched.
pub fn parse(line: Line<'_>, place: Place) -> Option<Entry> {
    if line.is_comment() {
        return None;
    }
    let parsed = if line.too_long {
        Err(format!("longer than {MAX_LINE} bytes"))
    } else {
        match std::str::from_utf8(line.bytes.trim_ascii()) {
            Ok(text) => parse_url(text),
            Err(_) => Err("not valid UTF-8".to_owned()),
        }
    };
    Some(entry(parsed, line.bytes, place))
}

fn entry(parsed: Result<Parsed, String>, bytes: &[u8], place: Place) -> Entry {
    match parsed {
        Ok((url, credentials)) => {
            let raw = (bytes != url.as_str().as_bytes()).then(|| bytes.into());
            Entry::Job(Job {
                place,
                url,
                credentials,
                raw,
                wish: None,
            })
        }
        Err(reason) => Entry::Invalid(InvalidLine {
            place,
            shown: shown(bytes),
            raw: bytes.into(),
            error: FetchError::InvalidUrl { reason },
        }),
    }
}

/// An argument: one entry, whatever it holds.
pub fn parse_argument(text: &str, place: Place) -> Entry {
    let bytes = text.as_bytes();
    let parsed = if text.trim().is_empty() {
        Err("it is empty".to_owned())
    } else {
        parse_url(text.trim())
    };
    entry(parsed, bytes, place)
}

/// A bad line as it may be shown: no password, no control characters, not endless.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.trim_ascii());
    let masked = mask_userinfo(&text);
    let mut shown: String = harmless(&masked).chars().take(MAX_SHOWN).collect();
    if shown.len() < masked.len() && masked.len() > MAX_SHOWN {
        shown.push('…');
    }
    shown
}

/// A URL without userinfo and fragment, and the userinfo.
type Parsed = (Url, Option<Box<Credentials>>);

/// Parses by the WHATWG rules, takes out userinfo and fragment.
fn parse_url(text: &str) -> Result<Parsed, String> {
    let mut url = Url::parse(text).map_err(|error| explain(text, error))?;
    if !matches!(url.scheme(), "http" | "https") {
        if text.contains('@') && !text.contains("://") {
            return Err(NO_SCHEME.to_owned());
        }
        return Err(match with_https(text) {
            Some(better) => format!("no scheme; did you mean {better}"),
            None => format!(
                "the scheme is {}; only http and https are fetched",
                url.scheme()
            ),
        });
    }
    url.set_fragment(None);
    let credentials = take_credentials(&mut url);
    // The URL standard allows hosts such as `{host}` that no request can be sent to.
    if let Err(error) = url.as_str().parse::<http::Uri>() {
        return Err(error.to_string());
    }
    Ok((url, credentials))
}

fn take_credentials(url: &mut Url) -> Option<Box<Credentials>> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let credentials = Credentials {
        user: decode(url.username()),
        password: decode(url.password().unwrap_or_default()),
    };
    // Both fail only for URLs without a host, and http(s) URLs have one.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(Box::new(credentials))
}

fn explain(text: &str, error: url::ParseError) -> String {
    if error == url::ParseError::RelativeUrlWithoutBase {
        return match with_https(text) {
            Some(better) => format!("no scheme; did you mean {better}"),
            None => NO_SCHEME.to_owned(),
        };
    }
    error.to_string()
}

/// The line with `https://` in front, where that makes a likely URL: a name with a dot,
/// or localhost. (`example.com:8080/x` parses, as a URL of scheme `example.com`.)
pub fn with_https(text: &str) -> Option<String> {
    let rest = text.strip_prefix("//").unwrap_or(text);
    let name = rest.split(['/', ':', '?', '#']).next()?;
    let likely = (name.contains('.') && !name.starts_with('.')) || name == "localhost";
    let url = format!("https://{rest}");
    // A line with userinfo is not repeated in a message.
    (likely && !rest.contains('@') && Url::parse(&url).is_ok()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place() -> Place {
        Place {
            number: 0,
            input: "-".into(),
            line: 1,
        }
    }

    fn parsed(bytes: &[u8]) -> Vec<Entry> {
        let mut reader = BufReader::new(bytes);
        let mut lines = Lines::new(&mut reader);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.extend(parse(line, place()));
        }
        found
    }

    fn job(line: &str) -> Job {
        match parsed(line.as_bytes()).pop() {
            Some(Entry::Job(job)) => job,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn reason(line: &[u8]) -> String {
        match parsed(line).pop() {
            Some(Entry::Invalid(invalid)) => invalid.error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn comments_blank_lines_crlf_bom_and_blanks_are_tolerated() {
        let list = b"\xef\xbb\xbfhttp://a/\r\n\r\n  # no\n\t http://b/x \n\nhttp://c/";
        let urls: Vec<_> = parsed(list)
            .into_iter()
            .map(|entry| match entry {
                Entry::Job(job) => job.url.to_string(),
                Entry::Invalid(invalid) => panic!("{invalid:?}"),
            })
            .collect();
        assert_eq!(urls, ["http://a/", "http://b/x", "http://c/"]);
    }

    #[test]
    fn a_line_without_scheme_gets_a_hint() {
        assert!(reason(b"example.com").ends_with("did you mean https://example.com"));
        assert!(reason(b"example.com:8080/x").ends_with("did you mean https://example.com:8080/x"));
        assert!(reason(b"//example.com/x").ends_with("did you mean https://example.com/x"));
        assert!(reason(b"localhost/x").ends_with("did you mean https://localhost/x"));
        assert!(reason(b"nonsense").ends_with("URLs start with http:// or https://"));
        assert!(reason(b"ftp://example.com/").contains("the scheme is ftp"));
        assert!(reason(b"http://").contains("empty host"));
        assert!(reason(b"http://{host}/x").contains("invalid"));
        assert!(reason(b"http://\xff\xfe/").contains("UTF-8"));
    }

    #[test]
    fn a_password_is_taken_out_of_the_url_and_never_shown() {
        let job = job("http://me:s%40cret@host/x#top");
        assert_eq!(job.url.as_str(), "http://host/x");
        let credentials = job.credentials.as_ref().unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("me", "s@cret")
        );
        assert!(!format!("{:?}", job.credentials).contains("cret"));
        for line in ["htp://me:secret@host/", "me:secret@example.com/x"] {
            let Some(Entry::Invalid(invalid)) = parsed(line.as_bytes()).pop() else {
                panic!("{line}");
            };
            assert!(!invalid.shown.contains("secret"), "{}", invalid.shown);
            assert!(!invalid.error.to_string().contains("secret"));
        }
    }

    #[test]
    fn the_raw_line_is_kept_only_where_it_differs() {
        assert_eq!(job("http://a/x").raw, None);
        assert_eq!(
            job("HTTP://A/x").raw.as_deref(),
            Some(b"HTTP://A/x".as_slice())
        );
    }

    #[test]
    fn an_endless_line_is_one_failed_line_and_the_rest_goes_on() {
        let mut list = vec![b'x'; 3 * MAX_LINE];
        list.extend_from_slice(b"\nhttp://a/\n");
        let found = parsed(&list);
        assert_eq!(found.len(), 2);
        assert!(matches!(&found[0], Entry::Invalid(invalid) if invalid.shown.len() < 3000));
        assert!(matches!(&found[1], Entry::Job(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_entry_a_line_at_most_and_no_panic(list in prop::collection::vec(any::<u8>(), 0..2000)) {
            let lines = list.split(|byte| *byte == b'\n').count();
            prop_assert!(parsed(&list).len() <= lines);
        }
    }
}
