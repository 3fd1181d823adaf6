//! Stops the program in the middle of its work, many times: what it leaves is complete, and the
//! next run continues from there.
//!
//! By default it kills a few runs, so that `cargo test` stays quick. `FETCHALL_KILLS=300` kills
//! more. `FETCHALL_SEED=…` draws the same numbers as an earlier run; a failed test prints its seed.
//! The exact moment of a kill still depends on the machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]
#![cfg(unix)]

/// An output directory that several runs use in turn, and its invariants.
mod folder;
/// Ctrl-C and `SIGTERM`: partial bodies are kept and continued.
mod interrupt;
/// `SIGKILL` at any moment.
mod kill;
/// `SIGKILL` while a body comes in segments.
mod segments;
/// A site on an unreliable connection.
mod site;
/// The program under test, and servers to run it against.
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of behaviour, which need more of it"
)]
#[path = "../integration/support/mod.rs"]
mod support;
