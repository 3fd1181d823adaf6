//! One run of one program, and its cost.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum duration of a run.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(1);
/// The kernel's unit for CPU times, on every architecture that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// The cost of a run.
pub struct Ran {
    /// User and system time.
    pub cpu: Duration,
    pub wall: Duration,
    /// Peak resident memory in KiB, read shortly before the end.
    pub peak: u64,
    /// Why the run does not count.
    pub complaint: Option<String>,
}

/// Runs a program to its end.
pub fn run(mut command: Command) -> Ran {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let cpu_before = cpu_of_children();
    let start = Instant::now();
    let mut child = Running {
        child: command.spawn().expect("a program that starts"),
        peak: 0,
    };
    let status = child.wait(start + PATIENCE);
    let wall = start.elapsed();
    Ran {
        cpu: cpu_of_children() - cpu_before,
        wall,
        peak: child.peak,
        complaint: match status {
            None => Some(format!("did not end within {PATIENCE:.0?}")),
            Some(status) if !status.success() => Some(format!("ended with {status}")),
            Some(_) => None,
        },
    }
}

/// A child process that is killed when dropped.
struct Running {
    child: Child,
    peak: u64,
}

impl Running {
    /// Waits for the end, and kills the process if that takes too long.
    fn wait(&mut self, until: Instant) -> Option<ExitStatus> {
        while Instant::now() < until {
            self.peak = peak_of(self.child.id()).unwrap_or(self.peak);
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return Some(status);
            }
            thread::sleep(POLL);
        }
        self.end();
        None
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns `VmHWM` of a process; `None` if it has ended.
fn peak_of(process: u32) -> Option<u64> {
    let path = Path::new("/proc").join(process.to_string()).join("status");
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the CPU time of all children that were waited for (`cutime` and `cstime` in proc(5)).
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("proc, as on Linux");
    // The second field, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')').expect("the name of the program");
    let ticks: u32 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|field| field.parse::<u32>().expect("ticks"))
        .sum();
    TICK * ticks
}
