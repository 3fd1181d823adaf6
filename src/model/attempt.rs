//! The state of a job between and during its attempts: what is queued, parked and retried.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use url::Url;

use super::{
    AttemptTrace, ChainCookies, Credentials, Job, Mirror, PackPosition, PartialBody, Revalidation,
    is_same_origin, mask_inner_passwords,
};

/// The current position in a redirect chain.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// The URL of this hop.
    pub url: Url,
    /// The URLs requested before it, starting with the job's own or its mirror.
    pub visited: Vec<Url>,
    /// A fingerprint (method, URL and cookies) of each request that was redirected.
    pub requests: Vec<u64>,
    /// The cookies set in this chain.
    pub cookies: ChainCookies,
    /// Whether a redirect has left the origin of the first URL. From then on credentials and the user's
    /// own headers are not sent, even if a later hop returns to it: another origin chose that
    /// URL.
    pub left_origin: bool,
}

/// How to send a request, depending on how the previous one failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SendMode {
    /// With the usual client: over a pooled connection, if there is one.
    #[default]
    Usual,
    /// With the client that always connects, because the last connection was dead or led to the
    /// wrong server.
    Fresh,
    /// With the lenient client, which repairs response heads.
    Lenient,
    /// With the lenient client and a limit on 1xx responses: a timeout fired late, maybe because they are
    /// endless. The usual client has no such limit.
    Bounded,
    /// With the lenient client, because a chunked body did not end. Most such bodies were cut off, which
    /// says nothing about other responses of the host.
    Unended,
}

/// Rejections of one job, compared with what its host accepted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rejections {
    /// How often it was rejected again although other requests had been accepted in between.
    repeated: u32,
    /// What the host had accepted when the last rejected attempt started.
    accepted: u32,
    /// The number of that attempt; 0 if there was none.
    attempt: u32,
}

impl Rejections {
    /// Repeated rejections from which on they concern this URL alone: whoever else asks is served.
    const OWN: u32 = 3;

    /// Adds the rejection of an attempt that started when the host had accepted so many requests.
    pub(crate) fn add(&mut self, attempt: u32, accepted: u32) {
        // Redirects of this job may be among the accepted ones.
        let own = attempt.saturating_sub(self.attempt).saturating_sub(1);
        let is_repeated = self.attempt > 0 && accepted.saturating_sub(self.accepted) > own;
        *self = Self {
            repeated: self.repeated + u32::from(is_repeated),
            accepted,
            attempt,
        };
    }

    /// Whether they say nothing about other URLs of the host.
    #[must_use]
    pub(crate) const fn concern_one_url(self) -> bool {
        self.repeated >= Self::OWN
    }
}

/// What is known of a job beyond its line: what its earlier attempts have used up, and what its next
/// request needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobHistory {
    /// Number of the mirror that is tried, from 1; 0 for the job's own URL.
    pub mirror: u32,
    /// Retries used up, of `--retries`.
    pub retries_used: u32,
    /// Waits for a host on hold; these use up no retry.
    pub holds: u32,
    /// Rejections by a host that throttles.
    pub rejections: Rejections,
    /// Free resends of the current attempt: the server had not processed the request.
    pub resends: u32,
    /// Free resends of the job, all attempts together.
    pub total_resends: u32,
    /// How often HTTP/2 failed for the job.
    pub http2_failures: u32,
    /// Whether a request was sent as [`SendMode::Unended`]; once per job is enough.
    pub is_unended: bool,
    /// Whether a server rejected HEAD. From then on GET is sent instead, also by retries.
    pub head_refused: bool,
    /// Whether no range is requested any more, because a server failed to send the rest of a
    /// partial body.
    pub without_range: bool,
    /// Requests that brought bytes of a body that may come in segments.
    pub segments: usize,
    /// Whether one of those for a range brought all of it.
    pub has_whole_range: bool,
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
    pub packed_to: Option<PackPosition>,
}

static GET: Method = Method::GET;

/// The history of a first attempt.
static NO_HISTORY: JobHistory = JobHistory {
    mirror: 0,
    retries_used: 0,
    holds: 0,
    rejections: Rejections {
        repeated: 0,
        accepted: 0,
        attempt: 0,
    },
    resends: 0,
    total_resends: 0,
    http2_failures: 0,
    is_unended: false,
    head_refused: false,
    without_range: false,
    segments: 0,
    has_whole_range: false,
    waited: Duration::ZERO,
    first_start: None,
    ready: Duration::ZERO,
    jar_cookies: None,
    traces: Vec::new(),
    packed_to: None,
};

fn boxed_unless_get(method: Method) -> Option<Box<Method>> {
    (method != Method::GET).then(|| Box::new(method))
}

/// The state of a job between and during its attempts, with its redirects and retries.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The job.
    pub job: Job,
    /// The method, unless it is GET. Boxed, because nearly every job is a GET, and a list is read
    /// far ahead.
    other_method: Option<Box<Method>>,
    /// Whether to send the request body; a redirect that changes the method drops it.
    pub with_body: bool,
    /// Set once a redirect was followed.
    pub hop: Option<Box<Hop>>,
    /// How to send the request.
    pub send_mode: SendMode,
    /// Requests sent for this job so far, without free resends.
    pub number: u32,
    /// Whether this is a retry after a failed attempt.
    pub again: bool,
    /// What is known beyond the list's line: of earlier requests, and of the next one. Boxed, because
    /// nearly no job that is only read ahead has any.
    history: Option<Box<JobHistory>>,
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
    pub(crate) fn new(job: Job, method: Method, with_body: bool) -> Self {
        Self {
            job,
            other_method: boxed_unless_get(method),
            with_body,
            hop: None,
            send_mode: SendMode::Usual,
            number: 0,
            again: false,
            history: None,
            simulated: false,
            part: None,
            known: None,
        }
    }

    /// Returns the method: the job's own, until a redirect turns a POST into a GET.
    #[must_use]
    pub(crate) fn method(&self) -> &Method {
        self.other_method.as_deref().unwrap_or(&GET)
    }

    /// Sets the method and whether to send the request body.
    pub(crate) fn set_method(&mut self, method: Method, with_body: bool) {
        self.other_method = boxed_unless_get(method);
        self.with_body = with_body;
    }

    /// Returns what the earlier attempts have used up.
    #[must_use]
    pub(crate) fn history(&self) -> &JobHistory {
        self.history.as_deref().unwrap_or(&NO_HISTORY)
    }

    /// Sets when the attempt became ready to start, since the start of the run.
    pub(crate) fn set_ready_at(&mut self, since: Duration) {
        self.history.get_or_insert_default().ready = since;
    }

    /// Sets the cookies of the run's jar for the next request.
    pub(crate) fn set_jar_cookies(&mut self, cookies: Option<Box<[u8]>>) {
        if cookies.is_some() || self.history.is_some() {
            self.history.get_or_insert_default().jar_cookies = cookies;
        }
    }

    /// Takes the timing of the attempts.
    pub(crate) fn take_traces(&mut self) -> Vec<AttemptTrace> {
        let history = self.history.as_mut();
        history.map_or_else(Vec::new, |history| std::mem::take(&mut history.traces))
    }

    /// Returns the history for the attempt that started at `start` to add what it used up.
    pub(crate) fn history_mut(&mut self, start: Instant) -> &mut JobHistory {
        let history = self.history.get_or_insert_default();
        history.first_start.get_or_insert(start);
        history
    }

    /// Returns the URL to request: the one where the redirects start, or that of the current hop.
    #[must_use]
    pub(crate) fn url(&self) -> &Url {
        self.hop
            .as_ref()
            .map_or_else(|| self.source_url(), |hop| &hop.url)
    }

    /// Returns the URL where redirects and retries start: the job's own, or that of its mirror.
    #[must_use]
    pub(crate) fn source_url(&self) -> &Url {
        self.mirror().map_or(&self.job.url, |mirror| &mirror.url)
    }

    /// Returns the number of the mirror that is tried, from 1; `None` for the job's own URL.
    #[must_use]
    pub(crate) fn mirror_number(&self) -> Option<u32> {
        Some(self.history().mirror).filter(|number| *number > 0)
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.mirror_at(self.history().mirror)
    }

    /// Returns the next mirror, if there is one.
    #[must_use]
    pub(crate) fn next_mirror(&self) -> Option<&Mirror> {
        self.mirror_at(self.history().mirror + 1)
    }

    /// Returns the mirror with this number, from 1.
    fn mirror_at(&self, number: u32) -> Option<&Mirror> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.job.mirrors().get(index)
    }

    /// Moves on to the next mirror: with fresh retries, and a fresh chain that starts there. What
    /// was learned of another server does not apply to it.
    pub(crate) fn begin_mirror(&mut self, method: Method, with_body: bool) {
        self.back_to_source(method, with_body);
        self.send_mode = SendMode::Usual;
        let history = std::mem::take(self.history.get_or_insert_default().as_mut());
        self.history = Some(Box::new(JobHistory {
            mirror: history.mirror + 1,
            total_resends: history.total_resends,
            first_start: history.first_start,
            ready: history.ready,
            traces: history.traces,
            packed_to: history.packed_to,
            ..JobHistory::default()
        }));
    }

    /// Returns the URL for output. A redirect may lead to a URL that contains another one with a
    /// password, which is masked; in a job's own URL that is rejected as invalid.
    #[must_use]
    pub(crate) fn shown_url(&self) -> Cow<'_, str> {
        match &self.hop {
            Some(hop) => mask_inner_passwords(&hop.url),
            None => Cow::Borrowed(self.source_url().as_str()),
        }
    }

    /// Whether the URL contains a password that output must not show.
    #[must_use]
    pub(crate) fn has_secret_url(&self) -> bool {
        let hop = self.hop.as_ref();
        hop.is_some_and(|hop| matches!(mask_inner_passwords(&hop.url), Cow::Owned(_)))
    }

    /// Resets the attempt to the URL of the list, or its mirror, with a fresh redirect chain: the last
    /// one may have led to a mirror that is down, or to a signed URL that is valid only once.
    pub(crate) fn back_to_source(&mut self, method: Method, with_body: bool) {
        self.hop = None;
        self.set_method(method, with_body);
    }

    /// Returns the bytes held in strings whose length lists and servers control.
    #[must_use]
    pub(crate) fn heap_bytes(&self) -> usize {
        let length = |url: &Url| url.as_str().len();
        let hops = self.hop.as_ref().map_or(0, |hop| {
            length(&hop.url) + hop.visited.iter().map(length).sum::<usize>() + hop.cookies.weight()
        });
        let jar = self.history().jar_cookies.as_ref();
        hops + jar.map_or(0, |cookies| cookies.len()) + self.job.weight()
    }

    /// Returns the number of redirects followed so far.
    #[must_use]
    pub(crate) fn redirect_count(&self) -> u32 {
        self.hop.as_ref().map_or(0, |hop| {
            u32::try_from(hop.visited.len()).unwrap_or(u32::MAX)
        })
    }

    /// Whether it is a GET for the whole content: only such a request can be resumed or made
    /// conditional.
    #[must_use]
    pub(crate) fn is_plain_get(&self) -> bool {
        *self.method() == Method::GET && !self.with_body && !self.is_head_only()
    }

    /// Whether only the response head is wanted: for HEAD, or the GET that replaces it.
    #[must_use]
    pub(crate) fn is_head_only(&self) -> bool {
        *self.method() == Method::HEAD
            || (self.history().head_refused && *self.method() == Method::GET)
    }

    /// Replaces HEAD by GET if a server rejected HEAD.
    pub(crate) fn replace_refused_head(&mut self) {
        if self.history().head_refused && *self.method() == Method::HEAD {
            self.other_method = None;
        }
    }

    /// Returns the partial body to resume. The range is requested from every hop, since it is not
    /// known beforehand which of them sends the body.
    #[must_use]
    pub(crate) fn resumable_part(&self) -> Option<&PartialBody> {
        let part = self.part.as_deref();
        part.filter(|_| !self.history().without_range)
    }

    /// Returns the validators for a conditional request. They are sent to every hop, since they
    /// belong to the URL in the list, whichever hop sent them; a mirror has others. Resuming a
    /// partial body takes precedence.
    #[must_use]
    pub(crate) fn revalidation(&self) -> Option<&Revalidation> {
        let known = self.known.as_deref()?;
        let has_any = known.etag.is_some() || known.last_modified.is_some();
        let is_own_url = self.mirror_number().is_none();
        (has_any && is_own_url && self.is_plain_get() && self.part.is_none()).then_some(known)
    }

    /// Returns the cookies set by earlier hops of the chain.
    #[must_use]
    pub(crate) fn cookies(&self) -> Option<&ChainCookies> {
        self.hop.as_ref().map(|hop| &hop.cookies)
    }

    /// Whether servers have set cookies for this request: in this chain, or in the jar.
    #[must_use]
    pub(crate) fn has_cookies(&self) -> bool {
        self.hop.is_some() || self.history().jar_cookies.is_some()
    }

    /// Returns the `Cookie` header of this request, where the user's `own` headers would be sent
    /// without these cookies.
    #[must_use]
    pub(crate) fn cookie_header<'a>(
        &self,
        own: impl IntoIterator<Item = &'a HeaderValue>,
    ) -> Option<HeaderValue> {
        let jar = self.history().jar_cookies.as_deref();
        match self.cookies() {
            Some(chain) => chain.header_with(own, jar),
            None => ChainCookies::default().header_with(own, jar),
        }
    }

    /// Whether no redirect has left the origin of the first URL.
    #[must_use]
    pub(crate) fn is_at_origin(&self) -> bool {
        self.hop.as_ref().is_none_or(|hop| !hop.left_origin)
    }

    /// Whether the user's own headers, and credentials of the run, may be sent. They are meant for
    /// the origin of the job's own URL, so a mirror elsewhere does not get them, nor an origin that a
    /// sitemap names.
    #[must_use]
    pub(crate) fn may_send_credentials(&self) -> bool {
        let is_elsewhere = |mirror: &Mirror| !is_same_origin(&self.job.url, &mirror.url);
        self.is_at_origin() && !self.job.is_foreign() && !self.mirror().is_some_and(is_elsewhere)
    }

    /// Returns the userinfo for the request: that of the mirror that is tried, else that of the
    /// job's own URL, as long as the request goes to the origin for which it was given.
    #[must_use]
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        let of_mirror = self
            .mirror()
            .and_then(|mirror| mirror.credentials.as_deref());
        let of_job = self.job.credentials.as_deref();
        of_mirror
            .filter(|_| self.is_at_origin())
            .or(of_job.filter(|_| self.may_send_credentials()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LineOptions;

    /// An attempt with mirrors, each `(URL, user)`.
    fn attempt(url: &str, user: Option<&str>, mirrors: &[(&str, Option<&str>)]) -> Attempt {
        let credentials = |user: Option<&str>| {
            let (user, password) = (user?.to_owned(), "pw".to_owned());
            Some(Box::new(Credentials { user, password }))
        };
        let mirrors = mirrors.iter().map(|(url, user)| Mirror {
            url: Url::parse(url).unwrap(),
            credentials: credentials(*user),
        });
        let job = Job {
            credentials: credentials(user),
            options: Some(Box::new(LineOptions {
                mirrors: mirrors.collect(),
                ..LineOptions::default()
            })),
            ..Job::plain(url)
        };
        Attempt::new(job, Method::GET, false)
    }

    fn redirected(attempt: &Attempt, left_origin: bool) -> Attempt {
        Attempt {
            hop: Some(Box::new(Hop {
                url: Url::parse("http://hop.test/").unwrap(),
                visited: vec![attempt.source_url().clone()],
                requests: Vec::new(),
                cookies: ChainCookies::default(),
                left_origin,
            })),
            ..attempt.clone()
        }
    }

    #[test]
    fn a_url_is_rejected_alone_if_others_are_accepted_each_time() {
        let rejected = |starts: &[(u32, u32)]| {
            let mut rejections = Rejections::default();
            for (attempt, accepted) in starts {
                rejections.add(*attempt, *accepted);
            }
            rejections.concern_one_url()
        };
        assert!(rejected(&[(1, 0), (2, 5), (3, 9), (4, 10)]));
        assert!(!rejected(&[(1, 0), (2, 5), (3, 9)]), "that may be bad luck");
        assert!(
            !rejected(&[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]),
            "all wait"
        );
        assert!(
            !rejected(&[(2, 1), (4, 2), (6, 3), (8, 4)]),
            "its own redirects"
        );
        assert!(
            rejected(&[(2, 1), (4, 3), (6, 5), (8, 7), (9, 7)]),
            "and others"
        );
        assert!(
            !rejected(&[(1, 9), (2, 0), (3, 1), (4, 2)]),
            "a host forgotten in between"
        );
    }

    #[test]
    fn a_mirror_starts_afresh_and_keeps_what_counts_for_the_job() {
        let start = attempt("http://a.test/", None, &[("http://b.test/", None)]);
        let mut attempt = redirected(&start, true);
        attempt.number = 4;
        let now = Instant::now();
        let packed_to = PackPosition { n: None, offset: 7 };
        *attempt.history_mut(now) = JobHistory {
            retries_used: 3,
            holds: 2,
            resends: 1,
            total_resends: 5,
            head_refused: true,
            waited: Duration::from_secs(9),
            first_start: Some(now),
            packed_to: Some(packed_to),
            ..JobHistory::default()
        };
        assert_eq!(attempt.mirror_number(), None);
        attempt.begin_mirror(Method::GET, false);
        assert_eq!(attempt.url().as_str(), "http://b.test/");
        assert_eq!((attempt.redirect_count(), attempt.number), (0, 4));
        assert_eq!(attempt.mirror_number(), Some(1));
        assert!(attempt.next_mirror().is_none());
        let history = attempt.history();
        assert_eq!(
            (history.retries_used, history.holds, history.resends),
            (0, 0, 0)
        );
        assert_eq!(
            (history.waited, history.head_refused),
            (Duration::ZERO, false)
        );
        assert_eq!(
            (history.total_resends, history.packed_to),
            (5, Some(packed_to))
        );
        assert_eq!(history.first_start, Some(now));
        attempt.hop = redirected(&attempt, true).hop;
        attempt.back_to_source(Method::GET, false);
        assert_eq!(
            attempt.url().as_str(),
            "http://b.test/",
            "a retry stays there"
        );
    }

    #[test]
    fn credentials_stay_with_the_origin_for_which_they_were_given() {
        let (a, b) = ("http://a.test/", "http://b.test/");
        let upgraded = "https://a.test/x";
        for (job_user, mirror, mirror_user, may_send, user) in [
            (Some("me"), "http://a.test/x", None, true, Some("me")),
            (Some("me"), upgraded, None, true, Some("me")),
            (Some("me"), upgraded, Some("you"), true, Some("you")),
            (Some("me"), "http://a.test:81/", None, false, None),
            (Some("me"), b, None, false, None),
            (Some("me"), b, Some("you"), false, Some("you")),
            (None, b, Some("you"), false, Some("you")),
        ] {
            let mut attempt = attempt(a, job_user, &[(mirror, mirror_user)]);
            let user_of = |attempt: &Attempt| attempt.credentials().map(|both| both.user.clone());
            assert_eq!(user_of(&attempt).as_deref(), job_user);
            attempt.begin_mirror(Method::GET, false);
            assert_eq!(attempt.may_send_credentials(), may_send, "{mirror}");
            assert_eq!(user_of(&attempt).as_deref(), user, "{mirror}");
            let elsewhere = redirected(&attempt, true);
            assert!(!elsewhere.may_send_credentials() && elsewhere.credentials().is_none());
            let within = redirected(&attempt, false);
            assert_eq!(within.may_send_credentials(), may_send, "{mirror}");
            assert_eq!(user_of(&within).as_deref(), user, "{mirror}");
        }
    }

    #[test]
    fn an_attempt_is_small() {
        // Up to 32,768 are read ahead.
        let size = size_of::<Attempt>();
        assert!(size <= 192, "{size} bytes");
    }
}
