//! Files, stdin and arguments become a bounded stream of jobs.
//!
//! A thread of its own reads: a blocked pipe then costs the runtime nothing, and can't
//! keep it from ending. It reads only as fast as the batches are taken.

pub mod bench_api;
mod compressed;
mod csv;
mod decoded;
#[cfg(test)]
mod fuzz;
mod json_fields;
mod jsonl;
mod line_builder;
mod lines;
mod list;
mod reader;
mod row;
mod rows;
mod source;
mod text;
mod url;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use self::list::ListRules;
use self::reader::InputReader;
use self::source::OpenInput;
use crate::model::{ListEntry, LiveStats};

/// Batches that may wait to be taken.
const BATCHES: usize = 4;
/// File name extensions of lists: a name that ends so is no host name.
const LIST_EXTENSIONS: [&str; 12] = [
    "txt", "list", "lst", "csv", "tsv", "json", "jsonl", "ndjson", "urls", "log", "gz", "zst",
];

/// One input of the run.
#[derive(Debug)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A list in a file.
    File(PathBuf),
    /// A URL given directly.
    Url(String),
    /// URLs that a program makes as it goes.
    Urls(UrlIterator),
}

/// URLs that a program makes as it goes, asked for no faster than they are fetched.
pub struct UrlIterator(pub Box<dyn Iterator<Item = String> + Send>);

impl fmt::Debug for UrlIterator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlIterator(…)")
    }
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputFormat {
    /// As the extension of its file says, one of compression looked through; else text.
    #[default]
    Auto,
    /// A URL a line.
    Text,
    /// A JSON object a line.
    JsonLines,
    /// Cells between commas, under a header row.
    Csv,
    /// Cells between tabs, under a header row.
    Tsv,
    /// A URL before each NUL, and nothing else: no comments, and a line feed ends nothing.
    Nul,
}

impl InputFormat {
    /// The format of a source; `None`: it is no list, but a URL.
    fn of(self, source: &Source) -> Option<Self> {
        match (self, source) {
            (_, Source::Url(_) | Source::Urls(_)) => None,
            (Self::Auto, Source::File(path)) => Some(Self::of_file(path)),
            (Self::Auto, Source::Stdin) => Some(Self::Text),
            (format, _) => Some(format),
        }
    }

    fn of_file(path: &Path) -> Self {
        let extension = |path: &Path| {
            let extension = path.extension()?.to_str()?;
            Some(extension.to_ascii_lowercase())
        };
        let mut last = extension(path);
        if matches!(last.as_deref(), Some("gz" | "zst")) {
            last = path.file_stem().and_then(|stem| extension(Path::new(stem)));
        }
        match last.as_deref() {
            Some("jsonl" | "ndjson" | "json") => Self::JsonLines,
            Some("csv") => Self::Csv,
            Some("tsv") => Self::Tsv,
            _ => Self::Text,
        }
    }
}

/// What to read.
#[derive(Debug, Default)]
pub struct InputOptions {
    /// The inputs, read one after another.
    pub sources: Vec<Source>,
    /// How the files and stdin are written.
    pub format: InputFormat,
    /// Bodies are saved to files: then a line with a method or a body of its own must name
    /// its file, for names are made of URLs, and several requests may go to one.
    pub saves_files: bool,
}

/// An input that can't be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read {name}: {cause}")]
pub struct InputError {
    name: String,
    #[source]
    cause: Arc<io::Error>,
}

impl InputError {
    fn new(name: &str, cause: io::Error) -> Self {
        Self {
            name: shown(name),
            cause: Arc::new(cause),
        }
    }

    /// The URL that was probably meant, when the input is a file that does not exist and
    /// its name is none that lists commonly have.
    #[must_use]
    pub fn likely_url(&self) -> Option<String> {
        let missing = self.cause.kind() == io::ErrorKind::NotFound;
        let extension = Path::new(&self.name).extension();
        let is_list = extension.is_some_and(|end| LIST_EXTENSIONS.iter().any(|list| end == *list));
        url::with_scheme(&self.name).filter(|_| missing && !is_list)
    }
}

/// What the reading thread sends.
pub type Batch = Result<Vec<ListEntry>, InputError>;

/// Opens every input and starts to read.
///
/// # Errors
/// When an input can't be opened: before anything is fetched, not in the middle.
pub fn open(
    options: InputOptions,
    live: Arc<LiveStats>,
) -> Result<mpsc::Receiver<Batch>, InputError> {
    let formats = options.sources.iter();
    let mut formats = formats.filter_map(|source| options.format.of(source));
    let rules = ListRules {
        saves_files: options.saves_files,
        as_json: formats.any(|format| !matches!(format, InputFormat::Text | InputFormat::Nul)),
    };
    let mut inputs = Vec::with_capacity(options.sources.len());
    let mut arguments = 0;
    for source in options.sources {
        let format = options.format.of(&source);
        arguments += u64::from(format.is_none());
        let format = format.unwrap_or_default();
        inputs.push(OpenInput::open(source, arguments, format, rules)?);
    }
    if let Some(total) = inputs.iter().map(|input| input.length).sum() {
        live.set_list_length(total);
    }
    let (sender, receiver) = mpsc::channel(BATCHES);
    let reader = InputReader::new(sender, live, rules);
    std::thread::Builder::new()
        .name("list".into())
        .spawn(move || reader.run(inputs))
        .map_err(|cause| InputError::new("the list (no thread to read it)", cause))?;
    Ok(receiver)
}

/// The name of an input as errors show it. `user:password@host` is a URL whose scheme
/// was forgotten, not a file.
fn shown(name: &str) -> String {
    let userinfo = name
        .rsplit_once('@')
        .is_some_and(|(before, _)| before.contains(':'));
    let name = if userinfo {
        crate::model::mask_userinfo(name)
    } else {
        name.into()
    };
    crate::model::escape_control(&name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
                ListEntry::Job(job) => (job.place.number, job.place.line),
                ListEntry::Invalid(invalid) => (invalid.place.number, invalid.place.line),
            })
            .collect();
        assert_eq!(places, [(0, 1), (1, 2), (2, 4), (3, 5), (4, 2)]);
    }

    #[test]
    fn a_missing_file_and_a_folder_are_told_before_anything_starts() {
        for path in ["/nowhere/list", "/"] {
            let options = only(vec![Source::File(path.into())]);
            let error = open(options, Arc::default()).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }

    #[test]
    fn the_format_is_told_by_the_flag_or_the_extension() {
        use InputFormat::{Auto, Csv, JsonLines, Text, Tsv};
        for (name, format) in [
            ("urls.txt", Text),
            ("urls", Text),
            ("csv", Text),
            ("a.jsonl", JsonLines),
            ("a.ndjson", JsonLines),
            ("a.json.zst", JsonLines),
            ("x/a.CSV.GZ", Csv),
            ("a.csv.txt", Text),
            ("a.tsv", Tsv),
            ("a.gz", Text),
            ("a.csv.gz.gz", Text),
        ] {
            let source = Source::File(name.into());
            assert_eq!(Auto.of(&source), Some(format), "{name}");
            assert_eq!(Tsv.of(&source), Some(Tsv));
        }
        assert_eq!(Auto.of(&Source::Stdin), Some(Text));
        assert_eq!(Csv.of(&Source::Stdin), Some(Csv));
        assert_eq!(Csv.of(&Source::Url("http://a/x.csv".into())), None);
    }

    /// Lists of 5000 entries in every format, packed and plain.
    fn lists() -> Vec<(String, Vec<u8>)> {
        let text = "http://a/\n#\n".repeat(5000);
        let json = "{\"url\":\"http://a/\"}\n\n".repeat(5000);
        let csv = format!("url,file\r\n{}", "http://a/,\"x\ny\"\r\n,\r\n".repeat(5000));
        let tsv = format!("file\turl\n{}", "x\thttp://a/\n".repeat(5000));
        let plain = [("txt", text), ("jsonl", json), ("csv", csv), ("tsv", tsv)];
        let mut lists = Vec::new();
        for (format, list) in plain {
            let list = list.into_bytes();
            let packed = compressed::packed::gzip(&list);
            lists.push((format!("list.{format}.gz"), packed));
            let packed = compressed::packed::zstd(&list);
            lists.push((format!("list.{format}.zst"), packed));
            lists.push((format!("list.{format}"), list));
        }
        lists
    }

    #[tokio::test]
    async fn what_nobody_takes_any_more_is_still_counted() {
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
    async fn the_length_of_a_list_is_estimated_by_the_bytes_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in lists() {
            let list = dir.path().join(&name);
            std::fs::write(&list, &bytes).unwrap();
            let live = Arc::new(LiveStats::default());
            let mut batches = open(only(vec![Source::File(list)]), Arc::clone(&live)).unwrap();
            batches.recv().await.unwrap().unwrap();
            if !name.ends_with("gz") && !name.ends_with("zst") {
                // Of a packed list this short all is taken at once.
                let total = live.total().unwrap();
                assert!((4000..6000).contains(&total), "{name}: {total}");
            }
            while batches.recv().await.is_some() {}
            assert_eq!(live.total(), Some(5000), "{name}");
        }
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_is_an_error_after_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("urls.txt.gz");
        // Nothing that packs well: some of it must come out before the end.
        let lines: String = (0..50_000_u64)
            .map(|n| format!("http://a/{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let mut packed = compressed::packed::gzip(lines.as_bytes());
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
        assert!(error.contains("urls.txt.gz: its gzip data"), "{error}");
        assert!((20_000..30_000).contains(&found), "{found}");
    }
}
