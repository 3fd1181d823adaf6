//! Fuzzes how the engine handles responses: canned ones, and bytes on a real connection.

mod answers;
mod heads;

use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderValue, Method};
use tokio::sync::mpsc;
use url::Url;

use super::attempt::AttemptState;
use super::attempt_outcome::{AttemptOutcome, NextRequest, ReceivedBody};
use super::resume;
use super::{DecoderBudget, Engine, EngineOptions, RunClock, Shutdown};
use crate::fetch::Transport;
use crate::fuzz::hold;
use crate::model::{
    Attempt, BodyVersion, ByteRanges, ErrorKind, EventReturnQueue, FetchError, Job, LineOptions,
    LiveStats, PartialBody, PriorFetch, ResponseHead, Revalidation, RobotsRoom,
};
use crate::schedule::{Bandwidth, RetryPolicy, ScheduleOptions, Scheduler};
use crate::store::{BodyStore, DiscardStore};

/// Maximum body size, in bytes.
const MAX_SIZE: u64 = 200_000;
/// Bytes of the partial body, in inputs that resume one.
const HERE: u64 = 5;

fn engine<T: Transport>(transport: T) -> Engine<T, DiscardStore> {
    let options = EngineOptions {
        max_size: MAX_SIZE,
        ..EngineOptions::default()
    };
    let live = Arc::new(LiveStats::default());
    let retry = RetryPolicy::default();
    let scheduler = Scheduler::new(
        &ScheduleOptions::default(),
        &retry,
        options.concurrency,
        options.worker_threads(),
        Arc::clone(&live),
    );
    Engine {
        options,
        retry,
        transport,
        store: DiscardStore,
        scheduler,
        bandwidth: Arc::new(Bandwidth::new(&ScheduleOptions::default())),
        live,
        clock: RunClock::start(),
        events: mpsc::channel(1).0,
        spent: EventReturnQueue::default(),
        shutdown: Shutdown::new(),
        past: Default::default(),
        windows: DecoderBudget::new(),
        robots_room: RobotsRoom::default(),
        broken: OnceLock::new(),
    }
}

/// Creates the attempt that the input's name selects: resuming a partial body, or after an earlier
/// run.
fn attempt(url: &str, name: &str) -> Attempt {
    let url = Url::parse(url).unwrap();
    let mut own_options = LineOptions::default();
    // One connection per attempt.
    own_options
        .headers
        .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    let job = Job {
        options: Some(Box::new(own_options)),
        ..Job::plain(url.as_str())
    };
    let method = if name.starts_with("head-") {
        Method::HEAD
    } else {
        Method::GET
    };
    let mut attempt = Attempt::new(job, method, false);
    attempt.number = 1;
    if name.starts_with("part-") {
        let version = BodyVersion {
            job_url: url.clone(),
            url: url.clone(),
            validator: HeaderValue::from_static("\"v1\""),
            total: Some(12),
        };
        attempt.part = Some(Box::new(PartialBody {
            version,
            length: HERE,
            beyond: ByteRanges::default(),
        }));
    }
    if name.starts_with("known-") {
        let past = PriorFetch {
            filename: None,
            bytes: 12,
            pack: None,
            content_type: None,
            hashes: None,
        };
        attempt.known = Some(Box::new(Revalidation {
            etag: Some(HeaderValue::from_static("\"v1\"")),
            last_modified: None,
            past,
        }));
    }
    attempt
}

/// Returns the state of an attempt that has not begun, with a file if it resumes a body.
fn state_of(attempt: &Attempt) -> AttemptState<<DiscardStore as BodyStore>::File> {
    AttemptState::new(attempt.resumable_part().map(|_| Box::default()))
}

/// Checks that an outcome is allowed and returns its name.
fn look<F>(
    attempt: &Attempt,
    head: Option<&ResponseHead>,
    outcome: &Result<AttemptOutcome<ReceivedBody<F>>, FetchError>,
) -> Result<&'static str, String> {
    let is_part = attempt.resumable_part().is_some();
    let status = head.map(|head| head.status.as_u16());
    let is_whole = status != Some(206) || head.is_some_and(resume::is_whole);
    match outcome {
        Ok(AttemptOutcome::Body(ReceivedBody::New(..))) if status != Some(416) => {
            let is_success = status.is_some_and(|status| (200..300).contains(&status));
            let fine = is_success && (is_whole || is_part);
            hold!(fine, "whole with {status:?}");
            Ok("whole")
        }
        Ok(AttemptOutcome::Body(ReceivedBody::Saved)) => {
            hold!(
                status == Some(304) && attempt.revalidation().is_some(),
                "unchanged with {status:?}"
            );
            Ok("unchanged")
        }
        Ok(
            AttemptOutcome::Body(ReceivedBody::New(..))
            | AttemptOutcome::Continue(NextRequest::FromFirstByte),
        ) => {
            // A 200 has the whole, unless its head says otherwise.
            let says_so = head.is_some_and(|head| {
                [CONTENT_RANGE, CONTENT_LENGTH]
                    .iter()
                    .any(|name| head.headers.contains_key(name))
            });
            let is_about = match status {
                Some(200) => says_so,
                status => matches!(status, Some(204 | 205 | 206 | 416)),
            };
            hold!(is_part && is_about, "about a part with {status:?}");
            Ok("about the part")
        }
        Ok(AttemptOutcome::Continue(NextRequest::NextPiece)) => {
            hold!(is_part && status == Some(206), "a piece with {status:?}");
            Ok("a piece")
        }
        Ok(AttemptOutcome::Continue(NextRequest::Redirect(redirect))) => {
            let mut next = attempt.clone();
            redirect.clone().apply_to(&mut next);
            let to = next.url();
            hold!(matches!(to.scheme(), "http" | "https"), "to {to}");
            hold!(
                to.host().is_some() && to.username().is_empty() && to.password().is_none(),
                "to {to}"
            );
            hold!(
                to.fragment().is_none() && to.as_str().parse::<http::Uri>().is_ok(),
                "to {to}"
            );
            hold!(
                matches!(status, Some(300 | 301 | 302 | 303 | 307 | 308)),
                "to {to} with {status:?}"
            );
            Ok("redirected")
        }
        Ok(AttemptOutcome::Continue(NextRequest::WithoutRange)) => {
            Err("decided only when the attempt has ended".to_owned())
        }
        Ok(AttemptOutcome::Continue(NextRequest::GetForHead)) => {
            hold!(
                *attempt.method() == Method::HEAD && matches!(status, Some(405 | 501)),
                "HEAD is rejected with {status:?}"
            );
            Ok("HEAD rejected")
        }
        Err(error) => {
            let message = error.to_string();
            hold!(!message.is_empty() && message.len() < 10_000, "{message:?}");
            hold!(
                error.retry_after().is_none() || matches!(error, FetchError::Status { .. }),
                "{message} requests a delay"
            );
            failed(error.kind(), status)
        }
    }
}

/// Checks that a response can cause an error of this kind and returns its name.
fn failed(kind: ErrorKind, status: Option<u16>) -> Result<&'static str, String> {
    Ok(match kind {
        ErrorKind::Reset if status.is_none() => "reset in the head",
        ErrorKind::Reset => "reset in the body",
        ErrorKind::Truncated if status.is_some() => "truncated",
        ErrorKind::Protocol if status.is_none() => "protocol, head",
        ErrorKind::Protocol => "protocol, body",
        ErrorKind::Redirect if status.is_some() => "redirect",
        ErrorKind::Status if status.is_some_and(|status| !(200..300).contains(&status)) => "status",
        ErrorKind::Status if status == Some(202) => "still processing",
        ErrorKind::Decode if status.is_some() => "decode",
        ErrorKind::TooLarge if status.is_some() => "too large",
        other => return Err(format!("{other} with {status:?}")),
    })
}

/// Tokens with a meaning in a response.
const TOKENS: &[&[u8]] = &[
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"HTTP/0.9 ",
    b"HTTP/2 ",
    b"200 OK",
    b"202 Accepted",
    b"204 No Content",
    b"206 Partial Content",
    b"301 Moved",
    b"304 Not Modified",
    b"307 ",
    b"405 ",
    b"416 ",
    b"429 ",
    b"503 ",
    b"100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"101 Switching Protocols",
    b"999 x",
    b"000",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\r\n ",
    b"\0",
    b"\x1b[31m",
    b"\xff",
    b": ",
    b"Retry-After: 1\r\n",
    b"Content-Length: 12\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Length: 99999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"5;ext=1\r\n",
    b"Trailer: x\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: br\r\n",
    b"Content-Encoding: zstd, gzip\r\n",
    b"Content-Encoding: unknown\r\n",
    b"Location: /x\r\n",
    b"Location: http://b.test/\r\n",
    b"Location: //c\r\n",
    b"Location: file:///etc/passwd\r\n",
    b"Location: http://u:p@b/\r\n",
    b"Location: \r\n",
    b"ETag: \"v1\"\r\n",
    b"ETag: W/\"v1\"\r\n",
    b"Content-Range: bytes 5-11/12\r\n",
    b"Content-Range: bytes */12\r\n",
    b"Content-Range: bytes */5\r\n",
    b"Content-Range: bytes 5-18446744073709551615/*\r\n",
    b"Retry-After: 5\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"hello world\n",
    b"a: b\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\0",
];
