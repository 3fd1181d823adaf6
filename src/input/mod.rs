//! Files, stdin and arguments become a bounded stream of jobs.
//!
//! A thread of its own reads: a blocked pipe then costs the runtime nothing, and can't
//! keep it from ending. It reads only as fast as the batches are taken.

mod text;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::{Entry, Live, Place};

/// Entries in one batch at most. A batch is sent early when the input has no whole line
/// ready, so that a slow pipe is not held up.
const BATCH: usize = 256;
/// Batches that may wait to be taken.
const BATCHES: usize = 4;
/// File name extensions of lists: a name that ends so is no host name.
const LISTS: [&str; 10] = [
    "txt", "list", "lst", "csv", "tsv", "json", "jsonl", "urls", "log", "gz",
];
/// Size of the read buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// One input of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A list in a file.
    File(PathBuf),
    /// A URL given directly.
    Url(String),
}

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct InputOptions {
    /// The inputs, read one after another.
    pub sources: Vec<Source>,
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
    /// The URL that was probably meant, when the input is a file that does not exist and
    /// its name is none that lists commonly have.
    #[must_use]
    pub fn likely_url(&self) -> Option<String> {
        let missing = self.cause.kind() == io::ErrorKind::NotFound;
        let extension = std::path::Path::new(&self.name).extension();
        let is_list = extension.is_some_and(|end| LISTS.iter().any(|list| end == *list));
        text::with_https(&self.name).filter(|_| missing && !is_list)
    }
}

/// What the reading thread sends.
pub type Batch = Result<Vec<Entry>, InputError>;

/// Opens every input and starts to read.
///
/// # Errors
/// When an input can't be opened: before anything is fetched, not in the middle.
pub fn open(options: InputOptions, live: Arc<Live>) -> Result<mpsc::Receiver<Batch>, InputError> {
    let mut inputs = Vec::with_capacity(options.sources.len());
    let mut arguments = 0;
    for source in options.sources {
        if matches!(source, Source::Url(_)) {
            arguments += 1;
        }
        inputs.push(Input::open(source, arguments)?);
    }
    if let Some(total) = inputs.iter().map(|input| input.length).sum() {
        live.list_is_long(total);
    }
    let (sender, receiver) = mpsc::channel(BATCHES);
    let reader = Reader {
        sender,
        live,
        next_number: 0,
        batch: Vec::new(),
        unread: false,
    };
    std::thread::Builder::new()
        .name("list".into())
        .spawn(move || reader.run(inputs))
        .map_err(|cause| InputError {
            name: "the list (no thread to read it)".into(),
            cause: Arc::new(cause),
        })?;
    Ok(receiver)
}

/// An opened input.
struct Input {
    name: Arc<str>,
    content: Content,
    /// Length in bytes where it is known: of regular files and of arguments.
    length: Option<u64>,
}

/// What an input holds.
enum Content {
    List(BufReader<Box<dyn Read + Send>>),
    /// Exactly one entry, whatever it is: an argument is never a comment. With its number
    /// among the arguments, which stands for its line.
    Url(String, u64),
}

impl Input {
    /// `argument` counts the URLs among the sources, this one included.
    fn open(source: Source, argument: u64) -> Result<Self, InputError> {
        let (name, reader, length): (_, Box<dyn Read + Send>, _) = match source {
            Source::Url(url) => {
                return Ok(Self {
                    name: "argument".into(),
                    length: Some(url.len() as u64),
                    content: Content::Url(url, argument),
                });
            }
            Source::Stdin => (Arc::from("-"), Box::new(io::stdin()), None),
            Source::File(path) => {
                let name = Arc::from(path.to_string_lossy());
                let (file, length) = open_file(path).map_err(|cause| InputError {
                    name: shown(&name),
                    cause: Arc::new(cause),
                })?;
                (name, file, length)
            }
        };
        Ok(Self {
            name,
            content: Content::List(BufReader::with_capacity(BUFFER, reader)),
            length,
        })
    }
}

fn open_file(path: PathBuf) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    let meta = std::fs::metadata(&path)?;
    if meta.is_dir() {
        // Opening a folder works on Unix; reading it fails later, after the run began.
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if is_fifo(&meta) {
        return Ok((Box::new(Fifo::Closed(path)), None));
    }
    let file = File::open(path)?;
    Ok((Box::new(file), meta.is_file().then_some(meta.len())))
}

/// A named pipe, opened by the thread that reads it: opening waits until somebody
/// writes, and nobody may.
enum Fifo {
    Closed(PathBuf),
    Open(File),
}

impl Read for Fifo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Open(file) => return file.read(buffer),
                Self::Closed(path) => *self = Self::Open(File::open(path)?),
            }
        }
    }
}

#[cfg(unix)]
fn is_fifo(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    meta.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_fifo(_: &std::fs::Metadata) -> bool {
    false
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
    crate::model::harmless(&name).into_owned()
}

/// Why reading an input stopped.
enum Stop {
    /// Nobody takes batches any more: the run is ending.
    Unwanted,
    Broken(io::Error),
}

/// The reading thread.
struct Reader {
    sender: mpsc::Sender<Batch>,
    live: Arc<Live>,
    next_number: u64,
    batch: Vec<Entry>,
    /// Set when an input was given up before its end.
    unread: bool,
}

impl Reader {
    fn run(mut self, inputs: Vec<Input>) {
        let mut wanted = true;
        for mut input in inputs {
            if wanted {
                match self.read(&mut input) {
                    Ok(()) => continue,
                    Err(Stop::Unwanted) => {
                        wanted = false;
                        if matches!(input.content, Content::Url(..)) {
                            // It was the whole input, and it is counted.
                            continue;
                        }
                    }
                    Err(Stop::Broken(cause)) => {
                        let error = InputError {
                            name: input.name.to_string(),
                            cause: Arc::new(cause),
                        };
                        // If nobody listens, the run is over and knows it.
                        let _ = self.send();
                        let _ = self.sender.blocking_send(Err(error));
                        return;
                    }
                }
            }
            self.count_rest(&mut input);
        }
        // What was read is counted, whether anybody still takes it or not.
        let _ = self.send();
        if !self.unread {
            self.live.list_ended();
        }
    }

    fn read(&mut self, input: &mut Input) -> Result<(), Stop> {
        let reader = match &mut input.content {
            Content::List(reader) => reader,
            Content::Url(url, number) => {
                self.live.list_bytes_read(url.len() as u64);
                let place = self.place(&input.name, *number);
                self.next_number += 1;
                self.batch.push(text::parse_argument(url, place));
                // What comes next sends it along: a full batch, a list, or the end.
                return if self.batch.len() < BATCH {
                    Ok(())
                } else {
                    self.send()
                };
            }
        };
        // Reading may wait for long; the arguments before it need not.
        self.send()?;
        let mut lines = text::Lines::new(reader);
        while let Some(line) = lines.next().map_err(Stop::Broken)? {
            let place = self.place(&input.name, line.number);
            if let Some(entry) = text::parse(line, place) {
                self.next_number += 1;
                self.batch.push(entry);
            }
            if self.batch.len() == BATCH || (!self.batch.is_empty() && !lines.has_line_ready()) {
                self.live.list_bytes_read(lines.take_bytes_read());
                self.send()?;
            }
        }
        self.live.list_bytes_read(lines.take_bytes_read());
        self.send()
    }

    fn place(&self, input: &Arc<str>, line: u64) -> Place {
        Place {
            number: self.next_number,
            input: Arc::clone(input),
            line,
        }
    }

    fn send(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.live.list_read(self.batch.len() as u64);
        let batch = std::mem::take(&mut self.batch);
        self.sender
            .blocking_send(Ok(batch))
            .map_err(|_| Stop::Unwanted)
    }

    /// After an early end: how many lines a regular file still holds, so that what is
    /// left can be told exactly. A pipe is not waited for.
    fn count_rest(&mut self, input: &mut Input) {
        let reader = match &mut input.content {
            Content::Url(..) => return self.live.list_read(1),
            Content::List(reader) if input.length.is_some() => reader,
            Content::List(_) => {
                self.unread = true;
                return;
            }
        };
        let mut lines = text::Lines::new(reader);
        let mut count = 0;
        loop {
            match lines.next() {
                Ok(Some(line)) => count += u64::from(!line.is_comment()),
                Ok(None) => break,
                Err(_) => {
                    self.unread = true;
                    break;
                }
            }
        }
        self.live.list_read(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn entries(sources: Vec<Source>) -> Vec<Entry> {
        let mut batches = open(InputOptions { sources }, Arc::default()).unwrap();
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
                Entry::Job(job) => (job.place.number, job.place.line),
                Entry::Invalid(invalid) => (invalid.place.number, invalid.place.line),
            })
            .collect();
        assert_eq!(places, [(0, 1), (1, 2), (2, 4), (3, 5), (4, 2)]);
    }

    #[test]
    fn a_missing_file_and_a_folder_are_told_before_anything_starts() {
        for path in ["/nowhere/list", "/"] {
            let options = InputOptions {
                sources: vec![Source::File(path.into())],
            };
            let error = open(options, Arc::default()).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_any_more_is_still_counted() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::write(&list, "http://a/\n#\n".repeat(5000)).unwrap();
        let live = Arc::new(Live::default());
        let options = InputOptions {
            sources: vec![Source::File(list)],
        };
        let mut batches = open(options, Arc::clone(&live)).unwrap();
        batches.recv().await.unwrap().unwrap();
        drop(batches);
        while !live.has_list_ended() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(live.listed(), 5000);
    }
}
