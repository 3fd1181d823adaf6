//! What a response means for its job: it has a body, or another request has to be sent.

use super::redirect::Redirect;
use crate::model::{BodyHashes, FetchError, PartialBody, RobotsProblem};

/// A server may send less than the requested range (RFC 9110 §14.2). An incomplete 206 with at
/// least this many bytes counts as progress, a shorter one as `truncated`.
pub(super) const MIN_PIECE_BYTES: u64 = 64 * 1024;

/// How an attempt goes on after the response head, and how it ended, unless with an error. `B` is
/// the body: [`BodySource`] after the head, [`ReceivedBody`] at the end.
#[derive(Debug)]
pub(super) enum AttemptOutcome<B> {
    /// The response has the body of the job, or confirms one.
    Body(B),
    /// The job needs another request.
    Continue(NextRequest),
}

/// Where to take the body from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodySource<'a> {
    /// The response: all of it, or the rest of a partial body.
    Response(Option<PartialContent>),
    /// The partial body, which is already complete.
    Part(&'a PartialBody),
    /// The file that an earlier run saved; it is still current (304).
    Saved,
}

/// A complete body.
#[derive(Debug)]
pub(super) enum ReceivedBody<F> {
    /// Written, by this attempt or those before it; not committed yet.
    New(F, Option<Box<BodyHashes>>),
    /// The file that an earlier run saved (304).
    Saved,
}

/// Which request a job sends next although nothing has failed.
#[derive(Debug)]
pub(super) enum NextRequest {
    /// The same from the first byte on: the partial body cannot be resumed.
    FromFirstByte,
    /// The same without a range: the partial body is kept until the whole one begins.
    WithoutRange,
    /// The next piece of the body.
    NextPiece,
    /// The target of a redirect.
    Redirect(Redirect),
    /// A GET, because the server does not support HEAD.
    GetForHead,
}

/// The range that a 206 response delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartialContent {
    /// Bytes in this response.
    pub length: u64,
    /// Length of the whole body in bytes.
    pub total: u64,
}

/// Whether an error makes the received bytes worthless. A body that was merely cut off is kept
/// by its store, if it can be resumed.
pub(super) fn discards_body(error: &FetchError) -> bool {
    match error {
        FetchError::Decode { .. }
        | FetchError::TooLarge { .. }
        | FetchError::Checksum(_)
        | FetchError::ContentType(_)
        | FetchError::Protocol { .. }
        // The site does not want it kept.
        | FetchError::Robots {
            problem: RobotsProblem::Reserved(_),
        }
        | FetchError::Save { .. } => true,
        FetchError::InvalidUrl { .. }
        | FetchError::Dns { .. }
        | FetchError::Refused { .. }
        | FetchError::Unreachable { .. }
        | FetchError::ConnectTimeout { .. }
        | FetchError::Tls { .. }
        | FetchError::Proxy { .. }
        | FetchError::Timeout { .. }
        | FetchError::Stalled { .. }
        | FetchError::Reset { .. }
        | FetchError::Truncated { .. }
        | FetchError::Redirect { .. }
        | FetchError::Status { .. }
        | FetchError::Robots { .. }
        | FetchError::Denied(_)
        | FetchError::Conflict(_)
        | FetchError::HostGivenUp { .. } => false,
    }
}
