//! Fuzzes the decoder with corrupt and hostile bodies.

use std::io::Read;

use bytes::Bytes;

use super::super::coding_window::ContentCoding;
use super::super::decode::Decoder;
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{ErrorKind, FetchError};

/// Maximum decoded size of one input, in bytes: a few bytes can expand to gigabytes.
const MAX_DECODED: usize = 256 * 1024;
/// Maximum piece of output, in bytes.
const MAX_PIECE: usize = 32 * 1024;
/// Maximum window of a decoder, in bytes: that of brotli (RFC 7932 §9.1).
const MAX_WINDOW: u64 = 16 << 20;

fn coding(name: &str) -> Vec<ContentCoding> {
    let extensions = name.split('.').skip(1);
    extensions
        .map(|extension| match extension {
            "gz" => ContentCoding::Gzip,
            "zlib" | "deflate" => ContentCoding::Deflate,
            "br" => ContentCoding::Brotli,
            _ => ContentCoding::Zstd,
        })
        .collect()
}

/// Decodes a body. `None` if it is larger than [`MAX_DECODED`].
fn decode(
    codings: &[ContentCoding],
    bytes: &[u8],
    piece: usize,
) -> Result<Option<Vec<u8>>, FetchError> {
    decode_ending(codings, bytes, piece, None)
}

/// Like [`decode`]; `cut` is the error if the bytes end before the coding.
fn decode_ending(
    codings: &[ContentCoding],
    bytes: &[u8],
    piece: usize,
    mut cut: Option<FetchError>,
) -> Result<Option<Vec<u8>>, FetchError> {
    let mut decoder = Decoder::new(codings)?;
    let mut out = Vec::new();
    let mut pieces = bytes.chunks(piece);
    loop {
        let next = pieces.next();
        match next {
            Some(piece) => decoder.feed(Bytes::copy_from_slice(piece)),
            None => decoder.finish_input(cut.take()),
        }
        while let Some(piece) = decoder.next()? {
            assert!(!piece.is_empty() && piece.len() <= MAX_PIECE);
            assert!(decoder.window_bytes() <= MAX_WINDOW * codings.len() as u64);
            out.extend_from_slice(&piece);
            if out.len() > MAX_DECODED {
                return Ok(None);
            }
        }
        if next.is_none() {
            return Ok(Some(out));
        }
    }
}

/// Decodes a body with a reference implementation. `None` if that reports an error.
fn decode_by_reference(coding: ContentCoding, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match coding {
        ContentCoding::Gzip => flate2::read::MultiGzDecoder::new(bytes)
            .take(MAX_DECODED as u64 + 1)
            .read_to_end(&mut out),
        ContentCoding::Deflate => flate2::read::ZlibDecoder::new(bytes)
            .take(MAX_DECODED as u64 + 1)
            .read_to_end(&mut out),
        ContentCoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(bytes).ok()?;
            decoder.window_log_max(23).ok()?;
            decoder.take(MAX_DECODED as u64 + 1).read_to_end(&mut out)
        }
        ContentCoding::Brotli => return None,
    }
    .ok()?;
    Some(out)
}

fn try_coded(input: &FuzzInput<'_>) -> FuzzVerdict {
    let codings = coding(input.name);
    let whole = decode(&codings, input.bytes, usize::MAX);
    let piece = [1, 2, 13, 400][(input.number % 4) as usize];
    let in_pieces = decode(&codings, input.bytes, piece);
    match (&whole, &in_pieces) {
        (Ok(None), _) | (_, Ok(None)) => return Ok("too large"),
        (Ok(one), Ok(two)) => hold!(one == two, "another result in pieces"),
        (Err(one), Err(two)) => {
            let is_decode = |error: &FetchError| error.kind() == ErrorKind::Decode;
            hold!(is_decode(one) && is_decode(two), "{one}, {two}");
            hold!(!one.is_transient(), "{one} would be retried");
        }
        (one, two) => {
            let shown =
                |one: &Result<_, FetchError>| one.as_ref().map(drop).map_err(ToString::to_string);
            let (one, two) = (shown(one), shown(two));
            return Err(format!("as a whole {one:?}, in pieces {two:?}"));
        }
    }
    try_cut(&codings, input, &whole)?;
    if let [coding] = codings[..] {
        let reference = decode_by_reference(coding, input.bytes)
            .filter(|reference| reference.len() <= MAX_DECODED);
        match (&whole, reference) {
            (Ok(Some(ours)), Some(reference)) => {
                hold!(*ours == reference, "differs from the reference")
            }
            (Err(error), Some(_))
                if coding != ContentCoding::Deflate && !input.bytes.is_empty() =>
            {
                return Err(format!("accepted by the reference: {error}"));
            }
            _ => {}
        }
    }
    Ok(match whole {
        Ok(Some(out)) if out.is_empty() => "empty",
        Ok(_) => "decoded",
        Err(_) => "rejected",
    })
}

/// Checks the same bytes when only the end of the connection marks their end: a complete body stays
/// complete, and a corrupt one stays an error. The beginning of a complete body is truncated, or
/// complete if a member ends there, but never corrupt.
fn try_cut(
    codings: &[ContentCoding],
    input: &FuzzInput<'_>,
    whole: &Result<Option<Vec<u8>>, FetchError>,
) -> Result<(), String> {
    let cut = || {
        Some(FetchError::Truncated {
            received: 0,
            expected: None,
        })
    };
    let ending = decode_ending(codings, input.bytes, 400, cut());
    match (whole, &ending) {
        (Ok(one), Ok(two)) => hold!(one == two, "another result without a marked end"),
        (Err(_), Err(error)) => {
            let kinds = [ErrorKind::Decode, ErrorKind::Truncated];
            hold!(kinds.contains(&error.kind()), "{error}");
        }
        // No byte of a coding: nothing but a marked end shows that the body is empty.
        (Ok(Some(one)), Err(FetchError::Truncated { .. })) if one.is_empty() => {}
        _ => return Err("accepted or not depending on how the end is marked".to_owned()),
    }
    if whole.is_ok() && codings.len() == 1 && !input.bytes.is_empty() {
        let at = (input.number as usize).wrapping_mul(31) % input.bytes.len();
        let beginning = input.bytes.get(..at).unwrap_or_default();
        if let Err(error) = decode_ending(codings, beginning, 400, cut()) {
            hold!(error.kind() == ErrorKind::Truncated, "cut at {at}: {error}");
        }
    }
    Ok(())
}

#[test]
fn coded_bodies() {
    let fuzz = FuzzCampaign {
        corpus: "coded",
        tokens: &[
            b"\x1f\x8b\x08\0",
            b"\x28\xb5\x2f\xfd",
            b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
            b"\x78\x9c",
            b"\x11",
            b"\x91",
            b"\0\0\0\0",
            b"\xff\xff",
            b"\x03\0",
            b"\x0b\x02\x80",
            b"\x1b",
        ],
        inputs: 1500,
        one_of: 1,
    };
    fuzz.run(try_coded);
}
