//! Reads lists as text, with the shard of each entry: for dividing them into parts.

use std::io::{self, Read};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::compressed::{self, MAGIC_BYTES, RawReader};
use super::detected::open_list;
use super::list::{EntryOrigin, InputList, ListRules, ListStep};
use super::shard_filter::assign;
use super::source::open_reader;
use super::stream::InputStream;
use super::{InputError, InputOptions, open, shown};
use crate::model::{
    ListCompression, ListEntry, PartForm, Sha256, Sha256Context, ShardAssigner, ShardBy,
};

/// Takes the entries of lists that are divided.
pub(crate) trait EntrySink {
    /// Why it cannot go on.
    type Error: From<InputError>;

    /// Begins a list, before its first entry.
    ///
    /// # Errors
    /// If a list of this form cannot be added.
    fn begin(
        &mut self,
        list: &str,
        form: PartForm,
        compression: ListCompression,
    ) -> Result<(), Self::Error>;

    /// Takes an entry.
    ///
    /// # Errors
    /// If it cannot be written.
    fn take(&mut self, entry: &PartEntry<'_>) -> Result<(), Self::Error>;
}

/// An entry of a list that is divided.
pub(crate) struct PartEntry<'a> {
    /// The shard that it belongs to.
    pub shard: u32,
    /// The host of its URL, if it has one.
    pub host: Option<&'a str>,
    /// The text of its line or row.
    pub text: &'a [u8],
    /// Whether it can be fetched.
    pub is_valid: bool,
}

/// A list that was read, as a file.
#[derive(Debug)]
pub(crate) struct ListDigest {
    /// Its name.
    pub input: Arc<str>,
    /// Its length.
    pub bytes: u64,
    /// Its hash, as `sha256sum` computes it.
    pub sha256: Sha256,
}

/// Reads all lists to their ends.
///
/// # Errors
/// If a list cannot be read, or the sink cannot go on.
pub(crate) fn divide<S: EntrySink>(
    options: InputOptions,
    of: NonZeroU32,
    by: ShardBy,
    sink: &mut S,
) -> Result<Vec<ListDigest>, S::Error> {
    let rules = ListRules {
        keeps_source: true,
        parts_by: Some(by),
        ..open::rules(&options)
    };
    let mut assigner = ShardAssigner::new(of, by);
    let mut digests = Vec::with_capacity(options.sources.len());
    for source in options.sources {
        let format = options.format.of(&source).unwrap_or_default();
        let (name, reader, _) = open_reader(source, format, &rules)?;
        let meter = Arc::new(Mutex::new(InputMeter::default()));
        let reader = MeteredReader(reader, Arc::clone(&meter));
        let list = open_list(format, InputStream::new(Box::new(reader)), &rules);
        let mut division = Division {
            name: &name,
            list,
            meter: &meter,
            has_begun: false,
        };
        loop {
            let is_ended = division.step(&mut assigner, sink)?;
            if let (Some(text), Some(callback)) =
                (division.list.take_warning(), &options.on_warning)
            {
                (callback.0)(&format!("{}: {text}", shown(&name)));
            }
            if is_ended {
                break;
            }
        }
        let meter = std::mem::take(&mut *lock(&meter));
        digests.push(ListDigest {
            input: name,
            bytes: meter.bytes,
            sha256: meter.hash.finish(),
        });
    }
    Ok(digests)
}

/// Returns the error of a list that cannot be divided together with the one before it.
pub(crate) fn other_form(list: &str) -> InputError {
    let text = "its format or header row is not that of the first list; divide it by itself";
    InputError::new(list, io::Error::new(io::ErrorKind::InvalidData, text))
}

/// One list that is divided.
struct Division<'a> {
    name: &'a Arc<str>,
    list: Box<dyn InputList>,
    meter: &'a Mutex<InputMeter>,
    has_begun: bool,
}

impl Division<'_> {
    /// Passes on the next entry. Returns whether the list has ended.
    fn step<S: EntrySink>(
        &mut self,
        assigner: &mut ShardAssigner,
        sink: &mut S,
    ) -> Result<bool, S::Error> {
        let unreadable = |cause| InputError::new(self.name, cause);
        let origin = EntryOrigin {
            input: self.name,
            number: 0,
        };
        let step = self.list.next(&origin).map_err(unreadable)?;
        if matches!(step, ListStep::Nothing) {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            let compression = lock(self.meter).compression();
            sink.begin(&shown(self.name), self.list.form(), compression)?;
        }
        let ListStep::Found(entry) = step else {
            return Ok(true);
        };
        if matches!(entry, ListEntry::Sitemap(_)) {
            let text = "it is an index of sitemaps, which would have to be fetched";
            let cause = io::Error::new(io::ErrorKind::InvalidData, text);
            return Err(unreadable(cause).into());
        }
        let text = self.list.source();
        if let Some((shard, host)) = assign(assigner, &entry, text) {
            let host = host.as_deref();
            let is_valid = matches!(entry, ListEntry::Job(_));
            sink.take(&PartEntry {
                shard,
                host,
                text,
                is_valid,
            })?;
        }
        Ok(false)
    }
}

/// What is known of the bytes of a list.
#[derive(Default)]
struct InputMeter {
    head: Vec<u8>,
    bytes: u64,
    hash: Sha256Context,
}

impl InputMeter {
    fn add(&mut self, bytes: &[u8]) {
        let missing = MAGIC_BYTES.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(missing));
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn compression(&self) -> ListCompression {
        compressed::detect(&self.head)
    }
}

fn lock(meter: &Mutex<InputMeter>) -> MutexGuard<'_, InputMeter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a list, and meters what it reads.
struct MeteredReader(RawReader, Arc<Mutex<InputMeter>>);

impl Read for MeteredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        lock(&self.1).add(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
