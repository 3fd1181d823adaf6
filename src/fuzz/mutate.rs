//! Derives inputs from a corpus: an entry with one or more changes, determined by seed and number.

use std::fs;
use std::path::Path;

use fastrand::Rng;

/// Length to which an input is truncated before a change, in bytes.
const MAX_CHANGED_BYTES: usize = 8 * 1024;
/// One of this many inputs is inflated by repeating a piece of it.
const INFLATED_ONE_OF: u64 = 2000;
/// Maximum size added by that repetition, in bytes.
const MAX_INFLATED_BYTES: usize = 100 * 1024;

/// Bytes with a meaning in some format.
const BYTES: &[u8] =
    b"\0\x01\t\n\r\x1b \"#%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~\x7f\x80\xbf\xc0\xed\xef\xff";
/// Numbers at the limits of parsers and types.
const NUMBERS: [&str; 22] = [
    "0",
    "-0",
    "1",
    "-1",
    "+1",
    "0.5",
    "1e3",
    "1e400",
    "-1e-400",
    "inf",
    "NaN",
    "00",
    "007",
    "255",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
];

/// Generates inputs.
pub(super) struct Mutator {
    seed: u64,
    /// Names and contents, sorted by name.
    corpus: Vec<(String, Vec<u8>)>,
    tokens: &'static [&'static [u8]],
}

impl Mutator {
    pub(super) fn new(dir: &str, tokens: &'static [&'static [u8]], seed: u64) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/fuzz")
            .join(dir);
        let mut corpus: Vec<_> = fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read(&path).unwrap())
            })
            .collect();
        corpus.sort();
        assert!(!corpus.is_empty(), "{} is empty", dir.display());
        Self {
            seed,
            corpus,
            tokens,
        }
    }

    #[cfg(coverage_guided)]
    pub(super) fn into_corpus(self) -> Vec<(String, Vec<u8>)> {
        self.corpus
    }

    /// Writes the input with this number to `out`. Returns the name of the corpus entry from which
    /// it was derived. The first inputs are the unchanged corpus.
    pub(super) fn make(&self, number: u64, out: &mut Vec<u8>) -> &str {
        let mut rng = Rng::with_seed(mixed(self.seed ^ mixed(number)));
        let unchanged = usize::try_from(number).unwrap_or(usize::MAX);
        let at = unchanged.min(rng.usize(..self.corpus.len()));
        let at = if unchanged < self.corpus.len() {
            unchanged
        } else {
            at
        };
        let (name, bytes) = &self.corpus[at];
        out.clear();
        out.extend_from_slice(bytes);
        if unchanged >= self.corpus.len() {
            // Few changes keep the input valid enough to reach deep code, many explore more.
            let most = 1 << rng.u32(..5).min(rng.u32(..5));
            for _ in 0..rng.u32(1..=most) {
                self.change(out, &mut rng);
            }
            if rng.u64(..INFLATED_ONE_OF) == 0 {
                inflate(out, &mut rng);
            }
        }
        name
    }

    /// Describes an input and how to reproduce it.
    pub(super) fn described(&self, number: u64) -> String {
        let mut bytes = Vec::new();
        let name = self.make(number, &mut bytes);
        let seed = self.seed;
        let text = bytes.escape_ascii();
        format!(
            "input {number} of seed {seed}, derived from {name}, {} bytes; reproduce with \
             FETCHALL_FUZZ_SEED={seed} FETCHALL_FUZZ_ONLY={number}\n\"{text}\"",
            bytes.len()
        )
    }

    fn change(&self, out: &mut Vec<u8>, rng: &mut Rng) {
        out.truncate(MAX_CHANGED_BYTES);
        match rng.u32(..16) {
            0 => {
                if let Some(byte) = one_of(out, rng) {
                    *byte ^= 1 << rng.u32(..8);
                }
            }
            1 | 2 => {
                if let Some(byte) = one_of(out, rng) {
                    *byte = BYTES[rng.usize(..BYTES.len())];
                }
            }
            3 => {
                let at = rng.usize(..=out.len());
                out.insert(at, rng.u8(..));
            }
            4 => change_number(out, rng),
            5 => {
                let digits = out.iter_mut().filter(|byte| byte.is_ascii_digit());
                for digit in digits {
                    if rng.u32(..4) == 0 {
                        *digit = rng.u8(b'0'..=b'9');
                    }
                }
            }
            6..=8 if !self.tokens.is_empty() => {
                let token = self.tokens[rng.usize(..self.tokens.len())];
                let at = place_in(out, rng);
                out.splice(at..at, token.iter().copied());
            }
            9 if !self.tokens.is_empty() => {
                let token = self.tokens[rng.usize(..self.tokens.len())];
                let range = range_in(out.len(), rng);
                out.splice(range, token.iter().copied());
            }
            10 => drop(out.drain(range_in(out.len(), rng))),
            11 | 12 => {
                let piece = out[range_in(out.len(), rng)].to_vec();
                let at = rng.usize(..=out.len());
                out.splice(at..at, piece.iter().copied());
            }
            13 => self.splice(out, rng),
            14 if rng.bool() => out.truncate(rng.usize(..=out.len())),
            _ => swap_pieces(out, rng),
        }
    }

    /// Replaces a range with a piece of another entry.
    fn splice(&self, out: &mut Vec<u8>, rng: &mut Rng) {
        let (_, other) = &self.corpus[rng.usize(..self.corpus.len())];
        let piece = &other[range_in(other.len(), rng)];
        let range = range_in(out.len(), rng);
        out.splice(range, piece.iter().copied());
    }
}

/// Hashes a number, so that consecutive ones yield unrelated seeds (the last steps of splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn one_of<'a>(out: &'a mut [u8], rng: &mut Rng) -> Option<&'a mut u8> {
    let at = rng.usize(..out.len().max(1));
    out.get_mut(at)
}

/// Returns a random position, half of the time at the start or end of a word.
fn place_in(out: &[u8], rng: &mut Rng) -> usize {
    let at = rng.usize(..=out.len());
    if rng.bool() {
        return at;
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
    let mut neighbours = out[at..].windows(2);
    let end = neighbours.position(|two| is_word(&two[0]) != is_word(&two[1]));
    end.map_or(out.len(), |end| at + end + 1)
}

/// Returns a random range. Short ones are more likely than long ones.
fn range_in(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let from = rng.usize(..=length);
    let most = (length - from).min(1 << rng.u32(..10));
    from..from + rng.usize(..=most)
}

/// Replaces a number with another one.
fn change_number(out: &mut Vec<u8>, rng: &mut Rng) {
    let start = rng.usize(..=out.len());
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(from) = out[start..].iter().position(is_digit) else {
        return;
    };
    let from = start + from;
    let length = out[from..].iter().take_while(|byte| is_digit(byte)).count();
    let number = NUMBERS[rng.usize(..NUMBERS.len())];
    out.splice(from..from + length, number.bytes());
}

fn swap_pieces(out: &mut [u8], rng: &mut Rng) {
    let middle = rng.usize(..=out.len());
    let (left, right) = out.split_at_mut(middle);
    let (from, to) = (range_in(left.len(), rng), range_in(right.len(), rng));
    let length = from.len().min(to.len());
    left[from.start..from.start + length].swap_with_slice(&mut right[to.start..to.start + length]);
}

/// Repeats a piece of the input many times.
fn inflate(out: &mut Vec<u8>, rng: &mut Rng) {
    let range = range_in(out.len(), rng);
    let piece = out[range.clone()].to_vec();
    if piece.is_empty() {
        return;
    }
    let times = rng.usize(1..=MAX_INFLATED_BYTES / piece.len());
    out.splice(range.start..range.start, piece.repeat(times));
}
