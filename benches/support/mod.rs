//! What the benchmarks share: running and measuring programs, and statistics.

/// Runs a program in a separate process and measures it.
pub mod launch;
/// Medians and spreads.
pub mod numbers;
