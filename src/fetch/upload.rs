//! The large body of a request. It is let go of when nobody waits for the response any more: a server
//! may respond before it has read the body, and never read the rest.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::runtime::Handle;

use crate::model::{Attempt, LineReservation};

/// Smallest body that is sent in pieces. What a connection copies is never more than this.
const MIN_BYTES: usize = 64 * 1024;
/// The size of a piece. A connection takes sixteen before it waits for the server, and keeps them.
const PIECE_BYTES: usize = 4 * 1024;
/// How long a server that has accepted a request may pause while it reads the rest of it.
const GRACE: Duration = Duration::from_secs(1);

/// The rest of a body, shared by the connection that sends it and the request that it belongs to.
#[derive(Debug)]
struct Rest {
    bytes: Bytes,
    is_dropped: bool,
    /// Of the memory of its line, which is free for other lines only when the body is gone.
    reservation: Option<Arc<LineReservation>>,
}

/// A body as a connection reads it.
struct Upload(Arc<Mutex<Rest>>);

/// Lets go of a body when dropped: at once, or, after a response that accepts the request, when the
/// server reads no more of it.
#[derive(Debug)]
pub(super) struct UploadGuard {
    rest: Arc<Mutex<Rest>>,
    is_accepted: bool,
}

/// The end of a body that nobody needs to read any more.
#[derive(Debug, Error)]
#[error("the response came before the request was read")]
struct NotRead;

/// Sends the body of a request in pieces if it is large; `None` if not.
pub(super) fn in_pieces(request: &mut reqwest::Request, attempt: &Attempt) -> Option<UploadGuard> {
    let own = attempt.job.options.as_ref()?.body.as_ref()?;
    let body = request.body_mut().as_mut()?;
    if own.len() < MIN_BYTES {
        return None;
    }
    let reservation = attempt.job.raw.as_ref().and_then(|raw| raw.reservation());
    let rest = Arc::new(Mutex::new(Rest {
        bytes: own.clone(),
        is_dropped: false,
        reservation,
    }));
    *body = reqwest::Body::wrap(Upload(Arc::clone(&rest)));
    Some(UploadGuard {
        rest,
        is_accepted: false,
    })
}

fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for Upload {
    type Data = Bytes;
    type Error = NotRead;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotRead>>> {
        let mut rest = lock(&self.0);
        let length = rest.bytes.len().min(PIECE_BYTES);
        Poll::Ready(match length {
            // The connection is closed: it must not look as if this were the whole body.
            _ if rest.is_dropped => Some(Err(NotRead)),
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

fn drop_rest(rest: &Mutex<Rest>) {
    let mut rest = lock(rest);
    rest.is_dropped = !rest.bytes.is_empty();
    rest.bytes = Bytes::new();
    rest.reservation = None;
}

async fn drop_when_idle(rest: Arc<Mutex<Rest>>) {
    let mut left = lock(&rest).bytes.len();
    loop {
        tokio::time::sleep(GRACE).await;
        let now = lock(&rest).bytes.len();
        if now == 0 || now == left {
            return drop_rest(&rest);
        }
        left = now;
    }
}
