//! Where a body goes: to the store, or to the reader of the list if it is a sitemap.

use bytes::Bytes;

use crate::model::{FetchError, Record};
use crate::store::{BodyWriter, SaveCallback, SitemapWriter};

/// Writes one body to the store or for the reader of the list.
pub(super) enum BodyTarget<F> {
    Store(F),
    Sitemap(SitemapWriter),
}

impl<F: BodyWriter> BodyWriter for BodyTarget<F> {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        match self {
            Self::Store(file) => file.write(chunk).await,
            Self::Sitemap(sitemap) => sitemap.write(chunk).await,
        }
    }

    fn describe(&mut self, record: impl FnOnce(u64) -> Record) {
        match self {
            Self::Store(file) => file.describe(record),
            Self::Sitemap(_) => {}
        }
    }

    async fn commit(self, done: SaveCallback) {
        match self {
            Self::Store(file) => file.commit(done).await,
            Self::Sitemap(sitemap) => sitemap.commit(done).await,
        }
    }

    fn excerpt(&self) -> (Vec<u8>, bool) {
        match self {
            Self::Store(file) => file.excerpt(),
            Self::Sitemap(sitemap) => sitemap.excerpt(),
        }
    }

    fn discard(self) {
        match self {
            Self::Store(file) => file.discard(),
            Self::Sitemap(sitemap) => sitemap.discard(),
        }
    }
}
