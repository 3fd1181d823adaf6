//! Renders an exchange as a group of WARC records, or of files of a tar, in memory or, for a large
//! body, directly to a file.

use std::io::{self, Read, Write};

use super::coding::RecordEncoder;
use super::digest::PayloadDigest;
use super::exchange::Exchange;
use super::http1;
use super::id::{RecordId, RecordIdSource};
use super::records::{self, BlockInfo, RecordDigest, RecordHead, RecordIdentity, RecordKind};
use crate::model::PackPlace;
use crate::store::pack_format::PackFormat;
use crate::store::tar::TarSample;

/// Buffer size for a large body, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A decoded body that is too large for memory.
#[derive(Debug)]
pub(crate) struct SpooledBody<R> {
    /// A reader at the start of the body.
    pub from: R,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest.
    pub digest: PayloadDigest,
}

/// The rendered records of one or more exchanges, ready to be appended. Reuse it to avoid
/// allocations.
#[derive(Debug, Default)]
pub(crate) struct RecordGroup {
    bytes: Vec<u8>,
    response_at: usize,
}

impl RecordGroup {
    /// Returns the records as written to the file.
    #[must_use]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Removes all records.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Returns the location of the last response within the group. It extends to the end.
    #[must_use]
    pub(crate) fn response(&self) -> PackPlace {
        PackPlace {
            n: None,
            offset: self.response_at as u64,
            length: (self.bytes.len() - self.response_at) as u64,
        }
    }
}

/// Ids of the records of a group.
#[derive(Debug, Clone, Copy)]
struct GroupIds {
    request: RecordId,
    response: RecordId,
}

/// Renders exchanges one at a time. Renderers share only the id of the warcinfo record. One that
/// compresses takes 600 KB, so create one per thread, not one per body.
#[derive(Debug)]
pub(crate) struct Renderer {
    format: PackFormat,
    coder: RecordEncoder,
    warcinfo: RecordId,
    ids: RecordIdSource,
    head: Vec<u8>,
    block: Vec<u8>,
}

impl Renderer {
    pub(super) fn new(format: PackFormat, warcinfo: RecordId) -> Self {
        Self {
            format,
            coder: RecordEncoder::new(format.compression()),
            warcinfo,
            ids: RecordIdSource::default(),
            head: Vec::new(),
            block: Vec::new(),
        }
    }

    /// Sets the record that describes those to be rendered.
    pub(super) fn set_warcinfo(&mut self, id: RecordId) {
        self.warcinfo = id;
    }

    /// Renders a single exchange whose decoded body is in memory.
    ///
    /// # Errors
    /// If no random id can be generated.
    #[cfg(test)]
    pub(crate) fn render(
        &mut self,
        exchange: &Exchange<'_>,
        body: &[u8],
        group: &mut RecordGroup,
    ) -> io::Result<()> {
        group.clear();
        let digest = PayloadDigest::of(body);
        let info = (body.len() as u64, digest);
        self.add(exchange, &[body], info, group).map(drop)
    }

    /// Adds an exchange whose body is in memory, with the length and digest of the body, to the
    /// group. Returns the location of the response within the group.
    ///
    /// # Errors
    /// If no random id can be generated. The group is then unchanged.
    pub(crate) fn add(
        &mut self,
        exchange: &Exchange<'_>,
        body: &[impl AsRef<[u8]>],
        info: (u64, PayloadDigest),
        group: &mut RecordGroup,
    ) -> io::Result<PackPlace> {
        let before = group.bytes.len();
        match self.render_onto(exchange, body, info, &mut group.bytes) {
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
        info: (u64, PayloadDigest),
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        if let Some(sample) = self.sample(exchange)? {
            return Ok(sample.render(self.warcinfo.of_pack(), body, info.0, out));
        }
        let ids = self.before_response(exchange, out)?;
        let at = out.len();
        let block = BlockInfo {
            length: info.0,
            digest: RecordDigest::Payload(info.1),
        };
        self.begin_response(exchange, ids, block, out)?;
        if exchange.original.is_none() {
            for piece in body {
                self.coder.feed(piece.as_ref(), out)?;
            }
        }
        self.coder.end(out)?;
        Ok(at)
    }

    /// Renders an exchange with a large body to `out`, in constant memory. Returns the location of
    /// the response within the group.
    ///
    /// # Errors
    /// If reading or writing fails, or the body does not have the given length; the output is then
    /// unusable.
    pub(crate) fn stream(
        &mut self,
        exchange: &Exchange<'_>,
        body: SpooledBody<impl Read>,
        out: &mut impl Write,
    ) -> io::Result<PackPlace> {
        if let Some(sample) = self.sample(exchange)? {
            return sample.stream(self.warcinfo.of_pack(), body.from, body.length, out);
        }
        let mut ready = Vec::with_capacity(2 * CHUNK_BYTES);
        let ids = self.before_response(exchange, &mut ready)?;
        let offset = ready.len() as u64;
        let block = BlockInfo {
            length: body.length,
            digest: RecordDigest::Payload(body.digest),
        };
        self.begin_response(exchange, ids, block, &mut ready)?;
        let mut feed = RecordWriter {
            coder: &mut self.coder,
            ready,
            out,
            written: 0,
        };
        // Read one byte more, to notice a body that is too long.
        let mut from = body.from.take(body.length.saturating_add(1));
        if io::copy(&mut from, &mut feed)? != body.length {
            return Err(wrong_length());
        }
        Ok(PackPlace {
            n: None,
            offset,
            length: feed.finish()? - offset,
        })
    }

    /// Returns what a tar has beside a body; `None` if this is no tar.
    fn sample<'a>(&self, exchange: &Exchange<'a>) -> io::Result<Option<&'a TarSample>> {
        match (self.format, exchange.sample) {
            (PackFormat::Warc(_), _) => Ok(None),
            (PackFormat::Tar, None) => Err(io::Error::other("a body without its record")),
            (PackFormat::Tar, sample) => Ok(sample),
        }
    }

    /// Renders the metadata and the request.
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

    /// Renders a record whose block is complete in `self.block`.
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

    /// Renders the response up to its body. `block` has the length and digest of the body.
    fn begin_response(
        &mut self,
        exchange: &Exchange<'_>,
        ids: GroupIds,
        mut block: BlockInfo,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.block.clear();
        let url = exchange.request.url;
        http1::response_head(&mut self.block, url, exchange.response, block.length);
        let kind = match exchange.original {
            Some(_) => {
                block.length = self.block.len() as u64;
                RecordKind::Revisit
            }
            None => {
                block.length += self.block.len() as u64;
                RecordKind::Response
            }
        };
        let identity = RecordIdentity {
            kind,
            id: ids.response,
            concurrent_to: ids.request,
        };
        self.begin_record(exchange, identity, block, out)
    }

    /// Renders the head of a record and the start of its block in `self.block`.
    fn begin_record(
        &mut self,
        exchange: &Exchange<'_>,
        identity: RecordIdentity,
        block: BlockInfo,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (url, response) = (exchange.request.url, exchange.response);
        let is_response = matches!(identity.kind, RecordKind::Response | RecordKind::Revisit);
        let is_message = is_response || identity.kind == RecordKind::Request;
        let protocols = http1::protocols(response, url.scheme() == "https");
        let asked = response.asked.as_ref().filter(|_| is_message);
        self.head.clear();
        RecordHead {
            identity,
            warcinfo: self.warcinfo,
            date: exchange.date,
            url,
            protocols: protocols.map(|name| name.filter(|_| is_message)),
            address: asked.and_then(|asked| asked.address),
            original: exchange.original.filter(|_| is_response),
            truncated: exchange.truncated.filter(|_| is_response),
            block,
        }
        .write(&mut self.head);
        self.coder.begin(block.length, out);
        self.coder.feed(&self.head, out)?;
        self.coder.feed(&self.block, out)
    }
}

/// Encodes the rest of a record and writes it to a file.
struct RecordWriter<'a, W> {
    coder: &'a mut RecordEncoder,
    ready: Vec<u8>,
    out: &'a mut W,
    written: u64,
}

impl<W: Write> RecordWriter<'_, W> {
    /// Ends the record. Returns the total number of bytes written.
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
        "a temporary body file has changed its length since it was written",
    )
}
