//! Collects the body of a sitemap for the reader of the list: in memory, or in an unnamed temporary
//! file if it is large.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use tokio::time::timeout;

use super::worker_pool::DISK_TIMEOUT;
use super::{BodyWriter, SaveCallback, save_error};
use crate::model::{
    FetchError, SavedBody, SitemapBody, SitemapReply, open_when_free, spawn_blocking,
};

/// Maximum size of a sitemap, in bytes (sitemaps.org protocol: 50 MB uncompressed).
pub(super) const MAX_SITEMAP_BYTES: u64 = 50 << 20;
/// Bytes from which they are moved to the file.
const FLUSH_BYTES: usize = 1 << 20;

/// Collects one sitemap.
pub(crate) struct SitemapWriter {
    reply: SitemapReply,
    held: Vec<u8>,
    spool: Option<File>,
    length: u64,
}

impl SitemapWriter {
    pub(crate) fn new(reply: SitemapReply) -> Self {
        Self {
            reply,
            held: Vec::new(),
            spool: None,
            length: 0,
        }
    }

    /// Moves what is in memory to the temporary file, on a thread that may block.
    async fn flush(&mut self) -> Result<(), FetchError> {
        let (held, spool) = (std::mem::take(&mut self.held), self.spool.take());
        let written = spawn_blocking(move || {
            let mut file = match spool {
                Some(file) => file,
                None => open_when_free(tempfile::tempfile)?,
            };
            file.write_all(&held)?;
            io::Result::Ok(file)
        });
        let name = "a temporary file for a sitemap";
        let Ok(written) = timeout(DISK_TIMEOUT, written).await else {
            return Err(save_error::save_timeout(name));
        };
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.spool = Some(written.map_err(|error| save_error::save_error(name, &error, false))?);
        Ok(())
    }

    fn into_body(mut self) -> io::Result<SitemapBody> {
        let held = Cursor::new(self.held);
        Ok(match self.spool.take() {
            None => Box::new(held),
            Some(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Box::new(file.chain(held))
            }
        })
    }
}

impl BodyWriter for SitemapWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.length += chunk.len() as u64;
        if self.length > MAX_SITEMAP_BYTES {
            return Err(FetchError::TooLarge {
                limit: MAX_SITEMAP_BYTES,
                announced: None,
            });
        }
        self.held.extend_from_slice(&chunk);
        if self.held.len() >= FLUSH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn commit(self, done: SaveCallback) {
        let (reply, bytes) = (self.reply.clone(), self.length);
        let body = self.into_body();
        let body = body.map_err(|error| save_error::save_error("a sitemap", &error, false));
        done(body.map(|body| {
            reply.set_body(body);
            SavedBody {
                bytes,
                ..SavedBody::default()
            }
        }));
    }

    fn discard(self) {}
}
