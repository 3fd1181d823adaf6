//! Limits of the system on this process.

use std::num::NonZeroUsize;

/// Raises the number of open files allowed from the soft limit, often 1,024, to the hard
/// one: every connection takes a descriptor. What can't be raised stays as it is.
#[cfg(unix)]
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn raise_descriptor_limit() {}

/// Lowers `concurrency` to what the open files allow; tells that number if it had to.
pub fn bound_by_descriptors(concurrency: &mut NonZeroUsize) -> Option<NonZeroUsize> {
    let most = fetchall::program::max_requests().and_then(NonZeroUsize::new)?;
    if *concurrency <= most {
        return None;
    }
    *concurrency = most;
    Some(most)
}
