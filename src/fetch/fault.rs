//! Simulated faults, put in the way of a real transport.
//!
//! A fault is made of what the real one is made of: a hang is a future that never ends
//! and is ended by the real clock, a cut body is found by the real length check, a
//! refused connection is an `io::Error` that goes through the real classification.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};

use super::classify::{FailurePhase, classify};
use super::clock;
use super::dns::ResolveError;
use super::fault_plan::{Fault, FaultPlan};
use super::tunnel::ProxyError;
use super::{RawResponse, ResponseBody, Transport};
use crate::model::{Attempt, Cause, FetchError, ResponseHead, WireState};

/// A transport with faults put in its way.
#[derive(Debug)]
pub struct FaultyTransport<T> {
    inner: T,
    plan: FaultPlan,
    connect_timeout: Duration,
}

impl<T: Transport> FaultyTransport<T> {
    /// Puts the faults of `plan` in the way of `inner`.
    pub fn new(inner: T, plan: FaultPlan, connect_timeout: Duration) -> Self {
        Self {
            inner,
            plan,
            connect_timeout,
        }
    }

    async fn forward(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
        harm: Option<BodyFault>,
    ) -> Result<RawResponse<FaultyBody<T::Body>>, FetchError> {
        let mut response = self.inner.open(attempt, wire).await?;
        // Only a body that would have been taken can be harmed: a 404 stays a 404, and a
        // 204 and the answer to a HEAD have none.
        let takes_body = response.head.status.is_success()
            && response.head.status != StatusCode::NO_CONTENT
            && !attempt.is_head_only();
        let harm = harm.filter(|_| takes_body);
        if let Some(harm) = harm {
            wire.mark_simulated();
            if harm == BodyFault::Garble {
                // Unlike a content coding it is undone whatever the file is called.
                let coding = HeaderValue::from_static("gzip, chunked");
                Arc::make_mut(&mut response.head.headers).insert(header::TRANSFER_ENCODING, coding);
            }
        }
        let expected = response.head.content_length();
        Ok(RawResponse {
            head: response.head,
            body: FaultyBody::Real {
                inner: response.body,
                harm,
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
        let harm = match fault {
            Fault::Stalled => Some(BodyFault::Stall),
            Fault::Truncated => Some(BodyFault::Cut),
            Fault::Decode => Some(BodyFault::Garble),
            _ => None,
        };
        if harm.is_some() {
            return self.forward(attempt, wire, harm).await;
        }
        wire.mark_simulated();
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
            // Without a Location it fails at once; one that leads on could end well.
            Fault::Redirect => Ok(synthetic_response(StatusCode::FOUND, None)),
            Fault::Timeout | Fault::Stalled | Fault::Truncated | Fault::Decode => pending().await,
        }
    }
}

fn expired_certificate() -> FetchError {
    let expired = rustls::CertificateError::Expired;
    classify(
        rustls::Error::InvalidCertificate(expired),
        FailurePhase::Connect,
    )
}

fn broken_protocol() -> FetchError {
    let no_http = std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        "what the server sent is no HTTP",
    );
    classify(no_http, FailurePhase::Head)
}

fn of_io(kind: io::ErrorKind) -> FetchError {
    classify(io::Error::from(kind), FailurePhase::Connect)
}

/// The header counts whole seconds; a part of one is rounded up.
fn retry_after(wait: Duration) -> (header::HeaderName, HeaderValue) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// A response without a body that no server sent.
fn synthetic_response<B>(
    status: StatusCode,
    extra: Option<(header::HeaderName, HeaderValue)>,
) -> RawResponse<FaultyBody<B>> {
    let mut headers = HeaderMap::from_iter(extra);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    RawResponse {
        head: ResponseHead {
            status,
            version: Version::HTTP_11,
            headers: headers.into(),
            asked: None,
            kept_coding: None,
        },
        body: FaultyBody::Empty,
    }
}

/// What is done to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It ends in the middle.
    Cut,
    /// It stops in the middle and does not end.
    Stall,
    /// Its bytes are not what its coding says.
    Garble,
}

/// The body of a response, perhaps harmed.
#[derive(Debug)]
pub enum FaultyBody<B> {
    /// No body.
    Empty,
    /// A real body.
    Real {
        /// The real one.
        inner: B,
        /// What is done to it.
        harm: Option<BodyFault>,
        /// Its announced length.
        expected: Option<u64>,
        /// Bytes passed on so far.
        passed: u64,
    },
}

impl<B: ResponseBody> ResponseBody for FaultyBody<B> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Self::Real {
            inner,
            harm,
            expected,
            passed,
        } = self
        else {
            return Ok(None);
        };
        let Some(harm) = harm else {
            return inner.chunk().await;
        };
        let middle = expected.unwrap_or(0) / 2;
        if *harm != BodyFault::Garble && *passed > middle {
            return apply_mid_body(*harm, *passed, *expected).await;
        }
        let chunk = inner.chunk().await?;
        match (*harm, chunk) {
            (BodyFault::Garble, Some(chunk)) => {
                let garbled = garble(&chunk, *passed == 0);
                *passed += chunk.len() as u64;
                Ok(Some(garbled))
            }
            (BodyFault::Garble, None) if *passed == 0 => Err(FetchError::Decode {
                coding: "gzip".to_owned(),
                cause: Cause::from_text("the body is empty"),
            }),
            (BodyFault::Garble, None) => Ok(None),
            (_, Some(chunk)) => {
                // At least a byte passes, and at least one is missing.
                let room = usize::try_from(middle + 1 - *passed).unwrap_or(usize::MAX);
                let part = chunk.slice(..chunk.len().min(room));
                *passed += part.len() as u64;
                Ok(Some(part))
            }
            (_, None) => apply_mid_body(*harm, *passed, None).await,
        }
    }
}

/// What happens in the middle of a harmed body. With a length announced the end says
/// all: the real check finds it. Without one there is nothing to check.
async fn apply_mid_body(
    harm: BodyFault,
    passed: u64,
    expected: Option<u64>,
) -> Result<Option<Bytes>, FetchError> {
    match (harm, expected) {
        (BodyFault::Stall, _) => pending().await,
        (_, Some(expected)) if passed < expected => Ok(None),
        _ => Err(FetchError::Truncated {
            received: passed,
            expected: None,
        }),
    }
}

/// Turns the first byte around, so that no coding's magic number fits any more.
fn garble(chunk: &Bytes, first: bool) -> Bytes {
    let mut bytes = BytesMut::from(&**chunk);
    if let (true, Some(byte)) = (first, bytes.first_mut()) {
        *byte = !*byte;
    }
    bytes.freeze()
}
