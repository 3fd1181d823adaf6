//! The numbers of host control, on one page because many of them depend on each other.
//!
//! Integers are counts, durations have their unit in the type, floats in the name: `SECONDS`,
//! `PER_SECOND`. All other floats are fractions of what the comment names, or relative gains.
//!
//! Few of the values have a source outside; where one has, it is named. What they reach together is
//! held by `schedule/server_models.rs`, which runs the scheduler against servers with known limits, and
//! measured over real connections by `cargo bench --bench hosts`. Run both after a change.

/// Finding the best number of concurrent requests: [`super::limit`].
///
/// It doubles while that pays, which takes few rounds even to a large limit, then tries small
/// changes. The gain is the relative goodput gained per relative concurrency added: 1 if twice as
/// many requests bring twice as much.
pub(super) mod limit {
    use std::time::Duration;

    /// Requests that a new host gets at the same time.
    pub(crate) const INITIAL_LIMIT: usize = 4;

    /// Minimum responses per measured round; fewer would be dominated by noise.
    pub(crate) const MIN_ROUND_RESPONSES: u32 = 8;
    /// Minimum duration of a round.
    pub(crate) const MIN_ROUND_TIME: Duration = Duration::from_millis(5);
    /// Rounds over which a steady limit, or one being tried, is measured. Small changes need more
    /// than one round to stand out from noise.
    pub(crate) const ROUNDS_PER_SAMPLE: u32 = 4;

    /// Minimum gain to double again after one round.
    pub(crate) const MIN_GAIN_AT_ONCE: f64 = 0.5;
    /// Minimum gain to double again after three rounds, which are less noisy.
    pub(crate) const MIN_GAIN_ON_RECHECK: f64 = 0.25;
    /// Minimum gain of a doubling to try one larger limit before reverting it: neither gain nor
    /// loss. Some servers scale up only at a higher load.
    pub(crate) const MIN_GAIN_TO_LOOK_BEYOND: f64 = -0.1;
    /// Minimum gain to keep that larger limit.
    pub(crate) const MIN_GAIN_BEYOND: f64 = 0.2;

    /// Samples between two trials of a slightly different limit; four times as many after each
    /// failed trial.
    pub(crate) const ROUNDS_BETWEEN_TRIES: u32 = 4;
    /// Upper bound of that number.
    pub(crate) const MAX_ROUNDS_BETWEEN_TRIES: u32 = 64;
    /// Minimum gain to keep a slightly larger limit.
    pub(crate) const MIN_GAIN_OF_TRY: f64 = 0.15;
    /// A slightly smaller limit is kept if its goodput is at least this share of the former one:
    /// it must do as well, or many small losses would add up.
    pub(crate) const KEEP_SMALLER_RATIO: f64 = 0.985;
    /// A smaller limit is tried if the mean latency exceeds the lowest one by this factor: requests
    /// then wait for each other in the server.
    pub(crate) const SHRINK_LATENCY_RATIO: f64 = 1.5;

    /// A trial ends early if its goodput falls below this share of the former goodput.
    pub(crate) const ABORT_GOODPUT_RATIO: f64 = 0.8;
    /// A trial ends early if its first latencies predict less than this share of the former goodput.
    pub(crate) const ABORT_FORECAST_RATIO: f64 = 0.75;

    /// From this share of the limit on, the running requests count as bound by the limit.
    pub(crate) const LIMITED_SHARE: f64 = 0.75;
}

/// Finding how many requests per second a host accepts: [`super::pace`].
///
/// The pace doubles until the host throttles, then follows CUBIC's window growth (RFC 9438 §4.2),
/// with constants of its own: what is shared is a quota of the host, not a link.
pub(super) mod pace {
    use std::time::Duration;

    /// How much earlier a start may come to make up for late ones (timers are imprecise), with an
    /// overall rate, too. With a pace at most a quarter of the interval.
    pub(crate) const MAX_CATCH_UP: Duration = Duration::from_millis(5);

    /// Time in which the pace doubles while the right one is unknown, in seconds.
    pub(crate) const DOUBLING_SECONDS: f64 = 0.7;
    /// Mean accepted rate over the span of the tally (two seconds) of a doubling pace, as a share of
    /// its current value: 0.44 follows from [`DOUBLING_SECONDS`], plus a margin for noise.
    pub(crate) const DOUBLING_PASSED_SHARE: f64 = 0.48;
    /// The right pace as a share of a doubling pace that was throttled at once when it became too
    /// high.
    pub(crate) const FIRST_THROTTLE_RATIO: f64 = 0.75;
    /// The right pace as a share of the accepted rate if the doubling overshot for a while.
    pub(crate) const OVERSHOOT_RATIO: f64 = 0.85;

    /// Minimum time for the pace to return to its plateau after a cut, in seconds.
    pub(crate) const RECOVERY_SECONDS: f64 = 10.0;
    /// Minimum starts for the pace to return to its plateau after a cut: for hosts that accept only
    /// a few per minute, [`RECOVERY_SECONDS`] would be one or two starts.
    pub(crate) const RECOVERY_STARTS: f64 = 20.0;
    /// Gain over the plateau after twice the recovery time.
    pub(crate) const PROBE_GAIN: f64 = 0.25;
    /// The plateau, as a share of the pace that seems right.
    pub(crate) const PLATEAU_RATIO: f64 = 0.95;
    /// The pace right after a cut, as a share of the pace that seems right.
    pub(crate) const CUT_RATIO: f64 = 0.9;

    /// A cut that comes sooner than this after the last one shows that the pace is still too high.
    pub(crate) const REPEATED_THROTTLE_TIME: Duration = Duration::from_millis(1750);
    /// The right pace as a share of the accepted rate after such an early cut.
    pub(crate) const REPEATED_THROTTLE_RATIO: f64 = 0.92;
    /// Below this share of the throttled pace, the estimate of the right one is not trusted.
    pub(crate) const MAX_TRUSTED_ERROR: f64 = 0.5;
    /// Maximum effect of one cut: the estimate keeps at least this share of the throttled pace.
    pub(crate) const MIN_CUT_RATIO: f64 = 0.25;

    /// Consecutive starts not delayed by the pace after which it is dropped.
    pub(crate) const STARTS_TO_DROP: u32 = 100;
    /// A pace this fast limits nothing and is dropped, in starts per second.
    pub(crate) const MAX_STARTS_PER_SECOND: f64 = 10_000.0;
    /// Minimum pace, in starts per second. Below it, holds limit the host better than a pace.
    pub(crate) const MIN_STARTS_PER_SECOND: f64 = 0.05;
}

/// Counting what a host accepted recently: [`super::tally`].
pub(super) mod tally {
    use std::time::Duration;

    /// Time span of a bucket.
    pub(crate) const BUCKET_WIDTH: Duration = Duration::from_millis(250);
    /// Buckets kept: two seconds. [`DOUBLING_PASSED_SHARE`](super::pace::DOUBLING_PASSED_SHARE)
    /// depends on it.
    pub(crate) const BUCKETS: u64 = 8;
    /// Minimum count in the buckets for a meaningful rate; below it, everything since the last
    /// throttling counts.
    pub(crate) const MIN_COUNT: u32 = 8;
}

/// Telling whether bare 503s, those without `Retry-After`, are throttling:
/// [`super::throttle_trial`].
pub(super) mod throttle_trial {
    /// Minimum responses before a trial is judged.
    pub(crate) const MIN_RESPONSES: u32 = 16;
    /// Lowering the load has helped for certain if the throttled share is below this: the trial
    /// ends.
    pub(crate) const MAX_THROTTLED_SHARE: f64 = 0.1;
    /// Lowering the load helps if the accepted share has grown by this factor.
    pub(crate) const MIN_PASS_RATE_GAIN: f64 = 1.3;
    /// Lowering the load also helps if goodput kept this share of its former value, although fewer
    /// requests were sent.
    pub(crate) const MIN_GOODPUT_RATIO: f64 = 0.8;
    /// Lowering the load also helps if the throttled share has fallen to this part of its former
    /// value.
    pub(crate) const MAX_THROTTLED_RATIO: f64 = 0.5;
    /// Above this throttled share nothing can be concluded: the load may be many times too high.
    pub(crate) const MAX_CONCLUSIVE_SHARE: f64 = 0.5;
    /// Successful trials until throttling is confirmed: a single one may be chance.
    pub(crate) const TRIALS_TO_CONFIRM: u32 = 2;

    /// From this many cuts on, the samples after the first and the last cut are compared as well.
    pub(crate) const CUTS_TO_COMPARE: u32 = 4;
    /// The cuts were in vain if goodput fell below this share of the goodput after the first cut...
    pub(crate) const MIN_GOODPUT_LOSS: f64 = 0.4;
    /// ...while the throttled share stayed above this part of its former value.
    pub(crate) const UNCHANGED_THROTTLING_RATIO: f64 = 0.7;

    /// Responses for which the finding "unrelated to load" holds; four times as many after each
    /// further such finding.
    pub(crate) const UNRELATED_RESPONSES: u32 = 2048;
    /// Upper bound of that number.
    pub(crate) const MAX_UNRELATED_RESPONSES: u32 = 1 << 16;
    /// While the finding holds, responses after which the throttled share is rechecked.
    pub(crate) const RECHECK_RESPONSES: u32 = 64;
    /// A throttled share that has grown by this much ends the finding early.
    pub(crate) const RECHECK_INCREASE: f64 = 0.3;
}

/// Holding a host that throttles, and for how long its URLs wait with it: [`super::retry`]
/// and [`super::host_control`]. A round is the requests that were in flight together.
pub(super) mod hold {
    use std::time::Duration;

    /// Minimum hold after a throttled response; doubles with each further one.
    pub(crate) const MIN_HOLD: Duration = Duration::from_millis(100);
    /// Lower bound of the cap up to which holds double.
    pub(crate) const MIN_MAX_HOLD: Duration = Duration::from_secs(1);

    /// A 429 without `Retry-After` uses up a retry once its host has throttled this many rounds in a
    /// row: it may never stop.
    pub(crate) const FREE_THROTTLES: u32 = 2;
    /// A 429 without `Retry-After` also uses up a retry once its job has waited this often: the host
    /// may throttle only this URL.
    pub(crate) const FREE_HOLDS: u32 = 5;
    /// A 503 without `Retry-After` holds its host once that has throttled this many rounds in a row;
    /// fewer may concern only this URL.
    pub(crate) const THROTTLES_BEFORE_HOLD: u32 = 6;
    /// Consecutive throttled rounds after which a host is given up if it requests a delay above
    /// `retry_after_max`.
    pub(crate) const MAX_EXCESSIVE_HOLDS: u32 = 3;

    /// A requested delay of at least this length tells when a quota renews (the next minute, or
    /// hour); a shorter one is a rough guess.
    pub(crate) const LONG_HOLD: Duration = Duration::from_secs(5);
    /// A hold that is extended by less is not reported again: each throttled request of those in
    /// flight together extends it a little.
    pub(crate) const MIN_REPORTED_EXTENSION: Duration = Duration::from_secs(1);
}

/// Finding out that a host is unreachable: [`super::circuit_breaker`].
pub(super) mod circuit_breaker {
    use std::time::Duration;

    /// Consecutive failed connections that open the circuit. A single timeout opens it as well: it
    /// took long, and so would every further one.
    pub(crate) const FAILURES_TO_OPEN: u32 = 3;
    /// Minimum time before a host that was given up is probed again.
    pub(crate) const MIN_DOWN_TIME: Duration = Duration::from_secs(1);
}

/// Forgetting a host that has no requests: [`super::host_control`].
pub(super) mod memory {
    use std::time::Duration;

    /// How long learned state of a host is kept after its last request.
    pub(crate) const HOST_MEMORY: Duration = Duration::from_secs(60);
    /// How long a host without learned state is kept: about as long as its idle connections.
    pub(crate) const IDLE_HOST_MEMORY: Duration = Duration::from_secs(4);
}
