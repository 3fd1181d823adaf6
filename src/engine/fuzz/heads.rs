//! Fuzzes responses without a socket, to be fast: heads as the real transport's parser returns
//! them, and bodies of arbitrary bytes.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{HERE, MAX_SIZE, TOKENS, attempt, engine, look, state_of};
use crate::engine::Engine;
use crate::engine::attempt::run;
use crate::fetch::{RawResponse, ResponseBody, Transport, codings};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{Attempt, FetchError, ResponseHead, WireState};
use crate::store::DiscardStore;

/// Returns the response that was put there.
#[derive(Default)]
struct CannedTransport(Arc<Mutex<Option<CannedAnswer>>>);

/// A head, and the pieces of a body.
type CannedAnswer = (ResponseHead, Vec<Bytes>);

struct CannedBody(std::vec::IntoIter<Bytes>);

impl ResponseBody for CannedBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        Ok(self.0.next())
    }
}

impl Transport for CannedTransport {
    type Body = CannedBody;

    async fn open(
        &self,
        _: &Attempt,
        _: &Arc<WireState>,
    ) -> Result<RawResponse<CannedBody>, FetchError> {
        let (head, body) = self.0.lock().unwrap().take().unwrap();
        let body = CannedBody(body.into_iter());
        Ok(RawResponse { head, body })
    }
}

/// Parses the head and returns it with its length; `None` if it is invalid or incomplete.
fn parse(bytes: &[u8]) -> Option<(ResponseHead, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        _ => return None,
    };
    let mut map = HeaderMap::new();
    for header in parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    let head = ResponseHead::http11(StatusCode::from_u16(parsed.code?).ok()?, map);
    Some((head, length))
}

struct HeadBench {
    engine: Engine<CannedTransport, DiscardStore>,
    next: Arc<Mutex<Option<CannedAnswer>>>,
    runtime: tokio::runtime::Runtime,
}

impl HeadBench {
    fn look(&self, input: &FuzzInput<'_>) -> FuzzVerdict {
        let Some((head, length)) = parse(input.bytes) else {
            return Ok("no head");
        };
        let body = &input.bytes[length..];
        let piece = [1, 16, 5000][(input.number % 3) as usize];
        let pieces = body.chunks(piece).map(Bytes::copy_from_slice).collect();
        *self.next.lock().unwrap() = Some((head.clone(), pieces));
        let attempt = attempt("http://a.test/x", input.name);
        let wire = Arc::new(WireState::new(Instant::now()));
        let mut state = state_of(&attempt);
        let outcome = self
            .runtime
            .block_on(run(&self.engine, &attempt, &wire, &mut state));
        hold!(state.head.is_some(), "the head is not reported");
        let came = look(&attempt, Some(&head), &outcome)?;
        if came == "whole" {
            check_whole(&attempt, &head, body)?;
        }
        Ok(came)
    }
}

/// Checks that a body accepted as complete is as long as announced and within the size limit.
fn check_whole(attempt: &Attempt, head: &ResponseHead, body: &[u8]) -> Result<(), String> {
    let has_body = !attempt.is_head_only() && head.status != StatusCode::NO_CONTENT;
    if !has_body {
        return Ok(());
    }
    let length = body.len() as u64;
    let is_coded = codings(&head.headers).is_some_and(|codings| !codings.is_empty());
    hold!(is_coded || length <= MAX_SIZE, "{length} bytes are taken");
    let is_rest = attempt.resumable_part().is_some() && head.status == StatusCode::PARTIAL_CONTENT;
    if is_rest {
        hold!(HERE + length == 12, "{length} bytes are taken for the rest");
        hold!(
            head.headers
                .get(header::ETAG)
                .is_some_and(|tag| tag == "\"v1\""),
            "of which version?"
        );
        return Ok(());
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(());
    }
    let announced = head.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    hold!(
        announced.is_none_or(|announced| announced <= length),
        "{length} of {announced:?} bytes are whole"
    );
    Ok(())
}

#[test]
fn heads() {
    let fuzz = FuzzCampaign {
        corpus: "heads",
        tokens: TOKENS,
        inputs: 3000,
        one_of: 1,
    };
    let can = CannedTransport::default();
    let next = Arc::clone(&can.0);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let bench = HeadBench {
        engine: engine(can),
        next,
        runtime: runtime.enable_time().build().unwrap(),
    };
    fuzz.run(move |input| bench.look(input));
}
