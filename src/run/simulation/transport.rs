//! The transport of a simulated run.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::world::{SharedWorld, SimPiece};
use crate::fetch::{RawResponse, ResponseBody, Transport};
use crate::model::{Attempt, FetchError, ResponseHead, WireState};

/// Sends requests to a simulated world.
pub(super) struct SimTransport(pub SharedWorld);

/// A request that the world has; dropping it tells the world that the client is done with it.
struct SentToWorld {
    world: SharedWorld,
    id: usize,
}

impl Drop for SentToWorld {
    fn drop(&mut self) {
        self.world.lock().unwrap().end(self.id);
    }
}

/// The body of a simulated response.
pub(super) struct SimBody {
    pieces: VecDeque<SimPiece>,
    request: SentToWorld,
}

impl ResponseBody for SimBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.pieces.front() {
                Some(SimPiece::Wait(time)) => sleep(*time).await,
                Some(SimPiece::Hang) => std::future::pending().await,
                Some(SimPiece::Bytes(_) | SimPiece::Fail(_)) | None => {}
            }
            let taken = |bytes| {
                let mut world = self.request.world.lock().unwrap();
                world.taken(self.request.id, bytes);
            };
            match self.pieces.pop_front() {
                Some(SimPiece::Bytes(bytes)) => {
                    taken(Some(bytes.len()));
                    return Ok(Some(bytes));
                }
                Some(SimPiece::Fail(error)) => return Err(error),
                Some(SimPiece::Wait(_) | SimPiece::Hang) => {}
                None => {
                    taken(None);
                    return Ok(None);
                }
            }
        }
    }
}

impl Transport for SimTransport {
    type Body = SimBody;

    async fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> Result<RawResponse<SimBody>, FetchError> {
        let (id, reply) = self.0.lock().unwrap().begin(attempt);
        let request = SentToWorld {
            world: Arc::clone(&self.0),
            id,
        };
        if let Some((time, failure)) = reply.connect {
            wire.mark_connecting();
            sleep(time).await;
            wire.mark_connect_ended(Instant::now().into_std(), failure.is_none());
            if let Some(error) = failure {
                self.0.lock().unwrap().failed(id);
                return Err(error);
            }
            self.0.lock().unwrap().connected(id);
        }
        match reply.wait {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
        if let Some((error, resend)) = reply.failure {
            if let Some(cause) = resend {
                wire.mark_resendable(cause);
            }
            self.0.lock().unwrap().failed(id);
            return Err(error);
        }
        self.0.lock().unwrap().head_sent(id);
        let status = StatusCode::from_u16(reply.status).unwrap();
        let mut head = ResponseHead::http11(status, reply.headers);
        head.version = reply.version;
        Ok(RawResponse {
            head,
            body: SimBody {
                pieces: reply.pieces.into(),
                request,
            },
        })
    }
}
