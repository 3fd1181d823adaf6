//! Coded bodies that are broken, and worse.

use std::io::Read;

use bytes::Bytes;

use super::super::decode::{ContentCoding, Decoder};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{ErrorKind, FetchError};

/// So much is decoded of one: few bytes unpack to gigabytes, and a limit stands above.
const MOST: usize = 256 * 1024;
/// What one piece of output may take.
const PIECE: usize = 32 * 1024;
/// What a decoder may refer to: RFC 7932 §9.1 allows 16 MiB, and nothing here more.
const WINDOW: u64 = 16 << 20;

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

/// What comes out; `None` when it is too much.
fn decode(
    codings: &[ContentCoding],
    bytes: &[u8],
    piece: usize,
) -> Result<Option<Vec<u8>>, FetchError> {
    decode_ending(codings, bytes, piece, None)
}

/// The same; `cut` is what it means when the bytes end before the coding.
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
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            assert!(decoder.window_bytes() <= WINDOW * codings.len() as u64);
            out.extend_from_slice(&piece);
            if out.len() > MOST {
                return Ok(None);
            }
        }
        if next.is_none() {
            return Ok(Some(out));
        }
    }
}

/// What another decoder makes of it; `None` when it refuses.
fn otherwise(coding: ContentCoding, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match coding {
        ContentCoding::Gzip => flate2::read::MultiGzDecoder::new(bytes)
            .take(MOST as u64 + 1)
            .read_to_end(&mut out),
        ContentCoding::Deflate => flate2::read::ZlibDecoder::new(bytes)
            .take(MOST as u64 + 1)
            .read_to_end(&mut out),
        ContentCoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(bytes).ok()?;
            decoder.window_log_max(23).ok()?;
            decoder.take(MOST as u64 + 1).read_to_end(&mut out)
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
        (Ok(None), _) | (_, Ok(None)) => return Ok("too much"),
        (Ok(one), Ok(two)) => hold!(one == two, "in pieces something else"),
        (Err(one), Err(two)) => {
            let is_decode = |error: &FetchError| error.kind() == ErrorKind::Decode;
            hold!(is_decode(one) && is_decode(two), "{one}, {two}");
            hold!(!one.is_transient(), "{one} would be tried again");
        }
        (one, two) => {
            let told =
                |one: &Result<_, FetchError>| one.as_ref().map(drop).map_err(ToString::to_string);
            return Err(format!("whole {:?}, in pieces {:?}", told(one), told(two)));
        }
    }
    try_cut(&codings, input, &whole)?;
    if let [coding] = codings[..] {
        let other = otherwise(coding, input.bytes).filter(|other| other.len() <= MOST);
        match (&whole, other) {
            (Ok(Some(ours)), Some(other)) => {
                hold!(*ours == other, "another decoder finds something else")
            }
            (Err(error), Some(_))
                if coding != ContentCoding::Deflate && !input.bytes.is_empty() =>
            {
                return Err(format!("only we refuse it: {error}"));
            }
            _ => {}
        }
    }
    Ok(match whole {
        Ok(Some(out)) if out.is_empty() => "nothing in it",
        Ok(_) => "decoded",
        Err(_) => "refused",
    })
}

/// The same bytes on a connection that ends with them: what is whole stays whole, what is corrupt
/// stays an error. A beginning of one that is whole is cut off, or whole where a member ends; it
/// is never corrupt.
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
        (Ok(one), Ok(two)) => hold!(one == two, "without an end something else"),
        (Err(_), Err(error)) => {
            let kinds = [ErrorKind::Decode, ErrorKind::Truncated];
            hold!(kinds.contains(&error.kind()), "{error}");
        }
        _ => return Err("whole or not by how the end is told".to_owned()),
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
