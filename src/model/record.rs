//! The JSON record: one line per settled job, schema 1. Later versions only add fields.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    BodyHashes, Columns, ErrorKind, FetchError, InputPosition, Md5, ObjectWriter, OutcomeName,
    PackLimits, PackPlace, PackPosition, Sha1, Sha256, Sha512,
};

/// The error of a failed job, as in records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordError {
    /// The kind, by its stable name.
    pub kind: ErrorKind,
    /// The message for users.
    pub message: String,
    /// Whether a later attempt may well succeed.
    pub transient: bool,
}

impl RecordError {
    /// Describes an error with the message that `text` makes of it.
    pub(crate) fn new(error: &FetchError, text: ErrorText) -> Self {
        Self {
            kind: error.kind(),
            message: text(error),
            transient: error.is_transient(),
        }
    }
}

/// Makes the message of an error in a record. A program may add what helps.
pub(crate) type ErrorText = fn(&FetchError) -> String;

/// How a page changed since the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContentChange {
    /// The last run did not have it.
    New,
    /// Its content changed.
    Changed,
    /// Its content is the same.
    Unchanged,
    /// The last run had it; the server now says 404 or 410.
    Gone,
}

impl ContentChange {
    /// All variants, in the order of the summary.
    pub const ALL: [Self; 4] = [Self::New, Self::Changed, Self::Unchanged, Self::Gone];

    /// Returns the name in records.
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

/// The result of one input line. An absent field means unknown; no value is ever made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Line number in its input, from 1, comments included.
    pub line: u64,
    /// Name of the input.
    pub input: Arc<str>,
    /// The URL as parsed, without userinfo and fragment; for an invalid line, the line itself.
    pub url: String,
    /// Whether it was fetched, by this run or an earlier one.
    pub ok: bool,
    /// Fetched, failed or skipped.
    pub outcome: OutcomeName,
    /// Status of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordError>,
    /// Requests sent: first attempts, retries and redirect hops, but not `resends`, nor further
    /// `segments` at the same time.
    pub attempts: u32,
    /// Free resends: requests repeated without using up a retry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resends: u32,
    /// The URL of the last response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_url: Option<String>,
    /// Redirects followed by the last attempt: each retry starts at the URL of the list.
    pub redirects: u32,
    /// Number of the mirror that was used last, from 1; absent for the URL itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<u32>,
    /// HTTP version of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `Content-Type` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The content coding that the body still has: that of a compressed file, an unsupported one,
    /// or any with `--raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Length of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The file of the body, relative to the output directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Position of the response in the pack; of a lost response, its former position. If the body
    /// is the same as an earlier one of the run, the position of that response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackPlace>,
    /// End of what this URL added to the pack, if that is beyond `pack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack_end: Option<u64>,
    /// Number of the pack that `pack_end` is in, if the run fills several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack_end_n: Option<u32>,
    /// MD5 of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
    /// SHA-1 of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<Sha1>,
    /// SHA-256 of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// SHA-512 of the whole decoded body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<Sha512>,
    /// Present and true if nothing was sent, because the file was there already with the size and
    /// hash of the line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The byte offset at which the final attempt resumed the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<u64>,
    /// How many requests brought parts of the body, if it came in segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<u32>,
    /// How the page changed since the last run, with `--refresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ContentChange>,
    /// Hash that distinguishes requests to the same URL, if the request is not a plain GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// `ETag` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// The file name in `Content-Disposition` of the final response, without directories. The file
    /// is not called so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// `X-Robots-Tag` of the final response, several joined by `, `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_robots_tag: Option<String>,
    /// `Content-Usage` (IETF AIPREF drafts) of the final response, then that of robots.txt, joined by
    /// `, `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_usage: Option<String>,
    /// `TDM-Reservation` of the final response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tdm_reservation: Option<String>,
    /// When the job was settled: UTC, RFC 3339 with milliseconds.
    pub at: String,
    /// When the final attempt started, in ms since the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// Time to the response head of the final attempt, including connecting, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttfb_ms: Option<u64>,
    /// Duration of the final attempt, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Time from the start of the first attempt to the end of the last, including waits, in ms;
    /// present if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
    /// Present and true if any attempt met a simulated fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// The columns or fields of the input line that the run keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// The body as text, with `--body`, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64 (RFC 4648 §4), with `--body`, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Record {
    /// Creates the record of a line for which nothing was sent: failed, all else unknown.
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
            mirror: None,
            http: None,
            content_type: None,
            content_encoding: None,
            bytes: None,
            file: None,
            pack: None,
            pack_end: None,
            pack_end_n: None,
            md5: None,
            sha1: None,
            sha256: None,
            sha512: None,
            adopted: false,
            resumed_at: None,
            segments: None,
            change: None,
            request: None,
            etag: None,
            last_modified: None,
            filename: None,
            x_robots_tag: None,
            content_usage: None,
            tdm_reservation: None,
            at: String::new(),
            started_ms: None,
            ttfb_ms: None,
            elapsed_ms: None,
            total_ms: None,
            simulated: false,
            columns: None,
            body: None,
            body_base64: None,
        }
    }

    /// Appends the record as JSON: the same as [`write_json`](super::write_json), but faster. A test
    /// that names all fields compares them.
    ///
    /// # Errors
    /// The errors of the serializer; serializing a record does not fail in practice.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut object = ObjectWriter::new(out);
        object.number("line", Some(self.line));
        object.text("input", Some(&self.input))?;
        object.text("url", Some(&self.url))?;
        object.flag("ok", self.ok);
        object.text("outcome", Some(self.outcome.as_str()))?;
        object.number("status", self.status.map(u64::from));
        object.value("error", self.error.as_ref())?;
        object.number("attempts", Some(self.attempts.into()));
        object.number("resends", Some(self.resends.into()).filter(|n| *n > 0));
        object.text("final_url", self.final_url.as_deref())?;
        object.number("redirects", Some((self.redirects).into()));
        object.number("mirror", self.mirror.map(u64::from));
        object.text("http", self.http.as_deref())?;
        object.text("content_type", self.content_type.as_deref())?;
        object.text("content_encoding", self.content_encoding.as_deref())?;
        object.number("bytes", self.bytes);
        object.text("file", self.file.as_deref())?;
        object.value("pack", self.pack.as_ref())?;
        object.number("pack_end", self.pack_end);
        object.number("pack_end_n", self.pack_end_n.map(u64::from));
        object.value("md5", self.md5.as_ref())?;
        object.value("sha1", self.sha1.as_ref())?;
        object.value("sha256", self.sha256.as_ref())?;
        object.value("sha512", self.sha512.as_ref())?;
        if self.adopted {
            object.flag("adopted", true);
        }
        object.number("resumed_at", self.resumed_at);
        object.number("segments", self.segments.map(u64::from));
        object.text("change", self.change.map(ContentChange::as_str))?;
        object.text("request", self.request.as_deref())?;
        object.text("etag", self.etag.as_deref())?;
        object.text("last_modified", self.last_modified.as_deref())?;
        object.text("filename", self.filename.as_deref())?;
        object.text("x_robots_tag", self.x_robots_tag.as_deref())?;
        object.text("content_usage", self.content_usage.as_deref())?;
        object.text("tdm_reservation", self.tdm_reservation.as_deref())?;
        object.text("at", Some(&self.at))?;
        object.number("started_ms", self.started_ms);
        object.number("ttfb_ms", self.ttfb_ms);
        object.number("elapsed_ms", self.elapsed_ms);
        object.number("total_ms", self.total_ms);
        if self.simulated {
            object.flag("simulated", true);
        }
        object.value("columns", self.columns.as_ref())?;
        object.text("body", self.body.as_deref())?;
        object.text("body_base64", self.body_base64.as_deref())?;
        object.end();
        Ok(())
    }

    /// Returns the hashes of the body, as far as known.
    #[must_use]
    pub(crate) fn hashes(&self) -> BodyHashes {
        BodyHashes {
            md5: self.md5,
            sha1: self.sha1,
            sha256: self.sha256,
            sha512: self.sha512,
        }
    }

    /// Sets the hashes of the body.
    pub(crate) fn set_hashes(&mut self, hashes: BodyHashes) {
        BodyHashes {
            md5: self.md5,
            sha1: self.sha1,
            sha256: self.sha256,
            sha512: self.sha512,
        } = hashes;
    }

    /// Returns the end of everything that this URL has in the pack.
    #[must_use]
    pub(crate) fn end_in_pack(&self) -> Option<PackPosition> {
        let end = self.pack_end.map(|offset| PackPosition {
            n: self.pack_end_n,
            offset,
        });
        self.pack.map(PackPlace::end_position).max(end)
    }

    /// Whether a part of the response, which may be in an earlier pack than the rest, is not there.
    pub(crate) fn is_beyond(&self, limits: &PackLimits) -> bool {
        let ends = [self.pack.map(PackPlace::end_position), self.end_in_pack()];
        ends.into_iter().flatten().any(|end| limits.is_beyond(end))
    }

    /// Sets where the last response is in the pack, and where the records of this URL end.
    pub(crate) fn set_place(&mut self, pack: Option<PackPlace>, end: Option<PackPosition>) {
        let end = end.filter(|end| pack.is_none_or(|pack| pack.end_position() < *end));
        self.pack = pack;
        self.pack_end = end.map(|end| end.offset);
        self.pack_end_n = end.and_then(|end| end.n);
    }

    /// Whether the record reports that an earlier record of the journal no longer has its response
    /// in the pack. Archived failures are of other kinds.
    #[must_use]
    pub(crate) fn reports_loss(&self) -> bool {
        self.error
            .as_ref()
            .is_some_and(|error| error.kind == ErrorKind::Save)
    }

    /// Adds the body to the record: as text if it is UTF-8, otherwise in base64.
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
    use crate::model::{ColumnsBuilder, write_json};
    use proptest::prelude::*;

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

    fn columns(text: &str) -> Columns {
        let mut columns = ColumnsBuilder::default();
        columns.push_text(text, text);
        columns.build().unwrap().unwrap()
    }

    /// A record with the fields that `has` selects, and any text in them.
    fn any_record(text: &str, number: u64, has: u32) -> Record {
        let has = |bit: u32| has >> bit & 1 == 1;
        let text_if = |bit| has(bit).then(|| text.to_owned());
        let number_if = |bit| has(bit).then_some(number);
        let small = number as u32;
        Record {
            line: number,
            input: text.into(),
            url: text.to_owned(),
            ok: has(0),
            status: has(1).then_some(number as u16),
            error: has(2).then(|| RecordError {
                kind: ErrorKind::Dns,
                message: text.to_owned(),
                transient: has(0),
            }),
            attempts: small,
            resends: if has(3) { small } else { 0 },
            final_url: text_if(4),
            redirects: small,
            mirror: has(28).then_some(small),
            http: text_if(5),
            content_type: text_if(6),
            content_encoding: text_if(7),
            bytes: number_if(8),
            file: text_if(9),
            pack: has(10).then_some(PackPlace {
                n: has(29).then_some(small),
                offset: number,
                length: 1,
            }),
            pack_end: number_if(25),
            pack_end_n: has(30).then_some(small),
            md5: has(11).then_some(Md5([1; 16])),
            sha1: has(11).then_some(Sha1([2; 20])),
            sha256: has(11).then(|| Sha256::of(text.as_bytes())),
            sha512: has(11).then_some(Sha512([3; 64])),
            adopted: has(26),
            resumed_at: number_if(12),
            segments: has(19).then_some(small),
            change: has(13).then_some(ContentChange::Gone),
            request: text_if(14),
            etag: text_if(15),
            last_modified: text_if(16),
            filename: text_if(27),
            x_robots_tag: text_if(31),
            content_usage: text_if(27),
            tdm_reservation: text_if(15),
            at: text.to_owned(),
            started_ms: number_if(17),
            ttfb_ms: number_if(18),
            elapsed_ms: number_if(19),
            total_ms: number_if(20),
            simulated: has(21),
            columns: has(24).then(|| columns(text)),
            body: text_if(22),
            body_base64: text_if(23),
            outcome: OutcomeName::Skipped,
        }
    }

    proptest! {
        #[test]
        fn the_json_is_that_of_the_serializer(
            text in "[a-z\\u{0}-\\u{a0}\\u{2069}é😀]*", number: u64, has: u32
        ) {
            let record = any_record(&text, number, has);
            let (mut fast, mut usual) = (Vec::new(), Vec::new());
            record.write_json(&mut fast).unwrap();
            write_json(&mut usual, &record).unwrap();
            prop_assert_eq!(String::from_utf8(fast), String::from_utf8(usual));
        }
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
