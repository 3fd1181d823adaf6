//! Injects simulated faults in front of a real transport.
//!
//! Faults exercise the real error path: a hang is a future that never completes until the real
//! timeout fires, a truncated body is found by the real length check, and a refused connection is
//! an `io::Error` that goes through the real classification.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::classify::{FailurePhase, classify};
use super::clock;
use super::dns::ResolveError;
use super::fault_plan::{BodyFault, Fault, FaultPlan};
use super::tunnel::ProxyError;
use super::{RawResponse, ResponseBody, Transport};
use crate::model::{Attempt, Cause, FetchError, ResponseHead, RobotsProblem, WireState};

/// A transport with injected faults.
#[derive(Debug)]
pub(crate) struct FaultyTransport<T> {
    inner: T,
    plan: FaultPlan,
    connect_timeout: Duration,
    expects_types: bool,
}

/// A media type that no one expects.
const SIMULATED_TYPE: &str = "application/x-simulated-fault";

impl<T: Transport> FaultyTransport<T> {
    /// Wraps `inner` and injects the faults of `plan`. Simulated connect timeouts take
    /// `connect_timeout`.
    pub(crate) fn new(inner: T, plan: FaultPlan, connect_timeout: Duration) -> Self {
        Self {
            inner,
            plan,
            connect_timeout,
            expects_types: false,
        }
    }

    /// Sets whether the run expects media types of all bodies.
    #[must_use]
    pub(crate) fn expecting_types(self, expects_types: bool) -> Self {
        Self {
            expects_types,
            ..self
        }
    }

    /// Whether the media type of a body is checked.
    fn checks_type(&self, attempt: &Attempt) -> bool {
        let own = attempt.job.options.as_ref();
        if attempt.job.is_auxiliary() {
            return false;
        }
        self.expects_types || own.is_some_and(|own| own.types.is_some())
    }

    async fn forward(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
        fault: Option<BodyFault>,
    ) -> Result<RawResponse<FaultyBody<T::Body>>, FetchError> {
        let mut response = self.inner.open(attempt, wire).await?;
        // Only a body that would be read can be faulty: a 404 stays a 404, and a 204 or the
        // response to a HEAD has none.
        let takes_body = response.head.status.is_success()
            && response.head.status != StatusCode::NO_CONTENT
            && !attempt.is_head_only();
        let fault = fault.filter(|_| takes_body);
        if let Some(fault) = fault {
            wire.mark_simulated();
            if fault == BodyFault::ContentType {
                if !self.checks_type(attempt) {
                    return Err(unexpected_type());
                }
                Arc::make_mut(&mut response.head.headers).insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static(SIMULATED_TYPE),
                );
            }
            if fault == BodyFault::Decode {
                // A transfer coding is always decoded. A content coding may be kept, depending on
                // the name of the file.
                let coding = HeaderValue::from_static("gzip, chunked");
                Arc::make_mut(&mut response.head.headers).insert(header::TRANSFER_ENCODING, coding);
            }
        }
        let expected = response.head.content_length();
        Ok(RawResponse {
            head: response.head,
            body: FaultyBody::Real {
                inner: response.body,
                fault,
                expected,
                passed: 0,
            },
        })
    }
}

impl<T: Transport> Transport for FaultyTransport<T> {
    type Body = FaultyBody<T::Body>;

    async fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> Result<RawResponse<Self::Body>, FetchError> {
        let url = attempt.url();
        let Some(fault) = self.plan.draw(url, attempt.number) else {
            return self.forward(attempt, wire, None).await;
        };
        if !matches!(fault, Fault::Body(_)) {
            // Only a response that has a body can have a faulty one: `forward` looks.
            wire.mark_simulated();
        }
        match fault {
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                self.forward(attempt, wire, None).await
            }
            Fault::ConnectTimeout => {
                wire.mark_connecting();
                match clock::within(self.connect_timeout, pending()).await {
                    Ok(never) => never,
                    Err(timed_out) => Err(classify(timed_out, FailurePhase::Connect)),
                }
            }
            Fault::Dns => {
                let host = url.host_str().unwrap_or_default();
                Err(classify(
                    ResolveError::temporary(host),
                    FailurePhase::Connect,
                ))
            }
            Fault::Refused => Err(of_io(io::ErrorKind::ConnectionRefused)),
            Fault::Unreachable => Err(of_io(io::ErrorKind::HostUnreachable)),
            Fault::Reset => Err(classify(
                io::Error::from(io::ErrorKind::ConnectionReset),
                FailurePhase::Head,
            )),
            Fault::Tls => Err(expired_certificate()),
            Fault::Proxy => Err(classify(ProxyError::simulated(), FailurePhase::Connect)),
            Fault::Status(status, wait) => Ok(synthetic_response(status, wait.map(retry_after))),
            Fault::Protocol => Err(broken_protocol()),
            // Without a Location it fails at once. Following one could succeed.
            Fault::Redirect => Ok(synthetic_response(StatusCode::FOUND, None)),
            // It is about the URLs of an origin, not about the file.
            Fault::Robots if attempt.job.robots().is_some() => {
                self.forward(attempt, wire, None).await
            }
            Fault::Robots => Err(disallowed()),
            Fault::Body(fault) => self.forward(attempt, wire, Some(fault)).await,
            Fault::Timeout => pending().await,
        }
    }

    fn avoid_address(&self, attempt: &Attempt, wire: &WireState) {
        self.inner.avoid_address(attempt, wire);
    }
}

fn expired_certificate() -> FetchError {
    let expired = rustls::CertificateError::Expired;
    classify(
        rustls::Error::InvalidCertificate(expired),
        FailurePhase::Connect,
    )
}

fn disallowed() -> FetchError {
    FetchError::Robots {
        problem: RobotsProblem::Disallowed("/ (simulated)".to_owned()),
    }
}

/// The error where no check would find a media type that is not expected.
fn unexpected_type() -> FetchError {
    FetchError::ContentType(Cause::from_text(SIMULATED_TYPE))
}

fn broken_protocol() -> FetchError {
    let invalid = std::io::Error::new(std::io::ErrorKind::InvalidData, "server did not speak HTTP");
    classify(invalid, FailurePhase::Head)
}

fn of_io(kind: io::ErrorKind) -> FetchError {
    classify(io::Error::from(kind), FailurePhase::Connect)
}

/// Returns a `Retry-After` header. It has whole seconds, so fractions are rounded up.
fn retry_after(wait: Duration) -> (header::HeaderName, HeaderValue) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// Returns a simulated response without a body.
fn synthetic_response<B>(
    status: StatusCode,
    extra: Option<(header::HeaderName, HeaderValue)>,
) -> RawResponse<FaultyBody<B>> {
    let mut headers = HeaderMap::from_iter(extra);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    RawResponse {
        head: ResponseHead::http11(status, headers),
        body: FaultyBody::Empty,
    }
}

/// A response body with an optional fault.
#[derive(Debug)]
pub(crate) enum FaultyBody<B> {
    /// No body.
    Empty,
    /// A real body.
    Real {
        /// The body of the real response.
        inner: B,
        /// The injected fault.
        fault: Option<BodyFault>,
        /// The announced length, in bytes.
        expected: Option<u64>,
        /// Bytes passed on so far.
        passed: u64,
    },
}

impl<B: ResponseBody> ResponseBody for FaultyBody<B> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Self::Real {
            inner,
            fault,
            expected,
            passed,
        } = self
        else {
            return Ok(None);
        };
        let Some(fault) = fault.filter(|fault| *fault != BodyFault::ContentType) else {
            return inner.chunk().await;
        };
        let middle = expected.unwrap_or(0) / 2;
        if fault != BodyFault::Decode && *passed > middle {
            return apply_mid_body(fault, *passed, *expected).await;
        }
        let chunk = inner.chunk().await?;
        match (fault, chunk) {
            (BodyFault::Decode, Some(chunk)) => {
                let garbled = garble(&chunk, *passed == 0);
                *passed += chunk.len() as u64;
                Ok(Some(garbled))
            }
            (BodyFault::Decode, None) if *passed == 0 => Err(FetchError::Decode {
                coding: "gzip".to_owned(),
                cause: Cause::from_text("empty body"),
            }),
            (BodyFault::Decode, None) => Ok(None),
            (_, Some(chunk)) => {
                // At least one byte is passed on, and at least one is missing.
                let left = usize::try_from(middle + 1 - *passed).unwrap_or(usize::MAX);
                let part = chunk.slice(..chunk.len().min(left));
                *passed += part.len() as u64;
                Ok(Some(part))
            }
            (_, None) => apply_mid_body(fault, *passed, None).await,
        }
    }
}

/// Applies a fault in the middle of a body. If a length was announced, ending the body is enough
/// for the real length check to find it. Otherwise there is nothing to check, and the error is
/// returned here.
async fn apply_mid_body(
    fault: BodyFault,
    passed: u64,
    expected: Option<u64>,
) -> Result<Option<Bytes>, FetchError> {
    match (fault, expected) {
        (BodyFault::Stalled, _) => pending().await,
        (_, Some(expected)) if passed < expected => Ok(None),
        _ => Err(FetchError::Truncated {
            received: passed,
            expected: None,
        }),
    }
}

/// Inverts the first byte of the body, so that it matches no coding's magic number.
fn garble(chunk: &Bytes, first: bool) -> Bytes {
    let mut bytes = BytesMut::from(&**chunk);
    if let (true, Some(byte)) = (first, bytes.first_mut()) {
        *byte = !*byte;
    }
    bytes.freeze()
}
