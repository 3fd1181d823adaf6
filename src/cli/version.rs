//! What `--version` says.

/// The version; of a released binary, also the commit and its date, which `.ci/release` sets.
pub(super) const VERSION: &str = match option_env!("FETCHALL_BUILD") {
    Some(build) => build,
    None => env!("CARGO_PKG_VERSION"),
};
