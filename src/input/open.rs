//! Opens all inputs of a run and starts the thread that reads them.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::columns::ColumnRules;
use super::list::ListRules;
use super::reader::InputReader;
use super::shard_filter::ShardFilter;
use super::source::OpenInput;
use super::{Batch, InputError, InputOptions, Source};
use crate::model::{LiveStats, start_thread};

/// Capacity of the channel, in batches.
const BATCHES: usize = 4;

/// Opens all inputs and starts reading them.
///
/// # Errors
/// If an input cannot be opened. All are opened up front, so that this fails before anything is
/// fetched.
pub(crate) fn open(
    options: InputOptions,
    live: Arc<LiveStats>,
) -> Result<mpsc::Receiver<Batch>, InputError> {
    let rules = rules(&options);
    let mut inputs = Vec::with_capacity(options.sources.len());
    let mut arguments = 0;
    for source in options.sources {
        let format = options.format.of(&source);
        arguments += u64::from(matches!(source, Source::Url(_)));
        let format = format.unwrap_or_default();
        inputs.push(OpenInput::open(source, arguments, format, &rules)?);
    }
    if let Some(total) = inputs.iter().map(|input| input.length).sum() {
        live.set_list_length(total);
    }
    let (sender, receiver) = mpsc::channel(BATCHES);
    let filter = options
        .shard
        .map(|shard| ShardFilter::new(shard, options.tally));
    let reader = InputReader::new(sender, live, rules, filter, options.on_warning);
    start_thread("list", move || reader.run(inputs))
        .map_err(|cause| InputError::new("the list", cause))?;
    Ok(receiver)
}

/// Returns the rules for all lists.
pub(super) fn rules(options: &InputOptions) -> ListRules {
    let formats = options.sources.iter();
    let mut formats = formats.filter_map(|source| options.format.of(source));
    ListRules {
        saves_files: options.saves_files,
        has_fields: formats.any(|format| !format.is_text()),
        scheme: options.scheme,
        base_url: options.base_url.clone(),
        columns: Arc::new(ColumnRules {
            url: options.url_column.clone(),
            keep: options.keep_columns.clone(),
        }),
        keeps_source: options.shard.is_some(),
        parts_by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Source;
    use crate::input::compressed::packed;
    use crate::model::ListEntry;

    fn only(sources: Vec<Source>) -> InputOptions {
        InputOptions {
            sources,
            ..InputOptions::default()
        }
    }

    async fn entries(sources: Vec<Source>) -> Vec<ListEntry> {
        let mut batches = open(only(sources), Arc::default()).unwrap();
        let mut all = Vec::new();
        while let Some(batch) = batches.recv().await {
            all.extend(batch.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn numbers_are_dense_over_all_inputs_and_lines_count_comments() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::write(&list, "# one\nhttp://a/\n\nnonsense\nhttp://b/").unwrap();
        let found = entries(vec![
            Source::Url("http://c/".into()),
            Source::File(list.clone()),
            Source::Url("http://d/".into()),
        ])
        .await;
        let places: Vec<_> = found
            .iter()
            .map(|entry| match entry {
                ListEntry::Job(job) => (job.position.number, job.position.line),
                ListEntry::Invalid(invalid) => (invalid.position.number, invalid.position.line),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(places, [(0, 1), (1, 2), (2, 4), (3, 5), (4, 2)]);
    }

    #[test]
    fn a_missing_file_or_a_directory_is_an_error_at_open() {
        for path in ["/nowhere/list", "/"] {
            let options = only(vec![Source::File(path.into())]);
            let error = open(options, Arc::default()).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }

    /// Lists of 5000 entries in every format, compressed and plain.
    fn lists() -> Vec<(String, Vec<u8>)> {
        let text = "http://a/\n#\n".repeat(5000);
        let json = "{\"url\":\"http://a/\"}\n\n".repeat(5000);
        let csv = format!("url,file\r\n{}", "http://a/,\"x\ny\"\r\n,\r\n".repeat(5000));
        let tsv = format!("file\turl\n{}", "x\thttp://a/\n".repeat(5000));
        let plain = [("txt", text), ("jsonl", json), ("csv", csv), ("tsv", tsv)];
        let mut lists = Vec::new();
        for (format, list) in plain {
            let list = list.into_bytes();
            let packed = packed::gzip(&list);
            lists.push((format!("list.{format}.gz"), packed));
            let packed = packed::zstd(&list);
            lists.push((format!("list.{format}.zst"), packed));
            lists.push((format!("list.{format}"), list));
        }
        lists
    }

    /// With `--ordered`, records of short lines may be held back in large numbers.
    #[tokio::test]
    async fn kept_columns_count_in_the_memory_of_lines() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.csv");
        std::fs::write(&list, "url,id\nhttp://a/,1\nnonsense,2\n").unwrap();
        for (keep, is_counted) in [(vec!["id".to_owned()], true), (Vec::new(), false)] {
            let mut options = only(vec![Source::File(list.clone())]);
            options.keep_columns = keep;
            let mut batches = open(options, Arc::default()).unwrap();
            let batch = batches.recv().await.unwrap().unwrap();
            let lines = batch.iter().map(|entry| match entry {
                ListEntry::Job(job) => job.raw.as_ref().unwrap(),
                ListEntry::Invalid(line) => &line.raw,
                other => panic!("{other:?}"),
            });
            let counted: Vec<_> = lines.map(|line| line.is_heavy()).collect();
            assert_eq!(counted, [is_counted; 2]);
        }
    }

    #[tokio::test]
    async fn after_the_receiver_is_dropped_the_rest_is_still_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in lists() {
            let list = dir.path().join(&name);
            std::fs::write(&list, bytes).unwrap();
            let live = Arc::new(LiveStats::default());
            let options = only(vec![Source::File(list)]);
            let mut batches = open(options, Arc::clone(&live)).unwrap();
            batches.recv().await.unwrap().unwrap();
            drop(batches);
            while !live.has_list_ended() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            assert_eq!(live.listed(), 5000, "{name}");
        }
    }

    #[tokio::test]
    async fn the_length_of_a_list_is_estimated_from_the_size_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in lists() {
            let list = dir.path().join(&name);
            std::fs::write(&list, &bytes).unwrap();
            let live = Arc::new(LiveStats::default());
            let mut batches = open(only(vec![Source::File(list)]), Arc::clone(&live)).unwrap();
            batches.recv().await.unwrap().unwrap();
            if !name.ends_with("gz") && !name.ends_with("zst") {
                // A compressed list this short is read at once.
                let total = live.total().unwrap();
                assert!((4000..6000).contains(&total), "{name}: {total}");
            }
            while batches.recv().await.is_some() {}
            assert_eq!(live.total(), Some(5000), "{name}");
        }
    }

    #[tokio::test]
    async fn a_truncated_list_is_an_error_after_the_entries_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("urls.txt.gz");
        // Compresses badly, so that half of it decompresses to complete lines.
        let lines: String = (0..50_000_u64)
            .map(|n| format!("http://a/{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let mut packed = packed::gzip(lines.as_bytes());
        packed.truncate(packed.len() / 2);
        std::fs::write(&list, packed).unwrap();
        let mut batches = open(only(vec![Source::File(list)]), Arc::default()).unwrap();
        let mut found = 0;
        let error = loop {
            match batches.recv().await.unwrap() {
                Ok(batch) => found += batch.len(),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.contains("urls.txt.gz: corrupt or truncated gzip data"),
            "{error}"
        );
        assert!((20_000..30_000).contains(&found), "{found}");
    }
}
