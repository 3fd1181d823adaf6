//! Limits and behaviour of the engine.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use crate::model::{
    CookieJar, ErrorText, ExpectedTypes, HashAlgorithm, MaxFailures, Sha256, UsageSignal,
};
use crate::schedule::{RobotsOptions, SegmentRules, WorkerThreads};

/// Below this concurrency the limit is strict: no spare connections.
const EXACT_BELOW: usize = 8;
/// Workers per thread, as a multiple of its share of all requests.
const WORKERS_PER_SHARE: (usize, usize) = (3, 2);
/// Workers that each thread has at least, if there are as many requests.
const MIN_WORKERS: usize = 512;
/// Maximum pending connections beyond the concurrency limit.
const MAX_SPARE_CONNECTIONS: usize = 64;

/// Limits and behaviour of the engine.
///
/// Fields marked as derived follow from the options of the stages: `prepare` in `run/mod.rs` sets
/// them before a run.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Maximum concurrent requests. 64 by default.
    pub concurrency: NonZeroUsize,
    /// Threads that run requests, each with connections of its own: that of the caller and others.
    /// 1 by default.
    pub threads: NonZeroUsize,
    /// Method of every request, unless its input line sets another.
    pub method: Method,
    /// Whether requests have a body. Derived.
    pub with_body: bool,
    /// Hash of that body. A URL fetched earlier with a different body is fetched again.
    /// Derived.
    pub body_digest: Option<Sha256>,
    /// Timeout for one attempt, from its start to the end of the body. None by default.
    pub max_time: Option<Duration>,
    /// The head must arrive within this time, then each KiB of the body. `None`: no limit.
    /// 30 s by default.
    pub stall_timeout: Option<Duration>,
    /// Maximum size of the decoded body, in bytes. 1 GiB by default.
    pub max_size: u64,
    /// Keep the content codings of bodies instead of decoding them.
    pub raw: bool,
    /// Compute these hashes of every body, not only those that are expected.
    pub hashes: Vec<HashAlgorithm>,
    /// The media types that bodies may have, unless an input line sets others. Any by default.
    pub expected_types: Option<ExpectedTypes>,
    /// What sites may say against the use of their content: responses that do fail.
    pub respect: Vec<UsageSignal>,
    /// The product token that `X-Robots-Tag` may name. `fetchall` by default.
    pub robots_agent: String,
    /// Maximum redirects followed per job. 10 by default.
    pub max_redirects: u32,
    /// Whether a 206 is an expected response, because the user set `Range` for the run.
    /// Derived.
    pub partial_is_fine: bool,
    /// The `Cookie` headers that the user set for the run. They tell whether a redirect back is
    /// the same request once more. Derived.
    pub own_cookies: Vec<HeaderValue>,
    /// The cookies of the run, shared by all its URLs. None by default: then a cookie lasts for the
    /// redirect chain of its URL.
    pub jar: Option<Arc<CookieJar>>,
    /// When a large body that is saved as a file is fetched with several requests at the same time.
    /// Never by default.
    pub segments: SegmentRules,
    /// Time that requests in flight get to finish after a stop. 10 s by default.
    pub grace: Duration,
    /// Stop starting requests after this time.
    pub stop_after: Option<Duration>,
    /// The run ends after more failures than this; `None`: never.
    pub max_failures: Option<MaxFailures>,
    /// Send conditional requests for what earlier runs fetched, instead of skipping it. Derived.
    pub refresh: bool,
    /// Seed of the backoff jitter; `None`: random.
    pub seed: Option<u64>,
    /// Record the timing of each attempt, for timelines and reports. Takes another 0.2 KiB per
    /// job in the look-ahead.
    pub trace_attempts: bool,
    /// Makes the messages of errors in records. By default they are those of the errors.
    pub error_text: ErrorText,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::MIN.saturating_add(63),
            threads: NonZeroUsize::MIN,
            method: Method::GET,
            with_body: false,
            body_digest: None,
            max_time: None,
            stall_timeout: Some(Duration::from_secs(30)),
            max_size: 1 << 30,
            raw: false,
            hashes: Vec::new(),
            expected_types: None,
            respect: Vec::new(),
            robots_agent: RobotsOptions::default().agent,
            max_redirects: 10,
            partial_is_fine: false,
            own_cookies: Vec::new(),
            jar: None,
            segments: SegmentRules::default(),
            grace: Duration::from_secs(10),
            stop_after: None,
            max_failures: None,
            refresh: false,
            seed: None,
            trace_attempts: false,
            error_text: ToString::to_string,
        }
    }
}

impl EngineOptions {
    /// Returns how many connections may be pending beyond the concurrency limit.
    ///
    /// Connections pending longer than `SLOW_CONNECT` stop counting against the limit, so
    /// unreachable hosts cannot starve others. Small limits are strict: they are usually
    /// deliberate.
    pub(super) fn spare_connections(&self) -> usize {
        match self.concurrency.get() {
            few if few < EXACT_BELOW => 0,
            many => many.min(MAX_SPARE_CONNECTIONS),
        }
    }

    /// Returns the threads and how many workers each has. Idle workers take memory, so with several
    /// threads none has enough for all requests at once when they are many.
    pub(crate) fn worker_threads(&self) -> WorkerThreads {
        let (all, count) = (self.concurrency.get(), self.threads.get());
        let part = all * WORKERS_PER_SHARE.0 / (count * WORKERS_PER_SHARE.1);
        WorkerThreads {
            count,
            most_per_thread: all.min(part.max(MIN_WORKERS)) + self.spare_connections(),
            spare: self.spare_connections(),
        }
    }
}
