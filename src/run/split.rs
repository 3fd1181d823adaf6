//! `--split`: divides a list into one file for each shard.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::problem::{Problem, RunError, SaveError};
use super::run_blocking;
use crate::config::Config;
use crate::input::{self, EntrySink, ListDigest, PartEntry};
use crate::model::{
    ListCompression, PartForm, SHARD_VERSION, Sha256, ShardBy, ShardTally, Summary, write_json,
};
use crate::report::{LARGEST_HOSTS, NoticeReporter, Output, largest_hosts, shard_counts};
use crate::store::{PartFiles, PartSize, PartsError};

/// Maximum time that a stopped division takes to remove its parts.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How a list is divided, and where the parts go.
#[derive(Debug, Clone)]
pub struct SplitOptions {
    /// The number of parts.
    pub parts: NonZeroU32,
    /// What decides to which part a URL belongs.
    pub by: ShardBy,
    /// The directory for the parts.
    pub dir: PathBuf,
}

/// Writes the lists of the configuration as one list for each shard, into a directory of their own.
/// Nothing is fetched. In the summary, all lines count as skipped. When `stop` completes, what was
/// written is removed.
///
/// # Errors
/// [`RunError`] when a list cannot be read, or a part cannot be written.
pub async fn split(
    config: Config,
    options: SplitOptions,
    stop: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let mut sink = PartSink {
        tally: ShardTally::new(options.parts),
        files: None,
        options,
        is_stopped: Arc::clone(&is_stopped),
    };
    let work = run_blocking(move || {
        let SplitOptions { parts, by, .. } = sink.options;
        let lists = input::divide(config.input, parts, by, &mut sink)?;
        let lines = sink.finish(&lists)?;
        if let Some(notices) = config.report.notices {
            let mut notices = NoticeReporter::new(Output::new(notices, None));
            lines
                .notices
                .iter()
                .for_each(|line| notices.write_notice(line));
        }
        Ok(Summary {
            input: lines.all,
            skipped: lines.all,
            list_ended: true,
            ..Summary::default()
        })
    });
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done?),
        () = stop => is_stopped.store(true, Relaxed),
    }
    // Without a limit, it might wait for the next line of a pipe.
    let _ = timeout(REMOVAL_TIMEOUT, work).await;
    Ok(Summary::default())
}

/// Counts the entries, and writes them into the parts.
struct PartSink {
    options: SplitOptions,
    tally: ShardTally,
    files: Option<PartFiles>,
    is_stopped: Arc<AtomicBool>,
}

/// How many lines were divided, and what is said of them.
struct DividedLines {
    all: u64,
    notices: Vec<String>,
}

impl EntrySink for PartSink {
    type Error = Problem;

    fn begin(
        &mut self,
        list: &str,
        form: PartForm,
        compression: ListCompression,
    ) -> Result<(), Problem> {
        match &self.files {
            None => {
                let parts = self.options.parts.get() as usize;
                let dir = &self.options.dir;
                let files = PartFiles::create(dir, parts, form, compression);
                self.files = Some(files.map_err(|cause| self.unusable(cause))?);
                Ok(())
            }
            Some(files) if *files.form() == form => Ok(()),
            Some(_) => Err(Problem::from(input::other_form(list))),
        }
    }

    fn take(&mut self, entry: &PartEntry<'_>) -> Result<(), Problem> {
        if self.is_stopped.load(Relaxed) {
            return Err(Problem::Internal("stopped".to_owned()));
        }
        self.tally.add(entry.shard, entry.host);
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        let put = files.put(entry.shard, entry.text, entry.is_valid);
        put.map_err(|cause| self.unusable(cause.into()))
    }
}

impl PartSink {
    fn unusable(&self, cause: PartsError) -> Problem {
        unusable(&self.options.dir, cause)
    }

    fn finish(mut self, lists: &[ListDigest]) -> Result<DividedLines, Problem> {
        let all = self.tally.lines().iter().sum();
        let mut description = SplitDescription {
            schema: 1,
            shard_version: SHARD_VERSION,
            shard_by: self.options.by,
            lines: all,
            inputs: lists.iter().map(InputDescription::of).collect(),
            largest_hosts: self.largest_hosts(),
            host_lines_missed: self.tally.uncertainty(),
            parts: Vec::new(),
        };
        let dir = &self.options.dir;
        if let Some(files) = self.files.take() {
            let describe = |sizes: &[PartSize]| {
                description.parts = sizes.iter().map(PartDescription::of).collect();
                let mut json = Vec::new();
                // Serializing numbers and names cannot fail.
                let _ = write_json(&mut json, &description);
                json.push(b'\n');
                json
            };
            let finished = files.finish(describe);
            finished.map_err(|cause| unusable(dir, cause.into()))?;
        }
        let counts = shard_counts(self.tally.lines());
        let mut notices = vec![format!(
            "{} parts in {}: {counts}",
            self.options.parts,
            dir.display()
        )];
        notices.extend(largest_hosts(&mut self.tally));
        Ok(DividedLines { all, notices })
    }

    fn largest_hosts(&mut self) -> Vec<HostDescription> {
        let largest = self.tally.largest(LARGEST_HOSTS).into_iter();
        largest
            .map(|(host, lines)| HostDescription { host, lines })
            .collect()
    }
}

fn unusable(dir: &Path, cause: PartsError) -> Problem {
    Problem::Save(SaveError::Parts {
        path: dir.to_owned(),
        cause,
    })
}

/// `split.json`.
#[derive(Serialize)]
struct SplitDescription<'a> {
    schema: u32,
    shard_version: u32,
    shard_by: ShardBy,
    lines: u64,
    inputs: Vec<InputDescription<'a>>,
    parts: Vec<PartDescription>,
    largest_hosts: Vec<HostDescription>,
    host_lines_missed: u64,
}

#[derive(Serialize)]
struct InputDescription<'a> {
    input: &'a str,
    bytes: u64,
    sha256: Sha256,
}

impl<'a> InputDescription<'a> {
    fn of(list: &'a ListDigest) -> Self {
        Self {
            input: &list.input,
            bytes: list.bytes,
            sha256: list.sha256,
        }
    }
}

#[derive(Serialize)]
struct PartDescription {
    file: String,
    lines: u64,
    bytes: u64,
}

impl PartDescription {
    fn of(size: &PartSize) -> Self {
        let PartSize { file, lines, bytes } = size.clone();
        Self { file, lines, bytes }
    }
}

#[derive(Serialize)]
struct HostDescription {
    host: String,
    lines: u64,
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use proptest::prelude::*;

    use super::*;
    use crate::input::{InputFormat, InputOptions, Source};
    use crate::model::{ListEntry, Shard};

    /// A list in a file with this name.
    fn options(path: &Path, shard: Option<Shard>) -> InputOptions {
        let format = match path.extension() {
            Some(extension) if extension == "nul" => InputFormat::Nul,
            _ => InputFormat::Auto,
        };
        InputOptions {
            sources: vec![Source::File(path.to_owned())],
            format,
            shard,
            ..InputOptions::default()
        }
    }

    /// What each entry of a list asks for; of an invalid one, its text.
    async fn entries(options: InputOptions) -> Vec<String> {
        let mut batches = input::open(options, Arc::default()).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = batches.recv().await {
            found.extend(batch.unwrap().into_iter().map(|entry| match entry {
                ListEntry::Job(job) => format!("{} {:?}", job.url, job.options),
                ListEntry::Invalid(line) => format!("invalid: {}", line.shown),
                other => panic!("{other:?}"),
            }));
        }
        found
    }

    /// Splits a list, and compares each part with what the shard of that number reads of the list.
    fn check(name: &str, list: &[u8], by: ShardBy) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("list.{name}"));
        std::fs::write(&path, list).unwrap();
        let parts = NonZeroU32::new(3).unwrap();
        let config = Config {
            input: options(&path, None),
            ..Config::default()
        };
        let split_options = SplitOptions {
            parts,
            by,
            dir: dir.path().join("parts"),
        };
        let summary = runtime
            .block_on(split(config, split_options, pending()))
            .unwrap();
        let mut lines = 0;
        for index in 0..3 {
            let shard = Shard::new(index, parts, by);
            let expected = runtime.block_on(entries(options(&path, shard)));
            let part = dir.path().join(format!("parts/part-0000{index}.{name}"));
            let found = runtime.block_on(entries(options(&part, None)));
            let text = std::fs::read(&part).unwrap();
            assert_eq!(found, expected, "{}", text.escape_ascii());
            // The part of a shard has no line of another one.
            let again = runtime.block_on(entries(options(&part, shard)));
            assert_eq!(again, expected);
            lines += found.len();
        }
        assert_eq!(summary.input, lines as u64);
        assert_eq!(runtime.block_on(entries(options(&path, None))).len(), lines);
        assert!(!dir.path().join("parts/.split").exists());
    }

    fn url() -> impl Strategy<Value = String> {
        (0..6u32, 0..4u32).prop_map(|(host, page)| format!("http://h{host}.test/{page}"))
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => url(),
            1 => url().prop_map(|url| format!("  {url}\t# why")),
            1 => Just("# comment".to_owned()),
            1 => prop::sample::select(vec![
                "", "no url", "[", "{", "{\"", "<rss", "<?xml", "PK\u{3}\u{4}", "\u{feff}http://h1.test/",
                "%PDF-1.7", "{\"url\":1}", "<!DOCTYPE html>", "\u{1f}\u{8b}\u{8}",
            ]).prop_map(str::to_owned),
        ]
    }

    fn cell() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => Just("x".to_owned()),
            1 => prop::sample::select(vec![
                "\"a\nb\"", "\"a,b\"", "\"open", "\"a\"b", "\"\"", " ", "a\"", "\"", "7",
            ]).prop_map(str::to_owned),
        ]
    }

    fn row() -> impl Strategy<Value = String> {
        prop_oneof![
            5 => (url(), cell()).prop_map(|(url, cell)| format!("{url},{cell}")),
            1 => (cell(), cell()).prop_map(|(one, two)| format!("{one},{two}")),
            1 => cell(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_of_text_are_the_shards(lines in prop::collection::vec(line(), 0..30), by_url in any::<bool>()) {
            let by = if by_url { ShardBy::Url } else { ShardBy::Host };
            // The first line decides on the format.
            let list = format!("#\n{}", lines.join("\n"));
            check("txt", list.as_bytes(), by);
            let list = format!("\0{}", lines.join("\0"));
            check("nul", list.as_bytes(), by);
        }

        #[test]
        fn parts_of_tables_are_the_shards(rows in prop::collection::vec(row(), 0..30)) {
            let list = format!("url,note\n{}", rows.join("\n"));
            check("csv", list.as_bytes(), ShardBy::Host);
            check("tsv", list.replace(',', "\t").as_bytes(), ShardBy::Host);
        }

        #[test]
        fn parts_of_json_lines_are_the_shards(lines in prop::collection::vec(line(), 0..30)) {
            let line = |line: &String| match line.starts_with("http") {
                true => format!("{{\"url\":\"{line}\",\"size\":3,\"headers\":{{\"a\":\"b\"}}}}"),
                false => line.clone(),
            };
            let lines: Vec<_> = lines.iter().map(line).collect();
            check("jsonl", format!("#\n{}", lines.join("\n")).as_bytes(), ShardBy::Host);
        }
    }
}
