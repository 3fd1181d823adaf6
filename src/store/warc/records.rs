//! Record heads, and the blocks of warcinfo and metadata records, which consist of named fields.
//! Unknown values are left out.

use std::io;
use std::net::IpAddr;

use url::{Position, Url};

use super::coding::{RecordCompression, RecordEncoder};
use super::digest::PayloadDigest;
use super::exchange::Exchange;
use super::http1::{field, number_field, shown_target};
use super::id::RecordId;
use super::record_head::ResponseRecordHead;
use crate::model::{Truncation, escape_control};

/// The start of every pack, by which our own packs are recognized.
pub(super) const OPENING: &[u8] = b"WARC/1.1\r\nWARC-Type: warcinfo\r\n";

/// The start of the `software` field in our packs; the version follows.
pub(super) const SOFTWARE: &str = concat!(env!("CARGO_PKG_NAME"), "/");

/// The kind of a record in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    Metadata,
    Request,
    Response,
    /// A response whose body is in an earlier record (§6.7).
    Revisit,
}

impl RecordKind {
    /// All kinds.
    pub(super) const ALL: [Self; 4] =
        [Self::Metadata, Self::Request, Self::Response, Self::Revisit];

    /// Returns the first lines.
    pub(super) fn lines(self) -> &'static str {
        match self {
            Self::Metadata => {
                "WARC/1.1\r\nWARC-Type: metadata\r\nContent-Type: application/warc-fields\r\n"
            }
            Self::Request => {
                "WARC/1.1\r\nWARC-Type: request\r\nContent-Type: application/http;msgtype=request\r\n"
            }
            Self::Response => {
                "WARC/1.1\r\nWARC-Type: response\r\nContent-Type: application/http;msgtype=response\r\n"
            }
            Self::Revisit => concat!(
                "WARC/1.1\r\nWARC-Type: revisit\r\nContent-Type: application/http;msgtype=response\r\n",
                "WARC-Profile: http://netpreservecommons.org/warc/1.1/revisit/identical-payload-digest\r\n",
            ),
        }
    }
}

/// Identifies a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordIdentity {
    pub kind: RecordKind,
    pub id: RecordId,
    /// Another record of the same capture (§5.7).
    pub concurrent_to: RecordId,
}

/// Length and digest of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockInfo {
    pub length: u64,
    pub digest: RecordDigest,
}

/// The head of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordHead<'a> {
    pub identity: RecordIdentity,
    pub warcinfo: RecordId,
    pub date: &'a str,
    pub url: &'a Url,
    /// The layers of the protocol, the upper one first.
    pub protocols: [Option<&'static [u8]>; 2],
    /// The address of the server.
    pub address: Option<IpAddr>,
    /// The response that a revisit refers to.
    pub original: Option<&'a ResponseRecordHead>,
    pub truncated: Option<Truncation>,
    pub block: BlockInfo,
}

/// A digest, by what it covers.
#[derive(Debug, Clone, Copy)]
pub(super) enum RecordDigest {
    /// The whole block (§5.8).
    Block(PayloadDigest),
    /// The payload (§5.9). Responses have no block digest: it is optional, and would require
    /// another SHA-1 over the same body.
    Payload(PayloadDigest),
}

impl RecordHead<'_> {
    /// Appends the head and the blank line after it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.identity.kind.lines().as_bytes());
        id_field(out, b"WARC-Record-ID: <urn:uuid:", self.identity.id);
        field(out, b"WARC-Date", self.date.as_bytes());
        out.extend_from_slice(b"WARC-Target-URI: ");
        push_url(out, self.url);
        out.extend_from_slice(b"\r\n");
        id_field(
            out,
            b"WARC-Concurrent-To: <urn:uuid:",
            self.identity.concurrent_to,
        );
        id_field(out, b"WARC-Warcinfo-ID: <urn:uuid:", self.warcinfo);
        if let Some(address) = self.address {
            // A dual-stack socket reports IPv4 addresses in their mapped form.
            let address = address.to_canonical().to_string();
            field(out, b"WARC-IP-Address", address.as_bytes());
        }
        for protocol in self.protocols.into_iter().flatten() {
            field(out, b"WARC-Protocol", protocol);
        }
        self.write_reference(out);
        if let Some(truncated) = self.truncated {
            field(out, b"WARC-Truncated", truncated.as_str().as_bytes());
        }
        self.block.digest.write(out);
        number_field(out, "Content-Length", self.block.length);
        out.extend_from_slice(b"\r\n");
    }
}

impl RecordHead<'_> {
    /// Appends the fields of a revisit (§6.7.2), whose values are those of the original.
    fn write_reference(&self, out: &mut Vec<u8>) {
        let Some(original) = self.original else {
            return;
        };
        for (name, of) in [
            ("WARC-Refers-To", "WARC-Record-ID"),
            ("WARC-Refers-To-Target-URI", "WARC-Target-URI"),
            ("WARC-Refers-To-Date", "WARC-Date"),
        ] {
            if let Some(value) = original.field(of) {
                field(out, name.as_bytes(), value);
            }
        }
    }
}

impl RecordDigest {
    fn write(self, out: &mut Vec<u8>) {
        let (name, digest): (&[u8], _) = match self {
            Self::Block(digest) => (b"WARC-Block-Digest: sha1:", digest),
            Self::Payload(digest) => (b"WARC-Payload-Digest: sha1:", digest),
        };
        out.extend_from_slice(name);
        out.extend_from_slice(&digest.base32());
        out.extend_from_slice(b"\r\n");
    }
}

fn id_field(out: &mut Vec<u8>, begin: &[u8], id: RecordId) {
    out.extend_from_slice(begin);
    out.extend_from_slice(id.text());
    out.extend_from_slice(b">\r\n");
}

/// Appends a URL without userinfo and fragment, and with passwords of inner URLs masked, so that an
/// archive never contains one. Only targets of redirects may.
fn push_url(out: &mut Vec<u8>, url: &Url) {
    out.extend_from_slice(url[..Position::BeforeUsername].as_bytes());
    out.extend_from_slice(url[Position::BeforeHost..Position::BeforePath].as_bytes());
    out.extend_from_slice(shown_target(url).as_bytes());
}

fn text_field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    field(out, name, escape_control(value).as_bytes());
}

/// Renders a warcinfo record, which describes the records after it (§6.2).
///
/// # Errors
/// If it cannot be compressed.
pub(super) fn warcinfo(
    coding: RecordCompression,
    id: RecordId,
    date: &str,
    filename: &str,
) -> io::Result<Vec<u8>> {
    let mut block = Vec::new();
    let software = format!("{SOFTWARE}{}", env!("CARGO_PKG_VERSION"));
    field(&mut block, b"software", software.as_bytes());
    field(&mut block, b"format", b"WARC File Format 1.1");
    field(
        &mut block,
        b"conformsTo",
        b"http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
    );
    // The URLs come from a list, not from following links, so robots.txt is not consulted.
    field(&mut block, b"robots", b"ignore");

    let mut head = OPENING.to_vec();
    field(&mut head, b"Content-Type", b"application/warc-fields");
    id_field(&mut head, b"WARC-Record-ID: <urn:uuid:", id);
    field(&mut head, b"WARC-Date", date.as_bytes());
    text_field(&mut head, b"WARC-Filename", filename);
    RecordDigest::Block(PayloadDigest::of(&block)).write(&mut head);
    number_field(&mut head, "Content-Length", block.len() as u64);
    head.extend_from_slice(b"\r\n");

    let mut coder = RecordEncoder::new(coding);
    let mut out = Vec::new();
    coder.begin(block.len() as u64, &mut out);
    coder.feed(&head, &mut out)?;
    coder.feed(&block, &mut out)?;
    coder.end(&mut out)?;
    Ok(out)
}

/// Appends the block of a metadata record (§6.6). `input` and `line` are our own fields: the
/// position of the URL in the list. After redirects, `seed` is the URL in the list.
pub(super) fn metadata(out: &mut Vec<u8>, exchange: &Exchange<'_>) {
    if let Some(took) = exchange.fetch_time {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        number_field(out, "fetchTimeMs", ms);
    }
    if let (Some(seed), Some(via)) = (exchange.visited.first(), exchange.visited.last()) {
        for (name, url) in [("via: ", via), ("seed: ", seed)] {
            out.extend_from_slice(name.as_bytes());
            push_url(out, url);
            out.extend_from_slice(b"\r\n");
        }
        // One letter per redirect, as in Heritrix.
        field(
            out,
            b"hopsFromSeed",
            "R".repeat(exchange.visited.len()).as_bytes(),
        );
    }
    if let Some(place) = exchange.place {
        text_field(out, b"input", &place.input);
        number_field(out, "line", place.line);
    }
    out.extend_from_slice(b"\r\n");
}
