//! Record fields by name, as text, for `-w` and `--csv`.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Serialize;

use crate::model::{HashAlgorithm, Record, escape_control, write_json};

use super::text::status_of;

/// A field of a record, or a value derived from several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordField {
    /// Line number in the input.
    Line,
    /// Name of the input.
    Input,
    /// The URL.
    Url,
    /// Scheme, host and port of the URL.
    Origin,
    /// Whether it was fetched.
    Ok,
    /// Fetched, failed or skipped.
    Outcome,
    /// The status of the final response.
    Status,
    /// The status, or the error kind where that is more specific.
    Result,
    /// The error kind.
    Error,
    /// Why it failed.
    Message,
    /// Whether a later attempt may succeed.
    Transient,
    /// Number of requests: first attempts, retries and redirect hops.
    Attempts,
    /// Number of free resends, which are not attempts.
    Resends,
    /// The URL of the final response.
    FinalUrl,
    /// The URL of the final response; without one, the URL requested.
    EffectiveUrl,
    /// Number of redirects followed.
    Redirects,
    /// Number of the mirror that was used last.
    Mirror,
    /// HTTP version.
    Http,
    /// `Content-Type`.
    ContentType,
    /// Content coding that was not decoded.
    ContentEncoding,
    /// Length of the decoded body, in bytes.
    Bytes,
    /// File of the saved body.
    File,
    /// Number of the pack.
    PackNumber,
    /// Offset of the response in the pack.
    PackOffset,
    /// Length of the response in the pack.
    PackLength,
    /// End of what the URL added to the pack.
    PackEnd,
    /// Number of the pack of that end.
    PackEndNumber,
    /// MD5 of the body.
    Md5,
    /// SHA-1 of the body.
    Sha1,
    /// SHA-256 of the body.
    Sha256,
    /// SHA-512 of the body.
    Sha512,
    /// `ETag`.
    Etag,
    /// `Last-Modified`.
    LastModified,
    /// The file name in `Content-Disposition`.
    Filename,
    /// `X-Robots-Tag`.
    XRobotsTag,
    /// `Content-Usage`, of the response and of robots.txt.
    ContentUsage,
    /// `TDM-Reservation`.
    TdmReservation,
    /// Whether the file was there already.
    Adopted,
    /// How the content changed since the last run.
    Change,
    /// Hash of a request that is not a plain GET.
    Request,
    /// Offset at which the final attempt resumed the body.
    ResumedAt,
    Segments,
    /// When the job was settled.
    At,
    /// Start of the final attempt.
    StartedMs,
    /// Time from there to the response head.
    TtfbMs,
    /// Time from there to the end of the attempt.
    ElapsedMs,
    /// Time from the start of the first attempt to the end of the last.
    TotalMs,
    /// Whether a fault was simulated.
    Simulated,
    /// The body, if it is UTF-8.
    Body,
    /// The body in base64, if it is not.
    BodyBase64,
    /// `ttfb_ms` in seconds.
    TtfbSeconds,
    /// `elapsed_ms` in seconds.
    ElapsedSeconds,
    /// The columns of the input line as JSON.
    Columns,
    /// The complete record as JSON.
    Json,
}

/// The CSV columns, in record order; newer ones are at the end.
pub(super) const COLUMNS: [(&str, RecordField); 47] = [
    ("line", RecordField::Line),
    ("input", RecordField::Input),
    ("url", RecordField::Url),
    ("ok", RecordField::Ok),
    ("outcome", RecordField::Outcome),
    ("status", RecordField::Status),
    ("error", RecordField::Error),
    ("message", RecordField::Message),
    ("transient", RecordField::Transient),
    ("attempts", RecordField::Attempts),
    ("final_url", RecordField::FinalUrl),
    ("redirects", RecordField::Redirects),
    ("http", RecordField::Http),
    ("content_type", RecordField::ContentType),
    ("bytes", RecordField::Bytes),
    ("file", RecordField::File),
    ("sha256", RecordField::Sha256),
    ("etag", RecordField::Etag),
    ("last_modified", RecordField::LastModified),
    ("change", RecordField::Change),
    ("resumed_at", RecordField::ResumedAt),
    ("at", RecordField::At),
    ("started_ms", RecordField::StartedMs),
    ("ttfb_ms", RecordField::TtfbMs),
    ("elapsed_ms", RecordField::ElapsedMs),
    ("total_ms", RecordField::TotalMs),
    ("simulated", RecordField::Simulated),
    // Newer columns go last, for scripts that count columns.
    ("resends", RecordField::Resends),
    ("content_encoding", RecordField::ContentEncoding),
    ("filename", RecordField::Filename),
    ("adopted", RecordField::Adopted),
    ("md5", RecordField::Md5),
    ("sha1", RecordField::Sha1),
    ("sha512", RecordField::Sha512),
    ("mirror", RecordField::Mirror),
    ("pack_n", RecordField::PackNumber),
    ("pack_offset", RecordField::PackOffset),
    ("pack_length", RecordField::PackLength),
    ("pack_end", RecordField::PackEnd),
    ("pack_end_n", RecordField::PackEndNumber),
    ("request", RecordField::Request),
    ("body", RecordField::Body),
    ("body_base64", RecordField::BodyBase64),
    ("x_robots_tag", RecordField::XRobotsTag),
    ("content_usage", RecordField::ContentUsage),
    ("tdm_reservation", RecordField::TdmReservation),
    ("segments", RecordField::Segments),
];

/// Further names for templates, including those that curl's `-w` has for the same values.
const ALIASES: [(&str, RecordField); 13] = [
    ("columns", RecordField::Columns),
    ("json", RecordField::Json),
    ("origin", RecordField::Origin),
    ("result", RecordField::Result),
    ("http_code", RecordField::Status),
    ("response_code", RecordField::Status),
    ("url_effective", RecordField::EffectiveUrl),
    ("num_redirects", RecordField::Redirects),
    ("http_version", RecordField::Http),
    ("size_download", RecordField::Bytes),
    ("errormsg", RecordField::Message),
    ("time_starttransfer", RecordField::TtfbSeconds),
    ("time_total", RecordField::ElapsedSeconds),
];

impl RecordField {
    /// Returns the field with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::all()
            .find(|(known, _)| *known == name)
            .map(|(_, field)| field)
    }

    /// Returns all names and their fields.
    pub(super) fn all() -> impl Iterator<Item = (&'static str, Self)> {
        COLUMNS.into_iter().chain(ALIASES)
    }

    /// Returns the value as text without control characters, so that it stays on one line; empty if
    /// unknown.
    pub(super) fn text(self, record: &Record) -> Cow<'_, str> {
        let error = record.error.as_ref();
        match self {
            Self::Line => number(Some(record.line)),
            Self::Input => escape_control(&record.input),
            Self::Url => escape_control(&record.url),
            Self::Origin => escape_control(origin(&record.url)),
            Self::Ok => flag(record.ok).into(),
            Self::Outcome => record.outcome.as_str().into(),
            Self::Status => number(record.status.map(u64::from)),
            Self::Result => result(record).into(),
            Self::Error => error.map_or("", |error| error.kind.as_str()).into(),
            Self::Message => escape_control(error.map_or("", |error| &error.message)),
            Self::Transient => error.map_or("", |error| flag(error.transient)).into(),
            Self::Attempts => number(Some(record.attempts.into())),
            Self::Resends => number(Some(record.resends.into())),
            Self::FinalUrl => text(&record.final_url),
            Self::EffectiveUrl => escape_control(record.final_url.as_ref().unwrap_or(&record.url)),
            Self::Redirects => number(Some(record.redirects.into())),
            Self::Mirror => number(record.mirror.map(u64::from)),
            Self::Http => text(&record.http),
            Self::ContentType => text(&record.content_type),
            Self::ContentEncoding => text(&record.content_encoding),
            Self::Bytes => number(record.bytes),
            Self::File => text(&record.file),
            Self::PackNumber => number(record.pack.and_then(|place| place.n).map(u64::from)),
            Self::PackOffset => number(record.pack.map(|place| place.offset)),
            Self::PackLength => number(record.pack.map(|place| place.length)),
            Self::PackEnd => number(record.pack_end),
            Self::PackEndNumber => number(record.pack_end_n.map(u64::from)),
            Self::Md5 => hash(record, HashAlgorithm::Md5),
            Self::Sha1 => hash(record, HashAlgorithm::Sha1),
            Self::Sha256 => hash(record, HashAlgorithm::Sha256),
            Self::Sha512 => hash(record, HashAlgorithm::Sha512),
            Self::Etag => text(&record.etag),
            Self::LastModified => text(&record.last_modified),
            Self::Filename => text(&record.filename),
            Self::XRobotsTag => text(&record.x_robots_tag),
            Self::ContentUsage => text(&record.content_usage),
            Self::TdmReservation => text(&record.tdm_reservation),
            Self::Adopted => flag(record.adopted).into(),
            Self::Change => record.change.map_or("", |change| change.as_str()).into(),
            Self::Request => text(&record.request),
            Self::ResumedAt => number(record.resumed_at),
            Self::Segments => number(record.segments.map(u64::from)),
            Self::At => record.at.as_str().into(),
            Self::StartedMs => number(record.started_ms),
            Self::TtfbMs => number(record.ttfb_ms),
            Self::ElapsedMs => number(record.elapsed_ms),
            Self::TotalMs => number(record.total_ms),
            Self::Simulated => flag(record.simulated).into(),
            Self::Body => text(&record.body),
            Self::BodyBase64 => text(&record.body_base64),
            Self::TtfbSeconds => seconds(record.ttfb_ms),
            Self::ElapsedSeconds => seconds(record.elapsed_ms),
            Self::Columns => record.columns.as_ref().map_or(Cow::Borrowed(""), json_text),
            Self::Json => json_text(record),
        }
    }

    /// Appends the value as text.
    pub(super) fn write(self, record: &Record, line: &mut Vec<u8>) {
        line.extend_from_slice(self.text(record).as_bytes());
    }
}

fn result(record: &Record) -> String {
    status_of(record, &mut itoa::Buffer::new()).to_owned()
}

fn number(number: Option<u64>) -> Cow<'static, str> {
    number.map_or(Cow::Borrowed(""), |number| Cow::Owned(number.to_string()))
}

fn text(text: &Option<String>) -> Cow<'_, str> {
    escape_control(text.as_deref().unwrap_or_default())
}

fn hash(record: &Record, algorithm: HashAlgorithm) -> Cow<'static, str> {
    record.hashes().text(algorithm).into()
}

fn json_text(value: &impl Serialize) -> Cow<'static, str> {
    let mut json = Vec::new();
    // Serializing a record cannot fail.
    let _ = write_json(&mut json, value);
    String::from_utf8(json).unwrap_or_default().into()
}

fn flag(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn seconds(ms: Option<u64>) -> Cow<'static, str> {
    let Some(ms) = ms else {
        return "".into();
    };
    let mut text = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write!(text, "{}.{:03}", ms / 1000, ms % 1000);
    String::from_utf8(text).unwrap_or_default().into()
}

/// Returns scheme, host and port of a URL.
pub(super) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..host + length).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::InputPosition;

    #[test]
    fn the_origin_is_everything_before_the_path() {
        assert_eq!(origin("http://a.test:8080/x/y?z"), "http://a.test:8080");
        assert_eq!(origin("https://a.test"), "https://a.test");
        assert_eq!(origin("https://a.test?x=/"), "https://a.test");
        assert_eq!(origin("nonsense"), "nonsense");
    }

    /// Fails if a new field of the record has no name in templates, no column, or no line in the docs.
    #[test]
    fn the_columns_are_the_fields_of_the_record() {
        let place = InputPosition::first();
        let record = Record::for_line(&place, "http://a/".into());
        let shown = format!("{record:#?}");
        let fields = shown.lines().filter_map(|line| line.strip_prefix("    "));
        let fields = fields.filter_map(|line| line.split_once(": "));
        let fields: BTreeSet<_> = fields.map(|(name, _)| name).collect();
        let docs = include_str!("../../docs/results.md");
        let (_, docs) = docs.split_once("## What is in a record?").unwrap();
        let (docs, _) = docs.split_once("\n## ").unwrap();
        let rows = docs.lines().filter(|line| line.starts_with("| `"));
        let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`'));
        let names: BTreeSet<_> = names.map(|name| name.trim_matches([' ', ','])).collect();
        let names: BTreeSet<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(fields, names, "the docs name other fields");
        for name in names {
            // The position has two parts, and the kept columns have columns of their own.
            let named = if name == "pack" { "pack_offset" } else { name };
            assert!(RecordField::named(named).is_some(), "%{{{name}}}");
            let mut columns = COLUMNS.iter().map(|(column, _)| *column);
            assert!(
                name == "columns" || columns.any(|column| column == named),
                "{name}"
            );
        }
    }

    #[test]
    fn control_characters_stay_inside_their_line() {
        let place = InputPosition {
            number: 0,
            input: "a\nb".into(),
            line: 1,
        };
        let mut record = Record::for_line(&place, "http://a/".into());
        record.content_type = Some("text/html\u{1b}[2J".into());
        record.body = Some("a\r\n\tb".into());
        record.elapsed_ms = Some(1_234);
        for (name, field) in RecordField::all() {
            let text = field.text(&record);
            assert!(!text.chars().any(char::is_control), "{name}: {text}");
        }
        assert_eq!(RecordField::ElapsedSeconds.text(&record), "1.234");
    }
}
