//! One request and its response, as they are rendered.

use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

use super::record_head::ResponseRecordHead;
use crate::model::{InputPosition, ResponseHead, Truncation};
use crate::store::tar::TarSample;

/// One request and its response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    /// When the request started (§5.4): UTC, RFC 3339, with or without milliseconds.
    pub date: &'a str,
    /// The request.
    pub request: RequestHead<'a>,
    /// The head of the response, as received.
    pub response: &'a ResponseHead,
    /// Time from the start of the request to the end of the body.
    pub fetch_time: Option<Duration>,
    /// The URLs that redirected here, starting with the one in the list.
    pub visited: &'a [Url],
    /// The earlier response that has the same body; the record then refers to it instead of
    /// repeating the body.
    pub original: Option<&'a ResponseRecordHead>,
    /// Why the body is incomplete.
    pub truncated: Option<Truncation>,
    /// Position of the URL in the list.
    pub place: Option<&'a InputPosition>,
    /// What a tar has beside the body, instead of all this.
    pub sample: Option<&'a TarSample>,
}

/// A request as sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URL requested, which is the target of the records.
    pub url: &'a Url,
    /// The headers. Missing `Host` and `Content-Length` are derived from URL and body; secret
    /// values are masked.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}
