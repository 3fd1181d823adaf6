//! Runs the scheduler against models of servers, given by formulas, on a virtual clock: shows in
//! milliseconds, and repeatably, how limits, paces and holds develop over minutes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::circuit_breaker::ProbePolicy;
use super::host_control::HostPolicy;
use super::limit::PerHostLimit;
use super::queue::{FairQueue, Ticket, Turn};
use super::retry::{FailureContext, RetryDecision, RetryPolicy};
use crate::model::{Feedback, FetchError, HostVerdict, Rejections};

/// The response of a server to one request. `latency` in seconds.
struct ModelReply {
    latency: f64,
    status: u16,
    retry_after: Option<u64>,
}

fn ok(latency: f64) -> ModelReply {
    ModelReply {
        latency,
        status: 200,
        retry_after: None,
    }
}

/// Called with the time of the request in seconds, and the number of requests in flight.
type ServerModel = Box<dyn FnMut(f64, usize) -> ModelReply>;

/// How late a timer fires, in seconds: tokio's are accurate to a millisecond.
const LATE: f64 = 0.001;

struct ModelRun {
    jobs: u32,
    per_host: PerHostLimit,
    retry: RetryPolicy,
    total: usize,
}

#[derive(Debug)]
struct ModelResult {
    seconds: f64,
    requests: u32,
    throttled: u32,
    failed: u32,
    changes: Vec<String>,
}

#[derive(Clone, Debug)]
struct ModelJob {
    retries_used: u32,
    holds: u32,
    rejections: Rejections,
    attempt: u32,
    waited: Duration,
}

struct ModelRequest {
    ticket: Ticket,
    job: ModelJob,
    started: f64,
    reply: ModelReply,
}

impl ModelRun {
    fn run(&self, mut server: ServerModel) -> ModelResult {
        let mut random = fastrand::Rng::with_seed(7);
        let rules = HostPolicy {
            per_host: self.per_host,
            total: NonZeroUsize::new(self.total).unwrap(),
            host_interval: Duration::ZERO,
            probing: ProbePolicy {
                probes: self.retry.retries,
                delay: self.retry.delay,
                max_delay: self.retry.max_delay,
            },
            retry_after_max: self.retry.retry_after_max,
            max_wait: self.retry.max_wait,
        };
        let mut queue = FairQueue::new(rules, None);
        let zero = Instant::now();
        let at = |seconds: f64| zero + Duration::from_secs_f64(seconds);
        for _ in 0..self.jobs {
            let host = queue.intern_host("a");
            let job = ModelJob {
                retries_used: 0,
                holds: 0,
                rejections: Rejections::default(),
                attempt: 0,
                waited: Duration::ZERO,
            };
            queue.push(host, job, zero);
        }
        queue.input_ended();
        let mut running: Vec<Option<ModelRequest>> = Vec::new();
        let mut ends = BinaryHeap::new();
        let mut in_flight = 0;
        let mut now = 0.0;
        let mut outcome = ModelResult {
            seconds: 0.0,
            requests: 0,
            throttled: 0,
            failed: 0,
            changes: Vec::new(),
        };
        loop {
            for (_, change) in queue.take_changes() {
                outcome.changes.push(format!("{now:.2} {change}"));
            }
            let wake = match queue.next(0, at(now)) {
                Turn::Run(ticket, job) => {
                    outcome.requests += 1;
                    in_flight += 1;
                    let reply = server(now, in_flight);
                    queue.connected(&ticket, at(now));
                    // Whole nanoseconds, because floats have no total order.
                    let end = ((now + reply.latency) * 1e9) as u64;
                    ends.push(Reverse((end, running.len())));
                    running.push(Some(ModelRequest {
                        ticket,
                        job,
                        started: now,
                        reply,
                    }));
                    continue;
                }
                Turn::Fail(..) => {
                    outcome.failed += 1;
                    continue;
                }
                Turn::Done => break,
                Turn::WaitUntil(wake) => Some(wake.duration_since(zero).as_secs_f64() + LATE),
                Turn::WaitForSlot | Turn::WaitForInput => None,
            };
            let end = ends.peek().map(|Reverse((end, _))| *end as f64 / 1e9);
            match (wake, end) {
                (Some(wake), Some(end)) if wake < end => now = wake,
                (Some(wake), None) => now = wake,
                (_, Some(end)) => {
                    now = end.max(now);
                    let Reverse((_, id)) = ends.pop().unwrap();
                    in_flight -= 1;
                    let ended = running[id].take().unwrap();
                    let jitter = random.f64();
                    self.end(&mut queue, ended, at(now), now, jitter, &mut outcome);
                }
                (None, None) => panic!("it hangs at {now}: {outcome:?}"),
            }
        }
        outcome.seconds = now;
        outcome
    }

    fn end(
        &self,
        queue: &mut FairQueue<ModelJob>,
        ended: ModelRequest,
        at: Instant,
        now: f64,
        jitter: f64,
        outcome: &mut ModelResult,
    ) {
        let latency = Duration::from_secs_f64(now - ended.started);
        let status = StatusCode::from_u16(ended.reply.status).unwrap();
        if status.is_success() {
            let feedback = Feedback {
                latency,
                ..Feedback::from_verdict(HostVerdict::Answered)
            };
            return queue.release(&ended.ticket, &feedback, at);
        }
        outcome.throttled += 1;
        let retry_after = ended.reply.retry_after.map(Duration::from_secs);
        let error = FetchError::Status {
            status,
            retry_after,
            note: None,
        };
        let mut job = ended.job;
        job.attempt += 1;
        let start = ended.ticket.start;
        job.rejections.add(job.attempt, start.accepted);
        let concerns_one_url = job.rejections.concern_one_url();
        let decision = self.retry.decide(&FailureContext {
            error: &error,
            idempotent: true,
            retries_used: job.retries_used,
            holds: job.holds,
            throttles: start.throttles,
            throttles_with_503: start.throttles_with_503,
            is_throttled: false,
            concerns_one_url,
            waited: job.waited,
            jitter,
        });
        let mut feedback = Feedback {
            latency,
            ..Feedback::from_verdict(match concerns_one_url {
                true => HostVerdict::Inconclusive,
                false => HostVerdict::Throttled {
                    is_rate_limit: status == 429 || retry_after.is_some(),
                    error,
                },
            })
        };
        let wait = match decision {
            RetryDecision::GiveUp { .. } => None,
            RetryDecision::Retry(wait) => {
                job.retries_used += 1;
                Some(wait)
            }
            RetryDecision::Hold(wait) => {
                job.holds += 1;
                feedback.hold = Some(at + wait);
                Some(wait)
            }
            RetryDecision::Poll(wait) => Some(wait),
            RetryDecision::BackOff(wait) => {
                job.retries_used += 1;
                feedback.hold = Some(at + wait);
                Some(wait)
            }
        };
        match wait {
            Some(wait) => {
                job.waited += wait;
                queue.park(ended.ticket.host, job, at + wait);
            }
            None => outcome.failed += 1,
        }
        queue.release(&ended.ticket, &feedback, at);
    }
}

fn auto(jobs: u32) -> ModelRun {
    ModelRun {
        jobs,
        per_host: PerHostLimit::Auto { max: None },
        retry: RetryPolicy::default(),
        total: 64,
    }
}

/// How a server throttles.
#[derive(Debug, Clone, Copy)]
struct ThrottleStyle {
    status: u16,
    retry_after: Option<u64>,
}

impl ThrottleStyle {
    fn reply(self, latency: f64) -> ModelReply {
        ModelReply {
            latency,
            status: self.status,
            retry_after: self.retry_after,
        }
    }
}

const WITH_DELAY: ThrottleStyle = ThrottleStyle {
    status: 429,
    retry_after: Some(1),
};
const BARE: ThrottleStyle = ThrottleStyle {
    status: 429,
    retry_after: None,
};
const BARE_503: ThrottleStyle = ThrottleStyle {
    status: 503,
    retry_after: None,
};

/// Allows `per_second` requests per second of the server's clock, which is `phase` ahead.
fn window(per_second: u32, phase: f64, latency: f64, throttle: ThrottleStyle) -> ServerModel {
    let (mut second, mut count) = (0, 0);
    Box::new(move |now, _| {
        let this = (now + phase) as u64;
        if this != second {
            (second, count) = (this, 0);
        }
        count += 1;
        if count <= per_second {
            ok(latency)
        } else {
            throttle.reply(latency)
        }
    })
}

/// A token bucket of `burst` tokens, refilled with `per_second`.
fn bucket(per_second: f64, burst: f64, latency: f64, throttle: ThrottleStyle) -> ServerModel {
    let (mut last, mut tokens) = (0.0, burst);
    Box::new(move |now, _| {
        tokens = (tokens + (now - last) * per_second).min(burst);
        last = now;
        if tokens >= 1.0 {
            tokens -= 1.0;
            ok(latency)
        } else {
            throttle.reply(latency)
        }
    })
}

/// Fails unless everything was fetched within `ratio` times the ideal time, with at most this share
/// of requests throttled.
fn check(name: &str, outcome: &ModelResult, ideal: f64, ratio: f64, throttled: f64) {
    let got = outcome.seconds / ideal;
    let share = f64::from(outcome.throttled) / f64::from(outcome.requests);
    println!("{name}: ratio {got:.3}, {:.1} % throttled", share * 100.0);
    let changes = || outcome.changes.join("\n  ");
    assert_eq!(outcome.failed, 0, "{name}:\n  {}", changes());
    assert!(got <= ratio, "{name}: {got:.3} > {ratio}\n  {}", changes());
    assert!(share <= throttled, "{name}: {share:.3}\n  {}", changes());
}

#[test]
fn a_rate_limit_with_retry_after_is_met_and_used() {
    for step in 0..10 {
        let phase = f64::from(step) / 10.0;
        let outcome = auto(2000).run(window(100, phase, 0.005, WITH_DELAY));
        check(&format!("window {phase}"), &outcome, 20.0, 1.25, 0.05);
        let latency = 0.001 + phase / 100.0;
        let outcome = auto(2000).run(bucket(100.0, 20.0, latency, WITH_DELAY));
        check(&format!("bucket {latency}"), &outcome, 20.0, 1.25, 0.05);
        let outcome = auto(2000).run(bucket(100.0, 100.0, latency, WITH_DELAY));
        check(&format!("burst {latency}"), &outcome, 20.0, 1.25, 0.05);
    }
    let outcome = auto(2000).run(window(100, 0.4, 0.1, WITH_DELAY));
    check("far window", &outcome, 20.0, 1.5, 0.08);
    let outcome = auto(200).run(bucket(5.0, 5.0, 0.05, WITH_DELAY));
    check("slow", &outcome, 40.0, 1.2, 0.1);
    let outcome = auto(100).run(bucket(1.0, 10.0, 0.05, WITH_DELAY));
    check("very slow", &outcome, 100.0, 1.2, 0.3);
}

/// A quota per minute, with a `Retry-After` until the next one.
#[test]
fn a_limit_of_a_few_requests_per_minute_is_learned() {
    for per_minute in [10, 30, 60] {
        let (mut since, mut count) = (0.0, 0);
        let server: ServerModel = Box::new(move |now, _| {
            if now - since >= 60.0 {
                (since, count) = (now, 0);
            }
            count += 1;
            if count <= per_minute {
                return ok(0.05);
            }
            ModelReply {
                latency: 0.05,
                status: 429,
                retry_after: Some((60.0 - (now - since)).ceil() as u64),
            }
        });
        let mut patient = auto(u32::try_from(per_minute).unwrap() * 10);
        patient.retry.max_wait = Duration::from_secs(3600);
        let outcome = patient.run(server);
        let name = format!("{per_minute} a minute");
        check(&name, &outcome, 540.0, 1.5, 0.1);
    }
}

#[test]
fn a_rate_limit_without_retry_after_is_met() {
    // A bare 503 is ambiguous: its meaning has to be found out first.
    for (throttle, ratio) in [(BARE, 1.5), (BARE_503, 2.5)] {
        for step in 0..10 {
            let phase = f64::from(step) / 10.0;
            let outcome = auto(2000).run(window(100, phase, 0.005, throttle));
            check(
                &format!("{throttle:?} window {phase}"),
                &outcome,
                20.0,
                ratio,
                0.1,
            );
            let latency = 0.001 + phase / 100.0;
            let outcome = auto(2000).run(bucket(100.0, 20.0, latency, throttle));
            check(
                &format!("{throttle:?} bucket {latency}"),
                &outcome,
                20.0,
                ratio,
                0.3,
            );
        }
        // A bare 503 uses up retries until it is known to be throttling.
        let mut patient = auto(200);
        patient.retry.retries = 5;
        let outcome = patient.run(bucket(5.0, 5.0, 0.005, throttle));
        check(&format!("{throttle:?} slow"), &outcome, 40.0, ratio, 0.4);
    }
}

/// Latency that doubles with every further `limit` requests past `limit`.
fn knee(limit: usize) -> ServerModel {
    Box::new(move |_, n| {
        let past = n.saturating_sub(limit) as f64 / limit as f64;
        ok(0.02 * past.exp2())
    })
}

#[test]
fn the_best_concurrency_is_found() {
    for (limit, jobs) in [(4, 6000), (16, 6000), (40, 15_000)] {
        let best = (1..=64)
            .map(|n| {
                let mut fixed = auto(jobs);
                fixed.per_host = PerHostLimit::Fixed(NonZeroUsize::new(n).unwrap());
                fixed.run(knee(limit)).seconds
            })
            .fold(f64::MAX, f64::min);
        let outcome = auto(jobs).run(knee(limit));
        check(&format!("knee at {limit}"), &outcome, best, 1.0 / 0.95, 0.0);
    }
    let step = |_, n| ok(if n <= 16 { 0.02 } else { 0.04 });
    let outcome = auto(12_000).run(Box::new(step));
    check("step", &outcome, 12_000.0 / 64.0 * 0.04, 1.0 / 0.95, 0.0);
    let mut half = auto(6000);
    half.per_host = PerHostLimit::Auto {
        max: NonZeroUsize::new(32),
    };
    let outcome = half.run(Box::new(step));
    check("half step", &outcome, 6000.0 / 16.0 * 0.02, 1.0 / 0.95, 0.0);
}

#[test]
fn noisy_latency_does_not_prevent_full_use_of_a_host() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        // Latency from half to one and a half times the mean, whatever the concurrency.
        let outcome = auto(6000).run(Box::new(move |_, _| ok(0.02 * (0.5 + random.f64()))));
        let ideal = 6000.0 / 64.0 * 0.02;
        check(&format!("even {seed}"), &outcome, ideal, 1.5, 0.0);
        // A long tail, and a server with a maximum of 800 requests per second.
        let mut random = fastrand::Rng::with_seed(seed);
        let outcome = auto(6000).run(Box::new(move |_, n| {
            let tail = 0.5 - 0.5 * random.f64().max(1e-9).ln();
            ok(0.02 * tail * (n as f64 / 16.0).max(1.0))
        }));
        check(&format!("tail {seed}"), &outcome, 6000.0 / 800.0, 1.25, 0.0);
    }
}

#[test]
fn a_server_that_fails_at_random_is_not_mistaken_for_a_throttling_one() {
    for (seed, share, ratio) in (0..10).flat_map(|seed| [(seed, 0.3, 1.5), (seed, 0.6, 10.0)]) {
        let mut flaky = auto(5000);
        flaky.retry = RetryPolicy {
            retries: 40,
            // Short, so that the longest backoffs do not dominate the result.
            max_delay: Duration::from_secs(1),
            ..RetryPolicy::default()
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let outcome = flaky.run(Box::new(move |_, _| {
            if random.f64() < share {
                BARE_503.reply(0.02)
            } else {
                ok(0.02)
            }
        }));
        check(
            &format!("flaky {share} {seed}"),
            &outcome,
            10.0,
            ratio,
            share + 0.05,
        );
    }
}

#[test]
fn the_same_run_takes_the_same_time() {
    let run = || auto(500).run(window(100, 0.3, 0.005, BARE)).changes;
    assert_eq!(run(), run());
}
