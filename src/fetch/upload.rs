//! The large body of a request. Its memory is freed once the response is over: a server may respond
//! before it has read the body, and never read the rest.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::model::{Attempt, LineReservation};

/// Smallest body that is sent in pieces.
const MIN_BYTES: usize = 64 * 1024;
/// The size of a piece. What a connection has taken of a body stays with it: over HTTP/1.1 sixteen
/// pieces (400 KiB in the lenient client), over HTTP/2 as much as the server allows, up to 1 MiB.
const PIECE_BYTES: usize = 4 * 1024;
/// How long a server that has accepted a request may pause while it reads the rest of the body.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may read after its response. Other lines with large bodies may wait for this one.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The rest of a body, shared by the connection that sends it and the request that it belongs to.
#[derive(Debug)]
struct UploadRest {
    bytes: Bytes,
    is_dropped: bool,
    /// Keeps the line's share of the memory budget until the body is dropped.
    reservation: Option<Arc<LineReservation>>,
}

/// A body as a connection reads it.
struct UploadBody(Arc<Mutex<UploadRest>>);

/// Lets go of a body when dropped: at once, or, after a response that accepts the request, when the
/// server reads no more of it.
#[derive(Debug)]
pub(super) struct UploadGuard {
    rest: Arc<Mutex<UploadRest>>,
    is_accepted: bool,
}

/// Why a body ends early: its response is over.
#[derive(Debug, Error)]
#[error("the response came before the request was read")]
struct UnreadBodyError;

/// Sends the body of a request in pieces if it is large; `None` if not.
pub(super) fn split_body(request: &mut reqwest::Request, attempt: &Attempt) -> Option<UploadGuard> {
    let own = attempt.job.options.as_ref()?.body.as_ref()?;
    let body = request.body_mut().as_mut()?;
    if own.len() < MIN_BYTES {
        return None;
    }
    let reservation = attempt.job.raw.as_ref().and_then(|raw| raw.reservation());
    let rest = Arc::new(Mutex::new(UploadRest {
        bytes: own.clone(),
        is_dropped: false,
        reservation,
    }));
    *body = reqwest::Body::wrap(UploadBody(Arc::clone(&rest)));
    Some(UploadGuard {
        rest,
        is_accepted: false,
    })
}

fn lock(rest: &Mutex<UploadRest>) -> MutexGuard<'_, UploadRest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UnreadBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UnreadBodyError>>> {
        let mut rest = lock(&self.0);
        let length = rest.bytes.len().min(PIECE_BYTES);
        Poll::Ready(match length {
            // An error ends the connection or stream, so that this is not taken for the whole body.
            _ if rest.is_dropped => Some(Err(UnreadBodyError)),
            0 => None,
            // Copied, because a piece that waits in the connection would keep the whole body.
            _ => Some(Ok(Frame::data(Bytes::copy_from_slice(
                &rest.bytes.split_to(length),
            )))),
        })
    }

    fn is_end_stream(&self) -> bool {
        let rest = lock(&self.0);
        rest.bytes.is_empty() && !rest.is_dropped
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(lock(&self.0).bytes.len() as u64)
    }
}

impl UploadGuard {
    /// Takes note of the response. The guard is dropped with it.
    pub(super) fn responded(mut self, response: &mut reqwest::Response) {
        self.is_accepted = response.status().is_success();
        response.extensions_mut().insert(Arc::new(self));
    }
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        let is_read_on = self.is_accepted && !lock(&self.rest).bytes.is_empty();
        match Handle::try_current() {
            Ok(runtime) if is_read_on => {
                drop(runtime.spawn(drop_when_idle(Arc::clone(&self.rest))))
            }
            _ => drop_rest(&self.rest),
        }
    }
}

fn drop_rest(rest: &Mutex<UploadRest>) {
    let mut rest = lock(rest);
    rest.is_dropped = !rest.bytes.is_empty();
    rest.bytes = Bytes::new();
    rest.reservation = None;
}

async fn drop_when_idle(rest: Arc<Mutex<UploadRest>>) {
    let end = Instant::now() + UPLOAD_TIMEOUT;
    let mut left = lock(&rest).bytes.len();
    while left > 0 && Instant::now() < end {
        tokio::time::sleep(UPLOAD_IDLE_TIMEOUT).await;
        let now = lock(&rest).bytes.len();
        if now == left {
            break;
        }
        left = now;
    }
    drop_rest(&rest);
}
