//! How much memory a run takes.

/// The most memory that a process had resident so far, in KiB; 0 when it is over, and where
/// the system does not tell.
pub fn peak(process: u32) -> u64 {
    // Until a child has become another program, what it has is the memory of this one.
    let program = |process: u32| std::fs::read_link(format!("/proc/{process}/exe")).ok();
    let this = std::process::id();
    if process != this && program(process) == program(this) {
        return 0;
    }
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.map_or(0, |number| number.parse().unwrap())
}
