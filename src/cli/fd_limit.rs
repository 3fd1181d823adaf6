//! The system's limit on open files.

#[cfg(unix)]
use std::io;
use std::num::NonZeroUsize;

/// Raises the soft limit on open files, often 1,024, to the hard limit: every connection takes a
/// descriptor. If that fails, the limit stays as it is.
#[cfg(unix)]
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Does nothing: other systems have no such limit.
#[cfg(not(unix))]
pub fn raise_descriptor_limit() {}

/// Counts how many more descriptors can be opened, up to `most`.
#[cfg(unix)]
pub(super) fn free_descriptors(most: usize) -> usize {
    use std::os::fd::AsFd;
    let copies = (0..most).map_while(|_| io::stdin().as_fd().try_clone_to_owned().ok());
    copies.collect::<Vec<_>>().len()
}

/// Lowers `concurrency` to what the limit on open files allows. Returns that number if it had to.
pub(crate) fn bound_by_descriptors(concurrency: &mut NonZeroUsize) -> Option<NonZeroUsize> {
    let most = fetchall::program::max_requests().and_then(NonZeroUsize::new)?;
    if *concurrency <= most {
        return None;
    }
    *concurrency = most;
    Some(most)
}
