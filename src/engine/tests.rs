//! Tests of the engine over a scripted transport, on tokio's paused clock: no sockets, no waiting.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::*;
use crate::fetch::{RawResponse, ResponseBody};
use crate::model::{
    Attempt, Cause, EngineEvent, ErrorKind, EventReturnQueue, FetchError, InputPosition, Job,
    ListEntry, LiveStats, OutcomeName, ResponseHead, RobotsRoom, SendMode, SettledJob, TimeLimit,
    WireState,
};
use crate::schedule::{
    Bandwidth, LimitUpdate, PerHostLimit, RetryPolicy, RobotsOptions, ScheduleOptions, Scheduler,
};
use crate::store::DiscardStore;

/// What the scripted server does with one request.
#[derive(Clone)]
enum StubReply {
    Head(u16, Vec<(&'static str, String)>, Vec<StubPiece>),
    After(Duration, Box<StubReply>),
    /// Connects for this long, then replies.
    Connect(Duration, Box<StubReply>),
    /// Keeps the process from looking at its clocks for this long, then replies.
    Block(Duration, Box<StubReply>),
    Fail(FetchError),
    /// Replies over this HTTP version.
    Version(Version, Box<StubReply>),
    Hang,
    Panic,
}

#[derive(Clone)]
enum StubPiece {
    Bytes(usize),
    Wait(Duration),
    Block(Duration),
    Hang,
}

async fn block(time: Duration) {
    // Lets the timeout start first.
    tokio::task::yield_now().await;
    tokio::time::advance(time).await;
}

struct StubBody(std::vec::IntoIter<StubPiece>);

impl ResponseBody for StubBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.0.as_slice().first().cloned() {
                Some(StubPiece::Wait(time)) => tokio::time::sleep(time).await,
                Some(StubPiece::Block(time)) => block(time).await,
                Some(StubPiece::Hang) => std::future::pending().await,
                Some(StubPiece::Bytes(length)) => {
                    self.0.next();
                    return Ok(Some(vec![b'x'; length].into()));
                }
                None => return Ok(None),
            }
            self.0.next();
        }
    }
}

type StubScript = dyn Fn(&Attempt) -> StubReply + Send + Sync;

struct StubTransport {
    script: Box<StubScript>,
    /// The times of all requests, by URL.
    log: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
}

impl Transport for StubTransport {
    type Body = StubBody;

    async fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> Result<RawResponse<StubBody>, FetchError> {
        let url = attempt.url().to_string();
        self.log
            .lock()
            .unwrap()
            .entry(url)
            .or_default()
            .push(Instant::now());
        let mut reply = (self.script)(attempt);
        let mut version = Version::HTTP_11;
        if !matches!(reply, StubReply::Connect(..) | StubReply::Fail(_)) {
            // Connected at once.
            wire.mark_connect_ended(Instant::now().into_std(), true);
        }
        loop {
            reply = match reply {
                StubReply::After(time, then) => {
                    tokio::time::sleep(time).await;
                    *then
                }
                StubReply::Connect(time, then) => {
                    wire.mark_connecting();
                    tokio::time::sleep(time).await;
                    wire.mark_connect_ended(Instant::now().into_std(), true);
                    *then
                }
                StubReply::Block(time, then) => {
                    block(time).await;
                    *then
                }
                StubReply::Version(other, then) => {
                    version = other;
                    *then
                }
                StubReply::Fail(error) => return Err(error),
                StubReply::Hang => std::future::pending().await,
                StubReply::Panic => panic!("scripted"),
                StubReply::Head(status, headers, pieces) => {
                    let headers = headers.into_iter().map(|(name, value)| {
                        (
                            HeaderName::from_static(name),
                            HeaderValue::try_from(value).unwrap(),
                        )
                    });
                    let mut head = ResponseHead::http11(
                        StatusCode::from_u16(status).unwrap(),
                        HeaderMap::from_iter(headers),
                    );
                    head.version = version;
                    return Ok(RawResponse {
                        head,
                        body: StubBody(pieces.into_iter()),
                    });
                }
            }
        }
    }
}

fn status(code: u16) -> StubReply {
    StubReply::Head(code, vec![], vec![])
}

fn ok(pieces: Vec<StubPiece>) -> StubReply {
    StubReply::Head(200, vec![], pieces)
}

fn reset() -> StubReply {
    StubReply::Fail(FetchError::Reset {
        cause: Cause::from_text("scripted"),
    })
}

const SECOND: Duration = Duration::from_secs(1);

struct EngineBench {
    options: EngineOptions,
    retry: RetryPolicy,
    schedule: ScheduleOptions,
    shutdown: Shutdown,
    updates: Option<LimitUpdates>,
}

/// The outcome of a run.
struct RunResult {
    settled: Vec<SettledJob>,
    end: EngineExit,
    took: Duration,
    log: HashMap<String, Vec<Duration>>,
}

impl RunResult {
    fn of(&self, url: &str) -> &SettledJob {
        let of_url = |settled: &&SettledJob| settled.record.url == url;
        self.settled
            .iter()
            .find(of_url)
            .unwrap_or_else(|| panic!("no record of {url}"))
    }

    fn kind(&self, url: &str) -> Option<ErrorKind> {
        self.of(url).record.error.as_ref().map(|error| error.kind)
    }
}

fn bench() -> EngineBench {
    let mut retry = RetryPolicy {
        retries: 0,
        ..RetryPolicy::default()
    };
    retry.delay = SECOND;
    EngineBench {
        options: EngineOptions {
            seed: Some(1),
            ..EngineOptions::default()
        },
        retry,
        schedule: ScheduleOptions {
            per_host: PerHostLimit::Fixed(NonZeroUsize::new(10).unwrap()),
            ..ScheduleOptions::default()
        },
        shutdown: Shutdown::new(),
        updates: None,
    }
}

impl EngineBench {
    async fn run(
        self,
        urls: &[&str],
        script: impl Fn(&Attempt) -> StubReply + Send + Sync + 'static,
    ) -> RunResult {
        let (events, mut received) = mpsc::channel(10_000);
        let (batches, list) = mpsc::channel(1);
        let entries = urls.iter().zip(0..).map(|(url, number)| {
            let place = InputPosition {
                number,
                input: "-".into(),
                line: number + 1,
            };
            ListEntry::Job(Job {
                position: place,
                ..Job::plain(url)
            })
        });
        batches.try_send(Ok(entries.collect())).unwrap();
        drop(batches);
        let live = Arc::new(LiveStats::default());
        let log = Arc::new(Mutex::new(HashMap::new()));
        let transport = StubTransport {
            script: Box::new(script),
            log: Arc::clone(&log),
        };
        let start = Instant::now();
        let scheduler = Scheduler::new(
            &self.schedule,
            &self.retry,
            self.options.concurrency,
            self.options.worker_threads(),
            Arc::clone(&live),
        );
        let engine = Engine {
            options: self.options,
            retry: self.retry,
            transport,
            store: DiscardStore,
            scheduler,
            bandwidth: Arc::new(Bandwidth::new(&self.schedule)),
            live: Arc::clone(&live),
            clock: RunClock::start(),
            events,
            spent: EventReturnQueue::default(),
            shutdown: self.shutdown,
            past: Default::default(),
            windows: DecoderBudget::new(),
            robots_room: RobotsRoom::default(),
            broken: OnceLock::new(),
        };
        let end = run(engine, list, None, self.updates).await;
        let took = start.elapsed();
        assert_eq!(live.in_flight(), 0);
        let mut settled = Vec::new();
        while let Ok(EngineEvent::Settled(one)) = received.try_recv() {
            settled.push(*one);
        }
        let log = log.lock().unwrap().clone();
        let log = log.iter().map(|(url, times)| {
            (
                url.clone(),
                times
                    .iter()
                    .map(|time| time.duration_since(start))
                    .collect(),
            )
        });
        RunResult {
            settled,
            end,
            took,
            log: log.collect(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_take_as_long_as_the_slowest() {
    let urls = ["http://a/3", "http://a/1", "http://b/2"];
    let outcome = bench()
        .run(&urls, |attempt| {
            let seconds: u32 = attempt.url().path()[1..].parse().unwrap();
            StubReply::After(SECOND * seconds, Box::new(ok(vec![StubPiece::Bytes(5)])))
        })
        .await;
    assert_eq!(outcome.took, 3 * SECOND);
    let order: Vec<_> = outcome
        .settled
        .iter()
        .map(|settled| settled.position.number)
        .collect();
    assert_eq!(order, [1, 2, 0], "in order of completion");
    let record = &outcome.of("http://b/2").record;
    assert_eq!(
        (record.bytes, record.attempts, record.elapsed_ms),
        (Some(5), 1, Some(2000))
    );
    assert_eq!(
        (record.started_ms, record.ttfb_ms, record.total_ms),
        (Some(0), Some(2000), None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_holds_no_worker_and_no_slot_while_it_waits() {
    let mut bench = bench();
    bench.options.concurrency = NonZeroUsize::MIN;
    bench.schedule.per_host = PerHostLimit::Fixed(NonZeroUsize::MIN);
    bench.retry.retries = 1;
    let outcome = bench
        .run(&["http://a/flaky", "http://a/1", "http://b/1"], |attempt| {
            let flaky = attempt.url().path() == "/flaky" && attempt.number == 1;
            if flaky { reset() } else { ok(vec![]) }
        })
        .await;
    let order: Vec<_> = outcome
        .settled
        .iter()
        .map(|settled| settled.record.url.as_str())
        .collect();
    assert_eq!(order, ["http://b/1", "http://a/1", "http://a/flaky"]);
    assert_eq!(outcome.log["http://a/1"], [Duration::ZERO]);
    let record = &outcome.of("http://a/flaky").record;
    assert_eq!((record.attempts, record.ok), (2, true));
    assert!(record.total_ms.unwrap() <= 1000);
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_the_whole_host_and_only_that() {
    let mut bench = bench();
    bench.schedule.per_host = PerHostLimit::Fixed(NonZeroUsize::MIN);
    bench.retry.retries = 1;
    let outcome = bench
        .run(&["http://a/1", "http://a/2", "http://b/1"], |attempt| {
            if attempt.url().path() == "/1"
                && attempt.number == 1
                && attempt.url().host_str() == Some("a")
            {
                StubReply::Head(429, vec![("retry-after", "7".into())], vec![])
            } else {
                ok(vec![])
            }
        })
        .await;
    assert_eq!(outcome.log["http://b/1"], [Duration::ZERO]);
    assert_eq!(outcome.log["http://a/1"], [Duration::ZERO, 7 * SECOND]);
    assert_eq!(
        outcome.log["http://a/2"],
        [7 * SECOND],
        "held although it was never throttled"
    );
    assert!(outcome.settled.iter().all(|settled| settled.record.ok));
}

#[tokio::test(start_paused = true)]
async fn a_403_holds_its_host_if_it_names_a_delay_and_is_final_otherwise() {
    for (headers, held) in [
        (vec![("retry-after", "7".into())], true),
        (
            vec![
                ("x-ratelimit-remaining", "0".into()),
                ("x-ratelimit-reset-after", "7".into()),
            ],
            true,
        ),
        (vec![("x-ratelimit-remaining", "0".into())], false),
        (vec![], false),
    ] {
        let mut bench = bench();
        bench.schedule.per_host = PerHostLimit::Fixed(NonZeroUsize::MIN);
        bench.retry.retries = 1;
        let outcome = bench
            .run(&["http://a/1", "http://a/2"], move |attempt| {
                if attempt.url().path() == "/1" && attempt.number == 1 {
                    StubReply::Head(403, headers.clone(), vec![])
                } else {
                    ok(vec![])
                }
            })
            .await;
        let (first, second) = (outcome.of("http://a/1"), outcome.of("http://a/2"));
        assert!(second.record.ok);
        let wait = if held { 7 * SECOND } else { Duration::ZERO };
        assert_eq!(outcome.log["http://a/2"], [wait]);
        assert_eq!(
            (first.record.ok, first.record.attempts),
            (held, 1 + u32::from(held))
        );
    }
}

/// The URL itself fails, and the others still wait.
#[tokio::test(start_paused = true)]
async fn a_403_with_a_delay_holds_the_other_urls_even_without_retries() {
    let mut bench = bench();
    bench.schedule.per_host = PerHostLimit::Fixed(NonZeroUsize::MIN);
    let outcome = bench
        .run(&["http://a/1", "http://a/2"], |attempt| {
            match attempt.url().path() {
                "/1" => StubReply::Head(403, vec![("retry-after", "7".into())], vec![]),
                _ => ok(vec![]),
            }
        })
        .await;
    assert!(!outcome.of("http://a/1").record.ok);
    assert_eq!(outcome.log["http://a/2"], [7 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_202_waits_alone_uses_no_retry_and_ends_with_max_wait() {
    let mut bench = bench();
    bench.schedule.per_host = PerHostLimit::Fixed(NonZeroUsize::MIN);
    bench.retry.retries = 1;
    bench.retry.max_wait = 10 * SECOND;
    let urls = ["http://a/made", "http://a/never", "http://a/other"];
    let outcome = bench
        .run(&urls, |attempt| match attempt.url().path() {
            "/made" if attempt.number > 3 => ok(vec![StubPiece::Bytes(5)]),
            "/other" => ok(vec![]),
            _ => StubReply::Head(
                202,
                vec![("retry-after", "3".into())],
                vec![StubPiece::Bytes(9)],
            ),
        })
        .await;
    assert_eq!(outcome.log["http://a/other"], [Duration::ZERO]);
    let record = &outcome.of("http://a/made").record;
    assert_eq!((record.bytes, record.attempts), (Some(5), 4));
    assert_eq!(outcome.log["http://a/made"].last(), Some(&(9 * SECOND)));
    let record = &outcome.of("http://a/never").record;
    let error = record.error.as_ref().unwrap();
    assert_eq!((record.status, record.attempts), (Some(202), 4));
    assert_eq!((error.kind, error.transient), (ErrorKind::Status, true));
    assert_eq!(
        error.message,
        "202 Accepted; still processing; another 3s of waiting would exceed max_wait 10s"
    );
}

/// Going back to the input URL would start the work anew.
#[tokio::test(start_paused = true)]
async fn a_202_after_a_redirect_is_polled_at_the_redirect_target() {
    let outcome = bench_with_retries(1)
        .run(&["http://a/order"], |attempt| match attempt.url().path() {
            "/order" => StubReply::Head(303, vec![("location", "/17".into())], vec![]),
            _ if attempt.number < 4 => {
                StubReply::Head(202, vec![("retry-after", "1".into())], vec![])
            }
            _ => ok(vec![]),
        })
        .await;
    assert_eq!(outcome.log["http://a/order"].len(), 1);
    assert_eq!(outcome.log["http://a/17"].len(), 3);
    assert!(outcome.of("http://a/order").record.ok);
}

fn bench_with_retries(retries: u32) -> EngineBench {
    let mut bench = bench();
    bench.retry.retries = retries;
    bench
}

#[tokio::test(start_paused = true)]
async fn a_rejected_head_becomes_a_get_that_reads_no_body_and_stays_one() {
    let mut bench = bench_with_retries(1);
    bench.options.method = Method::HEAD;
    bench.options.max_size = 10;
    let outcome = bench
        .run(&["http://a/1"], |attempt| {
            let is_head = *attempt.method() == Method::HEAD;
            match attempt.url().path() {
                "/1" => StubReply::Head(302, vec![("location", "/2".into())], vec![]),
                _ if is_head => status(501),
                _ if attempt.number == 2 => status(503),
                _ => StubReply::Head(
                    200,
                    vec![("content-length", "1000000000".into())],
                    vec![StubPiece::Hang],
                ),
            }
        })
        .await;
    let record = &outcome.of("http://a/1").record;
    assert_eq!(
        (record.ok, record.status, record.bytes),
        (true, Some(200), Some(0))
    );
    let sent: usize = outcome.log.values().map(Vec::len).sum();
    assert_eq!((record.resends, (record.attempts + 1) as usize), (1, sent));
    assert!(outcome.took < 5 * SECOND, "the body is not read");
}

#[tokio::test(start_paused = true)]
async fn a_get_in_place_of_a_head_is_sent_once() {
    let mut bench = bench();
    bench.options.method = Method::HEAD;
    let outcome = bench.run(&["http://a/"], |_| status(405)).await;
    let record = &outcome.of("http://a/").record;
    assert_eq!(
        (record.status, record.attempts, record.resends),
        (Some(405), 1, 1)
    );
    assert_eq!(outcome.log["http://a/"].len(), 2);
}

#[tokio::test(start_paused = true)]
async fn records_say_whether_this_run_would_retry_the_failure() {
    let mut bench = bench_with_retries(1);
    bench.retry.rules = "404,!500".parse().unwrap();
    let urls = [
        "http://a/404",
        "http://b/500",
        "http://c/502",
        "http://d/410",
    ];
    let outcome = bench
        .run(&urls, |attempt| {
            status(attempt.url().path()[1..].parse().unwrap())
        })
        .await;
    let reported = urls.map(|url| {
        let record = &outcome.of(url).record;
        (record.attempts, record.error.as_ref().unwrap().transient)
    });
    assert_eq!(reported, [(2, true), (1, false), (2, true), (1, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_above_its_limit_fails_at_once_with_a_note() {
    let mut bench = bench();
    bench.retry.retries = 3;
    let outcome = bench
        .run(&["http://a/"], |_| {
            StubReply::Head(503, vec![("retry-after", "3600".into())], vec![])
        })
        .await;
    assert_eq!(outcome.took, Duration::ZERO);
    let error = outcome.of("http://a/").record.error.clone().unwrap();
    assert_eq!(
        error.message,
        "503 Service Unavailable; requested delay 1h 0m exceeds retry_after_max 5m"
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_head_is_a_timeout_but_connecting_does_not_count() {
    let mut bench = bench();
    bench.options.stall_timeout = Some(5 * SECOND);
    let outcome = bench
        .run(
            &["http://a/hang", "http://a/far"],
            |attempt| match attempt.url().path() {
                "/hang" => StubReply::Hang,
                _ => StubReply::Connect(
                    8 * SECOND,
                    Box::new(StubReply::After(4 * SECOND, Box::new(ok(vec![])))),
                ),
            },
        )
        .await;
    assert_eq!(outcome.kind("http://a/hang"), Some(ErrorKind::Timeout));
    // Timers are accurate to a millisecond.
    let elapsed = outcome.of("http://a/hang").record.elapsed_ms;
    assert!(matches!(elapsed, Some(5000 | 5001)), "{elapsed:?}");
    assert_eq!(
        outcome.kind("http://a/far"),
        None,
        "8 s to connect and 4 s to the head"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_must_deliver_1_kib_per_window() {
    let mut bench = bench();
    bench.options.stall_timeout = Some(10 * SECOND);
    let drip = |bytes: usize| {
        let piece = [StubPiece::Wait(9 * SECOND), StubPiece::Bytes(bytes)];
        ok(piece.into_iter().cycle().take(20).collect())
    };
    let outcome = bench
        .run(
            &["http://a/drip", "http://a/trickle", "http://a/stop"],
            move |attempt| match attempt.url().path() {
                "/drip" => drip(1024),
                "/trickle" => drip(100),
                _ => ok(vec![StubPiece::Bytes(4000), StubPiece::Hang]),
            },
        )
        .await;
    assert_eq!(
        outcome.kind("http://a/drip"),
        None,
        "1 KiB every 9 s is enough"
    );
    assert_eq!(outcome.kind("http://a/trickle"), Some(ErrorKind::Stalled));
    assert_eq!(
        outcome.of("http://a/trickle").record.elapsed_ms,
        Some(10_000)
    );
    assert_eq!(outcome.kind("http://a/stop"), Some(ErrorKind::Stalled));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_bandwidth_is_no_stall() {
    let mut bench = bench();
    bench.options.stall_timeout = Some(SECOND);
    bench.schedule.limit_rate = Some(1000);
    let urls = ["http://a/1", "http://b/2", "http://b/3"];
    let outcome = bench
        .run(&urls, |_| ok(vec![StubPiece::Bytes(10_000); 2]))
        .await;
    for url in urls {
        assert_eq!(outcome.kind(url), None);
        // They share the bandwidth, so all end together.
        let elapsed = outcome.of(url).record.elapsed_ms.unwrap();
        assert!((57_000..60_100).contains(&elapsed), "{elapsed}");
    }
}

/// The streams of an HTTP/2 connection share its window.
#[tokio::test(start_paused = true)]
async fn a_body_held_up_by_others_that_wait_for_the_bandwidth_has_not_stalled() {
    for (version, kind) in [
        (Version::HTTP_2, None),
        (Version::HTTP_11, Some(ErrorKind::Stalled)),
    ] {
        let mut bench = bench();
        bench.options.stall_timeout = Some(SECOND);
        bench.schedule.host_limit_rate = Some(1000);
        let outcome = bench
            .run(&["http://a/first", "http://a/held"], move |attempt| {
                let pieces = match attempt.url().path() {
                    "/first" => vec![StubPiece::Bytes(20_000)],
                    _ => vec![StubPiece::Bytes(10), StubPiece::Wait(15 * SECOND)],
                };
                StubReply::Version(version, Box::new(ok(pieces)))
            })
            .await;
        assert_eq!(outcome.kind("http://a/first"), None);
        assert_eq!(outcome.kind("http://a/held"), kind);
    }
}

/// Nobody wants them, but they have come.
#[tokio::test(start_paused = true)]
async fn the_bodies_of_failures_count_for_the_bandwidth() {
    let mut bench = bench();
    bench.schedule.limit_rate = Some(1000);
    let missing = || StubReply::Head(404, vec![], vec![StubPiece::Bytes(5_000); 2]);
    let urls = ["http://a/1", "http://b/1", "http://c/1"];
    let outcome = bench.run(&urls, move |_| missing()).await;
    assert!(outcome.took > 29 * SECOND, "{:?}", outcome.took);
}

#[tokio::test(start_paused = true)]
async fn limits_can_change_during_a_run() {
    let mut bench = bench();
    bench.options.concurrency = NonZeroUsize::MIN;
    let one = bench.schedule.clone();
    let (sender, updates) = mpsc::unbounded_channel();
    bench.updates = Some(updates);
    tokio::spawn(async move {
        let limits = |requests: usize, rate| LimitUpdate {
            concurrency: NonZeroUsize::new(requests).unwrap(),
            schedule: ScheduleOptions {
                rate,
                ..one.clone()
            },
        };
        // One request after another takes 10 s; then four at once; at last all that the rate allows.
        tokio::time::sleep(25 * SECOND).await;
        sender.send(limits(4, None)).unwrap();
        tokio::time::sleep(8 * SECOND).await;
        sender.send(limits(100, Some(0.01))).unwrap();
    });
    let urls: Vec<_> = (0..9).map(|n| format!("http://{n}/")).collect();
    let urls: Vec<_> = urls.iter().map(|url| &**url).collect();
    let outcome = bench
        .run(&urls, |_| {
            StubReply::After(10 * SECOND, Box::new(ok(vec![])))
        })
        .await;
    let mut starts: Vec<_> = outcome
        .log
        .values()
        .map(|times| times[0].as_secs())
        .collect();
    starts.sort_unstable();
    assert_eq!(starts, [0, 10, 20, 25, 25, 25, 30, 33, 133]);
}

#[tokio::test(start_paused = true)]
async fn max_time_ends_an_attempt_that_makes_progress() {
    let mut bench = bench();
    bench.options.max_time = Some(3 * SECOND);
    let outcome = bench
        .run(&["http://a/"], |_| {
            let piece = [StubPiece::Wait(SECOND), StubPiece::Bytes(100_000)];
            ok(piece.into_iter().cycle().take(100).collect())
        })
        .await;
    assert_eq!(outcome.took, 3 * SECOND);
    let record = &outcome.of("http://a/").record;
    assert_eq!(
        record.error.as_ref().unwrap().message,
        TimeLimit::Attempt(3 * SECOND).to_string()
    );
    assert_eq!(record.status, Some(200), "the head had arrived");
}

#[tokio::test(start_paused = true)]
async fn sizes_are_checked_at_the_head_and_while_receiving() {
    let mut bench = bench();
    bench.options.max_size = 1000;
    let announced = |length: &str| vec![("content-length", length.to_owned())];
    let outcome = bench
        .run(
            &[
                "http://a/announced",
                "http://a/endless",
                "http://a/cut",
                "http://a/exact",
            ],
            move |attempt| match attempt.url().path() {
                "/announced" => StubReply::Head(200, announced("1001"), vec![StubPiece::Hang]),
                "/endless" => ok(vec![StubPiece::Bytes(600); 1000]),
                "/cut" => StubReply::Head(200, announced("1000"), vec![StubPiece::Bytes(999)]),
                _ => StubReply::Head(200, announced("1000"), vec![StubPiece::Bytes(1000)]),
            },
        )
        .await;
    assert_eq!(
        outcome.kind("http://a/announced"),
        Some(ErrorKind::TooLarge)
    );
    assert_eq!(outcome.kind("http://a/endless"), Some(ErrorKind::TooLarge));
    assert_eq!(outcome.kind("http://a/cut"), Some(ErrorKind::Truncated));
    assert_eq!(outcome.kind("http://a/exact"), None);
}

#[tokio::test(start_paused = true)]
async fn an_unsolicited_206_is_a_protocol_error() {
    let outcome = bench().run(&["http://a/"], |_| status(206)).await;
    assert_eq!(outcome.kind("http://a/"), Some(ErrorKind::Protocol));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_waits_for_its_turn_at_the_other_host() {
    let mut bench = bench();
    bench.schedule.per_host = PerHostLimit::Fixed(NonZeroUsize::MIN);
    let outcome = bench
        .run(
            &["http://slow/", "http://from/", "http://from/2"],
            |attempt| match (attempt.url().host_str(), attempt.url().path()) {
                (Some("from"), "/") => {
                    StubReply::Head(302, vec![("location", "http://slow/to".into())], vec![])
                }
                (Some("slow"), "/") => StubReply::After(5 * SECOND, Box::new(ok(vec![]))),
                _ => ok(vec![]),
            },
        )
        .await;
    assert_eq!(
        outcome.log["http://from/2"],
        [Duration::ZERO],
        "its slot was freed at once"
    );
    assert_eq!(
        outcome.log["http://slow/to"],
        [5 * SECOND],
        "one at a time there"
    );
    let record = &outcome.of("http://from/").record;
    assert_eq!((record.attempts, record.redirects), (2, 1));
    assert_eq!(record.final_url.as_deref(), Some("http://slow/to"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_starts_nothing_new_and_lets_requests_in_flight_finish() {
    let mut bench = bench();
    bench.options.concurrency = NonZeroUsize::MIN;
    let shutdown = bench.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        shutdown.stop();
    });
    let outcome = bench
        .run(&["http://a/1", "http://a/2"], |_| {
            StubReply::After(5 * SECOND, Box::new(ok(vec![])))
        })
        .await;
    assert_eq!(outcome.took, 5 * SECOND);
    assert_eq!(outcome.settled.len(), 1);
    assert_eq!(
        outcome.of("http://a/1").record.outcome,
        OutcomeName::Fetched
    );
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_requests_in_flight_at_once() {
    let stopped = bench();
    stopped.shutdown.stop();
    let outcome = stopped.run(&["http://a/"], |_| StubReply::Hang).await;
    assert_eq!(outcome.took, Duration::ZERO, "nothing starts after a stop");

    let mut bench = bench();
    bench.options.stall_timeout = None;
    let shutdown = bench.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        shutdown.stop();
        tokio::time::sleep(10 * SECOND).await;
        shutdown.abort();
    });
    let outcome = bench.run(&["http://a/"], |_| StubReply::Hang).await;
    assert_eq!(outcome.took, 11 * SECOND);
    assert_eq!(outcome.settled.len(), 0, "an aborted job counts as left");
}

#[tokio::test(start_paused = true)]
async fn unlimited_durations_do_not_overflow() {
    let mut bench = bench();
    bench.options.stall_timeout = Some(Duration::MAX);
    bench.options.max_time = Some(Duration::MAX);
    bench.retry = RetryPolicy {
        retries: 1,
        delay: Duration::MAX,
        max_delay: Duration::MAX,
        retry_after_max: Duration::MAX,
        max_wait: Duration::MAX,
        ..RetryPolicy::default()
    };
    let shutdown = bench.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        shutdown.stop();
    });
    let urls = [
        "http://a/1",
        "http://b/2",
        "http://c/3",
        "http://c/4",
        "http://c/5",
    ];
    let outcome = bench
        .run(&urls, |attempt| match attempt.url().path() {
            "/1" => StubReply::Head(
                503,
                vec![("retry-after", "99999999999999999999".into())],
                vec![],
            ),
            "/2" => reset(),
            _ => StubReply::Fail(FetchError::Refused {
                cause: Cause::from_text("scripted"),
            }),
        })
        .await;
    let failure = outcome.end.failure;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(outcome.settled.len(), 0, "all wait forever");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_run_ends_its_tasks() {
    let bench = bench();
    let log = Arc::new(Mutex::new(0));
    let count = Arc::clone(&log);
    let urls: Vec<_> = (0..100).map(|n| format!("http://a/{n}")).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let run = bench.run(&urls, move |_| {
        *count.lock().unwrap() += 1;
        StubReply::After(SECOND, Box::new(ok(vec![])))
    });
    assert!(tokio::time::timeout(SECOND * 2, run).await.is_err());
    let before = *log.lock().unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(*log.lock().unwrap(), before, "the tasks outlived the run");
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_404_page_does_not_turn_it_into_a_timeout() {
    let mut bench = bench();
    bench.options.max_time = Some(SECOND / 2);
    let outcome = bench
        .run(&["http://a/"], |_| {
            StubReply::Head(404, vec![], vec![StubPiece::Bytes(10), StubPiece::Hang])
        })
        .await;
    assert_eq!(outcome.kind("http://a/"), Some(ErrorKind::Status));
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_that_fails_does_not_stop_the_clock() {
    // The request goes over another connection while its own connection attempt fails.
    let mut bench = bench();
    bench.options.stall_timeout = Some(5 * SECOND);
    let outcome = bench
        .run(&["http://a/"], |_| {
            StubReply::Connect(SECOND, Box::new(StubReply::Hang))
        })
        .await;
    assert_eq!(outcome.kind("http://a/"), Some(ErrorKind::Timeout));
    assert_eq!(outcome.took, 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn content_length_is_ignored_with_a_transfer_coding() {
    let outcome = bench()
        .run(&["http://a/"], |_| {
            let headers = vec![
                ("content-length", "1000".into()),
                ("transfer-encoding", "chunked".into()),
            ];
            StubReply::Head(200, headers, vec![StubPiece::Bytes(10)])
        })
        .await;
    assert_eq!(outcome.of("http://a/").record.bytes, Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_ends_the_run_with_an_error() {
    let outcome = bench()
        .run(
            &["http://a/boom", "http://a/hang"],
            |attempt| match attempt.url().path() {
                "/boom" => StubReply::Panic,
                _ => StubReply::Hang,
            },
        )
        .await;
    let failure = outcome.end.failure;
    assert!(matches!(failure, Some(ThreadFailure::Panic(text)) if text == "scripted"));
    assert_eq!(outcome.took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_list_much_longer_than_the_look_ahead_is_completed() {
    let mut bench = bench();
    bench.schedule.look_ahead = NonZeroUsize::new(3).unwrap();
    bench.options.concurrency = NonZeroUsize::new(2).unwrap();
    let urls: Vec<_> = (0..500).map(|n| format!("http://h{}/{n}", n % 7)).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let outcome = bench.run(&urls, |_| ok(vec![])).await;
    assert_eq!(outcome.settled.len(), 500);
}

#[tokio::test(start_paused = true)]
async fn after_a_hold_all_slots_of_the_host_are_used_at_once() {
    let mut bench = bench();
    bench.retry.retries = 1;
    let urls: Vec<_> = (0..30).map(|n| format!("http://a/{n}")).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let outcome = bench
        .run(&urls, |attempt| {
            if attempt.url().path() == "/0" && attempt.number == 1 {
                StubReply::Head(503, vec![("retry-after", "5".into())], vec![])
            } else {
                StubReply::After(SECOND, Box::new(ok(vec![])))
            }
        })
        .await;
    assert!(outcome.settled.iter().all(|settled| settled.record.ok));
    // 5 s of hold, then three rounds of ten. Every timer may add a millisecond.
    assert!(outcome.took < 9 * SECOND, "{:?}", outcome.took);
}

/// What kept the process busy may be that very response, so it is requested in a way that is bounded.
#[tokio::test(start_paused = true)]
async fn a_timeout_that_fires_late_is_not_held_against_the_server() {
    use StubPiece::{Block, Bytes, Hang};
    let bounded = |attempt: &Attempt| attempt.send_mode == SendMode::Bounded;
    for (busy, resends, kind) in [(3 * SECOND, 1, None), (SECOND, 0, Some(ErrorKind::Stalled))] {
        let mut bench = bench();
        bench.options.stall_timeout = Some(SECOND);
        let url = "http://a.test/";
        let script = move |attempt: &Attempt| match bounded(attempt) {
            true => ok(vec![Bytes(5)]),
            false => ok(vec![Block(busy), Hang]),
        };
        let result = bench.run(&[url], script).await;
        assert_eq!(result.kind(url), kind);
        assert_eq!(result.of(url).record.resends, resends);
        assert_eq!(result.of(url).record.attempts, 1);
    }
    let mut bench = bench();
    bench.options.stall_timeout = Some(SECOND);
    let (head, both) = ("http://a.test/head", "http://b.test/both");
    let script = move |attempt: &Attempt| {
        if bounded(attempt) && attempt.url().path() == "/head" {
            return ok(vec![Bytes(5)]);
        }
        StubReply::Block(3 * SECOND, Box::new(StubReply::Hang))
    };
    let result = bench.run(&[head, both], script).await;
    assert_eq!(result.kind(head), None);
    // Once is enough.
    assert_eq!(result.kind(both), Some(ErrorKind::Timeout));
    assert_eq!(result.log[both].len(), 2);
}

const ROBOTS: &str = "http://a.test/robots.txt";

fn obedient() -> EngineBench {
    let mut bench = bench();
    bench.schedule.robots = Some(RobotsOptions::default());
    bench
}

#[tokio::test(start_paused = true)]
async fn rules_are_read_again_after_a_day() {
    let mut bench = obedient();
    bench.schedule.host_interval = SECOND * 3600 * 10;
    let urls = [
        "http://a.test/1",
        "http://a.test/2",
        "http://a.test/3",
        "http://a.test/4",
    ];
    let result = bench.run(&urls, |_| status(204)).await;
    assert_eq!(result.settled.len(), 4);
    assert!(result.settled.iter().all(|settled| settled.record.ok));
    let hours: Vec<_> = result.log[ROBOTS]
        .iter()
        .map(|at| at.as_secs() / 3600)
        .collect();
    // At first, and instead of the page that was due after 30 hours.
    assert_eq!(hours.len(), 2, "{hours:?}");
    assert!(hours[0] == 0 && hours[1] >= 24, "{hours:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_robots_txt_holds_no_slot_and_its_host_alone() {
    let mut bench = obedient();
    bench.options.concurrency = NonZeroUsize::new(2).unwrap();
    let urls = [
        "http://a.test/1",
        "http://a.test/2",
        "http://a.test/3",
        "http://b.test/1",
        "http://b.test/2",
    ];
    let result = bench
        .run(&urls, |attempt| match attempt.url().as_str() {
            ROBOTS => StubReply::After(SECOND * 5, Box::new(status(404))),
            url if url.ends_with("robots.txt") => status(404),
            _ => StubReply::After(SECOND, Box::new(status(204))),
        })
        .await;
    assert!(result.log["http://b.test/2"][0] < SECOND * 2);
    assert!(result.log["http://a.test/1"][0] >= SECOND * 5);
    assert!(result.settled.iter().all(|settled| settled.record.ok));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_robots_txt_fails_all_urls_after_its_retries() {
    let mut bench = obedient();
    bench.retry.retries = 2;
    let urls = ["http://a.test/1", "http://a.test/2", "http://b.test/1"];
    let result = bench
        .run(&urls, |attempt| match attempt.url().host_str() {
            Some("a.test") => status(500),
            _ => status(204),
        })
        .await;
    assert_eq!(result.log[ROBOTS].len(), 3);
    assert_eq!(result.log.len(), 3, "{:?}", result.log);
    for url in ["http://a.test/1", "http://a.test/2"] {
        assert_eq!(result.kind(url), Some(ErrorKind::Robots));
    }
    assert!(result.of("http://b.test/1").record.ok);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_robots_txt_is_awaited_leaves_its_urls() {
    let bench = obedient();
    let shutdown = bench.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        shutdown.stop();
    });
    let result = bench.run(&["http://a.test/1"], |_| StubReply::Hang).await;
    assert!(result.settled.is_empty() && result.end.failure.is_none());
}
