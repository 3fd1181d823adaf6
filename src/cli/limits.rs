//! Limits of the system on this process.

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
