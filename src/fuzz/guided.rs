//! Runs a target under libFuzzer: coverage tells which inputs are worth changing further. Built only
//! by `fuzz/run`.

use std::fs;
use std::path::Path;

use super::mutate::Mutator;
use super::{FuzzCampaign, FuzzInput, FuzzVerdict};

/// The option of the processes that a merge starts one after the other.
const MERGE_STEP: &str = "-merge_control_file=";

/// Returns the command with which libFuzzer restarts this process; its own options are appended.
fn again() -> String {
    let program = std::env::current_exe().unwrap();
    let thread = std::thread::current();
    let test = thread.name().unwrap();
    let run = format!("exec {} --exact {test} --nocapture", program.display());
    format!("sh -c 'FETCHALL_FUZZ_ARGS=\"$*\" {run}' fuzz")
}

/// Runs libFuzzer with the corpus as its first inputs and the options in `FETCHALL_FUZZ_ARGS`. New
/// inputs are kept in `target/fuzz/NAME/found`; with `-merge=1`, the fewest of them that reach code
/// which the corpus does not reach are added to `target/fuzz/NAME/seeds`. An input begins with two
/// bytes that stand for the name of a corpus file and for a number, on which targets depend, too.
pub(super) fn run(
    campaign: &FuzzCampaign,
    mut target: impl FnMut(&FuzzInput<'_>) -> FuzzVerdict + Send + 'static,
) -> ! {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/fuzz")
        .join(campaign.corpus);
    let corpus = Mutator::new(campaign.corpus, campaign.tokens, 0).into_corpus();
    let (found, seeds) = (dir.join("found"), dir.join("seeds"));
    let own = std::env::var("FETCHALL_FUZZ_ARGS").unwrap_or_default();
    if !own.contains(MERGE_STEP) {
        // Remove the seeds of an older corpus.
        let _ = fs::remove_dir_all(&seeds);
    }
    for dir in [&found, &seeds] {
        fs::create_dir_all(dir).unwrap();
    }
    let names: Vec<_> = corpus.iter().map(|(name, _)| name.clone()).collect();
    for ((name, bytes), index) in corpus.iter().zip(0u8..=u8::MAX) {
        let seed = [&[index, index][..], bytes].concat();
        fs::write(seeds.join(name), seed).unwrap();
    }
    fs::write(dir.join("names"), names.join("\n") + "\n").unwrap();
    let escaped = |byte: &u8| format!("\\x{byte:02x}");
    let tokens = campaign.tokens.iter();
    let dictionary: String = tokens
        .map(|token| format!("\"{}\"\n", token.iter().map(escaped).collect::<String>()))
        .collect();
    fs::write(dir.join("tokens"), dictionary).unwrap();
    let shown = |path: &Path| path.display().to_string();
    let mut arguments = vec![
        format!("-dict={}", shown(&dir.join("tokens"))),
        format!("-artifact_prefix={}/", shown(&dir)),
    ];
    if own.contains(MERGE_STEP) {
        // A merge step is given all other options by its parent.
        arguments.clear();
    }
    arguments.extend(own.split_whitespace().map(str::to_owned));
    if own.contains("-merge=1") {
        arguments.extend([shown(&seeds), shown(&found)]);
    } else if !own.contains(MERGE_STEP) {
        arguments.extend([shown(&found), shown(&seeds)]);
    }
    let target = move |bytes: &[u8]| {
        let (index, number, bytes) = match bytes {
            [index, number, bytes @ ..] => (usize::from(*index), u64::from(*number), bytes),
            _ => return,
        };
        let name = &names[index % names.len()];
        let input = FuzzInput {
            bytes,
            name,
            number,
        };
        if let Err(wrong) = target(&input) {
            panic!("{wrong}\n{name} {number}: {}", bytes.escape_ascii());
        }
    };
    fetchall_fuzz::run(&again(), &arguments, Box::new(target))
}
