//! Runs a program in a separate process and measures it.
//!
//! The kernel reports the usage of children only as a sum. Therefore a launcher, which is this
//! program started again, runs the program as its only child, and writes down what the kernel
//! reports. That is exact, includes the last moment of the program, and excludes the memory of this
//! process, which a forked child has until it calls exec.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use tempfile::NamedTempFile;

const ASKED: &str = "--launch";
/// An unset value among the launcher's arguments.
const NONE: &str = "-";
const BROKEN: u8 = 70;

/// The cost of a run.
#[derive(Clone, Default)]
pub struct Ran {
    /// User and system time.
    pub cpu: Duration,
    pub wall: Duration,
    /// Peak resident memory, in KiB.
    pub peak: u64,
    /// The lines on stdout, and the number of them that contain the mark.
    pub lines: u64,
    pub marked: u64,
    /// The connections that the server counted.
    pub connections: u64,
    /// Why the run does not count.
    pub complaint: Option<String>,
}

/// Writes stdin, on a thread of its own, into a pipe.
type Feed = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// How a program is run.
pub struct Launch {
    command: Command,
    feed: Option<Feed>,
    mark: &'static [u8],
    times: u32,
    processors: Option<String>,
    terminal: bool,
    patience: Duration,
    /// The exit codes that mean success.
    codes: &'static [i32],
}

impl Launch {
    pub fn new(command: Command) -> Self {
        Self {
            command,
            feed: None,
            mark: b"\"ok\":true",
            times: 1,
            processors: None,
            terminal: false,
            patience: Duration::from_secs(300),
            codes: &[0],
        }
    }

    /// Sets what is written to stdin, a pipe. Without it, stdin is empty.
    pub fn feed(
        mut self,
        feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Self {
        self.feed = Some(Box::new(feed));
        self
    }

    /// Runs the program this number of times in a row; the times are totals.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Restricts the program to these processors (`0`, `0,1`).
    pub fn processors(mut self, list: &str) -> Self {
        self.processors = Some(list.to_owned());
        self
    }

    /// Makes stderr a terminal, which is read.
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// Sets the exit codes that mean success.
    pub fn codes(mut self, codes: &'static [i32]) -> Self {
        self.codes = codes;
        self
    }

    /// Runs the program to its end.
    pub fn run(self) -> Ran {
        let result = NamedTempFile::new().expect("a temporary file");
        let mut launcher = Command::new(env::current_exe().expect("the path of this program"));
        launcher
            .arg(ASKED)
            .arg(result.path())
            .arg(self.times.to_string())
            .arg(self.processors.as_deref().unwrap_or(NONE))
            .arg(if self.terminal { "terminal" } else { NONE })
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(if self.feed.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => launcher.env(name, value),
                None => launcher.env_remove(name),
            };
        }
        let mut child = Group(launcher.spawn().expect("a program that starts"));
        let stdin = child.0.stdin.take();
        let feeder = self.feed.zip(stdin).map(|(feed, mut stdin)| {
            // Writing fails early if the program stops reading.
            thread::spawn(move || feed(&mut stdin))
        });
        let mut ran = Ran::default();
        let lines = child.0.stdout.take().expect("piped");
        match count(lines, self.mark, self.patience) {
            Some((lines, marked)) => (ran.lines, ran.marked) = (lines, marked),
            None => {
                ran.complaint = Some(format!("did not end within {:.0?}", self.patience));
                return ran;
            }
        }
        child.0.wait().expect("a child of ours");
        if let Some(feeder) = feeder {
            let _ = feeder.join();
        }
        ran.read(
            &fs::read_to_string(result.path()).expect("a result"),
            self.codes,
        );
        ran
    }
}

impl Ran {
    /// Parses the result of the launcher.
    fn read(&mut self, result: &str, codes: &[i32]) {
        let numbers: Vec<u64> = result
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let &[cpu, wall, peak, code] = numbers.as_slice() else {
            self.complaint = Some(format!("was not launched: {}", result.trim()));
            return;
        };
        self.cpu = Duration::from_micros(cpu);
        self.wall = Duration::from_micros(wall);
        self.peak = peak;
        if !codes.iter().any(|fine| u64::try_from(*fine) == Ok(code)) {
            self.complaint = Some(format!("ended with {code}"));
        }
    }
}

/// Counts the lines of the output, and those that contain the mark; `None` if that takes too long.
fn count(
    output: impl Read + Send + 'static,
    mark: &'static [u8],
    patience: Duration,
) -> Option<(u64, u64)> {
    let (done, end) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::with_capacity(64 * 1024, output);
        let (mut lines, mut marked, mut line) = (0, 0, Vec::new());
        let finder = memchr::memmem::Finder::new(mark);
        while output
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            lines += 1;
            marked += u64::from(finder.find(&line).is_some());
            line.clear();
        }
        let _ = done.send((lines, marked));
    });
    end.recv_timeout(patience).ok()
}

/// A launcher with its child, both of which are killed when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let group = i32::try_from(self.0.id()).expect("a process id");
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

/// Whether this process was started as a launcher.
pub fn is_asked_for() -> bool {
    env::args().nth(1).is_some_and(|arg| arg == ASKED)
}

/// Runs the launcher.
pub fn main() -> ExitCode {
    let mut args = env::args_os().skip(2);
    let result = PathBuf::from(args.next().expect("a file for the result"));
    let said = launch(args).unwrap_or_else(|error| error.to_string());
    if fs::write(result, said).is_err() {
        return ExitCode::from(BROKEN);
    }
    ExitCode::SUCCESS
}

fn launch(mut args: impl Iterator<Item = std::ffi::OsString>) -> io::Result<String> {
    let mut next = || {
        args.next()
            .ok_or_else(|| io::Error::other("an argument is missing"))
    };
    let mut word = || next().map(|arg| arg.to_string_lossy().into_owned());
    let times: u32 = word()?.parse().map_err(io::Error::other)?;
    let (processors, terminal) = (word()?, word()?);
    let program = next()?;
    if processors != NONE {
        pin(Pid::from_raw(0), &processors)?;
    }
    let mut command = Command::new(program);
    command.args(args);
    let looker = if terminal == NONE {
        None
    } else {
        Some(look_at(&mut command)?)
    };
    let start = Instant::now();
    let mut code = 0;
    for _ in 0..times {
        let status = command.status()?;
        code = code.max(status.code().unwrap_or(i32::MAX));
    }
    let wall = start.elapsed();
    // Closes the last descriptor on the program's side of the terminal.
    drop(command);
    if let Some(looker) = looker {
        let _ = looker.join();
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    let (wall, peak) = (wall.as_micros(), usage.max_rss());
    Ok(format!("{cpu} {wall} {peak} {code}"))
}

fn micros(time: TimeVal) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_usec()
}

/// Restricts a process to these processors; process 0 is this one.
pub fn pin(process: Pid, processors: &str) -> io::Result<()> {
    let mut set = CpuSet::new();
    for number in processors.split(',') {
        set.set(number.parse().map_err(io::Error::other)?)?;
    }
    Ok(sched_setaffinity(process, &set)?)
}

/// Makes stderr of a command a terminal, and reads its output.
fn look_at(command: &mut Command) -> io::Result<thread::JoinHandle<()>> {
    let size = Winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let OpenptyResult { master, slave } = openpty(&size, None)?;
    command.stderr(Stdio::from(slave));
    let mut screen = File::from(master);
    Ok(thread::spawn(move || {
        let mut seen = [0; 4096];
        // Reading fails when the other side is closed.
        while screen.read(&mut seen).is_ok_and(|read| read > 0) {}
    }))
}
