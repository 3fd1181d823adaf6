//! Renders one exchange as a group of WARC records: a small one in memory, a large one
//! straight into a file. Only whole bodies come here, so `WARC-Truncated` never does.

use std::io::{self, Read, Write};
use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

use super::coding::{RecordCompression, RecordEncoder};
use super::digest::PayloadDigest;
use super::http1;
use super::id::{RecordId, RecordIdSource};
use super::records::{self, BlockInfo, RecordDigest, RecordHead, RecordIdentity, RecordKind};
use crate::model::{InputPosition, PackPlace, ResponseHead};

/// Bytes of a large body under way at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// One request and its response.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// When the request was begun (§5.4): UTC, RFC 3339, with milliseconds or without.
    pub date: &'a str,
    /// What was asked.
    pub request: RequestHead<'a>,
    /// The head of what was answered, as it came.
    pub response: &'a ResponseHead,
    /// From the begin of the request to the end of the body.
    pub fetch_time: Option<Duration>,
    /// The URLs that redirected here, the job's own first.
    pub visited: &'a [Url],
    /// Where the URL stood in the list.
    pub place: Option<&'a InputPosition>,
}

/// A request as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// What was asked for: the target of the records.
    pub url: &'a Url,
    /// The headers. A missing `Host` is filled in from the URL, a missing
    /// `Content-Length` from the body; values that are secrets are masked.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// A decoded body too large for memory.
#[derive(Debug)]
pub struct SpooledBody<R> {
    /// Gives the body from its begin.
    pub from: R,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest.
    pub digest: PayloadDigest,
}

/// The records of one exchange, or of several, ready to be appended. Used again for the
/// next, it allocates nothing.
#[derive(Debug, Default)]
pub struct RecordGroup {
    bytes: Vec<u8>,
    response_at: usize,
}

impl RecordGroup {
    /// The records as they go into the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Nothing is in it.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Where the last response stands, from the start of the group. It reaches to the end.
    #[must_use]
    pub fn response(&self) -> PackPlace {
        PackPlace {
            offset: self.response_at as u64,
            length: (self.bytes.len() - self.response_at) as u64,
        }
    }
}

/// Names of the records of a group.
#[derive(Debug, Clone, Copy)]
struct GroupIds {
    request: RecordId,
    response: RecordId,
}

/// Renders one exchange after the other. Every thread can have its own; they share
/// nothing but the name of the warcinfo record. One that compresses takes 600 KB: have
/// as many as there are threads that render, not one for each body under way.
#[derive(Debug)]
pub struct Renderer {
    coder: RecordEncoder,
    warcinfo: RecordId,
    ids: RecordIdSource,
    head: Vec<u8>,
    block: Vec<u8>,
}

impl Renderer {
    pub(super) fn new(coding: RecordCompression, warcinfo: RecordId) -> Self {
        Self {
            coder: RecordEncoder::new(coding),
            warcinfo,
            ids: RecordIdSource::default(),
            head: Vec::new(),
            block: Vec::new(),
        }
    }

    /// Renders an exchange whose decoded body is in memory, alone.
    ///
    /// # Errors
    /// The system has no random bytes for names.
    #[cfg(test)]
    pub fn render(
        &mut self,
        exchange: &Exchange<'_>,
        body: &[u8],
        group: &mut RecordGroup,
    ) -> io::Result<()> {
        group.clear();
        let digest = PayloadDigest::of(body);
        self.add(exchange, &[body], digest, group).map(drop)
    }

    /// Renders an exchange whose decoded body is in memory, behind what is in the group
    /// already. Returns where the response stands, from the start of the group.
    ///
    /// # Errors
    /// The system has no random bytes for names. The group is then as it was.
    pub fn add(
        &mut self,
        exchange: &Exchange<'_>,
        body: &[impl AsRef<[u8]>],
        digest: PayloadDigest,
        group: &mut RecordGroup,
    ) -> io::Result<PackPlace> {
        let before = group.bytes.len();
        match self.render_onto(exchange, body, digest, &mut group.bytes) {
            Ok(at) => {
                group.response_at = at;
                Ok(group.response())
            }
            Err(error) => {
                group.bytes.truncate(before);
                Err(error)
            }
        }
    }

    fn render_onto(
        &mut self,
        exchange: &Exchange<'_>,
        body: &[impl AsRef<[u8]>],
        digest: PayloadDigest,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let names = self.before_response(exchange, out)?;
        let at = out.len();
        let block = BlockInfo {
            length: body.iter().map(|piece| piece.as_ref().len() as u64).sum(),
            digest: RecordDigest::Payload(digest),
        };
        self.begin_response(exchange, names, block, out)?;
        for piece in body {
            self.coder.feed(piece.as_ref(), out)?;
        }
        self.coder.end(out)?;
        Ok(at)
    }

    /// Renders an exchange with a large body into `out`, in flat memory. Returns where
    /// the response stands, from the start of the group.
    ///
    /// # Errors
    /// Reading or writing failed, or the body is not as long as was said; what was
    /// written is then worth nothing.
    pub fn stream(
        &mut self,
        exchange: &Exchange<'_>,
        body: SpooledBody<impl Read>,
        out: &mut impl Write,
    ) -> io::Result<PackPlace> {
        let mut ready = Vec::with_capacity(2 * CHUNK_BYTES);
        let names = self.before_response(exchange, &mut ready)?;
        let offset = ready.len() as u64;
        let block = BlockInfo {
            length: body.length,
            digest: RecordDigest::Payload(body.digest),
        };
        self.begin_response(exchange, names, block, &mut ready)?;
        let mut feed = RecordWriter {
            coder: &mut self.coder,
            ready,
            out,
            written: 0,
        };
        // One byte more than there should be shows that there is more.
        let mut from = body.from.take(body.length.saturating_add(1));
        if io::copy(&mut from, &mut feed)? != body.length {
            return Err(wrong_length());
        }
        Ok(PackPlace {
            offset,
            length: feed.finish()? - offset,
        })
    }

    /// The metadata and the request.
    fn before_response(
        &mut self,
        exchange: &Exchange<'_>,
        out: &mut Vec<u8>,
    ) -> io::Result<GroupIds> {
        let [metadata, request, response] = self.ids.next()?;
        self.block.clear();
        records::metadata(&mut self.block, exchange);
        let identity = RecordIdentity {
            kind: RecordKind::Metadata,
            id: metadata,
            concurrent_to: response,
        };
        self.small_record(exchange, identity, out)?;

        self.block.clear();
        http1::request_head(&mut self.block, &exchange.request);
        self.block.extend_from_slice(exchange.request.body);
        let identity = RecordIdentity {
            kind: RecordKind::Request,
            id: request,
            concurrent_to: response,
        };
        self.small_record(exchange, identity, out)?;
        Ok(GroupIds { request, response })
    }

    /// A record whose block stands ready.
    fn small_record(
        &mut self,
        exchange: &Exchange<'_>,
        identity: RecordIdentity,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let block = BlockInfo {
            length: self.block.len() as u64,
            digest: RecordDigest::Block(PayloadDigest::of(&self.block)),
        };
        self.begin_record(exchange, identity, block, out)?;
        self.coder.end(out)
    }

    /// The response up to its body, given length and digest of that.
    fn begin_response(
        &mut self,
        exchange: &Exchange<'_>,
        names: GroupIds,
        mut block: BlockInfo,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.block.clear();
        http1::response_head(&mut self.block, exchange.response, block.length);
        block.length += self.block.len() as u64;
        let identity = RecordIdentity {
            kind: RecordKind::Response,
            id: names.response,
            concurrent_to: names.request,
        };
        self.begin_record(exchange, identity, block, out)
    }

    /// The head of a record, and what of its block stands ready.
    fn begin_record(
        &mut self,
        exchange: &Exchange<'_>,
        identity: RecordIdentity,
        block: BlockInfo,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let url = exchange.request.url;
        let protocol = match identity.kind {
            RecordKind::Metadata => None,
            RecordKind::Request | RecordKind::Response => {
                http1::protocol(exchange.response.version, url.scheme() == "https")
            }
        };
        self.head.clear();
        RecordHead {
            identity,
            warcinfo: self.warcinfo,
            date: exchange.date,
            url,
            protocol,
            block,
        }
        .write(&mut self.head);
        self.coder.begin(block.length, out);
        self.coder.feed(&self.head, out)?;
        self.coder.feed(&self.block, out)
    }
}

/// The rest of a record on its way into a file.
struct RecordWriter<'a, W> {
    coder: &'a mut RecordEncoder,
    ready: Vec<u8>,
    out: &'a mut W,
    written: u64,
}

impl<W: Write> RecordWriter<'_, W> {
    /// Ends the record. Returns how many bytes went out in all.
    fn finish(mut self) -> io::Result<u64> {
        self.coder.end(&mut self.ready)?;
        self.flush()?;
        Ok(self.written)
    }
}

impl<W: Write> Write for RecordWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.coder.feed(bytes, &mut self.ready)?;
        if self.ready.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.ready)?;
        self.written += self.ready.len() as u64;
        self.ready.clear();
        Ok(())
    }
}

fn wrong_length() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a body in its spool file is not as long as when it was written",
    )
}
