//! Measures the memory of a run.

/// Returns the peak resident memory of a process, in KiB. 0 if the process has ended, and on
/// systems without `/proc`.
pub fn peak(process: u32) -> u64 {
    // Between fork and exec, a child has the memory of this process.
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
