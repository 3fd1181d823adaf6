//! Attempts at a job: the state that is queued, parked and retried.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use url::Url;

use super::{AttemptTrace, ChainCookies, Job, PartialBody, Revalidation, mask_inner_passwords};

/// The current position in a redirect chain.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The URL of this hop.
    pub url: Url,
    /// The URLs requested before it, starting with the job's own.
    pub visited: Vec<Url>,
    /// A fingerprint (method, URL and cookies) of each request that was redirected.
    pub requests: Vec<u64>,
    /// The cookies set in this chain.
    pub cookies: ChainCookies,
    /// Whether a redirect has left the job's origin. From then on credentials and the user's
    /// own headers are not sent, even if a later hop returns to it: another origin chose that
    /// URL.
    pub left_origin: bool,
}

/// How to send a request, depending on how the previous one failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendMode {
    /// Over a pooled connection, if there is one.
    #[default]
    Usual,
    /// Over a new connection, because the last one was dead or led to the wrong server.
    Fresh,
    /// With the client that repairs response heads.
    Lenient,
}

/// What the earlier attempts of a job have used up.
#[derive(Debug, Clone, Default)]
pub struct AttemptHistory {
    /// Retries used up, of `--retries`.
    pub retries_used: u32,
    /// Waits for a host on hold; these use up no retry.
    pub holds: u32,
    /// Free resends of the current attempt: the server had not processed the request.
    pub resends: u32,
    /// Free resends of the job, all attempts together.
    pub total_resends: u32,
    /// Whether a server rejected HEAD. From then on GET is sent instead, also by retries.
    pub head_refused: bool,
    /// Total time waited so far, counted against `--max-wait`.
    pub waited: Duration,
    /// When the first attempt started.
    pub first_start: Option<Instant>,
    /// When the next attempt became ready to start, since the start of the run. Known only if
    /// attempts are traced.
    pub ready: Duration,
    /// The cookies of the run's jar for the current request. They are kept here, because other
    /// URLs may change the jar before the response is there.
    pub jar_cookies: Option<Box<[u8]>>,
    /// The timing of the attempts, if traced.
    pub traces: Vec<AttemptTrace>,
    /// End of the last redirect of the job in the pack.
    pub packed_to: Option<u64>,
}

/// The history of a first attempt.
static NO_HISTORY: AttemptHistory = AttemptHistory {
    retries_used: 0,
    holds: 0,
    resends: 0,
    total_resends: 0,
    head_refused: false,
    waited: Duration::ZERO,
    first_start: None,
    ready: Duration::ZERO,
    jar_cookies: None,
    traces: Vec::new(),
    packed_to: None,
};

/// An attempt at a job, with the state of its redirects and retries.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The job.
    pub job: Job,
    /// The method: the job's own, until a redirect turns a POST into a GET.
    pub method: Method,
    /// Whether to send the request body; a redirect that changes the method drops it.
    pub with_body: bool,
    /// Set once a redirect was followed.
    pub hop: Option<Box<Hop>>,
    /// How to send the request.
    pub route: SendMode,
    /// Requests sent for this job so far, without free resends.
    pub number: u32,
    /// Whether this is a retry after a failed attempt.
    pub again: bool,
    /// Set once an attempt was requeued. Boxed, because nearly no job that is only read ahead has
    /// one.
    before: Option<Box<AttemptHistory>>,
    /// Whether any attempt met a simulated fault.
    pub simulated: bool,
    /// A partial body to resume; only the rest is requested.
    pub part: Option<Box<PartialBody>>,
    /// The result of an earlier run, for a conditional request.
    pub known: Option<Box<Revalidation>>,
}

impl Attempt {
    /// Creates the first attempt at a job.
    #[must_use]
    pub fn new(job: Job, method: Method, with_body: bool) -> Self {
        Self {
            job,
            method,
            with_body,
            hop: None,
            route: SendMode::Usual,
            number: 0,
            again: false,
            before: None,
            simulated: false,
            part: None,
            known: None,
        }
    }

    /// Returns what the earlier attempts have used up.
    #[must_use]
    pub fn history(&self) -> &AttemptHistory {
        self.before.as_deref().unwrap_or(&NO_HISTORY)
    }

    /// Sets when the attempt became ready to start, since the start of the run.
    pub fn set_ready_at(&mut self, since: Duration) {
        self.before.get_or_insert_default().ready = since;
    }

    /// Sets the cookies of the run's jar for the next request.
    pub fn set_jar_cookies(&mut self, cookies: Option<Box<[u8]>>) {
        if cookies.is_some() || self.before.is_some() {
            self.before.get_or_insert_default().jar_cookies = cookies;
        }
    }

    /// Takes the timing of the attempts.
    pub fn take_traces(&mut self) -> Vec<AttemptTrace> {
        let before = self.before.as_mut();
        before.map_or_else(Vec::new, |before| std::mem::take(&mut before.traces))
    }

    /// Returns the history for the attempt that started at `start` to add what it used up.
    pub fn history_mut(&mut self, start: Instant) -> &mut AttemptHistory {
        let before = self.before.get_or_insert_default();
        before.first_start.get_or_insert(start);
        before
    }

    /// Returns the URL to request: the job's own, or that of the current hop.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.hop.as_ref().map_or(&self.job.url, |hop| &hop.url)
    }

    /// Returns the URL for output. A redirect may lead to a URL that contains another one with a
    /// password, which is masked; in a job's own URL that is rejected as invalid.
    #[must_use]
    pub fn shown_url(&self) -> Cow<'_, str> {
        match &self.hop {
            Some(hop) => mask_inner_passwords(&hop.url),
            None => Cow::Borrowed(self.job.url.as_str()),
        }
    }

    /// Resets the attempt to the job's own URL with a fresh redirect chain: the last one may have
    /// led to a mirror that is down, or to a signed URL that is valid only once.
    pub fn restart(&mut self, method: Method, with_body: bool) {
        self.hop = None;
        self.method = method;
        self.with_body = with_body;
    }

    /// Returns the bytes held in strings whose length lists and servers control.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let length = |url: &Url| url.as_str().len();
        let hops = self.hop.as_ref().map_or(0, |hop| {
            length(&hop.url) + hop.visited.iter().map(length).sum::<usize>() + hop.cookies.weight()
        });
        let jar = self.history().jar_cookies.as_ref();
        hops + jar.map_or(0, |cookies| cookies.len()) + self.job.weight()
    }

    /// Returns the number of redirects followed so far.
    #[must_use]
    pub fn redirect_count(&self) -> u32 {
        self.hop.as_ref().map_or(0, |hop| {
            u32::try_from(hop.visited.len()).unwrap_or(u32::MAX)
        })
    }

    /// Whether it is a GET for the whole content: only such a request can be resumed or made
    /// conditional.
    #[must_use]
    pub fn is_plain_get(&self) -> bool {
        self.method == Method::GET && !self.with_body && !self.is_head_only()
    }

    /// Whether only the response head is wanted: for HEAD, or the GET that replaces it.
    #[must_use]
    pub fn is_head_only(&self) -> bool {
        self.method == Method::HEAD || (self.history().head_refused && self.method == Method::GET)
    }

    /// Replaces HEAD by GET if a server rejected HEAD.
    pub fn replace_refused_head(&mut self) {
        if self.history().head_refused && self.method == Method::HEAD {
            self.method = Method::GET;
        }
    }

    /// Returns the partial body to resume. The range is requested from every hop, since it is not
    /// known beforehand which of them sends the body.
    #[must_use]
    pub fn resumable_part(&self) -> Option<&PartialBody> {
        self.part.as_deref()
    }

    /// Returns the validators for a conditional request. They are sent to every hop, since they
    /// belong to the URL in the list, whichever hop sent them. Resuming a partial body takes
    /// precedence.
    #[must_use]
    pub fn revalidation(&self) -> Option<&Revalidation> {
        let known = self.known.as_deref()?;
        (self.is_plain_get() && self.part.is_none()).then_some(known)
    }

    /// Returns the cookies set by earlier hops of the chain.
    #[must_use]
    pub fn cookies(&self) -> Option<&ChainCookies> {
        self.hop.as_ref().map(|hop| &hop.cookies)
    }

    /// Whether servers have set cookies for this request: in this chain, or in the jar.
    #[must_use]
    pub fn has_cookies(&self) -> bool {
        self.hop.is_some() || self.history().jar_cookies.is_some()
    }

    /// Returns the `Cookie` header of this request, where the user's `own` headers would be sent
    /// without these cookies.
    #[must_use]
    pub fn cookie_header<'a>(
        &self,
        own: impl IntoIterator<Item = &'a HeaderValue>,
    ) -> Option<HeaderValue> {
        let jar = self.history().jar_cookies.as_deref();
        match self.cookies() {
            Some(chain) => chain.header_with(own, jar),
            None => ChainCookies::default().header_with(own, jar),
        }
    }

    /// Whether credentials and the user's own headers may be sent.
    #[must_use]
    pub fn may_send_credentials(&self) -> bool {
        self.hop.as_ref().is_none_or(|hop| !hop.left_origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_small() {
        // Up to 32,768 are read ahead.
        let size = size_of::<Attempt>();
        assert!(size <= 216, "{size} bytes");
    }
}
