//! The program, stopped in the middle of its work again and again: what it leaves is whole, and
//! the next run goes on from there.
//!
//! By default a few kills, so that `cargo test` stays quick. `FETCHALL_KILLS=300` does more of
//! it, and `FETCHALL_SEED=…` draws as an earlier run did (the seed stands in the output of a test
//! that fails; when a kill hits is up to the machine all the same).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]
#![cfg(unix)]

/// An output folder that is run into again and again, and what has to hold there.
mod folder;
/// Ctrl-C and `SIGTERM`: parts are kept and continued.
mod interrupt;
/// `SIGKILL` at any moment.
mod kill;
/// A site on a bad line.
mod site;
/// Helpers: the program under test, and servers to run it against.
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of behaviour, which need more of it"
)]
#[path = "../integration/support/mod.rs"]
mod support;
