//! Fuzzing on stable Rust: inputs made out of a corpus by a seed, one after another, each
//! looked at by a target that stands in the room of what it tries. It knows nothing of ours.
//!
//! `cargo test` runs some thousands. `FETCHALL_FUZZ=10000000 cargo test --release --lib fuzz
//! -- --nocapture --test-threads=1` runs as many for each target and says what came of them;
//! `FETCHALL_FUZZ_SEED` makes them others, `FETCHALL_FUZZ_ONLY=NUMBER` runs one alone.

mod mutate;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use mutate::Mutator;

/// No input may take longer. The slowest take some milliseconds in a debug build; the rest
/// is for a machine that has other things to do.
const LONGEST: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Inputs that are made when nobody says another seed.
const SEED: u64 = 20_261_125;

/// What is tried, and with what.
pub struct FuzzCampaign {
    /// Folder of the corpus below `fixtures/fuzz`.
    pub corpus: &'static str,
    /// What means something there.
    pub tokens: &'static [&'static [u8]],
    /// How many inputs when nobody says.
    pub inputs: u64,
    /// When somebody does: one for so many of them, where each takes long.
    pub one_of: u64,
}

/// One input.
pub struct FuzzInput<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Name of the corpus file that it was made of.
    pub name: &'a str,
    /// Which one it is.
    pub number: u64,
}

/// What an input came to, in a word for the tally; or what is wrong.
pub type FuzzVerdict = Result<&'static str, String>;

impl FuzzCampaign {
    /// Runs the inputs.
    ///
    /// # Panics
    /// When the target does, finds something wrong or takes too long; with what is needed to
    /// do it again.
    pub fn run(self, target: impl FnMut(&FuzzInput<'_>) -> FuzzVerdict + Send + 'static) {
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
            // The other side only listens for the end.
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

/// Waits for the end, or for an input that has none.
fn watch(at: &AtomicU64, end: &mpsc::Receiver<()>, mutator: &Mutator) {
    let (mut seen, mut since) = (u64::MAX, Instant::now());
    while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let now = at.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < LONGEST,
            "it takes longer than {LONGEST:?}: {}",
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
                Err(_) => "it panicked, see above".to_owned(),
            };
            return Err(format!("{wrong}\n{}", self.mutator.described(number)));
        }
        Ok(tally)
    }
}

/// Fails with words unless it holds.
macro_rules! hold {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
pub(crate) use hold;

#[test]
fn the_same_number_makes_the_same_input_and_others_make_others() {
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
fn what_is_wrong_is_told_with_its_input() {
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
