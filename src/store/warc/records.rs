//! The head of a WARC record, and the blocks that are named fields: what describes the
//! file and what describes a fetch. Says only what is known.

use std::io;

use url::{Position, Url};

use super::coding::{RecordCompression, RecordEncoder};
use super::digest::PayloadDigest;
use super::http1::{field, number_field};
use super::id::RecordId;
use super::render::Exchange;
use crate::model::escape_control;

/// How every pack begins. Our own packs are known again by it.
pub const OPENING: &[u8] = b"WARC/1.1\r\nWARC-Type: warcinfo\r\n";

/// Before the version, in the `software` field of our own packs.
pub const SOFTWARE: &str = concat!(env!("CARGO_PKG_NAME"), "/");

/// The kinds of records in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    Metadata,
    Request,
    Response,
}

impl RecordKind {
    fn lines(self) -> &'static str {
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
        }
    }
}

/// Which record it is.
#[derive(Debug, Clone, Copy)]
pub struct RecordIdentity {
    pub kind: RecordKind,
    pub id: RecordId,
    /// Another record of the same capture (§5.7).
    pub concurrent_to: RecordId,
}

/// What is known of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockInfo {
    pub length: u64,
    pub digest: RecordDigest,
}

/// What the head of a record says.
#[derive(Debug, Clone, Copy)]
pub struct RecordHead<'a> {
    pub identity: RecordIdentity,
    pub warcinfo: RecordId,
    pub date: &'a str,
    pub url: &'a Url,
    pub protocol: Option<&'static [u8]>,
    pub block: BlockInfo,
}

/// What a digest was made over.
#[derive(Debug, Clone, Copy)]
pub enum RecordDigest {
    /// The whole block (§5.8).
    Block(PayloadDigest),
    /// The payload (§5.9). There is no second one over the block of a response: it would
    /// cost another SHA-1 over the same body, and is optional.
    Payload(PayloadDigest),
}

impl RecordHead<'_> {
    /// Writes the head with the blank line behind it.
    pub fn write(&self, out: &mut Vec<u8>) {
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
        if let Some(protocol) = self.protocol {
            field(out, b"WARC-Protocol", protocol);
        }
        self.block.digest.write(out);
        number_field(out, "Content-Length", self.block.length);
        out.extend_from_slice(b"\r\n");
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

/// A URL without userinfo and fragment. The jobs of a run have neither, but no archive
/// may ever show a password.
fn push_url(out: &mut Vec<u8>, url: &Url) {
    out.extend_from_slice(url[..Position::BeforeUsername].as_bytes());
    out.extend_from_slice(url[Position::BeforeHost..Position::AfterQuery].as_bytes());
}

fn text_field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    field(out, name, escape_control(value).as_bytes());
}

/// The record that describes those behind it (§6.2), coded.
///
/// # Errors
/// It can't be compressed.
pub fn warcinfo(
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
    // The URLs come from a list that somebody wrote, not from links that were followed.
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

/// The block of a metadata record (§6.6). `input` and `line` are ours: where the URL
/// stood in the list. `seed` is the URL that stood there, when redirects led elsewhere.
pub fn metadata(out: &mut Vec<u8>, exchange: &Exchange<'_>) {
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
        // A letter for each redirect, as Heritrix writes it.
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
