//! Sitemaps that the run fetches to read URLs from them.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use super::SettledJob;

/// The body of a sitemap.
pub(crate) type SitemapBody = Box<dyn Read + Send>;

/// Takes a fetched sitemap to the reader of the list instead of the outputs. When the last clone is
/// dropped without an answer, the run has ended.
#[derive(Clone)]
pub(crate) struct SitemapReply {
    body: Arc<Mutex<Option<SitemapBody>>>,
    sender: mpsc::Sender<SettledJob>,
}

/// Waits for a fetched sitemap.
pub(crate) struct PendingSitemap {
    body: Arc<Mutex<Option<SitemapBody>>>,
    receiver: mpsc::Receiver<SettledJob>,
}

impl SitemapReply {
    /// Creates both ends.
    #[must_use]
    pub(crate) fn new() -> (Self, PendingSitemap) {
        let body = Arc::default();
        let (sender, receiver) = mpsc::channel();
        let pending = PendingSitemap {
            body: Arc::clone(&body),
            receiver,
        };
        (Self { body, sender }, pending)
    }

    /// Sets the body, before the job is settled.
    pub(crate) fn set_body(&self, body: SitemapBody) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Answers with the settled job.
    pub(crate) fn send(&self, settled: SettledJob) {
        // The reader is gone when the run ends early.
        let _ = self.sender.send(settled);
    }
}

impl PendingSitemap {
    /// Waits until the sitemap is fetched or has failed; `None` if the run ends first. Needs no
    /// timeout of its own: the job has those of every request.
    #[must_use]
    pub(crate) fn wait(self) -> Option<(SettledJob, Option<SitemapBody>)> {
        let settled = self.receiver.recv().ok()?;
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        Some((settled, { body }.take()))
    }
}

impl fmt::Debug for SitemapReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SitemapReply(…)")
    }
}

impl PartialEq for SitemapReply {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for SitemapReply {}
