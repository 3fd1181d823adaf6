//! What the simulated servers do, and what they may demand of a client: limits, holds, and that
//! nothing is asked for again that was answered for good.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use tokio::time::Instant;

use super::case::SimPlan;
use super::draw::random;
use super::site::{MAX_SIZE, Page, PageBody, PageKind, Validator};
use crate::config::Config;
use crate::model::{Attempt, Cause, FetchError, ResendCause, Sha256};
use crate::schedule::RetryPolicy;

/// Requests of one run after which it counts as endless.
const MAX_REQUESTS: usize = 50_000;

/// The length from which a part of a range counts as progress.
const MIN_PIECE: usize = 64 << 10;

/// What an answer means for its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SimAnswer {
    /// The whole body.
    Whole,
    /// A whole body that is not the expected one.
    Mismatch,
    /// A failure that no retry can mend.
    Final,
    /// A failure that may pass.
    Transient,
    /// A failure to connect that may pass: it counts against the host.
    NotConnected,
    /// The host asks for a rest.
    Throttled,
    /// To be sent again without a retry.
    Free,
    /// Another request follows: a redirect, another piece, a poll.
    GoesOn,
}

/// A part of a body as it arrives.
#[derive(Debug)]
pub(super) enum SimPiece {
    Bytes(Bytes),
    Wait(Duration),
    Fail(FetchError),
    Hang,
}

/// What becomes of one request.
#[derive(Debug)]
pub(super) struct SimReply {
    /// The time that connecting takes, and how that fails; `None`: a connection is reused.
    pub connect: Option<(Duration, Option<FetchError>)>,
    /// The time until the head; `None`: it never comes.
    pub wait: Option<Duration>,
    pub failure: Option<(FetchError, Option<ResendCause>)>,
    pub status: u16,
    pub headers: HeaderMap,
    pub pieces: Vec<SimPiece>,
    pub answer: SimAnswer,
    pub version: Version,
    /// How long the host is to be left alone.
    pub hold: Option<Duration>,
}

impl SimReply {
    fn status(status: u16) -> Self {
        let error = FetchError::Status {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            note: None,
        };
        Self {
            connect: None,
            wait: Some(Duration::ZERO),
            failure: None,
            status,
            headers: HeaderMap::new(),
            pieces: Vec::new(),
            answer: match status {
                429 => SimAnswer::Throttled,
                503 => SimAnswer::Throttled,
                _ if error.is_transient() => SimAnswer::Transient,
                _ => SimAnswer::Final,
            },
            version: Version::HTTP_11,
            hold: None,
        }
    }

    fn fail(error: FetchError) -> Self {
        let is_transient = error.is_transient();
        Self {
            answer: if is_transient {
                SimAnswer::Transient
            } else {
                SimAnswer::Final
            },
            failure: Some((error, None)),
            ..Self::status(200)
        }
    }

    fn not_connected(after: Duration, error: FetchError) -> Self {
        let is_transient = error.is_transient();
        Self {
            answer: if is_transient {
                SimAnswer::NotConnected
            } else {
                SimAnswer::Final
            },
            connect: Some((after, Some(error))),
            ..Self::status(200)
        }
    }

    fn with(mut self, name: HeaderName, value: impl ToString) -> Self {
        self.headers
            .insert(name, HeaderValue::try_from(value.to_string()).unwrap());
        self
    }

    fn asking_for_rest(self, seconds: f64) -> Self {
        Self {
            hold: Some(Duration::from_secs_f64(seconds)),
            answer: SimAnswer::Throttled,
            ..self.with(header::RETRY_AFTER, seconds)
        }
    }
}

/// The limits that a run was given.
#[derive(Debug, Clone)]
struct SimLimits {
    total: usize,
    per_host: NonZeroUsize,
    interval: Duration,
    /// The time between two starts, over all hosts.
    between: Option<Duration>,
    bandwidth: Option<u64>,
    retry: RetryPolicy,
    obeys_robots: bool,
    refreshes: bool,
    /// Whether an attempt may end although its body has come.
    has_max_time: bool,
}

impl SimLimits {
    fn of(config: &Config) -> Self {
        let (engine, schedule) = (&config.engine, &config.schedule);
        Self {
            total: engine.concurrency.get(),
            per_host: schedule.per_host.upper_bound(engine.concurrency),
            interval: schedule.host_interval,
            between: schedule
                .rate
                .map(|rate| Duration::from_secs_f64(1.0 / rate)),
            bandwidth: schedule.limit_rate,
            retry: config.retry.clone(),
            obeys_robots: schedule.robots.is_some(),
            refreshes: config.save.refresh,
            has_max_time: engine.max_time.is_some(),
        }
    }
}

#[derive(Debug, Default)]
struct HostState {
    active: usize,
    is_connected: bool,
    last_start: Option<Duration>,
    held_until: Duration,
    /// For a host with a limit on its rate.
    tokens: f64,
    counted_at: Duration,
}

/// The requests of a job in one run.
#[derive(Debug, Default)]
pub(super) struct JobRequests {
    /// The number of the mirror and the answer of each.
    pub answers: Vec<(u32, SimAnswer)>,
    rejections: u32,
}

#[derive(Debug)]
struct RunningRequest {
    host: String,
    job: Option<u64>,
    at: Duration,
    is_connecting: bool,
    has_head: bool,
    /// Whether it has failed by itself.
    has_failed: bool,
    /// Whether there is more of its body.
    is_unread: bool,
    answer: SimAnswer,
    hold: Option<Duration>,
}

/// All simulated servers.
#[derive(Debug)]
pub(super) struct SimWorld {
    plan: Arc<SimPlan>,
    limits: SimLimits,
    /// The time of the runs before this one, and the waits between them.
    passed: Duration,
    start: Instant,
    /// Whether nothing fails any more.
    is_calm: bool,
    hosts: BTreeMap<String, HostState>,
    /// How often each URL was requested, over all runs.
    requests: BTreeMap<String, u32>,
    running: BTreeMap<usize, RunningRequest>,
    next: usize,
    /// The jobs that need no request.
    done: BTreeSet<u64>,
    pub jobs: BTreeMap<u64, JobRequests>,
    /// The versions of bodies that were sent, by URL.
    pub served: BTreeMap<String, BTreeSet<u64>>,
    last_start: Option<Duration>,
    first_byte: Option<Duration>,
    delivered: u64,
    most_active: usize,
    pub transcript: Vec<String>,
    pub wrong: Vec<String>,
}

/// The world as its transport and the test share it.
pub(super) type SharedWorld = Arc<Mutex<SimWorld>>;

impl SimWorld {
    pub(super) fn new(plan: &Arc<SimPlan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            limits: SimLimits::of(&plan.config(false)),
            passed: Duration::ZERO,
            start: Instant::now(),
            is_calm: false,
            hosts: BTreeMap::new(),
            requests: BTreeMap::new(),
            running: BTreeMap::new(),
            next: 0,
            done: BTreeSet::new(),
            jobs: BTreeMap::new(),
            served: BTreeMap::new(),
            last_start: None,
            first_byte: None,
            delivered: 0,
            most_active: 0,
            transcript: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// Begins a run in a runtime of its own.
    pub(super) fn begin_run(&mut self, config: &Config, is_calm: bool, done: BTreeSet<u64>) {
        self.limits = SimLimits::of(config);
        self.start = Instant::now();
        self.is_calm = is_calm;
        self.done = done;
        self.running.clear();
        self.jobs.clear();
        self.last_start = None;
        self.first_byte = None;
        self.delivered = 0;
        self.most_active = 0;
        for host in self.hosts.values_mut() {
            *host = HostState {
                tokens: host.tokens,
                counted_at: host.counted_at,
                ..HostState::default()
            };
        }
    }

    /// Ends a run; the next one begins after a pause.
    pub(super) fn end_run(&mut self, pause: Duration) {
        self.check_bandwidth();
        self.passed = self.now() + pause;
    }

    pub(super) fn now(&self) -> Duration {
        self.passed + self.start.elapsed()
    }

    pub(super) fn passed(&self) -> Duration {
        self.passed
    }

    fn note_wrong(&mut self, what: String) {
        let at = self.now();
        self.wrong.push(format!("{at:?}: {what}"));
    }

    /// Takes a request, checks that it may come, and decides about its answer.
    pub(super) fn begin(&mut self, attempt: &Attempt) -> (usize, SimReply) {
        assert!(self.next < MAX_REQUESTS, "endless requests");
        let now = self.now();
        let url = attempt.url().clone();
        let host = url.host_str().unwrap_or_default().to_owned();
        let job = (!attempt.job.is_auxiliary()).then_some(attempt.job.position.number);
        self.check_limits(&host, url.as_str(), now);
        self.check_job(attempt, job);
        let count = self.requests.entry(url.to_string()).or_default();
        *count += 1;
        let mut rng = random(self.plan.case.seed, ("request", url.as_str(), *count));
        let count = *count;
        let mut reply = self.reply(attempt, &host, count, &mut rng);
        // Without a robots.txt, as a 4xx says (RFC 9309 §2.3.1.3), all would be allowed.
        if attempt.job.is_auxiliary() && (400..500).contains(&reply.status) {
            reply.status = 503;
        }
        // A part that cannot be continued is no reason to give up the whole.
        if attempt.resumable_part().is_some() && reply.answer == SimAnswer::Final {
            reply.answer = SimAnswer::GoesOn;
        }
        self.transcript.push(format!(
            "{now:?} {url} job {job:?} mirror {} part {:?}: {:?} {}",
            attempt.history().mirror,
            attempt.resumable_part().map(|part| part.length),
            reply.answer,
            reply.status,
        ));
        self.add(host, job, now, &reply);
        if let Some(job) = job {
            let requests = self.jobs.entry(job).or_default();
            requests
                .answers
                .push((attempt.history().mirror, reply.answer));
        }
        self.next += 1;
        (self.next - 1, reply)
    }

    fn add(&mut self, host: String, job: Option<u64>, at: Duration, reply: &SimReply) {
        let state = self.hosts.entry(host.clone()).or_default();
        state.active += 1;
        state.last_start = Some(at);
        self.last_start = Some(at);
        self.running.insert(
            self.next,
            RunningRequest {
                host,
                job,
                at,
                is_connecting: reply.connect.is_some(),
                has_head: false,
                has_failed: false,
                is_unread: !reply.pieces.is_empty(),
                answer: reply.answer,
                hold: reply.hold,
            },
        );
        self.most_active = self.most_active.max(self.running.len());
    }

    fn check_limits(&mut self, host: &str, url: &str, now: Duration) {
        let limits = self.limits.clone();
        let slow = |request: &&RunningRequest| {
            request.is_connecting && now - request.at >= Duration::from_secs(1)
        };
        let uncounted = self.running.values().filter(slow).count();
        // Slow connections are not counted while pending; once established they are, so up to 64
        // may be above the limit.
        let spare = if limits.total >= 8 && self.plan.case.has("slow", 3) {
            64
        } else {
            uncounted
        };
        let spare = if limits.total >= 8 { spare } else { 0 };
        if self.running.len() >= limits.total + spare {
            self.note_wrong(format!("{} requests besides {url}", self.running.len()));
        }
        let state = self.hosts.entry(host.to_owned()).or_default();
        let (active, last, held) = (state.active, state.last_start, state.held_until);
        if active >= limits.per_host.get() {
            self.note_wrong(format!("{active} requests at its host besides {url}"));
        }
        if last.is_some_and(|last| now < last + limits.interval) {
            self.note_wrong(format!(
                "{url} within the interval of its host, after {last:?}"
            ));
        }
        if now < held {
            self.note_wrong(format!("{url} although its host is on hold until {held:?}"));
        }
        let slack = |between: Duration| (between / 4).min(Duration::from_millis(5));
        let between = limits.between.map(|between| between - slack(between));
        if let (Some(between), Some(last)) = (between, self.last_start)
            && now < last + between
        {
            self.note_wrong(format!("{url} above the rate, after {last:?}"));
        }
    }

    fn check_job(&mut self, attempt: &Attempt, job: Option<u64>) {
        let url = attempt.url();
        let Some(job) = job else { return };
        if self.done.contains(&job) && !self.limits.refreshes && self.plan.owns_its_file(job) {
            self.note_wrong(format!("{url} requested, although line {job} is done"));
        }
        let site = &self.plan.site;
        if self.limits.obeys_robots && url.path() == site.disallowed(url) {
            self.note_wrong(format!("{url} requested against robots.txt"));
        }
        let mirror = attempt.history().mirror;
        let has_max_time = self.limits.has_max_time;
        let answers = self.jobs.get(&job).map(|requests| requests.answers.clone());
        if let Some((before, answer)) = answers.and_then(|answers| answers.last().copied())
            && before == mirror
            && (answer == SimAnswer::Final || answer == SimAnswer::Whole && !has_max_time)
        {
            self.note_wrong(format!("{url} requested again after {answer:?}"));
        }
    }

    fn check_bandwidth(&mut self) {
        let (Some(rate), Some(first)) = (self.limits.bandwidth, self.first_byte) else {
            return;
        };
        // A chunk is received before it is paid for.
        let unpaid = (self.most_active as u64 + 1) * ((64 << 10) + 1);
        let time = self.now() - first + Duration::from_millis(100);
        let most = (time.as_secs_f64() * rate as f64) as u64 + unpaid;
        if self.delivered > most {
            self.note_wrong(format!("{} bytes at {rate}/s in {time:?}", self.delivered));
        }
    }

    /// Notes that a request has its connection.
    pub(super) fn connected(&mut self, id: usize) {
        if let Some(request) = self.running.get_mut(&id) {
            request.is_connecting = false;
            let state = self.hosts.entry(request.host.clone()).or_default();
            state.is_connected = true;
        }
    }

    /// Notes that a request has failed as it was to.
    pub(super) fn failed(&mut self, id: usize) {
        if let Some(request) = self.running.get_mut(&id) {
            request.has_failed = true;
        }
    }

    /// Notes that a head was sent.
    pub(super) fn head_sent(&mut self, id: usize) {
        if let Some(request) = self.running.get_mut(&id) {
            request.has_head = true;
        }
    }

    /// Notes that bytes of a body were taken, or that it was read to its end.
    pub(super) fn taken(&mut self, id: usize, bytes: Option<usize>) {
        let now = self.now();
        if let Some(bytes) = bytes {
            self.first_byte.get_or_insert(now);
            self.delivered += bytes as u64;
        } else if let Some(request) = self.running.get_mut(&id) {
            request.is_unread = false;
        }
    }

    /// Notes that the client is done with a request.
    pub(super) fn end(&mut self, id: usize) {
        let now = self.now();
        let Some(request) = self.running.remove(&id) else {
            return;
        };
        let state = self.hosts.entry(request.host).or_default();
        state.active -= 1;
        let job = request.job.and_then(|job| self.jobs.get_mut(&job));
        let mut rejections = 0;
        if let Some(job) = job {
            let last = job.answers.last_mut();
            // The client's own limits may have ended it earlier.
            let is_cut = !request.has_failed && (!request.has_head || request.is_unread);
            if let Some((_, answer)) = last.filter(|_| is_cut) {
                *answer = SimAnswer::Transient;
            }
            job.rejections += u32::from(request.answer == SimAnswer::Throttled);
            rejections = job.rejections;
        }
        // From the fourth rejection on it may concern this URL alone.
        let hold = request
            .hold
            .filter(|hold| *hold <= self.limits.retry.retry_after_max);
        if let Some(hold) = hold.filter(|_| request.has_head && rejections <= 3) {
            state.held_until = state.held_until.max(now + hold);
        }
    }

    fn reply(&mut self, attempt: &Attempt, host: &str, count: u32, rng: &mut Rng) -> SimReply {
        let page = self.plan.site.at(attempt.url());
        let mut reply = match self.trouble(host, rng) {
            Some(reply) => reply,
            None => self.page(attempt, &page, count, rng),
        };
        if random(self.plan.case.seed, ("version", host)).u8(..4) == 0 {
            reply.version = Version::HTTP_2;
        }
        let is_connected = self.hosts.get(host).is_some_and(|host| host.is_connected);
        let ms = |most: u64, rng: &mut Rng| Duration::from_millis(rng.u64(..=most));
        let latency = if self.is_calm {
            5
        } else {
            [0, 5, 50, 800][rng.usize(..4)]
        };
        reply.wait = reply.wait.map(|wait| wait + ms(latency, rng));
        if reply.connect.is_none() && !(is_connected && rng.u8(..4) > 0) {
            let is_slow = !self.is_calm && self.plan.case.has("slow", 3) && rng.u8(..4) == 0;
            reply.connect = Some((ms(if is_slow { 4000 } else { 40 }, rng), None));
        }
        // A connection that the server has closed meanwhile.
        if self.may_fail(rng, 30) && reply.connect.is_none() && reply.failure.is_none() {
            let cause = [ResendCause::StaleConnection, ResendCause::GoAway][rng.usize(..2)];
            return SimReply {
                failure: Some((reset(), Some(cause))),
                answer: SimAnswer::Free,
                ..SimReply::status(200)
            };
        }
        reply
    }

    fn may_fail(&self, rng: &mut Rng, one_in: u8) -> bool {
        !self.is_calm && self.plan.case.has("flaky", 2) && rng.u8(..one_in) == 0
    }

    /// What is in the way of an answer, if anything is.
    fn trouble(&mut self, host: &str, rng: &mut Rng) -> Option<SimReply> {
        if self.is_calm {
            return None;
        }
        self.outage(host)
            .or_else(|| self.throttling(host, rng))
            .or_else(|| self.may_fail(rng, 5).then(|| flaw(rng)))
    }

    fn outage(&self, host: &str) -> Option<SimReply> {
        let seed = self.plan.case.seed;
        let mut rng = random(seed, ("outage", host));
        if !self.plan.case.has("outages", 2) || rng.u8(..3) > 0 {
            return None;
        }
        let start = Duration::from_secs_f64((rng.f64() * 25.0 - 5.0).max(0.0));
        let end = start + Duration::from_secs_f64(rng.f64() * 100.0);
        let now = self.now() - self.passed;
        if !(start..end).contains(&now) {
            return None;
        }
        let left = (end - now).as_secs_f64();
        Some(match rng.u8(..5) {
            0 => SimReply::not_connected(Duration::ZERO, refused()),
            1 => SimReply::not_connected(Duration::from_secs(10), connect_timeout()),
            2 => SimReply::status(503),
            3 => SimReply::status(429).asking_for_rest((left * 1000.0).ceil() / 1000.0),
            _ => SimReply {
                wait: None,
                answer: SimAnswer::Transient,
                ..SimReply::status(200)
            },
        })
    }

    fn throttling(&mut self, host: &str, rng: &mut Rng) -> Option<SimReply> {
        let mut own = random(self.plan.case.seed, ("throttling", host));
        if !self.plan.case.has("throttling", 2) || own.u8(..3) > 0 {
            return None;
        }
        let rate = 0.5 + own.f64() * 20.0;
        let (burst, most) = (own.u8(1..10), own.usize(1..5));
        let now = self.now();
        let state = self.hosts.entry(host.to_owned()).or_default();
        let gained = (now - state.counted_at).as_secs_f64() * rate;
        state.tokens = (state.tokens + gained).min(f64::from(burst));
        state.counted_at = now;
        let is_above = if own.bool() {
            state.tokens < 1.0
        } else {
            state.active >= most
        };
        if !is_above {
            state.tokens -= 1.0;
            return None;
        }
        let status = SimReply::status([429, 503][own.usize(..2)]);
        Some(match own.u8(..3) {
            0 => status,
            1 => status.asking_for_rest([0.0, 0.25, 1.0, 3.0, 40.0][rng.usize(..5)]),
            _ => {
                let seconds = rng.u64(1..4);
                let at = crate::model::wall_time() + Duration::from_secs(seconds);
                status.with(header::RETRY_AFTER, httpdate::fmt_http_date(at))
            }
        })
    }

    fn page(&mut self, attempt: &Attempt, page: &Page, count: u32, rng: &mut Rng) -> SimReply {
        match &page.kind {
            PageKind::NoHost => SimReply::not_connected(
                Duration::ZERO,
                FetchError::Dns {
                    host: "nowhere".to_owned(),
                    not_found: true,
                    cause: Cause::from_text("scripted"),
                },
            ),
            PageKind::NoServer => SimReply::not_connected(Duration::ZERO, refused()),
            PageKind::Status(status) => SimReply::status(*status),
            PageKind::Loop => moved(302, &page.url),
            PageKind::Moved { status, to } => {
                moved(*status, to).with(header::SET_COOKIE, format!("last={}", page.url.path()))
            }
            PageKind::Gate(body) => {
                let cookie = attempt.cookie_header(None);
                match cookie.is_some_and(|cookie| cookie.as_bytes().starts_with(b"gate=open")) {
                    true => self.body(attempt, body, rng),
                    false => moved(302, &page.url).with(header::SET_COOKIE, "gate=open"),
                }
            }
            PageKind::Pending(until, body) if self.is_calm || count > *until => {
                self.body(attempt, body, rng)
            }
            PageKind::Pending(..) => SimReply {
                answer: SimAnswer::GoesOn,
                hold: None,
                ..SimReply::status(202).with(header::RETRY_AFTER, rng.u64(..4))
            },
            PageKind::Body(body) => self.body(attempt, body, rng),
            PageKind::TooLarge => SimReply {
                answer: SimAnswer::Final,
                ..SimReply::status(200).with(header::CONTENT_LENGTH, MAX_SIZE + 1)
            },
            PageKind::Robots(path) => {
                let text = format!("User-agent: *\nDisallow: {path}$\n");
                SimReply {
                    pieces: vec![SimPiece::Bytes(text.into())],
                    answer: SimAnswer::Whole,
                    ..SimReply::status(200)
                }
            }
        }
    }

    /// Answers with a body, a part of it, or that it has not changed.
    fn body(&mut self, attempt: &Attempt, body: &PageBody, rng: &mut Rng) -> SimReply {
        let version = body.version(self.now());
        let bytes = body.bytes(version);
        self.served
            .entry(body.url.clone())
            .or_default()
            .insert(version);
        let tag = match body.validator {
            Validator::Strong => Some((header::ETAG, format!("\"v{version}-{}\"", bytes.len()))),
            Validator::Weak => Some((header::ETAG, format!("W/\"v{version}\""))),
            Validator::Date => Some((header::LAST_MODIFIED, date_of(version))),
            Validator::Nothing => None,
        };
        let mut reply = SimReply {
            answer: SimAnswer::Whole,
            ..SimReply::status(200)
        };
        if let Some((name, value)) = &tag {
            let date = httpdate::fmt_http_date(crate::model::wall_time());
            reply = reply.with(name.clone(), value).with(header::DATE, date);
        }
        let current = tag.as_ref().map(|(_, value)| value.as_bytes());
        let known = attempt.revalidation();
        let known = known.and_then(|known| known.etag.as_ref().or(known.last_modified.as_ref()));
        if let Some(known) = known
            && Some(known.as_bytes()) == current
        {
            return SimReply {
                status: 304,
                ..reply
            };
        }
        if let Some(part) = attempt.resumable_part() {
            let is_current = Some(part.version.validator.as_bytes()) == current;
            let first = part.length as usize;
            // Some servers do not look at `If-Range`, and send the rest of what they have now.
            if (is_current || rng.u8(..8) == 0) && first < bytes.len() {
                return self.rest(reply, &bytes, first, rng);
            }
            if is_current && first == bytes.len() {
                let range = format!("bytes */{first}");
                return SimReply {
                    status: 416,
                    answer: self.answer_to(attempt, &bytes),
                    ..reply.with(header::CONTENT_RANGE, range)
                };
            }
        }
        reply.answer = self.answer_to(attempt, &bytes);
        let mut bytes = bytes;
        if body.is_coded {
            bytes = gzip(&bytes);
            reply = reply.with(header::CONTENT_ENCODING, "gzip");
        }
        reply = match body.is_sized {
            true => reply.with(header::CONTENT_LENGTH, bytes.len()),
            false => reply.with(header::TRANSFER_ENCODING, "chunked"),
        };
        let is_sized = body.is_sized;
        self.with_pieces(reply, &bytes, is_sized, rng)
    }

    fn answer_to(&self, attempt: &Attempt, bytes: &[u8]) -> SimAnswer {
        let line = self.plan.lines.get(attempt.job.position.number as usize);
        let hash = line
            .filter(|_| !attempt.job.is_auxiliary())
            .and_then(|line| line.hash);
        match hash {
            Some(hash) if hash != Sha256::of(bytes) => SimAnswer::Mismatch,
            _ => SimAnswer::Whole,
        }
    }

    /// Answers with the rest of a body, or with less than that.
    fn rest(&self, reply: SimReply, bytes: &[u8], first: usize, rng: &mut Rng) -> SimReply {
        let left = bytes.len() - first;
        let is_short = !self.is_calm && rng.u8(..4) == 0;
        let sent = if is_short { rng.usize(1..=left) } else { left };
        let range = format!("bytes {first}-{}/{}", first + sent - 1, bytes.len());
        let reply = SimReply {
            status: 206,
            // A small piece counts as a body that was cut off.
            answer: match sent < left && sent < MIN_PIECE {
                true => SimAnswer::Transient,
                false => SimAnswer::GoesOn,
            },
            ..reply
                .with(header::CONTENT_RANGE, range)
                .with(header::CONTENT_LENGTH, sent)
        };
        self.with_pieces(reply, &bytes[first..first + sent], true, rng)
    }

    /// Adds the bytes of a body, which may be cut off.
    fn with_pieces(
        &self,
        reply: SimReply,
        bytes: &[u8],
        is_sized: bool,
        rng: &mut Rng,
    ) -> SimReply {
        let mut pieces = Vec::new();
        let mut left = Bytes::copy_from_slice(bytes);
        let is_cut = self.may_fail(rng, 5);
        let cut_at = rng.usize(..=bytes.len());
        let is_over = |left: &Bytes| is_cut && bytes.len() - left.len() >= cut_at;
        while !left.is_empty() && !is_over(&left) {
            let size = rng.usize(1..=64 << 10).min(left.len());
            pieces.push(SimPiece::Bytes(left.split_to(size)));
            if rng.u8(..4) == 0 {
                let most = if self.is_calm { 3 } else { 1500 };
                pieces.push(SimPiece::Wait(Duration::from_millis(rng.u64(..most))));
            }
        }
        if !is_cut {
            return SimReply { pieces, ..reply };
        }
        match rng.u8(..3) {
            0 if is_sized && !left.is_empty() => {}
            1 => pieces.push(SimPiece::Hang),
            _ => pieces.push(SimPiece::Fail(reset())),
        }
        SimReply {
            pieces,
            answer: SimAnswer::Transient,
            ..reply
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    coded.write_all(bytes).unwrap();
    coded.finish().unwrap()
}

/// The time of the last change of a version.
fn date_of(version: u64) -> String {
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + version);
    httpdate::fmt_http_date(at)
}

fn moved(status: u16, to: &url::Url) -> SimReply {
    SimReply {
        answer: SimAnswer::GoesOn,
        ..SimReply::status(status).with(header::LOCATION, to)
    }
}

fn flaw(rng: &mut Rng) -> SimReply {
    match rng.u8(..9) {
        0 => SimReply::not_connected(Duration::ZERO, refused()),
        1 => SimReply::not_connected(Duration::from_secs(10), connect_timeout()),
        2 => SimReply::fail(reset()),
        3 => SimReply {
            wait: None,
            answer: SimAnswer::Transient,
            ..SimReply::status(200)
        },
        4 => SimReply::status(429),
        5 => SimReply::status(503),
        6 => SimReply::status([429, 503, 403][rng.usize(..3)]).asking_for_rest(rng.f64() * 4.0),
        7 => SimReply::status([408, 425, 500, 502, 504, 522][rng.usize(..6)]),
        _ => SimReply::fail(FetchError::Protocol {
            cause: Cause::from_text("scripted"),
        }),
    }
}

fn reset() -> FetchError {
    FetchError::Reset {
        cause: Cause::from_text("scripted"),
    }
}

fn refused() -> FetchError {
    FetchError::Refused {
        cause: Cause::from_text("scripted"),
    }
}

fn connect_timeout() -> FetchError {
    FetchError::ConnectTimeout {
        limit: Duration::from_secs(10),
        proxy: None,
    }
}
