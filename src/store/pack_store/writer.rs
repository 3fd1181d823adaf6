//! The threads that render and append bodies. They render (hash and compress) in parallel, but
//! append and report one at a time, in the same order, so that the journal never has a record
//! without all those before it in the pack.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;

use super::exchange::{BodyContent, OwnedExchange};
use super::spool::{dir_of, spool_file};
use crate::model::{FetchError, PackPlace, SavedBody, open_when_free};
use crate::store::warc::{
    Exchange, Pack, PayloadDigest, RecordCompression, RecordGroup, Renderer, RequestHead,
    SpooledBody, payload_digest,
};
use crate::store::worker_pool::{OrderHandler, WorkerPool};
use crate::store::{SaveCallback, save_error};

/// Maximum number of threads for a compressed pack. Without compression, one is enough.
const MAX_WRITERS: usize = 8;
/// Number of queued orders from which the next thread helps. Compressing a page takes some hundred
/// microseconds.
const ORDERS_PER_WRITER: usize = 16;
/// Size of a group from which it is appended, in bytes.
const FLUSH_BYTES: usize = 128 * 1024;

/// An order to save a body.
pub struct PackOrder {
    pub exchanged: Box<OwnedExchange>,
    pub content: BodyContent,
    pub done: SaveCallback,
}

/// Starts the writer threads.
pub fn start(
    pack: &Arc<Mutex<Pack>>,
    path: &Path,
    compresses: bool,
    sync: bool,
) -> io::Result<WorkerPool<PackOrder>> {
    let threads = if compresses {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        1
    };
    let renderers: Vec<_> = {
        let pack = pack.lock().unwrap_or_else(PoisonError::into_inner);
        (0..threads.min(MAX_WRITERS))
            .map(|_| pack.renderer())
            .collect()
    };
    let coding = if compresses {
        RecordCompression::Gzip
    } else {
        RecordCompression::Plain
    };
    let handlers = renderers.into_iter().map(|renderer| PackWriter {
        pack: Arc::clone(pack),
        path: path.to_owned(),
        coding,
        sync,
        renderer,
        group: RecordGroup::default(),
        rendered: Vec::new(),
        appended: Vec::new(),
    });
    WorkerPool::start("pack", ORDERS_PER_WRITER, handlers)
}

/// A rendered body in the group.
struct RenderedBody {
    /// Location of its response within the group.
    place: PackPlace,
    bytes: u64,
    done: SaveCallback,
}

/// The state of one writer thread.
struct PackWriter {
    pack: Arc<Mutex<Pack>>,
    path: PathBuf,
    coding: RecordCompression,
    sync: bool,
    renderer: Renderer,
    /// Rendered bodies to be appended in one write, since each write costs as much as some
    /// kilobytes.
    group: RecordGroup,
    rendered: Vec<RenderedBody>,
    /// With `sync`: appended, but not synced yet.
    appended: Vec<(SavedBody, SaveCallback)>,
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
        let date = date_of(&exchanged);
        let none = HeaderMap::new();
        let exchange = exchange(&exchanged, &date, &none);
        match content {
            BodyContent::Memory { chunks, digest } => {
                self.append_small(&exchange, &chunks, digest, done);
            }
            BodyContent::Spooled {
                file,
                permit,
                length,
                digest,
            } => {
                let body = SpooledBody {
                    from: file,
                    length,
                    digest,
                };
                self.append_large(&exchange, body, done);
                drop(permit);
            }
        }
    }

    fn end_of_batch(&mut self) {
        self.append_rendered();
        if self.appended.is_empty() {
            return;
        }
        let pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = pack.sync().map_err(|error| failed(&self.path, &error));
        for (saved, done) in self.appended.drain(..) {
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
        let file = open_when_free(|| File::open(&self.path)).ok()?;
        let digest = payload_digest(&file, place, self.coding).ok()??;
        (digest == content.digest().base32()).then(|| SavedBody {
            bytes,
            pack: Some(place),
            is_same: true,
            ..SavedBody::default()
        })
    }

    fn append_small(
        &mut self,
        exchange: &Exchange<'_>,
        chunks: &[Bytes],
        digest: PayloadDigest,
        done: SaveCallback,
    ) {
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        match self.renderer.add(exchange, chunks, digest, &mut self.group) {
            Ok(place) => self.rendered.push(RenderedBody { place, bytes, done }),
            Err(error) => return done(Err(failed(&self.path, &error))),
        }
        if self.group.bytes().len() >= FLUSH_BYTES {
            self.append_rendered();
        }
    }

    fn append_rendered(&mut self) {
        if self.rendered.is_empty() {
            return;
        }
        let mut pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        let last = pack.append(&self.group);
        let start = last.map(|place| place.offset - self.group.response().offset);
        for RenderedBody { place, bytes, done } in self.rendered.drain(..) {
            let place = match &start {
                Ok(start) => Ok(PackPlace {
                    offset: start + place.offset,
                    ..place
                }),
                Err(error) => Err(failed(&self.path, error)),
            };
            let unsynced = report_append(place, bytes, self.sync, done);
            self.appended.extend(unsynced);
        }
        self.group.clear();
    }

    fn append_large(
        &mut self,
        exchange: &Exchange<'_>,
        body: SpooledBody<File>,
        done: SaveCallback,
    ) {
        self.append_rendered();
        let length = body.length;
        let renderer = &mut self.renderer;
        // Compressing gigabytes takes minutes, so it is done before locking the pack.
        let compressed = match self.coding {
            RecordCompression::Gzip => {
                compress(renderer, exchange, body, &self.path).map(LargeBody::Ready)
            }
            RecordCompression::Plain => Ok(LargeBody::Body(body)),
        };
        let mut pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        let place = compressed.and_then(|large| {
            pack.append_with(|file| match large {
                LargeBody::Body(body) => renderer.stream(exchange, body, file),
                LargeBody::Ready((mut group, place)) => {
                    io::copy(&mut group, file)?;
                    Ok(place)
                }
            })
        });
        let place = place.map_err(|error| failed(&self.path, &error));
        let unsynced = report_append(place, length, self.sync, done);
        self.appended.extend(unsynced);
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

/// Reports the result of an append. The caller holds the lock of the pack, so reports have the
/// order of the appends. With `sync`, returns a saved body instead, to be reported once it is
/// synced.
fn report_append(
    place: Result<PackPlace, FetchError>,
    bytes: u64,
    sync: bool,
    done: SaveCallback,
) -> Option<(SavedBody, SaveCallback)> {
    match place {
        Ok(place) => {
            let saved = SavedBody {
                bytes,
                pack: Some(place),
                ..SavedBody::default()
            };
            if sync {
                return Some((saved, done));
            }
            done(Ok(saved));
        }
        Err(error) => done(Err(error)),
    }
    None
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
    }
}

fn date_of(exchanged: &OwnedExchange) -> String {
    let at = jiff::Timestamp::try_from(exchanged.at).unwrap_or_default();
    format!("{at:.3}")
}

/// Returns the error for a failed write to the pack. It ends the run, since no other body could be
/// saved.
pub fn failed(path: &Path, error: &io::Error) -> FetchError {
    save_error::save_error(&path.display().to_string(), error, true)
}
