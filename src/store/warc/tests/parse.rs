//! Parses rendered records and compares them with the input.

use std::io::Read as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;
use url::{Position, Url};

use super::SampleExchange;
use crate::store::pack_format::PackFormat;
use crate::store::warc::id::RecordId;
use crate::store::warc::{
    PayloadDigest, RecordCompression, RecordGroup, Renderer, SpooledBody, payload,
};

type HeaderFields = Vec<(String, Vec<u8>)>;

struct ParsedRecord {
    fields: HeaderFields,
    block: Vec<u8>,
}

impl ParsedRecord {
    fn get(&self, name: &str) -> String {
        let mut found = self.fields.iter().filter(|(found, _)| found == name);
        let (_, value) = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} twice");
        String::from_utf8(value.clone()).unwrap()
    }
}

/// Returns the first line, the fields, and everything after the blank line.
fn head(text: &[u8]) -> (Vec<u8>, HeaderFields, &[u8]) {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let line = rest[..end].to_vec();
        rest = &rest[end + 2..];
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let first = lines.remove(0);
    let field = |line: Vec<u8>| {
        let colon = line.windows(2).position(|two| two == b": ").unwrap();
        let name = String::from_utf8(line[..colon].to_vec()).unwrap();
        (name, line[colon + 2..].to_vec())
    };
    (first, lines.into_iter().map(field).collect(), rest)
}

fn records(mut text: &[u8]) -> Vec<ParsedRecord> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let (version, fields, rest) = head(text);
        assert_eq!(version, b"WARC/1.1");
        let mut record = ParsedRecord {
            fields,
            block: Vec::new(),
        };
        let length: usize = record.get("Content-Length").parse().unwrap();
        let (block, rest) = rest.split_at(length);
        record.block = block.to_vec();
        text = rest.strip_prefix(b"\r\n\r\n").unwrap();
        records.push(record);
    }
    records
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    decoder.read_to_end(&mut text).unwrap();
    text
}

fn sha1(bytes: &[u8]) -> String {
    let digits = PayloadDigest::of(bytes).base32();
    format!("sha1:{}", String::from_utf8(digits.to_vec()).unwrap())
}

fn owned(headers: &HeaderMap) -> HeaderFields {
    let pair =
        |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    headers.iter().map(pair).collect()
}

/// Returns the expected fields of a response.
fn expected_response(sample: &SampleExchange, body: &[u8]) -> HeaderFields {
    let length = body.len().to_string();
    let mut fields = owned(&sample.head.headers);
    for (name, value) in &mut fields {
        match name.as_str() {
            "content-length" if *value == length.as_bytes() => {}
            "content-length" => *name = "X-Crawl-Content-Length".into(),
            "content-encoding" => *name = "X-Crawl-Content-Encoding".into(),
            "transfer-encoding" => *name = "X-Crawl-Transfer-Encoding".into(),
            _ => {}
        }
    }
    if !fields.iter().any(|(name, _)| name == "content-length") {
        fields.push(("Content-Length".into(), length.into_bytes()));
    }
    fields
}

fn check_response(record: &ParsedRecord, sample: &SampleExchange, body: &[u8]) {
    assert_eq!(record.get("WARC-Payload-Digest"), sha1(body));
    let (line, fields, rest) = head(&record.block);
    let line = String::from_utf8(line).unwrap();
    let version = match sample.head.version {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    assert!(line.starts_with(&format!("{version} {} ", sample.head.status.as_str())));
    assert_eq!(fields, expected_response(sample, body));
    assert_eq!(rest, body);
}

fn check_request(record: &ParsedRecord, sample: &SampleExchange) {
    let (line, mut fields, rest) = head(&record.block);
    let target = &sample.url[Position::BeforePath..Position::AfterQuery];
    assert_eq!(
        line,
        format!("{} {target} HTTP/1.1", sample.method).into_bytes()
    );
    let has = |name| sample.headers.contains_key(name);
    if !sample.body.is_empty() && !has("content-length") {
        let length = sample.body.len().to_string().into_bytes();
        assert_eq!(fields.pop(), Some(("content-length".into(), length)));
    }
    if !has("host") {
        let host = &sample.url[Position::BeforeHost..Position::AfterPort];
        assert_eq!(fields.remove(0), ("host".into(), host.into()));
    }
    let mut expected = owned(&sample.headers);
    for (name, value) in &mut expected {
        if ["authorization", "cookie"].contains(&name.as_str()) {
            *value = b"***".to_vec();
        }
    }
    assert_eq!(fields, expected);
    assert_eq!(rest, sample.body);
}

fn check_links(all: &[ParsedRecord], sample: &SampleExchange) {
    let [metadata, request, response] = all else {
        panic!("{} records", all.len());
    };
    for (record, kind) in all.iter().zip(["metadata", "request", "response"]) {
        assert_eq!(record.get("WARC-Type"), kind);
        assert_eq!(record.get("WARC-Date"), "2026-11-22T10:00:00.123Z");
        assert_eq!(record.get("WARC-Target-URI"), sample.url.as_str());
    }
    let id = |record: &ParsedRecord| record.get("WARC-Record-ID");
    assert_eq!(metadata.get("WARC-Concurrent-To"), id(response));
    assert_eq!(request.get("WARC-Concurrent-To"), id(response));
    assert_eq!(response.get("WARC-Concurrent-To"), id(request));
    for small in [metadata, request] {
        assert_eq!(small.get("WARC-Block-Digest"), sha1(&small.block));
    }
}

/// Returns a rendered group as in a file, and its response alone.
fn render(
    sample: &SampleExchange,
    body: &[u8],
    coding: RecordCompression,
    streamed: bool,
) -> (Vec<u8>, Vec<u8>) {
    let [id] = RecordId::random().unwrap();
    let mut renderer = Renderer::new(PackFormat::Warc(coding), id);
    let (bytes, place) = if streamed {
        let mut bytes = Vec::new();
        let spooled = SpooledBody {
            from: body,
            length: body.len() as u64,
            digest: PayloadDigest::of(body),
        };
        let place = renderer
            .stream(&sample.exchange(), spooled, &mut bytes)
            .unwrap();
        (bytes, place)
    } else {
        let mut group = RecordGroup::default();
        renderer
            .render(&sample.exchange(), b"something before", &mut group)
            .unwrap();
        renderer
            .render(&sample.exchange(), body, &mut group)
            .unwrap();
        (group.bytes().to_vec(), group.response())
    };
    assert_eq!(place.offset + place.length, bytes.len() as u64);
    let alone = bytes[usize::try_from(place.offset).unwrap()..].to_vec();
    match coding {
        RecordCompression::Plain => (bytes, alone),
        RecordCompression::Gzip => (gunzip(&bytes), gunzip(&alone)),
    }
}

fn check(sample: &SampleExchange, body: &[u8], coding: RecordCompression, streamed: bool) {
    let (text, alone) = render(sample, body, coding, streamed);
    let all = records(&text);
    check_links(&all, sample);
    check_request(&all[1], sample);
    check_response(&all[2], sample, body);
    assert_eq!(payload(&alone), Some(body));
    assert_eq!(records(&alone).len(), 1);
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![
        "[a-z][a-z0-9-]{0,12}",
        Just("content-length".to_owned()),
        Just("content-encoding".to_owned()),
        Just("transfer-encoding".to_owned()),
        Just("authorization".to_owned()),
        Just("host".to_owned()),
    ];
    // All bytes that `http` allows in a value, including obs-text (RFC 9110 §5.5).
    let byte = prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8];
    let value = prop_oneof![
        proptest::collection::vec(byte, 0..20),
        "[0-9]{1,2}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec((name, value), 0..8).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    })
}

prop_compose! {
    fn samples()(
        url in "https?://[a-z]{1,8}(:[1-9][0-9]{2})?/[ -~é]{0,20}",
        method in "GET|POST|PURGE",
        sent in headers(),
        answered in headers(),
        status in 100..1000_u16,
        version in prop_oneof![
            Just(Version::HTTP_10), Just(Version::HTTP_11), Just(Version::HTTP_2)
        ],
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) -> SampleExchange {
        let mut sample = SampleExchange::get("http://x/");
        sample.url = Url::parse(&url).unwrap();
        sample.url.set_fragment(None);
        sample.method = Method::from_bytes(method.as_bytes()).unwrap();
        sample.headers = sent;
        sample.body = body;
        sample.head.status = StatusCode::from_u16(status).unwrap();
        sample.head.version = version;
        sample.head.headers = answered.into();
        sample
    }
}

proptest! {
    #[test]
    fn any_exchange_can_be_parsed_back(
        sample in samples(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        coding in prop_oneof![Just(RecordCompression::Plain), Just(RecordCompression::Gzip)],
        streamed in any::<bool>(),
    ) {
        check(&sample, &body, coding, streamed);
    }
}

#[test]
fn a_large_streamed_body_can_be_parsed_back() {
    let body: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|n| (n / 3).to_be_bytes())
        .collect();
    for coding in [RecordCompression::Plain, RecordCompression::Gzip] {
        check(
            &SampleExchange::get("http://example.com/big"),
            &body,
            coding,
            true,
        );
    }
}

#[test]
fn a_spool_file_of_another_length_is_an_error() {
    let [id] = RecordId::random().unwrap();
    for length in [0, 2, 4] {
        let spooled = SpooledBody {
            from: &b"abc"[..],
            length,
            digest: PayloadDigest::of(b"abc"),
        };
        let sample = SampleExchange::get("http://example.com/");
        let mut renderer = Renderer::new(PackFormat::Warc(RecordCompression::Plain), id);
        let error = renderer.stream(&sample.exchange(), spooled, &mut Vec::new());
        assert!(error.is_err(), "{length}");
    }
}

#[test]
fn the_metadata_has_redirects_and_the_line() {
    let mut sample = SampleExchange::get("http://example.com/end");
    sample.visited = ["http://u:secret@example.com/", "http://example.com/2#part"]
        .map(|url| Url::parse(url).unwrap())
        .to_vec();
    let (text, _) = render(&sample, b"", RecordCompression::Plain, false);
    let metadata = records(&text).remove(0);
    assert_eq!(
        String::from_utf8(metadata.block).unwrap(),
        "fetchTimeMs: 12\r\nvia: http://example.com/2\r\nseed: http://example.com/\r\n\
         hopsFromSeed: RR\r\ninput: lists/urls\u{fc}\\n.txt\r\nline: 7\r\n\r\n"
    );
}

#[test]
fn no_secret_gets_into_a_pack() {
    let mut sample = SampleExchange::get("http://user:secret@example.com/#secret");
    let mut own = HeaderValue::from_static("secret");
    own.set_sensitive(true);
    sample.headers.insert("x-api-key", own);
    for name in ["authorization", "proxy-authorization", "cookie"] {
        sample
            .headers
            .insert(name, HeaderValue::from_static("secret"));
    }
    let (text, _) = render(&sample, b"", RecordCompression::Plain, false);
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("x-api-key: ***\r\n"), "{text}");
}
