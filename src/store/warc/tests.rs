//! Checks packs with Python's warcio, and with a parser that shares no code with the writer.

mod parse;
mod warcio;
/// Shared with the integration tests.
#[path = "../../../tests/integration/support/warcio_tool.rs"]
mod warcio_tool;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{Exchange, RequestHead};
use crate::model::{InputPosition, ResponseHead};

/// An [`Exchange`] that owns its parts.
#[derive(Debug)]
pub(super) struct SampleExchange {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub head: ResponseHead,
    pub visited: Vec<Url>,
    pub place: InputPosition,
}

impl SampleExchange {
    pub(super) fn get(url: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let mut response_headers = HeaderMap::new();
        response_headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        Self {
            method: Method::GET,
            url: Url::parse(url).unwrap(),
            headers,
            body: Vec::new(),
            head: ResponseHead::http11(StatusCode::OK, response_headers),
            visited: Vec::new(),
            place: InputPosition {
                number: 6,
                input: "lists/urls\u{fc}\n.txt".into(),
                line: 7,
            },
        }
    }

    pub(super) fn exchange(&self) -> Exchange<'_> {
        Exchange {
            date: "2026-11-22T10:00:00.123Z",
            request: RequestHead {
                method: &self.method,
                url: &self.url,
                headers: &self.headers,
                body: &self.body,
            },
            response: &self.head,
            fetch_time: Some(Duration::from_micros(12_345)),
            visited: &self.visited,
            place: Some(&self.place),
            original: None,
            truncated: None,
            sample: None,
        }
    }
}
