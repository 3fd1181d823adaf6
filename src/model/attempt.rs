//! One try at a job. The attempt is what gets parked.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::Method;
use url::Url;

use super::{AttemptTrace, ChainCookies, Job, PartialBody, Revalidation, mask_inner_passwords};

/// Where redirects have led so far.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The URL of this hop.
    pub url: Url,
    /// The URLs asked before it, the job's own first.
    pub visited: Vec<Url>,
    /// A fingerprint of each request that was answered by a redirect: method, URL and cookies.
    pub requests: Vec<u64>,
    /// The cookies that were set since the job's own URL was asked.
    pub cookies: ChainCookies,
    /// Whether a redirect has ever led away from the job's own origin. From then on
    /// credentials and the user's own headers stay at home, even when a later hop
    /// comes back: the way back was chosen by somebody else.
    pub left_origin: bool,
}

/// How a request has to be sent because of what became of it just before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendMode {
    /// As usual: over a connection of the pool, where there is one.
    #[default]
    Usual,
    /// Over a new connection, since the last one turned out to be dead, or was the wrong one.
    Fresh,
    /// With the client that repairs response heads.
    Lenient,
}

/// What the attempts before have cost their job.
#[derive(Debug, Clone, Default)]
pub struct AttemptHistory {
    /// Retries used up, of `--retries`.
    pub retries_used: u32,
    /// Waits for its host that used up no retry.
    pub holds: u32,
    /// How often it was sent again because nobody had heard it; that is no attempt.
    pub resends: u32,
    /// Requests of the job that were sent again free of charge, all together.
    pub total_resends: u32,
    /// Whether a server refused HEAD. From then on GET is sent in its place, by retries, too.
    pub head_refused: bool,
    /// Time the job was made to wait so far, counted against `--max-wait`.
    pub waited: Duration,
    /// When the first attempt started.
    pub first_start: Option<Instant>,
    /// Since when the next one could start, from the start of the run. Known only where somebody
    /// asked for it, as the tries are.
    pub ready: Duration,
    /// When the attempts did what.
    pub tries: Vec<AttemptTrace>,
}

/// What a first attempt has before it.
static NOTHING: AttemptHistory = AttemptHistory {
    retries_used: 0,
    holds: 0,
    resends: 0,
    total_resends: 0,
    head_refused: false,
    waited: Duration::ZERO,
    first_start: None,
    ready: Duration::ZERO,
    tries: Vec::new(),
};

/// One try at a job: which hop, which number, what it has cost so far.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The job it is for.
    pub job: Job,
    /// The method: that of the run, until a redirect turns a POST into a GET.
    pub method: Method,
    /// Whether there is a body that goes along (only while the method is kept).
    pub with_body: bool,
    /// Set once a redirect was followed.
    pub hop: Option<Box<Hop>>,
    /// How it has to be sent.
    pub route: SendMode,
    /// Requests handed to the transport for this job so far, those that were sent again free of
    /// charge apart.
    pub number: u32,
    /// Whether it comes after one that failed.
    pub again: bool,
    /// Set once an attempt went back: nearly none of those that are read ahead has it.
    before: Option<Box<AttemptHistory>>,
    /// Whether any attempt met a simulated fault.
    pub simulated: bool,
    /// What is here already of the body; only the rest is asked for.
    pub part: Option<Box<PartialBody>>,
    /// What is here of an earlier run; it is asked for only if it changed.
    pub known: Option<Box<Revalidation>>,
}

impl Attempt {
    /// The first attempt at a job.
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

    /// What the attempts before it have cost.
    #[must_use]
    pub fn history(&self) -> &AttemptHistory {
        self.before.as_deref().unwrap_or(&NOTHING)
    }

    /// Says since when it could start.
    pub fn set_ready_at(&mut self, since: Duration) {
        self.before.get_or_insert_default().ready = since;
    }

    /// When its attempts did what; they are gone then.
    pub fn take_traces(&mut self) -> Vec<AttemptTrace> {
        let before = self.before.as_mut();
        before.map_or_else(Vec::new, |before| std::mem::take(&mut before.tries))
    }

    /// To say what one that started then has cost, before it goes back.
    pub fn history_mut(&mut self, start: Instant) -> &mut AttemptHistory {
        let before = self.before.get_or_insert_default();
        before.first_start.get_or_insert(start);
        before
    }

    /// The URL of this attempt: the job's own, or the one a redirect led to.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.hop.as_ref().map_or(&self.job.url, |hop| &hop.url)
    }

    /// The same as it may be shown. A redirect may lead to a URL with another one inside that has a
    /// password; a job's own is refused then.
    #[must_use]
    pub fn shown_url(&self) -> Cow<'_, str> {
        match &self.hop {
            Some(hop) => mask_inner_passwords(&hop.url),
            None => Cow::Borrowed(self.job.url.as_str()),
        }
    }

    /// The job's own URL is asked next, with a chain of redirects of its own: where the last one
    /// led may be a mirror that is down, or a signature that was good once.
    pub fn restart(&mut self, method: Method, with_body: bool) {
        self.hop = None;
        self.method = method;
        self.with_body = with_body;
    }

    /// Bytes that it keeps of what lists and servers may make as long as they like.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let length = |url: &Url| url.as_str().len();
        let hops = self.hop.as_ref().map_or(0, |hop| {
            length(&hop.url) + hop.visited.iter().map(length).sum::<usize>() + hop.cookies.weight()
        });
        hops + self.job.weight()
    }

    /// Redirects followed so far.
    #[must_use]
    pub fn redirect_count(&self) -> u32 {
        self.hop.as_ref().map_or(0, |hop| {
            u32::try_from(hop.visited.len()).unwrap_or(u32::MAX)
        })
    }

    /// Whether it asks for a page as it is: only that can be continued, or be unchanged.
    #[must_use]
    pub fn is_plain_get(&self) -> bool {
        self.method == Method::GET && !self.with_body && !self.is_head_only()
    }

    /// Whether only the head of the response is wanted: after HEAD, or the GET in its place.
    #[must_use]
    pub fn is_head_only(&self) -> bool {
        self.method == Method::HEAD || (self.history().head_refused && self.method == Method::GET)
    }

    /// Puts GET in the place of a HEAD that a server has refused.
    pub fn replace_refused_head(&mut self) {
        if self.history().head_refused && self.method == Method::HEAD {
            self.method = Method::GET;
        }
    }

    /// The part that this attempt asks to be continued. Every hop is asked: which of them sends
    /// the body is not known before.
    #[must_use]
    pub fn resumable_part(&self) -> Option<&PartialBody> {
        self.part.as_deref()
    }

    /// What this attempt asks to be sent only if it changed. Every hop is asked, since the
    /// validators are those of the URL of the list, whichever hop sent them. What is to be
    /// continued is asked for first.
    #[must_use]
    pub fn revalidation(&self) -> Option<&Revalidation> {
        let known = self.known.as_deref()?;
        (self.is_plain_get() && self.part.is_none()).then_some(known)
    }

    /// The cookies that the redirects before have set.
    #[must_use]
    pub fn cookies(&self) -> Option<&ChainCookies> {
        self.hop.as_ref().map(|hop| &hop.cookies)
    }

    /// Whether credentials and the user's own headers may go along.
    #[must_use]
    pub fn may_send_credentials(&self) -> bool {
        self.hop.as_ref().is_none_or(|hop| !hop.left_origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_small() {
        // 32,768 of them are read ahead.
        let size = size_of::<Attempt>();
        assert!(size <= 216, "{size} bytes");
    }
}
