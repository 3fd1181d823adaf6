//! Decodes gzip, deflate, br and zstd in bounded memory.
//!
//! Callers pull one piece of output at a time, so a small input that expands to gigabytes is never
//! in memory as a whole. zstd windows are limited to 8 MiB (RFC 9659 §3); brotli's large windows
//! (up to 1 GiB, not part of RFC 7932) are rejected.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use http::{HeaderMap, header};

use super::coding_window::{self, ContentCoding};
use crate::model::{Cause, FetchError, ResponseHead};

/// Maximum piece of decoded output, in bytes.
const CHUNK_BYTES: usize = 32 * 1024;
/// Maximum number of codings on one body. Two are already rare, and each one multiplies the size
/// to which a small body can expand.
const MAX_CODINGS: usize = 2;
/// Maximum size to which an intermediate coding may expand, in bytes. `--max-size` limits the
/// output of the last coding only, and a decompression bomb could be below it.
const MAX_INTERMEDIATE_BYTES: u64 = 256 << 20;
/// Maximum number of characters of a coding's name in a message.
const MAX_NAME_CHARS: usize = 40;
/// Maximum input for one call of a brotli decoder, in bytes. Its output then usually fits into one
/// piece.
const BROTLI_CHUNK_BYTES: usize = 4 * 1024;

/// Returns the content codings of a body in the order they were applied, or `None` if one of them
/// is unknown and the body can't be decoded.
#[must_use]
pub(crate) fn codings(headers: &HeaderMap) -> Option<Vec<ContentCoding>> {
    let mut found = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => found.push(ContentCoding::Gzip),
                "deflate" => found.push(ContentCoding::Deflate),
                "br" => found.push(ContentCoding::Brotli),
                "zstd" => found.push(ContentCoding::Zstd),
                _ => return None,
            }
        }
    }
    Some(found)
}

/// Returns the transfer codings in the order they were applied, without the chunked framing, which
/// the client removes.
///
/// # Errors
/// `protocol` for a coding that can't be decoded, or an empty list without a length: the bytes are
/// not the body then.
pub(crate) fn transfer_codings(head: &ResponseHead) -> Result<Vec<ContentCoding>, FetchError> {
    let mut names = Vec::new();
    for value in head.headers.get_all(header::TRANSFER_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let listed = text.split(',').map(|name| name.trim().to_ascii_lowercase());
        names.extend(listed.filter(|name| !name.is_empty()));
    }
    let has_header = head.headers.contains_key(header::TRANSFER_ENCODING);
    if has_header && names.is_empty() && head.content_length().is_none() {
        return Err(FetchError::Protocol {
            cause: Cause::from_text("empty Transfer-Encoding: it does not say where the body ends"),
        });
    }
    if head.is_chunked() {
        // An application and a proxy in front of it may both add `chunked`, yet only one of
        // them sends chunks.
        while names.last().is_some_and(|name| name == "chunked") {
            names.pop();
        }
    }
    let mut found = Vec::new();
    for name in names {
        // None of the supported codings has parameters (RFC 9112 §7).
        match name.split(';').next().unwrap_or_default().trim_end() {
            "identity" => {}
            "gzip" | "x-gzip" => found.push(ContentCoding::Gzip),
            "deflate" => found.push(ContentCoding::Deflate),
            _ => return Err(unknown_transfer(&name)),
        }
    }
    Ok(found)
}

fn unknown_transfer(name: &str) -> FetchError {
    let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
    let shown = crate::model::escape_control(&shown);
    let text = if name.starts_with("chunked") {
        format!("invalid Transfer-Encoding {shown}: chunked must come last, without parameters")
    } else {
        format!("unsupported Transfer-Encoding: {shown}")
    };
    FetchError::Protocol {
        cause: Cause::from_text(text),
    }
}

/// Decodes the codings of one body.
pub(crate) struct Decoder {
    /// The last applied, outermost coding first.
    stages: Vec<DecodeStage>,
    /// Reusable buffer for one piece of output.
    buffer: Vec<u8>,
}

impl Decoder {
    /// Creates a decoder for a body with these codings, given in the order they were applied.
    ///
    /// # Errors
    /// `decode` when there are more than two codings.
    pub(crate) fn new(codings: &[ContentCoding]) -> Result<Self, FetchError> {
        if codings.len() > MAX_CODINGS {
            return Err(FetchError::Decode {
                coding: format!("{}-fold encoded", codings.len()),
                cause: Cause::from_text(format!("at most {MAX_CODINGS} codings are supported")),
            });
        }
        Ok(Self {
            stages: codings
                .iter()
                .rev()
                .map(|coding| DecodeStage::new(*coding))
                .collect(),
            buffer: vec![0; CHUNK_BYTES],
        })
    }

    /// Adds the next bytes from the wire.
    pub(crate) fn feed(&mut self, wire: Bytes) {
        if let Some(first) = self.stages.first_mut() {
            first.input.push_back(wire);
        }
    }

    /// Marks the end of the input. If a coding has not ended by then, the error depends on what
    /// marks the end of the body. If only the end of the connection does, the body was truncated,
    /// on its way here or to a proxy that added another coding: `cut` is the error to return. If
    /// the protocol marks the end, `cut` is `None` and the error is `decode`: the server's own
    /// data is corrupt.
    pub(crate) fn finish_input(&mut self, cut: Option<FetchError>) {
        if let Some(first) = self.stages.first_mut() {
            first.input_ended = true;
            first.cut = cut;
        }
    }

    /// Returns the next decoded piece, or `None` if more input is needed or everything is decoded.
    ///
    /// # Errors
    /// `decode` when the body does not match its coding. When the body is truncated, the error
    /// passed to [`finish_input`](Self::finish_input).
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Some(last) = self.stages.len().checked_sub(1) else {
            return Ok(None);
        };
        self.pull(last)
    }

    /// Returns how much memory the decoders' windows take, in bytes.
    #[must_use]
    pub(crate) fn window_bytes(&self) -> u64 {
        self.stages.iter().map(DecodeStage::used_window).sum()
    }

    /// Whether decoding the next piece can increase [`window_bytes`](Self::window_bytes).
    #[must_use]
    pub(crate) fn may_grow_window(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.used_window() < stage.window)
    }

    fn pull(&mut self, stage: usize) -> Result<Option<Bytes>, FetchError> {
        loop {
            let Some(this) = self.stages.get_mut(stage) else {
                return Ok(None);
            };
            if let Some(piece) = this.run(&mut self.buffer)? {
                return Ok(Some(piece));
            }
            if this.input_ended || stage == 0 {
                return Ok(None);
            }
            let more = self.pull(stage - 1)?;
            let below = self.stages.get_mut(stage - 1);
            let (below_done, cut) = below.map_or((false, None), |below| {
                let is_done = below.is_done();
                (is_done, below.cut.take_if(|_| is_done))
            });
            let Some(this) = self.stages.get_mut(stage) else {
                return Ok(None);
            };
            match more {
                Some(piece) => this.take(piece)?,
                None if below_done => {
                    this.input_ended = true;
                    this.cut = cut;
                }
                None => return Ok(None),
            }
        }
    }
}

/// The decoder of one coding.
struct DecodeStage {
    coding: ContentCoding,
    codec: Option<Box<dyn DecodeV2 + Send>>,
    input: VecDeque<Bytes>,
    input_ended: bool,
    /// Whether a member has ended and nothing has followed it yet.
    member_ended: bool,
    /// Whether any input has arrived. An empty body is valid in every coding, if the protocol marks
    /// its end.
    begun: bool,
    /// Whether the last call filled its buffer, so that the codec may hold more output.
    may_hold_more: bool,
    finished: bool,
    /// Whether a member was followed by something other than a member. Everything after it is
    /// ignored, however the input is split into pieces.
    in_padding: bool,
    /// The first input bytes, at most [`MAGIC_BYTES`].
    head: Vec<u8>,
    /// The error if the input ends before the coding does; `None` for `decode`.
    cut: Option<FetchError>,
    /// Bytes received from the stage below.
    taken: u64,
    /// Decoded bytes.
    made: u64,
    /// Size of the window, in bytes.
    window: u64,
}

impl DecodeStage {
    fn new(coding: ContentCoding) -> Self {
        Self {
            coding,
            codec: None,
            input: VecDeque::new(),
            input_ended: false,
            member_ended: false,
            begun: false,
            may_hold_more: false,
            finished: false,
            in_padding: false,
            head: Vec::new(),
            cut: None,
            taken: 0,
            made: 0,
            // The maximum, until the stream announces its own.
            window: coding_window::announced(coding, &[]),
        }
    }

    /// Adds a piece decoded by the stage below.
    fn take(&mut self, piece: Bytes) -> Result<(), FetchError> {
        self.taken += piece.len() as u64;
        if self.taken > MAX_INTERMEDIATE_BYTES {
            let message = "intermediate coding expands beyond its limit of 256 MiB";
            return Err(self.error(io::Error::other(message)));
        }
        self.input.push_back(piece);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.finished
    }

    /// Returns how many bytes the codec's window takes. zstd allocates its whole window at once,
    /// and the process may keep the memory after it is freed. Brotli fills its window before it
    /// returns any output.
    fn used_window(&self) -> u64 {
        let is_whole = match self.coding {
            ContentCoding::Zstd => self.codec.is_some(),
            ContentCoding::Brotli => self.may_hold_more,
            ContentCoding::Gzip | ContentCoding::Deflate => true,
        };
        if is_whole {
            self.window
        } else {
            self.made.min(self.window)
        }
    }

    /// Decodes the pending input into one piece, if it yields any output.
    fn run(&mut self, buffer: &mut [u8]) -> Result<Option<Bytes>, FetchError> {
        loop {
            while self.input.front().is_some_and(Bytes::is_empty) {
                self.input.pop_front();
            }
            if self.finished {
                return Ok(None);
            }
            if self.input.is_empty() && !self.may_hold_more {
                return self.check_end().map(|()| None);
            }
            let written = self.step(buffer).map_err(|error| self.error(error))?;
            if written > 0 {
                let piece = buffer.get(..written).unwrap_or_default();
                return Ok(Some(Bytes::copy_from_slice(piece)));
            }
        }
    }

    /// Checks that input may end here, once all of it is consumed: at the end of the body only
    /// after the coding's own end.
    fn check_end(&mut self) -> Result<(), FetchError> {
        if !self.input_ended {
            return Ok(());
        }
        if !self.member_ended && (self.begun || self.cut.is_some()) {
            // The codecs accept any first bytes until the header is complete.
            let is_cut = may_begin(self.coding, &self.head);
            if let Some(cut) = self.cut.take().filter(|_| is_cut) {
                return Err(cut);
            }
            return Err(self.error(io::Error::new(io::ErrorKind::UnexpectedEof, "truncated")));
        }
        self.finished = true;
        Ok(())
    }

    fn error(&self, error: io::Error) -> FetchError {
        FetchError::Decode {
            coding: self.coding.name().to_owned(),
            cause: Cause::from_error(error),
        }
    }

    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut input = self.input.front().cloned().unwrap_or_default();
        if !self.start(&input)? {
            return Ok(0);
        }
        let Some(codec) = &mut self.codec else {
            return Ok(0);
        };
        let all = input.clone();
        if self.coding == ContentCoding::Brotli {
            // Small steps keep the size of its window predictable.
            input.truncate(BROTLI_CHUNK_BYTES);
        }
        let mut from = PartialBuffer::new(&*input);
        let mut to = WriteBuffer::new_initialized(buffer);
        let member_ended = match codec.decode(&mut from, &mut to) {
            // It held nothing more after all, which zlib calls an error (`Z_BUF_ERROR`) and later
            // calls are not affected by.
            Err(_) if input.is_empty() && to.written_len() == 0 => false,
            decoded => decoded?,
        };
        let (used, written) = (from.written_len(), to.written_len());
        self.may_hold_more = !member_ended && to.has_no_spare_space();
        self.member_ended = member_ended;
        self.made += written as u64;
        if used == 0 && written == 0 && !member_ended && !input.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "decoder makes no progress",
            ));
        }
        if self.head.len() < MAGIC_BYTES {
            let missing = MAGIC_BYTES - self.head.len();
            self.head.extend(all.iter().take(missing.min(used)));
        }
        if let Some(front) = self.input.front_mut() {
            *front = all.slice(used..);
        }
        Ok(written)
    }

    /// Prepares the codec for a first or further member. Returns whether there is anything to
    /// decode.
    fn start(&mut self, input: &[u8]) -> io::Result<bool> {
        let Some(first) = input.first() else {
            return Ok(true);
        };
        let Some(codec) = &mut self.codec else {
            self.codec = Some(new_codec(self.coding, input)?);
            self.window = coding_window::announced(self.coding, input);
            self.begun = true;
            return Ok(true);
        };
        if !self.member_ended {
            return Ok(true);
        }
        // RFC 1952 §2.2 and RFC 8878 §3.1 allow several members; zero padding after a gzip member
        // is common and harmless. The other codings have a single stream.
        match (self.coding, *first) {
            (ContentCoding::Gzip, 0x1f) | (ContentCoding::Zstd, _) if !self.in_padding => {
                self.member_ended = false;
                codec.reinit()?;
                self.window = self
                    .window
                    .max(coding_window::announced(self.coding, input));
                Ok(true)
            }
            (ContentCoding::Gzip | ContentCoding::Zstd, _) => {
                self.in_padding = true;
                self.input.clear();
                Ok(false)
            }
            (ContentCoding::Deflate | ContentCoding::Brotli, _) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "trailing data after the end",
            )),
        }
    }
}

fn new_codec(coding: ContentCoding, input: &[u8]) -> io::Result<Box<dyn DecodeV2 + Send>> {
    Ok(match coding {
        ContentCoding::Gzip => Box::new(GzipDecoder::new()),
        ContentCoding::Deflate if is_zlib(input) => Box::new(ZlibDecoder::new()),
        ContentCoding::Deflate => Box::new(DeflateDecoder::new()),
        ContentCoding::Brotli => {
            if coding_window::is_large_brotli(input) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "window larger than 16 MiB",
                ));
            }
            Box::new(BrotliDecoder::new())
        }
        ContentCoding::Zstd => {
            Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(
                coding_window::MAX_ZSTD_WINDOW_LOG,
            )]))
        }
    })
}

/// Length of the longest magic number, in bytes.
const MAGIC_BYTES: usize = 4;

/// Whether a stream of this coding may begin with these bytes (RFC 1952 §2.3.1, RFC 8878 §3.1).
/// Always true for codings without a magic number.
fn may_begin(coding: ContentCoding, head: &[u8]) -> bool {
    let is = |magic: &[u8]| head.iter().zip(magic).all(|(one, other)| one == other);
    match coding {
        ContentCoding::Gzip => is(&[0x1f, 0x8b, 8]),
        ContentCoding::Zstd => {
            let is_skippable = head.first().is_none_or(|first| first & 0xf0 == 0x50)
                && is(&[head.first().copied().unwrap_or_default(), 0x2a, 0x4d, 0x18]);
            is(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable
        }
        ContentCoding::Deflate | ContentCoding::Brotli => true,
    }
}

/// Whether a deflate body has a zlib header (RFC 1950 §2.2): method 8 in the low bits, and the
/// first two bytes a multiple of 31. If only one byte is available, the method alone decides.
fn is_zlib(input: &[u8]) -> bool {
    match input {
        [cmf, flg, ..] => cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0,
        [cmf] => cmf & 0x0f == 8,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;
    use compression_codecs::brotli::params::EncoderParams as BrotliParams;
    use compression_codecs::flate::params::FlateEncoderParams;
    use compression_codecs::{
        BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder,
    };
    use proptest::prelude::*;

    fn encode(codec: &mut dyn EncodeV2, body: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; body.len() * 2 + 4096];
        let mut from = PartialBuffer::new(body);
        let mut to = WriteBuffer::new_initialized(&mut buffer);
        while !from.unwritten().is_empty() {
            codec.encode(&mut from, &mut to).unwrap();
        }
        while !codec.finish(&mut to).unwrap() {}
        let written = to.written_len();
        buffer.truncate(written);
        buffer
    }

    fn level() -> FlateEncoderParams {
        compression_codecs::core::Level::Default.into()
    }

    fn encoded(coding: ContentCoding, body: &[u8]) -> Vec<u8> {
        match coding {
            ContentCoding::Gzip => encode(&mut GzipEncoder::new(level()), body),
            ContentCoding::Deflate => encode(&mut ZlibEncoder::new(level()), body),
            ContentCoding::Brotli => encode(&mut BrotliEncoder::new(Default::default()), body),
            ContentCoding::Zstd => encode(&mut ZstdEncoder::new(3), body),
        }
    }

    const ALL: [ContentCoding; 4] = [
        ContentCoding::Gzip,
        ContentCoding::Deflate,
        ContentCoding::Brotli,
        ContentCoding::Zstd,
    ];

    fn decode(
        codings: &[ContentCoding],
        wire: &[u8],
        pieces: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let mut decoder = Decoder::new(codings)?;
        let mut body = Vec::new();
        for chunk in wire.chunks(pieces) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(piece) = decoder.next()? {
                assert!(piece.len() <= CHUNK_BYTES);
                body.extend_from_slice(&piece);
            }
        }
        decoder.finish_input(None);
        while let Some(piece) = decoder.next()? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect()
    }

    #[test]
    fn windows_are_read_from_the_stream_header() {
        for (level, log) in [(10, 10), (16, 16), (17, 17), (18, 18), (22, 22), (24, 24)] {
            let params = BrotliParams::default().window_size(level);
            let wire = encode(&mut BrotliEncoder::new(params), b"x");
            assert_eq!(
                coding_window::announced(ContentCoding::Brotli, &wire),
                1 << log
            );
        }
        let mut wire = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0];
        for (byte, bytes) in [(0, 1024), (0b0000_1001, 2048 + 256), (0xff, 8 << 20)] {
            wire[5] = byte;
            assert_eq!(coding_window::announced(ContentCoding::Zstd, &wire), bytes);
        }
        // A single-segment frame has a content size instead of a window.
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        for (header, bytes) in [
            (&[0x20, 7][..], 7),
            (&[0x61, 9, 1, 0], 1 + 256),
            (&[0xa3, 9, 9, 9, 9, 0, 0, 2, 0], 2 << 16),
            (&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0], 8 << 20),
            (&[0xe0, 0], 8 << 20),
            (&[], 8 << 20),
        ] {
            assert_eq!(
                coding_window::announced(ContentCoding::Zstd, &[&magic, header].concat()),
                bytes
            );
        }
    }

    #[test]
    fn memory_in_use_never_exceeds_the_window() {
        let body = vec![b'x'; 300_000];
        for (coding, most) in [
            (ContentCoding::Gzip, 32 << 10),
            (ContentCoding::Brotli, 300_000),
            (ContentCoding::Zstd, 1 << 21),
        ] {
            let mut decoder = Decoder::new(&[coding]).unwrap();
            decoder.feed(encoded(coding, &body).into());
            decoder.finish_input(None);
            while decoder.next().unwrap().is_some() {}
            assert_eq!(decoder.window_bytes(), most);
        }
    }

    #[test]
    fn every_coding_round_trips_whatever_the_pieces() {
        let body = sample();
        for coding in ALL {
            let wire = encoded(coding, &body);
            for pieces in [1, 7, 1000, wire.len()] {
                assert!(
                    decode(&[coding], &wire, pieces).unwrap() == body,
                    "{coding:?} in {pieces}"
                );
            }
        }
        let raw = encode(&mut DeflateEncoder::new(level()), &body);
        assert!(
            decode(&[ContentCoding::Deflate], &raw, 1000).unwrap() == body,
            "raw deflate"
        );
    }

    /// Whether the codec holds more output is not known then.
    #[test]
    fn a_piece_may_end_where_the_output_is_full() {
        let mut rng = fastrand::Rng::with_seed(7);
        // What cannot be compressed is stored, so that pieces and outputs are about as long.
        let body: Vec<u8> = std::iter::repeat_with(|| rng.u8(..))
            .take(2 * CHUNK_BYTES + 100)
            .collect();
        for coding in ALL {
            let wire = encoded(coding, &body);
            for split in CHUNK_BYTES..CHUNK_BYTES + 40 {
                let mut decoder = Decoder::new(&[coding]).unwrap();
                let mut made = Vec::new();
                for piece in [&wire[..split], &wire[split..]] {
                    decoder.feed(Bytes::copy_from_slice(piece));
                    while let Some(piece) = decoder.next().unwrap() {
                        made.extend_from_slice(&piece);
                    }
                }
                assert!(made == body, "{coding:?}, {split}");
            }
        }
    }

    #[test]
    fn stacked_codings_are_decoded_in_reverse_order() {
        let body = sample();
        let wire = encoded(ContentCoding::Brotli, &encoded(ContentCoding::Gzip, &body));
        assert!(decode(&[ContentCoding::Gzip, ContentCoding::Brotli], &wire, 100).unwrap() == body);
        assert!(Decoder::new(&[ContentCoding::Gzip; 3]).is_err());
    }

    #[test]
    fn a_stream_truncated_anywhere_is_an_error_and_an_empty_body_is_not() {
        let body = sample();
        for coding in ALL {
            let wire = encoded(coding, &body);
            for cut in [1, wire.len() / 2, wire.len() - 1] {
                assert!(
                    decode(&[coding], &wire[..cut], 1000).is_err(),
                    "{coding:?} cut at {cut}"
                );
            }
            assert_eq!(decode(&[coding], b"", 1).unwrap(), b"");
        }
    }

    /// Decodes a body whose end is marked only by the end of the connection.
    fn cut_off(codings: &[ContentCoding], wire: &[u8], pieces: usize) -> Result<(), ErrorKind> {
        let mut decoder = Decoder::new(codings).unwrap();
        for chunk in wire.chunks(pieces) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while decoder.next().map_err(|error| error.kind())?.is_some() {}
        }
        decoder.finish_input(Some(FetchError::Truncated {
            received: wire.len() as u64,
            expected: None,
        }));
        while decoder.next().map_err(|error| error.kind())?.is_some() {}
        Ok(())
    }

    #[test]
    fn a_stream_that_the_end_of_the_connection_cuts_anywhere_is_truncated() {
        let body = &sample()[..2000];
        let raw = encode(&mut DeflateEncoder::new(level()), body);
        let wires = ALL.map(|coding| (coding, encoded(coding, body)));
        for (coding, wire) in wires.into_iter().chain([(ContentCoding::Deflate, raw)]) {
            for cut in 0..wire.len() {
                let kind = cut_off(&[coding], &wire[..cut], 1 + cut % 7);
                assert_eq!(kind, Err(ErrorKind::Truncated), "{coding:?} cut at {cut}");
            }
            assert_eq!(cut_off(&[coding], &wire, 100), Ok(()));
        }
    }

    #[test]
    fn a_body_in_two_codings_that_the_end_of_the_connection_cuts_is_truncated() {
        let body = &sample()[..400];
        for (inner, outer) in ALL
            .into_iter()
            .flat_map(|one| ALL.map(|other| (one, other)))
        {
            let coded = encoded(inner, body);
            let wire = encoded(outer, &coded);
            for cut in 1..wire.len() {
                let kind = cut_off(&[inner, outer], &wire[..cut], 1 + cut % 7);
                let case = format!("{outer:?} of {inner:?} cut at {cut}");
                assert_eq!(kind, Err(ErrorKind::Truncated), "{case}");
            }
            let half = encoded(outer, &coded[..coded.len() / 2]);
            let kind = cut_off(&[inner, outer], &half, 7);
            let case = format!("{outer:?} of half a {inner:?}");
            assert_eq!(kind, Err(ErrorKind::Truncated), "{case}");
            // If the protocol marks the end, the server's own data is corrupt.
            let error = decode(&[inner, outer], &half, 7).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{case}");
            assert_eq!(cut_off(&[inner, outer], &wire, 7), Ok(()));
        }
    }

    #[test]
    fn a_body_may_end_between_members_but_not_inside_one() {
        for coding in [ContentCoding::Gzip, ContentCoding::Zstd] {
            let one = encoded(coding, b"one");
            let two = [one.clone(), encoded(coding, b"two")].concat();
            for cut in one.len() + 1..two.len() {
                let kind = cut_off(&[coding], &two[..cut], 5);
                assert_eq!(kind, Err(ErrorKind::Truncated), "{coding:?} cut at {cut}");
            }
            assert_eq!(cut_off(&[coding], &one, 5), Ok(()));
        }
    }

    #[test]
    fn corrupt_input_is_a_decode_error_and_not_truncated() {
        for text in [&b"<"[..], b"oops", b"\x1foops", b"gateway timeout"] {
            for coding in [ContentCoding::Gzip, ContentCoding::Zstd] {
                let kind = cut_off(&[coding], text, 1);
                assert_eq!(kind, Err(ErrorKind::Decode), "{coding:?}: {text:?}");
            }
        }
        let mut wire = encoded(ContentCoding::Gzip, &sample());
        let middle = wire.len() / 2;
        wire[middle..middle + 4].fill(0xff);
        assert_eq!(
            cut_off(&[ContentCoding::Gzip], &wire, 100),
            Err(ErrorKind::Decode)
        );
    }

    #[test]
    fn transfer_codings_are_supported_or_rejected() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::TRANSFER_ENCODING, line.parse().unwrap());
            }
            let head = ResponseHead::http11(http::StatusCode::OK, headers);
            transfer_codings(&head).map_err(|error| error.kind())
        };
        let (gzip, deflate) = (ContentCoding::Gzip, ContentCoding::Deflate);
        for (lines, codings) in [
            (&[][..], vec![]),
            (&["chunked"], vec![]),
            (&["chunked, chunked"], vec![]),
            (&["chunked", "chunked"], vec![]),
            (&["Identity"], vec![]),
            (&["identity, chunked"], vec![]),
            (&["GZip, Chunked"], vec![gzip]),
            (&["x-gzip"], vec![gzip]),
            (&["gzip;level=9 , chunked"], vec![gzip]),
            (&["gzip", "deflate", "chunked"], vec![gzip, deflate]),
            (&["gzip,, chunked"], vec![gzip]),
        ] {
            assert_eq!(of(lines), Ok(codings), "{lines:?}");
        }
        for lines in [
            &["chunked, gzip"][..],
            &["chunked", "gzip"],
            &["chunked, identity"],
            &["chunked;x=1"],
            &["chunked,"],
            &["compress, chunked"],
            &["br, chunked"],
            &["x-own"],
            &[""],
            &[", ", ""],
        ] {
            assert_eq!(of(lines), Err(ErrorKind::Protocol), "{lines:?}");
        }
    }

    #[test]
    fn a_mislabelled_body_is_an_error() {
        for coding in ALL {
            assert!(
                decode(&[coding], b"<html>plain text</html>", 5).is_err(),
                "{coding:?}"
            );
        }
    }

    /// Otherwise packet boundaries would decide whether a body is complete.
    #[test]
    fn junk_after_a_gzip_member_is_ignored_however_the_input_is_split() {
        for junk in [b"junk\x1f\x8b and more".as_slice(), b"\0\0\x1f\0"] {
            let mut wire = encoded(ContentCoding::Gzip, b"hello");
            wire.extend_from_slice(junk);
            for pieces in 1..wire.len() {
                let body = decode(&[ContentCoding::Gzip], &wire, pieces).unwrap();
                assert_eq!(body, b"hello", "in pieces of {pieces}");
            }
        }
    }

    #[test]
    fn gzip_members_in_a_row_are_one_body_and_padding_is_ignored() {
        let mut wire = encoded(ContentCoding::Gzip, b"one");
        wire.extend(encoded(ContentCoding::Gzip, b"two"));
        wire.extend([0; 100]);
        for pieces in [1, 10, 1000] {
            assert_eq!(
                decode(&[ContentCoding::Gzip], &wire, pieces).unwrap(),
                b"onetwo"
            );
        }
    }

    #[test]
    fn windows_beyond_the_limits_are_rejected() {
        // A large-window brotli stream begins with the bits 0010001.
        let error = decode(&[ContentCoding::Brotli], &[0x11, 0x1e, 0, 0], 4).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
        // A zstd frame of a 128 MiB window (RFC 8878 §3.1.1.1.2): exponent 17.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert!(decode(&[ContentCoding::Zstd], &frame, 9).is_err());
    }

    #[test]
    fn a_decompression_bomb_is_decoded_piece_by_piece() {
        let zeros = vec![0; 50_000_000];
        let wire = encoded(ContentCoding::Zstd, &zeros);
        assert!(wire.len() < 10_000);
        assert_eq!(
            decode(&[ContentCoding::Zstd], &wire, wire.len())
                .unwrap()
                .len(),
            zeros.len()
        );
    }

    #[test]
    fn a_decompression_bomb_below_another_coding_is_rejected() {
        let zeros = vec![0; 300 << 20];
        let wire = encoded(ContentCoding::Zstd, &encoded(ContentCoding::Zstd, &zeros));
        assert_eq!(
            decode(
                &[ContentCoding::Zstd, ContentCoding::Zstd],
                &wire,
                wire.len()
            )
            .unwrap()
            .len(),
            zeros.len(),
            "a small intermediate body is accepted"
        );
        // The inner coding is one huge skippable frame, which yields no output.
        let skippable = [
            &[0x50, 0x2a, 0x4d, 0x18][..],
            &(300u32 << 20).to_le_bytes(),
            &zeros,
        ]
        .concat();
        let wire = encoded(ContentCoding::Zstd, &skippable);
        let error = decode(
            &[ContentCoding::Zstd, ContentCoding::Zstd],
            &wire,
            wire.len(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("expands beyond"), "{error}");
    }

    #[test]
    fn unknown_codings_differ_from_none() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, value.parse().unwrap());
            codings(&headers)
        };
        assert_eq!(codings(&HeaderMap::new()), Some(vec![]));
        assert_eq!(of("identity"), Some(vec![]));
        assert_eq!(
            of("GZIP, br"),
            Some(vec![ContentCoding::Gzip, ContentCoding::Brotli])
        );
        assert_eq!(of("gzip, pack200-gzip"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hang(wire in prop::collection::vec(any::<u8>(), 0..300), pieces in 1usize..50) {
            for coding in ALL {
                let _ = decode(&[coding], &wire, pieces);
            }
        }
    }
}
