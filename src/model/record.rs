//! The JSON line: one per settled job, schema 1. Later versions only add fields.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ErrorKind, FetchError, InputPosition, OutcomeName, PackPlace, Sha256};

/// Why a job failed, as records say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordError {
    /// The stable name.
    pub kind: ErrorKind,
    /// The message for people.
    pub message: String,
    /// Whether a later try may well succeed.
    pub transient: bool,
}

impl From<&FetchError> for RecordError {
    fn from(error: &FetchError) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
            transient: error.is_transient(),
        }
    }
}

/// What became of a page since the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentChange {
    /// It was not there before.
    New,
    /// It is another one.
    Changed,
    /// It is the same.
    Unchanged,
    /// It was there before, and is no more (404, 410).
    Gone,
}

impl ContentChange {
    /// Every one, in the order of the summary.
    pub const ALL: [Self; 4] = [Self::New, Self::Changed, Self::Unchanged, Self::Gone];

    /// The name in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Gone => "gone",
        }
    }
}

/// What became of one input line. Absent means unknown; nothing is ever made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Line in its input, from 1, comments included.
    pub line: u64,
    /// Name of the input.
    pub input: Arc<str>,
    /// The URL as it was parsed, without userinfo and fragment; for an invalid line, the line.
    pub url: String,
    /// Whether it was fetched, or had been.
    pub ok: bool,
    /// Fetched, failed or skipped.
    pub outcome: OutcomeName,
    /// Status of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordError>,
    /// Requests sent: first tries, retries and redirect hops; not those in `resends`.
    pub attempts: u32,
    /// Requests sent again free of charge, where there were any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resends: u32,
    /// The URL that answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_url: Option<String>,
    /// Redirects followed.
    pub redirects: u32,
    /// HTTP version of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `Content-Type` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The content coding that the body still has: that of a packed file, one that is not known
    /// here, or all of them with `--raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Length of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The file of the body, relative to the output folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in the pack the response stands; of a record that says it was lost, where it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackPlace>,
    /// Hash of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The deciding attempt began at this byte of the body: what is before came earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<u64>,
    /// What became of the page since the run before, with `--refresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ContentChange>,
    /// Tells apart requests to one URL, where the line has a request of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// `ETag` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// When the job reached its end, UTC, RFC 3339 with milliseconds.
    pub at: String,
    /// When the deciding attempt started, in ms since the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// Time to the head of the deciding attempt, connecting included, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttfb_ms: Option<u64>,
    /// Duration of the deciding attempt, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// From the start of the first attempt to the end of the last, waits included, in
    /// ms; present when there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
    /// Present and true when any attempt met a simulated fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// The body as text, with `--body` and when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64 (RFC 4648 §4), with `--body` and when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Record {
    /// A record that says nothing yet but which line it is of: failed, nothing sent.
    #[must_use]
    pub fn for_line(place: &InputPosition, url: String) -> Self {
        Self {
            line: place.line,
            input: Arc::clone(&place.input),
            url,
            ok: false,
            outcome: OutcomeName::Failed,
            status: None,
            error: None,
            attempts: 0,
            resends: 0,
            final_url: None,
            redirects: 0,
            http: None,
            content_type: None,
            content_encoding: None,
            bytes: None,
            file: None,
            pack: None,
            sha256: None,
            resumed_at: None,
            change: None,
            request: None,
            etag: None,
            last_modified: None,
            at: String::new(),
            started_ms: None,
            ttfb_ms: None,
            elapsed_ms: None,
            total_ms: None,
            simulated: false,
            body: None,
            body_base64: None,
        }
    }

    /// Puts the body into the record: as text when it is UTF-8, else in base64.
    pub fn attach_body(&mut self, body: &Bytes) {
        match std::str::from_utf8(body) {
            Ok(text) => self.body = Some(text.to_owned()),
            Err(_) => {
                self.body_base64 = Some(base64::engine::general_purpose::STANDARD.encode(body));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let place = InputPosition {
            number: 6,
            input: "urls.txt".into(),
            line: 7,
        };
        Record {
            ok: true,
            outcome: OutcomeName::Fetched,
            status: Some(200),
            attempts: 1,
            final_url: Some("http://example.com/".into()),
            http: Some("1.1".into()),
            content_type: Some("text/html".into()),
            bytes: Some(3),
            at: "2026-11-22T10:00:00.123Z".into(),
            started_ms: Some(41),
            ttfb_ms: Some(12),
            elapsed_ms: Some(15),
            ..Record::for_line(&place, "http://example.com/".into())
        }
    }

    #[test]
    fn a_record_is_one_line_without_empty_fields_and_reads_back() {
        let line = serde_json::to_string(&sample()).unwrap();
        assert_eq!(
            line,
            r#"{"line":7,"input":"urls.txt","url":"http://example.com/","ok":true,"outcome":"fetched","status":200,"attempts":1,"final_url":"http://example.com/","redirects":0,"http":"1.1","content_type":"text/html","bytes":3,"at":"2026-11-22T10:00:00.123Z","started_ms":41,"ttfb_ms":12,"elapsed_ms":15}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), sample());
    }

    #[test]
    fn a_body_is_text_or_base64() {
        let mut record = sample();
        record.attach_body(&Bytes::from_static(b"abc"));
        assert_eq!(record.body.as_deref(), Some("abc"));
        let mut record = sample();
        record.attach_body(&Bytes::from_static(b"\xff\x00"));
        assert_eq!(record.body, None);
        assert_eq!(record.body_base64.as_deref(), Some("/wA="));
    }
}
