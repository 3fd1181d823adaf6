//! Fuzzing on stable Rust: inputs are derived from a corpus by a seed and passed to a target, which
//! is defined in the module that it tests. Depends on no other module.
//!
//! `cargo test` runs some thousands of inputs. `FETCHALL_FUZZ=10000000 cargo test --release --lib
//! fuzz:: -- --nocapture` runs that many per target (fewer where inputs are slow) and prints a
//! tally of the outcomes; `--test-threads=1` keeps the tallies apart. `FETCHALL_FUZZ_SEED` changes
//! the seed, `FETCHALL_FUZZ_ONLY=NUMBER` runs a single input. `fuzz/run` runs the same targets
//! under libFuzzer.

#[cfg(coverage_guided)]
mod guided;
mod mutate;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use mutate::Mutator;

/// Time limit for one input. The slowest take some milliseconds in a debug build; the rest is
/// margin for a busy machine.
const MAX_INPUT_TIME: Duration = Duration::from_secs(20);
/// How often the time limit is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// The default seed.
const SEED: u64 = 20_261_125;

/// The corpus and the number of inputs of a target.
pub(crate) struct FuzzCampaign {
    /// Directory of the corpus below `fixtures/fuzz`.
    pub corpus: &'static str,
    /// Byte sequences with a meaning in the tested format.
    pub tokens: &'static [&'static [u8]],
    /// Default number of inputs.
    pub inputs: u64,
    /// Divisor of the number set by `FETCHALL_FUZZ`, for targets with slow inputs.
    pub one_of: u64,
}

/// One input.
pub(crate) struct FuzzInput<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Name of the corpus file from which it was derived.
    pub name: &'a str,
    /// Number of the input.
    pub number: u64,
}

/// The outcome of an input, as a label for the tally; or a description of what is wrong.
pub(crate) type FuzzVerdict = Result<&'static str, String>;

impl FuzzCampaign {
    /// Passes the inputs to `target`.
    ///
    /// # Panics
    /// When the target panics, reports an error or takes too long. The message says how to
    /// reproduce it.
    pub(crate) fn run(self, target: impl FnMut(&FuzzInput<'_>) -> FuzzVerdict + Send + 'static) {
        #[cfg(coverage_guided)]
        guided::run(&self, target);
        #[cfg(not(coverage_guided))]
        self.run_seeded(target);
    }

    #[cfg_attr(
        coverage_guided,
        expect(dead_code, reason = "libFuzzer makes the inputs")
    )]
    fn run_seeded(self, target: impl FnMut(&FuzzInput<'_>) -> FuzzVerdict + Send + 'static) {
        let seed = number_of("FETCHALL_FUZZ_SEED").unwrap_or(SEED);
        let count = number_of("FETCHALL_FUZZ").map_or(self.inputs, |all| all / self.one_of);
        let numbers = match number_of("FETCHALL_FUZZ_ONLY") {
            Some(only) => only..only + 1,
            None => 0..count,
        };
        let mutator = Arc::new(Mutator::new(self.corpus, self.tokens, seed));
        let at = Arc::new(AtomicU64::new(0));
        let (ended, end) = mpsc::channel();
        let loops = FuzzLoop {
            mutator: Arc::clone(&mutator),
            at: Arc::clone(&at),
        };
        let start = Instant::now();
        let worker = std::thread::spawn(move || {
            let tally = loops.run(numbers, target);
            // Fails only if the receiver has panicked.
            let _ = ended.send(());
            tally
        });
        watch(&at, &end, &mutator);
        let tally = worker
            .join()
            .unwrap()
            .unwrap_or_else(|wrong| panic!("{wrong}"));
        let took = start.elapsed().as_secs_f64();
        let total: u64 = tally.values().sum();
        let rate = total as f64 / took;
        println!(
            "{}: {total} inputs of seed {seed} in {took:.1} s, {rate:.0}/s",
            self.corpus
        );
        for (came, count) in tally {
            let share = 100.0 * count as f64 / total as f64;
            println!("    {share:5.1} % {came}");
        }
    }
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

/// Waits for the end of the campaign. Panics when an input exceeds its time limit.
fn watch(at: &AtomicU64, end: &mpsc::Receiver<()>, mutator: &Mutator) {
    let (mut seen, mut since) = (u64::MAX, Instant::now());
    while end.recv_timeout(CHECK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let now = at.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < MAX_INPUT_TIME,
            "takes longer than {MAX_INPUT_TIME:?}: {}",
            mutator.described(now)
        );
    }
}

struct FuzzLoop {
    mutator: Arc<Mutator>,
    at: Arc<AtomicU64>,
}

impl FuzzLoop {
    fn run(
        &self,
        numbers: std::ops::Range<u64>,
        mut target: impl FnMut(&FuzzInput<'_>) -> FuzzVerdict,
    ) -> Result<BTreeMap<&'static str, u64>, String> {
        let mut tally = BTreeMap::new();
        let mut bytes = Vec::new();
        for number in numbers {
            self.at.store(number, Ordering::Relaxed);
            let name = self.mutator.make(number, &mut bytes);
            let input = FuzzInput {
                bytes: &bytes,
                name,
                number,
            };
            let came = catch_unwind(AssertUnwindSafe(|| target(&input)));
            let wrong = match came {
                Ok(Ok(came)) => {
                    *tally.entry(came).or_default() += 1;
                    continue;
                }
                Ok(Err(wrong)) => wrong,
                Err(_) => "panicked, see above".to_owned(),
            };
            return Err(format!("{wrong}\n{}", self.mutator.described(number)));
        }
        Ok(tally)
    }
}

/// Returns an error with the given message unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use hold;

#[test]
fn seed_and_number_determine_the_input() {
    let of = |seed| {
        let mutator = Mutator::new("retry-after", &[b"token"], seed);
        let make = |number| {
            let mut bytes = Vec::new();
            mutator.make(number, &mut bytes);
            bytes
        };
        (1000..1200).map(make).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let distinct: std::collections::HashSet<_> = of(1).into_iter().collect();
    assert!(distinct.len() > 100, "{}", distinct.len());
}

#[test]
#[should_panic(expected = "of seed")]
fn a_failure_is_reported_with_its_input() {
    let fuzz = FuzzCampaign {
        corpus: "retry-after",
        tokens: &[],
        inputs: 100,
        one_of: 1,
    };
    fuzz.run(|input| {
        hold!(input.number < 50, "the fiftieth");
        Ok("fine")
    });
}
