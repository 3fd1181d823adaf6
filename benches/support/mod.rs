//! What the benches share: how a program is run and measured, and numbers.

/// A program, run in a process of its own, and what it took.
pub mod launch;
/// Medians and spreads.
pub mod numbers;
