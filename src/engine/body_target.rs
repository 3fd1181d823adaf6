//! Where a body goes: to the store, to the reader of the list if it is a sitemap, or to the queue if
//! it is a robots.txt.

use std::fs::File;

use bytes::Bytes;

use crate::model::{FetchError, Record};
use crate::store::{BodyWriter, RobotsWriter, SaveCallback, SegmentedFile, SitemapWriter};

/// Writes one body to where it goes.
pub(super) enum BodyTarget<F> {
    Store(F),
    Sitemap(SitemapWriter),
    Robots(RobotsWriter),
}

impl<F: BodyWriter> BodyWriter for BodyTarget<F> {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        match self {
            Self::Store(file) => file.write(chunk).await,
            Self::Sitemap(sitemap) => sitemap.write(chunk).await,
            Self::Robots(robots) => robots.write(chunk).await,
        }
    }

    fn describe(&mut self, record: impl FnOnce(u64) -> Record) {
        match self {
            Self::Store(file) => file.describe(record),
            Self::Sitemap(_) | Self::Robots(_) => {}
        }
    }

    async fn commit(self, done: SaveCallback) {
        match self {
            Self::Store(file) => file.commit(done).await,
            Self::Sitemap(sitemap) => sitemap.commit(done).await,
            Self::Robots(robots) => robots.commit(done).await,
        }
    }

    async fn read_back(&self) -> Result<File, FetchError> {
        match self {
            Self::Store(file) => file.read_back().await,
            Self::Sitemap(sitemap) => sitemap.read_back().await,
            Self::Robots(robots) => robots.read_back().await,
        }
    }

    fn segments(&mut self) -> Option<SegmentedFile> {
        match self {
            Self::Store(file) => file.segments(),
            Self::Sitemap(_) | Self::Robots(_) => None,
        }
    }

    fn excerpt(&self) -> (Vec<u8>, bool) {
        match self {
            Self::Store(file) => file.excerpt(),
            Self::Sitemap(sitemap) => sitemap.excerpt(),
            Self::Robots(robots) => robots.excerpt(),
        }
    }

    fn discard(self) {
        match self {
            Self::Store(file) => file.discard(),
            Self::Sitemap(sitemap) => sitemap.discard(),
            Self::Robots(robots) => robots.discard(),
        }
    }
}
