//! The threads that render and append bodies. They render (hash and compress) in parallel, but
//! append and report one at a time, in the same order, so that the journal never has a record
//! without all those before it in the pack.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;

use super::exchange::{BodyContent, OwnedExchange};
use super::known_bodies::KnownBodies;
use super::series::PackSeries;
use super::spool::spool_file;
use crate::model::{FetchError, PackPlace, SavedBody, dir_of, open_when_free};
use crate::store::pack_files::PackFiles;
use crate::store::pack_format::PackFormat;
use crate::store::warc::{
    Exchange, PayloadDigest, PayloadHasher, RecordCompression, RecordGroup, Renderer, RequestHead,
    ResponseRecordHead, SavedPack, SpooledBody,
};
use crate::store::worker_pool::{OrderHandler, WorkerPool};
use crate::store::{SaveCallback, save_error};

/// Maximum number of threads for a compressed pack. Without compression, one is enough.
const MAX_WRITERS: usize = 8;
/// Number of queued orders from which the next thread helps. Compressing a page takes some hundred
/// microseconds.
const ORDERS_PER_WRITER: usize = 16;
/// Maximum length of the two URLs in the head of a revisit, in bytes. Readers such as FastWARC stop
/// at heads above 32 KiB; what else is in them takes less than 2 KiB.
const MAX_REVISIT_URL_BYTES: usize = 30 * 1024;
/// Size of a group from which it is appended, in bytes; the size of a pack, if that is smaller.
const FLUSH_BYTES: usize = 128 * 1024;

/// An order to save a body.
pub(crate) struct PackOrder {
    pub exchanged: Box<OwnedExchange>,
    pub content: BodyContent,
    pub done: SaveCallback,
}

/// Starts the writer threads.
pub(super) fn start(
    pack: &Arc<Mutex<PackSeries>>,
    files: &PackFiles,
    format: PackFormat,
    sync: bool,
) -> io::Result<WorkerPool<PackOrder>> {
    let threads = if format.compression() == RecordCompression::Gzip {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        1
    };
    let (flush_bytes, renderers): (_, Vec<_>) = {
        let pack = pack.lock().unwrap_or_else(PoisonError::into_inner);
        let flush_bytes = pack.size().min(FLUSH_BYTES);
        let renderers = (0..threads.min(MAX_WRITERS)).filter_map(|_| pack.renderer());
        (flush_bytes, renderers.collect())
    };
    let known = Arc::new(Mutex::new(KnownBodies::default()));
    let handlers = renderers.into_iter().map(|renderer| PackWriter {
        pack: Arc::clone(pack),
        known: Arc::clone(&known),
        files: files.clone(),
        format,
        sync,
        renderer,
        flush_bytes,
        group: RecordGroup::default(),
        rendered: Vec::new(),
    });
    WorkerPool::start("pack", ORDERS_PER_WRITER, handlers)
}

/// The body of a response that is being appended.
struct AppendedBody {
    bytes: u64,
    digest: PayloadDigest,
    is_whole: bool,
    /// The earlier response with the same body, if the record refers to that.
    original: Option<PackPlace>,
    done: SaveCallback,
}

impl AppendedBody {
    /// Describes where the body is, once its record is at this place.
    fn saved_at(&self, place: PackPlace) -> SavedBody {
        SavedBody {
            bytes: self.bytes,
            pack: Some(self.original.unwrap_or(place)),
            pack_end: self.original.map(|_| place.end_position()),
            ..SavedBody::default()
        }
    }
}

/// The state of one writer thread.
struct PackWriter {
    pack: Arc<Mutex<PackSeries>>,
    /// The bodies of this run, shared by all threads.
    known: Arc<Mutex<KnownBodies>>,
    files: PackFiles,
    format: PackFormat,
    sync: bool,
    renderer: Renderer,
    flush_bytes: usize,
    /// Rendered bodies to be appended in one write, since each write costs as much as some
    /// kilobytes.
    group: RecordGroup,
    /// Their locations within the group.
    rendered: Vec<(PackPlace, AppendedBody)>,
}

impl OrderHandler for PackWriter {
    type Order = PackOrder;

    fn carry_out(&mut self, order: PackOrder) {
        let PackOrder {
            exchanged,
            content,
            done,
        } = order;
        if let Some(saved) = self.find_duplicate(&exchanged, &content) {
            return done(Ok(saved));
        }
        let original = self.find_original(&exchanged, &content);
        let date = date_of(&exchanged);
        let none = HeaderMap::new();
        let exchange = Exchange {
            original: original.as_ref().map(|(_, head)| head),
            ..exchange(&exchanged, &date, &none)
        };
        let body = AppendedBody {
            bytes: content.length(),
            digest: content.digest(),
            is_whole: exchanged.truncated.is_none(),
            original: original.as_ref().map(|(place, _)| *place),
            done,
        };
        match content {
            BodyContent::Memory { chunks, .. } => self.append_small(&exchange, &chunks, body),
            BodyContent::Spooled { .. } if original.is_some() => {
                self.append_small(&exchange, &[], body);
            }
            BodyContent::Spooled {
                file,
                permit,
                length,
                digest,
            } => {
                let spooled = SpooledBody {
                    from: file,
                    length,
                    digest,
                };
                self.append_large(&exchange, spooled, body);
                drop(permit);
            }
        }
    }

    fn end_of_batch(&mut self) {
        self.append_rendered();
        if !self.sync {
            return;
        }
        // Also what other threads have appended, so that all is reported in its order.
        let mut pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        let (appended, synced) = pack.sync();
        let synced = synced.map_err(|error| failed(self.files.name(), &error));
        for (saved, done) in appended {
            done(synced.clone().map(|()| saved));
        }
    }
}

impl PackWriter {
    /// Finds the body that an earlier run fetched, if the new body is the same. `None` if it cannot
    /// be read.
    fn find_duplicate(
        &self,
        exchanged: &OwnedExchange,
        content: &BodyContent,
    ) -> Option<SavedBody> {
        let (place, bytes) = exchanged.before?;
        if bytes != content.length() {
            return None;
        }
        let digest = content.digest();
        let is_same = match self.format {
            PackFormat::Warc(_) => self.read_head(place)?.payload_digest() == Some(digest.base32()),
            PackFormat::Tar => self.digest_in_tar(place) == Some(digest),
        };
        is_same.then(|| SavedBody {
            bytes,
            pack: Some(place),
            is_same: true,
            ..SavedBody::default()
        })
    }

    /// Hashes a body in a tar, whose head has no digest. `None` if it cannot be read.
    fn digest_in_tar(&self, place: PackPlace) -> Option<PayloadDigest> {
        let paths = [self.files.path(place.n), self.files.part(place.n)];
        paths.into_iter().find_map(|path| {
            let mut hasher = PayloadHasher::default();
            let read = SavedPack::of(path).read(place, |piece| hasher.update(piece));
            read.ok().map(|()| hasher.finish())
        })
    }

    /// Finds an earlier response of this run with the same body. `None` if there is none, if it
    /// cannot be read, or if the pack is a tar, where each body is there for itself.
    fn find_original(
        &mut self,
        exchanged: &OwnedExchange,
        content: &BodyContent,
    ) -> Option<(PackPlace, ResponseRecordHead)> {
        let (digest, length) = (content.digest(), content.length());
        let may_refer = exchanged.truncated.is_none() && self.format != PackFormat::Tar;
        if !may_refer || !KnownBodies::is_worth_it(length) {
            return None;
        }
        let is_same = |(_, body): &(_, AppendedBody)| body.digest == digest;
        if self.rendered.iter().any(is_same) {
            // Its location is known only once it is in the pack.
            self.append_rendered();
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.find(digest, length)?;
        drop(known);
        let head = self.read_head(place)?;
        let original_url = head.field("WARC-Target-URI")?.len();
        let is_short = exchanged.url.as_str().len() + original_url <= MAX_REVISIT_URL_BYTES;
        (is_short && head.payload_digest() == Some(digest.base32())).then_some((place, head))
    }

    fn read_head(&self, place: PackPlace) -> Option<ResponseRecordHead> {
        let file = open_when_free(|| self.open(place.n)).ok()?;
        ResponseRecordHead::read(&file, place, self.format.compression()).ok()
    }

    /// Opens a pack for reading. It may get its final name meanwhile.
    fn open(&self, n: Option<u32>) -> io::Result<File> {
        let path = self.files.path(n);
        File::open(&path)
            .or_else(|_| File::open(self.files.part(n)))
            .or_else(|_| File::open(&path))
    }

    fn append_small(&mut self, exchange: &Exchange<'_>, chunks: &[Bytes], body: AppendedBody) {
        if self.rendered.is_empty() {
            let pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
            pack.prepare(&mut self.renderer);
        }
        let (renderer, group) = (&mut self.renderer, &mut self.group);
        match renderer.add(exchange, chunks, (body.bytes, body.digest), group) {
            Ok(place) => self.rendered.push((place, body)),
            Err(error) => return (body.done)(Err(failed(self.files.name(), &error))),
        }
        if self.group.bytes().len() >= self.flush_bytes {
            self.append_rendered();
        }
    }

    fn append_rendered(&mut self) {
        if self.rendered.is_empty() {
            return;
        }
        let pack = Arc::clone(&self.pack);
        let mut pack = pack.lock().unwrap_or_else(PoisonError::into_inner);
        let last = pack.append(&self.group);
        let start = last.map(|place| (place.n, place.offset - self.group.response().offset));
        for (place, body) in std::mem::take(&mut self.rendered) {
            let place = match &start {
                Ok((n, start)) => Ok(PackPlace {
                    n: *n,
                    offset: start + place.offset,
                    ..place
                }),
                Err(error) => Err(failed(self.files.name(), error)),
            };
            self.report_append(&mut pack, place, body);
        }
        self.group.clear();
    }

    fn append_large(
        &mut self,
        exchange: &Exchange<'_>,
        spooled: SpooledBody<File>,
        body: AppendedBody,
    ) {
        self.append_rendered();
        let renderer = &mut self.renderer;
        self.pack
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .prepare(renderer);
        // Compressing gigabytes takes minutes, so it is done before locking the pack.
        let compressed = match self.format.compression() {
            RecordCompression::Gzip => {
                compress(renderer, exchange, spooled, self.files.name()).map(LargeBody::Ready)
            }
            RecordCompression::Plain => Ok(LargeBody::Body(spooled)),
        };
        let pack = Arc::clone(&self.pack);
        let mut pack = pack.lock().unwrap_or_else(PoisonError::into_inner);
        let place = compressed.and_then(|large| {
            pack.append_with(|file| match large {
                LargeBody::Body(body) => renderer.stream(exchange, body, file),
                LargeBody::Ready((mut group, place)) => {
                    io::copy(&mut group, file)?;
                    Ok(place)
                }
            })
        });
        let place = place.map_err(|error| failed(self.files.name(), &error));
        self.report_append(&mut pack, place, body);
    }

    /// Reports the result of an append; with `sync`, only once it is synced. The caller holds the
    /// lock of the pack, so reports have the order of the appends.
    fn report_append(
        &self,
        pack: &mut PackSeries,
        place: Result<PackPlace, FetchError>,
        body: AppendedBody,
    ) {
        let place = match place {
            Ok(place) => place,
            Err(error) => return (body.done)(Err(error)),
        };
        if body.is_whole && body.original.is_none() && self.format != PackFormat::Tar {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.add(body.digest, body.bytes, place);
        }
        let saved = body.saved_at(place);
        if self.sync {
            pack.report_once_synced(saved, body.done);
        } else {
            (body.done)(Ok(saved));
        }
    }
}

/// A large body to be appended.
enum LargeBody {
    /// Not rendered yet.
    Body(SpooledBody<File>),
    /// Rendered to a file, and the location of the response in it.
    Ready((File, PackPlace)),
}

fn compress(
    renderer: &mut Renderer,
    exchange: &Exchange<'_>,
    body: SpooledBody<File>,
    pack: &Path,
) -> io::Result<(File, PackPlace)> {
    let mut group = spool_file(dir_of(pack))?;
    let place = renderer.stream(exchange, body, &mut group)?;
    group.seek(SeekFrom::Start(0))?;
    Ok((group, place))
}

fn exchange<'a>(exchanged: &'a OwnedExchange, date: &'a str, none: &'a HeaderMap) -> Exchange<'a> {
    let headers = exchanged.asked.as_ref().map(|asked| &asked.headers);
    Exchange {
        date,
        request: RequestHead {
            method: &exchanged.method,
            url: &exchanged.url,
            headers: headers.unwrap_or(none),
            body: &exchanged.body,
        },
        response: &exchanged.head,
        fetch_time: Some(exchanged.took),
        visited: &exchanged.visited,
        place: Some(&exchanged.place),
        original: None,
        truncated: exchanged.truncated,
        sample: exchanged.sample.as_ref(),
    }
}

fn date_of(exchanged: &OwnedExchange) -> String {
    let at = jiff::Timestamp::try_from(exchanged.at).unwrap_or_default();
    format!("{at:.3}")
}

/// Returns the error for a failed write to the pack. It ends the run, since no other body could be
/// saved.
pub(super) fn failed(path: &Path, error: &io::Error) -> FetchError {
    save_error::save_error(&path.display().to_string(), error, true)
}
