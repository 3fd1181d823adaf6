//! Finds files that are already what a line asks for, so that a lost journal, or a new signature in
//! a URL, costs no download.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::body_verifier::BodyVerifier;
use super::request::request_for;
use super::{Engine, EngineOptions};
use crate::fetch::Transport;
use crate::model::{Job, SavedBody};
use crate::store::{BodyStore, MAX_FILE_WRITERS};

/// Maximum number of files read at a time: one for each thread that writes.
pub(super) const MAX_CHECKS: usize = MAX_FILE_WRITERS;
/// Bytes read in one go. The thread saves other bodies in between.
const SLICE_BYTES: u64 = 16 << 20;
/// Maximum time for one slice, after which the disk counts as hanging and the URL is fetched.
const SLICE_TIMEOUT: Duration = Duration::from_secs(300);

/// Whether a job may be settled by a file that is there: its line gives size and hash, so that
/// nothing but this body fits, and its request changes nothing on the server.
pub(crate) fn is_adoptable(options: &EngineOptions, job: &Job) -> bool {
    let own_options = job.options.as_ref();
    own_options
        .is_some_and(|own_options| own_options.size.is_some() && own_options.hashes.is_some())
        && request_for(job, options).0.is_safe()
}

/// Whether there is a file of the right size for such a job. Reads the disk.
pub(super) fn has_candidate<T, S: BodyStore>(engine: &Engine<T, S>, job: &Job) -> bool {
    let size = job
        .options
        .as_ref()
        .and_then(|own_options| own_options.size);
    let file = engine.store.file_of(job);
    is_adoptable(&engine.options, job)
        && file.is_some_and(|file| engine.store.file_length(&file) == size)
}

/// Hashes the file of a job. Returns the job, and the file if it has the size and hash of the line.
pub(super) async fn check<T: Transport, S: BodyStore>(
    engine: Arc<Engine<T, S>>,
    job: Job,
) -> (Job, Option<SavedBody>) {
    let found = find(&engine, &job).await;
    (job, found)
}

async fn find<T, S: BodyStore>(engine: &Engine<T, S>, job: &Job) -> Option<SavedBody> {
    let file = engine.store.file_of(job)?;
    let own_options = job.options.as_ref()?;
    let bytes = own_options.size?;
    let mut checks = BodyVerifier::of_saved(own_options.size, own_options.hashes.clone());
    let mut offset = 0;
    while offset < bytes {
        let (sender, read) = oneshot::channel();
        let slice = move |opened: io::Result<File>| {
            let read = opened.and_then(|file| read_slice(file, offset, checks));
            drop(sender.send(read));
        };
        engine.store.with_file(&file, Box::new(slice));
        checks = timeout(SLICE_TIMEOUT, read).await.ok()?.ok()?.ok()?;
        offset += SLICE_BYTES;
    }
    Some(SavedBody {
        bytes,
        hashes: checks.finish().ok()?,
        file: Some(file),
        ..SavedBody::default()
    })
}

fn read_slice(mut file: File, offset: u64, mut checks: BodyVerifier) -> io::Result<BodyVerifier> {
    file.seek(SeekFrom::Start(offset))?;
    checks.read_existing(file.take(SLICE_BYTES))?;
    Ok(checks)
}
