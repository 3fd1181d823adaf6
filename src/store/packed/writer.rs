//! The threads that render and append. Rendering (compressing, hashing) goes on side by side;
//! appending is one after another, and what was appended is told in the same order: so the
//! journal never knows a record without all those before it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;

use super::body::{Content, Exchanged};
use super::{folder_of, spool_file};
use crate::model::{FetchError, PackPlace, Saved, open_when_free};
use crate::store::crew::{Crew, Hand};
use crate::store::pack::{
    Coding, Exchange, Group, Pack, PayloadDigest, Renderer, RequestHead, Spooled, payload_digest,
};
use crate::store::{Done, trouble};

/// Threads that compress at most. Without compression one is enough.
const MOST_WRITERS: usize = 8;
/// So many orders may wait for a thread before the next one helps. Compressing a page takes
/// some hundred microseconds.
const BUSY: usize = 16;
/// Bytes of rendered bodies that are appended at once.
const FULL: usize = 128 * 1024;

/// A body to be packed.
pub struct Order {
    pub exchanged: Box<Exchanged>,
    pub content: Content,
    pub done: Done,
}

/// Starts the threads.
pub fn start(
    pack: &Arc<Mutex<Pack>>,
    path: &Path,
    compresses: bool,
    sync: bool,
) -> io::Result<Crew<Order>> {
    let threads = if compresses {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        1
    };
    let renderers: Vec<_> = {
        let pack = pack.lock().unwrap_or_else(PoisonError::into_inner);
        (0..threads.min(MOST_WRITERS))
            .map(|_| pack.renderer())
            .collect()
    };
    let coding = if compresses {
        Coding::Gzip
    } else {
        Coding::Plain
    };
    let hands = renderers.into_iter().map(|renderer| Writer {
        pack: Arc::clone(pack),
        path: path.to_owned(),
        coding,
        sync,
        renderer,
        group: Group::default(),
        rendered: Vec::new(),
        appended: Vec::new(),
    });
    Crew::start("pack", BUSY, hands)
}

/// A body in the group.
struct Rendered {
    /// Where in the group its response stands.
    place: PackPlace,
    bytes: u64,
    done: Done,
}

/// One thread.
struct Writer {
    pack: Arc<Mutex<Pack>>,
    path: PathBuf,
    coding: Coding,
    sync: bool,
    renderer: Renderer,
    /// Rendered, to be appended at once: every write costs as much as some kilobytes.
    group: Group,
    rendered: Vec<Rendered>,
    /// With `sync`: appended, but not safe yet.
    appended: Vec<(Saved, Done)>,
}

impl Hand for Writer {
    type Order = Order;

    fn carry_out(&mut self, order: Order) {
        let Order {
            exchanged,
            content,
            done,
        } = order;
        if let Some(saved) = self.is_there(&exchanged, &content) {
            return done(Ok(saved));
        }
        let date = date_of(&exchanged);
        let none = HeaderMap::new();
        let exchange = exchange(&exchanged, &date, &none);
        match content {
            Content::Memory { chunks, digest } => {
                self.append_small(&exchange, &chunks, digest, done);
            }
            Content::Spooled {
                file,
                room,
                length,
                digest,
            } => {
                let body = Spooled {
                    from: file,
                    length,
                    digest,
                };
                self.append_large(&exchange, body, done);
                drop(room);
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

impl Writer {
    /// Where the same body stands already, if it is the one that an earlier run fetched. What
    /// can't be read is not.
    fn is_there(&self, exchanged: &Exchanged, content: &Content) -> Option<Saved> {
        let (place, bytes) = exchanged.before?;
        if bytes != content.length() {
            return None;
        }
        let file = open_when_free(|| File::open(&self.path)).ok()?;
        let digest = payload_digest(&file, place, self.coding).ok()??;
        (digest == content.digest().base32()).then(|| Saved {
            bytes,
            pack: Some(place),
            is_same: true,
            ..Saved::default()
        })
    }

    fn append_small(
        &mut self,
        exchange: &Exchange<'_>,
        chunks: &[Bytes],
        digest: PayloadDigest,
        done: Done,
    ) {
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        match self.renderer.add(exchange, chunks, digest, &mut self.group) {
            Ok(place) => self.rendered.push(Rendered { place, bytes, done }),
            Err(error) => return done(Err(failed(&self.path, &error))),
        }
        if self.group.bytes().len() >= FULL {
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
        for Rendered { place, bytes, done } in self.rendered.drain(..) {
            let place = match &start {
                Ok(start) => Ok(PackPlace {
                    offset: start + place.offset,
                    ..place
                }),
                Err(error) => Err(failed(&self.path, error)),
            };
            let told = tell(place, bytes, self.sync, done);
            self.appended.extend(told);
        }
        self.group.clear();
    }

    fn append_large(&mut self, exchange: &Exchange<'_>, body: Spooled<File>, done: Done) {
        self.append_rendered();
        let length = body.length;
        let renderer = &mut self.renderer;
        // Compressing gigabytes takes minutes: the others must not wait for that.
        let compressed = match self.coding {
            Coding::Gzip => compress(renderer, exchange, body, &self.path).map(Large::Ready),
            Coding::Plain => Ok(Large::Body(body)),
        };
        let mut pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        let place = compressed.and_then(|large| {
            pack.append_with(|file| match large {
                Large::Body(body) => renderer.stream(exchange, body, file),
                Large::Ready((mut group, place)) => {
                    io::copy(&mut group, file)?;
                    Ok(place)
                }
            })
        });
        let place = place.map_err(|error| failed(&self.path, &error));
        let told = tell(place, length, self.sync, done);
        self.appended.extend(told);
    }
}

/// A large body on its way into the pack.
enum Large {
    /// To be rendered.
    Body(Spooled<File>),
    /// Rendered, and where in that the response stands.
    Ready((File, PackPlace)),
}

fn compress(
    renderer: &mut Renderer,
    exchange: &Exchange<'_>,
    body: Spooled<File>,
    pack: &Path,
) -> io::Result<(File, PackPlace)> {
    let mut group = spool_file(folder_of(pack))?;
    let place = renderer.stream(exchange, body, &mut group)?;
    group.seek(SeekFrom::Start(0))?;
    Ok((group, place))
}

/// Tells what became of a body, while nobody else can append; or gives it back, to be told once
/// it is safe.
fn tell(
    place: Result<PackPlace, FetchError>,
    bytes: u64,
    sync: bool,
    done: Done,
) -> Option<(Saved, Done)> {
    match place {
        Ok(place) => {
            let saved = Saved {
                bytes,
                pack: Some(place),
                ..Saved::default()
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

fn exchange<'a>(exchanged: &'a Exchanged, date: &'a str, none: &'a HeaderMap) -> Exchange<'a> {
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

fn date_of(exchanged: &Exchanged) -> String {
    let at = jiff::Timestamp::try_from(exchanged.at).unwrap_or_default();
    format!("{at:.3}")
}

/// Why something could not be packed; nothing else can be, then.
pub fn failed(path: &Path, error: &io::Error) -> FetchError {
    trouble::failed(&path.display().to_string(), error, true)
}
