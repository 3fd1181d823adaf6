//! Opening of inputs.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::compressed::RawReader;
use super::detected::open_list;
use super::list::{InputList, ListRules};
use super::manifest::NO_BASE_URL;
use super::sitemap::SitemapList;
use super::stream::InputStream;
use super::{InputError, InputFormat, Source, UrlIterator};

/// An opened input.
pub(super) struct OpenInput {
    pub name: Arc<str>,
    pub content: InputContent,
    /// Length in bytes, if known: for regular files and arguments.
    pub length: Option<u64>,
}

/// The content of an input.
pub(super) enum InputContent {
    List(Box<dyn InputList>),
    /// A URL argument: always one entry, never a comment. Its number among the arguments serves
    /// as its line number.
    Url(String, u64),
    /// Generated URLs, each parsed like an argument and numbered from 1.
    Urls(UrlIterator),
}

impl OpenInput {
    /// Opens a source. `argument` is the number of URLs among the sources so far, including this
    /// one.
    pub(super) fn open(
        source: Source,
        argument: u64,
        format: InputFormat,
        rules: &ListRules,
    ) -> Result<Self, InputError> {
        match source {
            Source::Url(url) if format == InputFormat::Sitemap => {
                let list = SitemapList::fetched(url, argument, rules.clone());
                Ok(Self {
                    name: "argument".into(),
                    length: None,
                    content: InputContent::List(Box::new(list)),
                })
            }
            Source::Url(url) => Ok(Self {
                name: "argument".into(),
                length: Some(url.len() as u64),
                content: InputContent::Url(url, argument),
            }),
            Source::Urls(urls) => Ok(Self {
                name: "argument".into(),
                length: None,
                content: InputContent::Urls(urls),
            }),
            source @ (Source::Stdin | Source::File(_)) => {
                let (name, reader, length) = open_reader(source, format, rules)?;
                let list = open_list(format, InputStream::new(reader), rules);
                Ok(Self {
                    name,
                    content: InputContent::List(list),
                    length,
                })
            }
        }
    }
}

/// Opens a list, and returns it with its name and, if known, its length.
pub(super) fn open_reader(
    source: Source,
    format: InputFormat,
    rules: &ListRules,
) -> Result<(Arc<str>, RawReader, Option<u64>), InputError> {
    let (name, reader, length): (_, RawReader, _) = match source {
        Source::Stdin => {
            check_stdin(format).map_err(|cause| InputError::new("-", cause))?;
            (Arc::from("-"), Box::new(io::stdin()), None)
        }
        Source::File(path) => {
            let name = Arc::from(path.to_string_lossy());
            let (file, length) =
                open_file(path, format).map_err(|cause| InputError::new(&name, cause))?;
            (name, file, length)
        }
        Source::Url(_) | Source::Urls(_) => {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "a URL is no list");
            return Err(InputError::new("argument", cause));
        }
    };
    if format == InputFormat::Manifest && rules.base_url.is_none() {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, NO_BASE_URL);
        return Err(InputError::new(&name, cause));
    }
    Ok((name, reader, length))
}

fn open_file(path: PathBuf, format: InputFormat) -> io::Result<(RawReader, Option<u64>)> {
    let meta = std::fs::metadata(&path)?;
    if meta.is_dir() {
        // On Unix a directory can be opened; reading it would fail later, during the run.
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if is_fifo(&meta) {
        return Ok((Box::new(Fifo::Closed(path)), None));
    }
    let mut file = File::open(path)?;
    if !meta.is_file() {
        return Ok((Box::new(file), None));
    }
    check_beginning(&mut file, format)?;
    Ok((Box::new(file), Some(meta.len())))
}

/// Fails for a file that is not a list, such as a workbook, before any list is read.
fn check_beginning(file: &mut File, format: InputFormat) -> io::Result<()> {
    let mut stream = InputStream::new(Box::new(file.try_clone()?));
    if format == InputFormat::Nul {
        stream = stream.with_nuls();
    }
    let start = file.stream_position()?;
    stream.reader.fill_buf()?;
    file.seek(SeekFrom::Start(start)).map(drop)
}

/// The same for stdin, if that is a file. Of a pipe, nothing can be read before its turn.
#[cfg(unix)]
fn check_stdin(format: InputFormat) -> io::Result<()> {
    use std::os::fd::AsFd;
    let copy = io::stdin().as_fd().try_clone_to_owned();
    let file = copy.ok().map(File::from);
    let is_file = |file: &File| file.metadata().is_ok_and(|meta| meta.is_file());
    match file.filter(is_file) {
        Some(mut file) => check_beginning(&mut file, format),
        None => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_stdin(_: InputFormat) -> io::Result<()> {
    Ok(())
}

/// A named pipe, opened on first read by the reader thread: opening blocks until there is a
/// writer, possibly forever.
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
