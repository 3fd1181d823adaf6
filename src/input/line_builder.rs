//! Builds jobs from the fields of a line. Shared by all formats.

use std::io;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::checksum::add_field;
use super::flaw::ListFlaw;
use super::list::ListRules;
use super::url::{ParsedUrl, UrlParser, parse_url};
use crate::model::{
    Columns, FetchError, Hint, InputPosition, InvalidLine, Job, LineOptions, ListEntry, Mirror,
    RelPath, parse_method,
};

/// Headers that frame the request. The client sets them itself; a wrong value would break the
/// connection.
const FRAMING_HEADERS: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Returns why the result of a request that is not a plain GET is no line of a list.
pub(super) fn no_request() -> ListFlaw {
    ListFlaw::with_hint(
        "a record does not contain its original request",
        Hint::UseFailedLines,
    )
}

/// Returns the reason in the message of an invalid line's record.
pub(super) fn prior_reason(message: &str) -> String {
    let reason = message.strip_prefix("invalid input: ");
    reason.unwrap_or(message).to_owned()
}

/// What is wrong with text in another encoding, mostly one of Windows.
pub(super) const NOT_UTF8: &str =
    "not valid UTF-8; if the list is in Latin-1, convert it: iconv -f latin1 -t utf8 FILE";

/// First field of a JSON line for `--failed` that stands for an invalid line of another format. No
/// data has a field of this name.
pub(super) const INVALID_FIELD: &str = "--invalid";

/// Maximum number of mirrors of a line.
const MAX_MIRRORS: usize = 16;

/// A valid line: its URL, and its own options, if any.
pub(super) type ParsedLine = (ParsedUrl, Option<Box<LineOptions>>);

/// Creates a job. `raw` is the line for `--failed FILE`, if that differs from the URL.
pub(super) fn job(
    place: InputPosition,
    (parsed, own_options): ParsedLine,
    raw: Option<Box<[u8]>>,
) -> ListEntry {
    let (url, credentials) = parsed;
    ListEntry::Job(Job {
        position: place,
        url,
        credentials,
        raw: raw.map(|raw| Box::new(raw.into())),
        options: own_options,
    })
}

/// Creates an invalid entry.
pub(super) fn invalid(
    place: InputPosition,
    shown: String,
    raw: Box<[u8]>,
    flaw: impl Into<ListFlaw>,
) -> ListEntry {
    let ListFlaw { reason, hint } = flaw.into();
    ListEntry::Invalid(InvalidLine {
        position: place,
        shown,
        raw: Box::new(raw.into()),
        error: FetchError::InvalidUrl { reason, hint },
        columns: None,
    })
}

/// Adds the columns that the record repeats.
pub(super) fn with_columns(mut entry: ListEntry, columns: Option<Columns>) -> ListEntry {
    match &mut entry {
        _ if columns.is_none() => {}
        ListEntry::Job(job) => job.options.get_or_insert_default().columns = columns,
        ListEntry::Invalid(line) => line.columns = columns,
        // Neither comes from a line that has columns.
        ListEntry::Sitemap(_) | ListEntry::Failed(_) => {}
    }
    entry
}

/// Returns a line that is only a URL as a JSON line. Non-ASCII whitespace is kept, because it is
/// part of the URL in every format.
pub(super) fn url_as_json(url: &str, rules: &ListRules) -> Box<[u8]> {
    marked(&json!({ "url": url }), url.len(), "url", rules)
}

/// What a JSON line says of an invalid line of another format, in its field [`INVALID_FIELD`]. Read
/// again, it is the same failure: only its own list could tell why it is invalid.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InvalidMark {
    /// The line for output.
    pub url: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
}

impl InvalidMark {
    /// Returns the JSON line, with the content of the invalid one in `field`. It has no `url`, so
    /// that nothing else takes it for a request.
    fn line(&self, field: &str, content: &impl Serialize) -> Box<[u8]> {
        // Serializing text cannot fail.
        let mark = serde_json::to_string(self).unwrap_or_default();
        let mut line = format!("{{\"{INVALID_FIELD}\":{mark},\"{field}\":").into_bytes();
        line.reserve_exact(json_length(content) + 1);
        let _ = serde_json::to_writer(&mut line, content);
        line.push(b'}');
        line.into()
    }

    /// Creates the entry, with the line that it has for `--failed FILE`.
    pub(super) fn entry(self, place: InputPosition, raw: Box<[u8]>) -> ListEntry {
        let Self {
            url,
            reason,
            hint,
            columns,
        } = self;
        let entry = invalid(place, url, raw, ListFlaw { reason, hint });
        with_columns(entry, columns)
    }
}

/// Creates an invalid entry whose line for `--failed FILE` is a JSON line.
pub(super) fn invalid_as_json(
    place: InputPosition,
    shown: String,
    (field, content): (&str, &impl Serialize),
    flaw: impl Into<ListFlaw>,
    columns: Option<Columns>,
) -> ListEntry {
    let ListFlaw { reason, hint } = flaw.into();
    let mark = InvalidMark {
        url: shown,
        reason,
        hint,
        columns,
    };
    let raw = mark.line(field, content);
    mark.entry(place, raw)
}

/// Creates the entry of an invalid line for which a JSON line is kept.
pub(super) fn bad_as_json(
    place: InputPosition,
    shown: String,
    line: &[u8],
    flaw: impl Into<ListFlaw>,
) -> ListEntry {
    let content = JsonBytes::new(line.trim_ascii());
    invalid_as_json(place, shown, ("line", &content), flaw, None)
}

/// Bytes from which a line is large: its JSON must be neither much longer nor in memory twice.
const LARGE_BYTES: usize = 1 << 20;

/// Bytes as a JSON value: text, or base64 if they are not UTF-8, or large and shorter that way.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum JsonBytes<'a> {
    Text(&'a str),
    Other {
        #[serde(serialize_with = "as_base64")]
        base64: &'a [u8],
    },
}

impl<'a> JsonBytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() < LARGE_BYTES || escaped_length(text) <= coded_length(text) => {
                Self::Text(text)
            }
            _ => Self::Other { base64: bytes },
        }
    }
}

/// Serializes bytes as base64.
pub(super) fn as_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(bytes, &STANDARD))
}

/// Returns the length of a text in JSON, in which a control character may take six bytes.
fn escaped_length(text: &str) -> usize {
    let escaped = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | b'\x08' | b'\x0c' => 2,
        ..=b'\x1f' => 6,
        _ => 1,
    });
    escaped.sum()
}

/// Returns the length of a text in base64.
fn coded_length(text: &str) -> usize {
    text.len().div_ceil(3) * 4
}

/// Returns fields as a JSON line whose URL is in the field `url_field`, with any `--url-column`.
/// `source` is the number of bytes that they have in their list.
pub(super) fn marked(
    fields: &impl Serialize,
    source: usize,
    url_field: &str,
    rules: &ListRules,
) -> Box<[u8]> {
    let mut line = Vec::new();
    if source >= LARGE_BYTES {
        line.reserve_exact(json_length(fields));
    }
    // Serializing strings and numbers cannot fail.
    let _ = serde_json::to_writer(&mut line, fields);
    rules.columns.mark_url(&mut line, url_field);
    line.into()
}

fn json_length(value: &impl Serialize) -> usize {
    let mut length = ByteCount(0);
    let _ = serde_json::to_writer(&mut length, value);
    length.0
}

/// Counts what is written.
struct ByteCount(usize);

impl io::Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Builds a line field by field. Errors are messages that name the field.
pub(super) struct LineBuilder<'a> {
    rules: &'a ListRules,
    parser: &'a mut UrlParser,
    url: Option<ParsedUrl>,
    own_options: LineOptions,
}

impl<'a> LineBuilder<'a> {
    pub(super) fn new(rules: &'a ListRules, parser: &'a mut UrlParser) -> Self {
        Self {
            rules,
            parser,
            url: None,
            own_options: LineOptions::default(),
        }
    }

    pub(super) fn url(&mut self, text: &str) -> Result<(), ListFlaw> {
        let url = self.rules.complete(text.trim_ascii());
        self.url = Some(self.parser.parse(&url)?);
        Ok(())
    }

    pub(super) fn file(&mut self, text: &str) -> Result<(), String> {
        let file = RelPath::parse(text);
        self.own_options.file = Some(file.map_err(|why| format!("invalid file: {why}"))?);
        Ok(())
    }

    /// Takes the file back: the body gets the name that its URL gives.
    pub(super) fn forget_file(&mut self) {
        self.own_options.file = None;
    }

    /// Adds the hashes in one of the [`HASH_FIELDS`](super::checksum::HASH_FIELDS).
    pub(super) fn hash(&mut self, field: &str, text: &str) -> Result<(), String> {
        let hashes = self.own_options.hashes.get_or_insert_default();
        add_field(hashes, field, text)
    }

    /// Sets the expected media types. A value without a slash is no media type but another `type`,
    /// which many tables have.
    pub(super) fn types(&mut self, text: &str) -> Result<(), String> {
        if text.contains('/') {
            let types = text.parse();
            self.own_options.types = Some(types.map_err(|why| format!("invalid type: {why}"))?);
        }
        Ok(())
    }

    /// Adds other URLs of the same body.
    pub(super) fn mirrors<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t str>,
    ) -> Result<(), String> {
        let mut mirrors = Vec::new();
        for (number, text) in (1..).zip(texts) {
            if number > MAX_MIRRORS {
                return Err(format!("more than {MAX_MIRRORS} mirrors"));
            }
            let parsed = parse_url(&self.rules.complete(text.trim_ascii()));
            let (url, credentials) =
                parsed.map_err(|why| format!("invalid mirror {number}: {why}"))?;
            mirrors.push(Mirror { url, credentials });
        }
        self.own_options.mirrors = mirrors.into();
        Ok(())
    }

    pub(super) fn size(&mut self, size: Option<u64>) -> Result<(), String> {
        let size = size.ok_or("size must be a whole number of bytes")?;
        self.own_options.size = Some(size);
        Ok(())
    }

    pub(super) fn method(&mut self, text: &str) -> Result<(), String> {
        let method = parse_method(text).map_err(|why| format!("invalid method: {why}"))?;
        self.own_options.method = Some(method);
        Ok(())
    }

    pub(super) fn header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name: HeaderName = name.parse().map_err(|_| "invalid header name")?;
        if FRAMING_HEADERS.contains(&name) {
            return Err(format!("header {name} cannot be set per line"));
        }
        let mut value: HeaderValue = value
            .trim_matches([' ', '\t'])
            .parse()
            .map_err(|_| format!("invalid characters in header {name}"))?;
        // Any header may contain a secret token.
        value.set_sensitive(true);
        self.own_options
            .headers
            .try_append(name, value)
            .map_err(|_| "too many headers")?;
        Ok(())
    }

    pub(super) fn body(&mut self, body: impl Into<Bytes>) {
        self.own_options.body = Some(body.into());
    }

    pub(super) fn build(self) -> Result<ParsedLine, String> {
        let url = self.url.ok_or("missing url")?;
        let own_options = self.own_options;
        let method = own_options.method.as_ref();
        let is_read_only = own_options.body.is_none() && method.is_none_or(Method::is_safe);
        if !own_options.mirrors.is_empty() && !is_read_only {
            return Err("mirrors need GET or HEAD without a body".to_owned());
        }
        if self.rules.saves_files && own_options.overrides_request() && own_options.file.is_none() {
            return Err("a line with its own method, headers or body must set file".to_owned());
        }
        Ok((
            url,
            (own_options != LineOptions::default()).then(|| Box::new(own_options)),
        ))
    }
}
