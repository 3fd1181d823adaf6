//! What a pack needs to know of a request and its response until they are rendered.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use crate::model::{Attempt, InputPosition, PackPlace, ResponseHead, SentRequest, Truncation};
use crate::store::tar::TarSample;
use crate::store::warc::PayloadDigest;

/// A request and the head of its response, owned until they are rendered.
pub(crate) struct OwnedExchange {
    pub method: Method,
    pub url: Url,
    pub asked: Option<Arc<SentRequest>>,
    pub body: Bytes,
    pub head: ResponseHead,
    pub at: SystemTime,
    pub took: Duration,
    pub visited: Vec<Url>,
    pub place: InputPosition,
    /// Location and length of the body that an earlier run fetched.
    pub before: Option<(PackPlace, u64)>,
    /// Why the body is incomplete; only those of failures are.
    pub truncated: Option<Truncation>,
    /// What a tar has beside the body.
    pub sample: Option<TarSample>,
}

impl OwnedExchange {
    pub(crate) fn new(
        attempt: &Attempt,
        head: &ResponseHead,
        run_body: Option<&Bytes>,
    ) -> Box<Self> {
        let asked = head.asked.clone();
        let at = asked
            .as_ref()
            .map_or_else(SystemTime::now, |asked| asked.at);
        let own = attempt
            .job
            .options
            .as_ref()
            .and_then(|own_options| own_options.body.as_ref());
        let body = own.or(run_body).filter(|_| attempt.with_body);
        Box::new(Self {
            // Recorded as GET, the missing body would look like an empty page.
            method: if attempt.is_head_only() {
                Method::HEAD
            } else {
                attempt.method().clone()
            },
            url: attempt.url().clone(),
            asked,
            body: body.cloned().unwrap_or_default(),
            head: head.clone(),
            at,
            took: Duration::ZERO,
            visited: attempt
                .hop
                .as_ref()
                .map(|hop| hop.visited.clone())
                .unwrap_or_default(),
            place: attempt.job.position.clone(),
            before: attempt.known.as_ref().and_then(|known| {
                let past = &known.past;
                Some((past.pack?, past.bytes))
            }),
            truncated: None,
            sample: None,
        })
    }
}

/// A complete body.
pub(crate) enum BodyContent {
    Memory {
        chunks: Vec<Bytes>,
        digest: PayloadDigest,
    },
    Spooled {
        file: File,
        /// Permit for the open file.
        permit: OwnedSemaphorePermit,
        length: u64,
        digest: PayloadDigest,
    },
}

impl BodyContent {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory { chunks, .. } => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            Self::Spooled { length, .. } => *length,
        }
    }

    pub(crate) fn digest(&self) -> PayloadDigest {
        match self {
            Self::Memory { digest, .. } | Self::Spooled { digest, .. } => *digest,
        }
    }
}
