//! Text lists: one URL per line, with blank lines and `#` comments, also after a URL. Or one URL
//! before each NUL, as in `find -print0`, where only empty entries are skipped.

use std::io;

use super::flaw::ListFlaw;
use super::line_builder::{NOT_UTF8, bad_as_json, invalid, job, url_as_json};
use super::lines::{InputLine, LineEnd, LineReader};
use super::list::{EntryOrigin, InputList, ListRules, ListStep, lines_form};
use super::stream::InputStream;
use super::url::{UrlParser, display_line, parse_url, shown_among, shown_cut, shown_url};
use crate::model::{EntryGuard, Hint, InputPosition, ListEntry, PartForm};

/// Longest line, in bytes; a longer one is not held in memory. Servers reject far shorter URLs
/// (RFC 9110 §4.1 recommends support for at least 8000 octets).
const MAX_LINE_BYTES: usize = 64 * 1024;

const NO_COLUMNS: &str = "read as text, which has no columns to choose; the input format of a table is csv, tsv or jsonl";

/// A text list.
pub(super) struct TextList {
    lines: LineReader,
    rules: ListRules,
    parser: UrlParser,
    warning: Option<String>,
}

impl TextList {
    pub(super) fn new(stream: InputStream, end: LineEnd, rules: ListRules) -> Self {
        Self {
            lines: LineReader::new(stream, end, MAX_LINE_BYTES).keeping_source(rules.keeps_source),
            warning: rules.columns.is_set().then(|| NO_COLUMNS.to_owned()),
            parser: rules.parser(),
            rules,
        }
    }
}

impl InputList for TextList {
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>> {
        let step = self.lines.step()?;
        Ok(step.map(|line| {
            entry(
                &line,
                origin.line(line.number),
                &mut self.parser,
                &self.rules,
            )
        }))
    }

    fn skip(&mut self) -> io::Result<ListStep<()>> {
        Ok(self.lines.step()?.map(drop))
    }

    fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn source(&self) -> &[u8] {
        self.lines.source()
    }

    fn form(&self) -> PartForm {
        match self.lines.end() {
            LineEnd::Line => lines_form("txt"),
            LineEnd::Nul => PartForm {
                end: 0,
                guard: Some(EntryGuard {
                    first: b"\0",
                    behind: b"",
                }),
                ..lines_form("nul")
            },
        }
    }

    fn is_ready(&self) -> bool {
        self.lines.has_line_ready()
    }

    fn position(&self) -> u64 {
        self.lines.position()
    }
}

/// Parses a line into a job or an invalid entry.
fn entry(
    line: &InputLine<'_>,
    place: InputPosition,
    parser: &mut UrlParser,
    rules: &ListRules,
) -> ListEntry {
    let bytes = line.bytes();
    let bad = |place, shown: String, reason: ListFlaw| {
        if rules.has_fields {
            bad_as_json(place, shown, bytes, reason)
        } else {
            invalid(place, shown, bytes.into(), reason)
        }
    };
    if line.too_long {
        let reason = format!("line exceeds {} KiB", MAX_LINE_BYTES >> 10);
        return bad(place, shown_cut(bytes), reason.into());
    }
    let text = bytes.trim_ascii();
    // The comment may be in any encoding.
    let url = if line.has_comments() && has_gap(text) {
        without_comment(text)
    } else {
        text
    };
    let Ok(url) = std::str::from_utf8(url) else {
        return bad(place, display_line(bytes), NOT_UTF8.into());
    };
    if url.starts_with('{') && url.contains("\"url\"") {
        let reason = ListFlaw::with_hint("looks like JSON", Hint::ReadAsJson);
        return bad(place, display_line(bytes), reason);
    }
    if (has_gap(url.as_bytes()) || !url.is_ascii())
        && let Some(reason) = whitespace_reason(url, line.has_comments())
    {
        return bad(place, shown_among(url), reason);
    }
    let raw = || {
        if rules.has_fields {
            url_as_json(url, rules)
        } else {
            bytes.into()
        }
    };
    match parser.parse(&rules.complete(url)) {
        Ok(parsed) => {
            let differs = rules.has_fields || bytes != parsed.0.as_str().as_bytes();
            let raw = (differs && rules.parts_by.is_none()).then(raw);
            job(place, (parsed, None), raw)
        }
        Err(reason) => invalid(place, display_line(url.as_bytes()), raw(), reason),
    }
}

/// Whether the text contains whitespace or control characters. Most lines have none, and checking
/// all bytes without branching is several times as fast as searching for the first one.
fn has_gap(text: &[u8]) -> bool {
    text.iter()
        .fold(false, |found, byte| found | (*byte <= b' '))
}

/// Strips a comment that starts with ` #`. A `#` without a space before it belongs to the URL.
fn without_comment(text: &[u8]) -> &[u8] {
    let space = text.iter().position(u8::is_ascii_whitespace);
    let url = space.and_then(|at| {
        let (url, rest) = text.split_at_checked(at)?;
        rest.trim_ascii_start().starts_with(b"#").then_some(url)
    });
    url.unwrap_or(text)
}

/// Describes whitespace or NULs within a line, with a hint at its likely format.
fn whitespace_reason(text: &str, is_line: bool) -> Option<ListFlaw> {
    let found = text.chars().find(|c| *c == '\0' || c.is_whitespace())?;
    Some(match found {
        '\0' => {
            "line contains NUL bytes, like UTF-16 without a byte order mark; convert the list: iconv -f UTF-16LE -t UTF-8 FILE".into()
        }
        '\n' | '\r' => ListFlaw::with_hint("URL contains a line break", Hint::EndWithNul),
        '\t' if is_line => ListFlaw::with_hint("line contains a tab", Hint::ReadAsTable),
        '\t' => "URL contains a tab".into(),
        ' ' | '\x0c' if is_line => ListFlaw::with_hint("line contains a space", Hint::EncodeSpace),
        ' ' | '\x0c' => "URL contains a space; write it as %20".into(),
        // It would be sent percent-encoded, with all that stands behind it.
        other => {
            let code = u32::from(other);
            format!("line contains U+{code:04X}, a blank; percent-encode it in a URL").into()
        }
    })
}

/// Parses a URL argument, always as one entry. Spaces within it are part of the URL, as in the
/// address bar of a browser.
pub(super) fn parse_argument(text: &str, place: InputPosition, rules: &ListRules) -> ListEntry {
    let url = text.trim_ascii();
    let parsed = if url.is_empty() {
        Err("empty URL".into())
    } else {
        parse_url(&rules.complete(url))
    };
    match parsed {
        Ok(parsed) => {
            let raw = || {
                if rules.has_fields {
                    url_as_json(url, rules)
                } else {
                    // As a line of a list, where a space is not allowed.
                    url.replace(' ', "%20").into_bytes().into()
                }
            };
            let differs = rules.has_fields || text != parsed.0.as_str();
            job(place, (parsed, None), differs.then(raw))
        }
        Err(reason) => {
            if rules.has_fields {
                return bad_as_json(place, shown_url(text), text.as_bytes(), reason);
            }
            let raw = text.replace(['\n', '\r', '\0'], " ").into_bytes();
            invalid(place, shown_url(text), raw.into(), reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputFormat;
    use crate::input::whole;
    use crate::model::Job;
    use proptest::prelude::*;

    fn parsed(bytes: &[u8]) -> Vec<ListEntry> {
        whole::read(InputFormat::Text, bytes, ListRules::default()).unwrap()
    }

    fn job(line: &str) -> Job {
        whole::job(InputFormat::Text, line)
    }

    fn reason(line: &[u8]) -> String {
        whole::bad(InputFormat::Text, line, ListRules::default()).1
    }

    #[test]
    fn comments_blank_lines_crlf_bom_and_surrounding_whitespace_are_accepted() {
        let list = b"\xef\xbb\xbfhttp://a/\r\n\r\n  # no\n\t http://b/x \n\nhttp://c/";
        let urls: Vec<_> = parsed(list)
            .into_iter()
            .map(|entry| match entry {
                ListEntry::Job(job) => job.url.to_string(),
                ListEntry::Invalid(invalid) => panic!("{invalid:?}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(urls, ["http://a/", "http://b/x", "http://c/"]);
    }

    #[test]
    fn a_line_has_one_url_and_optionally_a_comment() {
        for (line, url) in [
            ("http://a/x  # the new one", "http://a/x"),
            (" http://a/x\t#", "http://a/x"),
            ("http://a/x#y", "http://a/x"),
        ] {
            let job = job(line);
            assert_eq!(job.url.as_str(), url);
            assert_eq!(&**job.raw.unwrap(), line.as_bytes(), "kept unchanged");
        }
        let mut page = Vec::new();
        for (line, on_screen) in [
            ("http://a/x\ta cat", "http://a/x\\ta cat"),
            ("7\thttp://a/x", "7\\thttp://a/x"),
            ("http://a/x y", "http://a/x y"),
            ("http://a/x y # z", "http://a/x y # z"),
            ("http://a/x http://b/", "http://a/x http://b/"),
            ("-u me:s3cret http://a/x", "http://a/x …"),
            ("http://a/x token=s3cret", "http://a/x …"),
            ("http://a/x http://me:s3cret@b/", "http://a/x …"),
        ] {
            for has_fields in [false, true] {
                let rules = ListRules {
                    has_fields,
                    ..ListRules::default()
                };
                let (shown, reason, raw) =
                    whole::bad(InputFormat::Text, line.as_bytes(), rules.clone());
                assert_eq!(shown, on_screen);
                let page_entry = format!("{line:?}, as JSON: {has_fields}\n{reason}");
                page.push(page_entry);
                let format = if has_fields {
                    InputFormat::JsonLines
                } else {
                    InputFormat::Text
                };
                let again = whole::bad(format, raw.as_bytes(), rules);
                assert_eq!((again.0, again.1), (shown, reason));
            }
        }
        let (_, reason, _) = whole::bad(InputFormat::Text, b"http://a/x\0y", ListRules::default());
        page.push(format!("with a NUL\n{reason}"));
        insta::assert_snapshot!("more_than_a_url", page.join("\n\n"));
    }

    #[test]
    fn a_nul_separated_entry_must_not_contain_a_line_break() {
        let list = b"http://a/1\nhttp://a/2\0http://a/3\n\0http://a/4\r\0http://a/5 # x\0";
        let found = whole::read(InputFormat::Nul, list, ListRules::default()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|entry| match entry {
                ListEntry::Job(job) => job.url.as_str(),
                ListEntry::Invalid(bad) => bad.shown.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            found,
            [
                "http://a/1\\nhttp://a/2",
                "http://a/3",
                "http://a/4",
                "http://a/5 # x"
            ]
        );
        let (_, reason, _) = whole::bad(InputFormat::Nul, b"http://a/1\rx\0", ListRules::default());
        insta::assert_snapshot!("line_end_before_a_nul", reason);
    }

    #[test]
    fn a_failed_argument_is_the_same_entry_when_read_again() {
        for (text, is_job) in [
            ("http://me:p w@a/b c", true),
            ("http://a/b\nhttp://c/", false),
            ("http://a/b\tc", false),
        ] {
            for has_fields in [false, true] {
                let rules = ListRules {
                    has_fields,
                    ..ListRules::default()
                };
                let place = InputPosition {
                    number: 0,
                    input: "argument".into(),
                    line: 1,
                };
                let format = if has_fields {
                    InputFormat::JsonLines
                } else {
                    InputFormat::Text
                };
                match parse_argument(text, place, &rules) {
                    ListEntry::Job(job) => {
                        assert!(is_job, "{text:?}");
                        let raw = job.raw.unwrap();
                        let again = whole::job(format, std::str::from_utf8(&raw).unwrap());
                        assert_eq!((again.url, again.credentials), (job.url, job.credentials));
                    }
                    ListEntry::Invalid(bad) => {
                        assert!(!is_job, "{text:?}");
                        let again = whole::read(format, &bad.raw, rules).unwrap();
                        assert!(matches!(again[..], [ListEntry::Invalid(_)]), "{again:?}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_line_without_scheme_gets_a_hint() {
        let lines: [&[u8]; 15] = [
            b"example.com",
            b"example.com:8080/x",
            b"//example.com/x",
            b"localhost/x",
            b"localhost:8080",
            b"127.0.0.1:8080/x",
            b"[::1]:80/x",
            b"a.localhost?x:1",
            b"localhost:8443",
            b"127.0.0.1.example:80",
            b"nonsense",
            b"ftp://example.com/",
            b"http://",
            b"http://{host}/x",
            b"http://\xff\xfe/",
        ];
        let page = lines.map(|line| format!("{}\n{}", line.escape_ascii(), reason(line)));
        insta::assert_snapshot!("no_urls", page.join("\n\n"));
    }

    #[test]
    fn a_password_is_stripped_from_the_url_and_never_shown() {
        let job = job("http://me:s%40cret@host/x#top");
        assert_eq!(job.url.as_str(), "http://host/x");
        let credentials = job.credentials.as_ref().unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("me", "s@cret")
        );
        assert!(!format!("{:?}", job.credentials).contains("cret"));
        for line in ["htp://me:secret@host/", "me:secret@example.com/x"] {
            let Some(ListEntry::Invalid(invalid)) = parsed(line.as_bytes()).pop() else {
                panic!("{line}");
            };
            assert!(!invalid.shown.contains("secret"), "{}", invalid.shown);
            assert!(!invalid.error.to_string().contains("secret"));
        }
    }

    #[test]
    fn the_raw_line_is_kept_only_where_it_differs() {
        assert!(job("http://a/x").raw.is_none());
        let kept = job("HTTP://A/x").raw.unwrap();
        assert_eq!(&**kept, b"HTTP://A/x".as_slice());
    }

    #[test]
    fn next_to_lists_of_other_formats_a_line_is_kept_as_json() {
        let rules = ListRules {
            has_fields: true,
            ..ListRules::default()
        };
        let found =
            whole::read(InputFormat::Text, b"http://me:pw@a/x#y\nno \"url\"", rules).unwrap();
        let raw: Vec<_> = found
            .iter()
            .map(|entry| match entry {
                ListEntry::Job(job) => &***job.raw.as_ref().unwrap(),
                ListEntry::Invalid(bad) => &**bad.raw,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(raw[0], br#"{"url":"http://me:pw@a/x#y"}"#);
        assert!(raw[1].starts_with(br#"{"--invalid":{"url":"no "#));
        assert!(raw[1].ends_with(br#","line":"no \"url\""}"#));
    }

    #[test]
    fn a_line_kept_as_json_is_the_same_url_or_still_invalid() {
        let rules = ListRules {
            has_fields: true,
            ..ListRules::default()
        };
        let text = "http://a/\u{e4}";
        let found = whole::read(InputFormat::Text, text.as_bytes(), rules.clone()).unwrap();
        let [ListEntry::Job(job)] = &found[..] else {
            panic!("{found:?}");
        };
        let kept = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
        assert_eq!(whole::job(InputFormat::JsonLines, kept).url, job.url);
        let long = format!("http://a/{}", "x".repeat(MAX_LINE_BYTES));
        let blank = "http://a/\u{a0}".as_bytes();
        for line in [b"http://a/\xff", long.as_bytes(), blank] {
            let (shown, reason, kept) = whole::bad(InputFormat::Text, line, rules.clone());
            let again = whole::bad(InputFormat::JsonLines, kept.as_bytes(), rules.clone());
            assert_eq!(again, (shown, reason, kept));
        }
    }

    #[test]
    fn a_fragment_of_json_shows_no_secrets() {
        for line in [
            r#""headers":{"authorization":"Bearer s3cret"}}"#,
            r#"[{"url":"http://a/","body":"s3cret"}]"#,
            r#"a.example,"headers":{"authorization":"s3cret"}"#,
            r#"{"url":"http://a/","Authorization":"s3cret""#,
        ] {
            for format in [InputFormat::Text, InputFormat::JsonLines] {
                let list = format!("{{}}\n{line}");
                let (shown, reason, _) = whole::bad(format, list.as_bytes(), ListRules::default());
                assert!(!shown.contains("s3cret"), "{shown}");
                assert!(!reason.contains("s3cret"), "{reason}");
            }
        }
    }

    #[test]
    fn a_comment_may_be_in_any_encoding() {
        let list = b"http://a/ # caf\xe9\n# caf\xe9\nhttp://b/\xe9\n";
        let found = whole::read(InputFormat::Text, list, ListRules::default()).unwrap();
        let [ListEntry::Job(job), ListEntry::Invalid(bad)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(job.url.as_str(), "http://a/");
        assert!(bad.error.to_string().contains("iconv -f latin1"));
    }

    #[test]
    fn a_line_of_json_gets_a_hint_and_shows_no_secrets() {
        let line = br#"{"url":"http://a/","headers":{"authorization":"Bearer s3cret"}}"#;
        let (shown, reason, _) = whole::bad(InputFormat::Text, line, ListRules::default());
        insta::assert_snapshot!("line_of_json", reason);
        assert_eq!(shown, r#"{"url":"http://a/",…"#);
    }

    #[test]
    fn a_line_that_is_too_long_is_still_invalid_when_read_again() {
        // The part that is cut off may be only spaces.
        for begin in ["http://a/", "\u{feff}http://a/"] {
            let line = format!("{begin}{}\r\n", " ".repeat(MAX_LINE_BYTES));
            for has_fields in [false, true] {
                let rules = ListRules {
                    has_fields,
                    ..ListRules::default()
                };
                let (_, reason, raw) =
                    whole::bad(InputFormat::Text, line.as_bytes(), rules.clone());
                let format = if has_fields {
                    InputFormat::JsonLines
                } else {
                    InputFormat::Text
                };
                let again = whole::read(format, format!("{raw}\n").as_bytes(), rules).unwrap();
                assert!(
                    matches!(again[..], [ListEntry::Invalid(_)]),
                    "{reason}: {again:?}"
                );
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_fails_alone() {
        let mut list = vec![b'x'; 3 * MAX_LINE_BYTES];
        list.extend_from_slice(b"\nhttp://a/\n");
        let found = parsed(&list);
        assert_eq!(found.len(), 2);
        assert!(matches!(&found[0], ListEntry::Invalid(invalid) if invalid.shown.len() < 3000));
        assert!(matches!(&found[1], ListEntry::Job(_)));
    }

    /// Bytes that do not start like a compressed list or UTF-16.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..2000).prop_filter("packed", |list| {
            !matches!(
                list.get(..2),
                Some(
                    [0x1f, 0x8b]
                        | [0x28, 0xb5]
                        | [0x50..=0x5f, 0x2a]
                        | [0xff, 0xfe]
                        | [0xfe, 0xff]
                        | [0, _]
                        | [_, 0]
                )
            )
        })
    }

    proptest! {
        #[test]
        fn any_bytes_give_at_most_one_entry_per_line_and_no_panic(list in text()) {
            let lines = list.split(|byte| matches!(byte, b'\r' | b'\n')).count();
            let found = parsed(&list).len();
            prop_assert!(found <= lines);
            prop_assert_eq!(whole::count(InputFormat::Text, &list).unwrap(), found);
        }
    }
}
