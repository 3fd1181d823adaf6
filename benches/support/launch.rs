//! A program, run in a process of its own, and what it took.
//!
//! The kernel tells what a child has used only as the sum over all children. So a launcher,
//! which is this program started again, runs the one to be measured as its only child, and
//! writes down what the kernel says of it: exactly, with its last moment, and without the
//! memory of this process, which a child that forks has until it becomes another program.

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
/// What is not set, among the launcher's arguments.
const NONE: &str = "-";
const BROKEN: u8 = 70;

/// What a run took.
#[derive(Clone, Default)]
pub struct Ran {
    /// User and system time.
    pub cpu: Duration,
    pub wall: Duration,
    /// The most memory that was resident, in KiB.
    pub peak: u64,
    /// Lines that came to stdout, and how many of them have the mark in them.
    pub lines: u64,
    pub marked: u64,
    /// Why it does not count.
    pub complaint: Option<String>,
}

/// What goes to stdin: written from a thread of its own, into a pipe.
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
    /// The exit codes that are none of a failure.
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

    /// What comes over stdin, a pipe. Without it, stdin is empty.
    pub fn feed(
        mut self,
        feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Self {
        self.feed = Some(Box::new(feed));
        self
    }

    /// One after another, so often; the times are those of all.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// On these processors alone (`0`, `0,1`).
    pub fn processors(mut self, list: &str) -> Self {
        self.processors = Some(list.to_owned());
        self
    }

    /// With a terminal as stderr, which somebody looks at.
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// These exit codes say that all is well.
    pub fn codes(mut self, codes: &'static [i32]) -> Self {
        self.codes = codes;
        self
    }

    /// Runs it to its end.
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
            // It ends early when nobody reads on.
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
    /// Takes what the launcher wrote.
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

/// Counts lines, and those with the mark, to the end of the output; `None` when that takes
/// too long.
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

/// A launcher with its child, which do not outlive this process' interest in them.
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

/// Whether this process is to be a launcher.
pub fn is_asked_for() -> bool {
    env::args().nth(1).is_some_and(|arg| arg == ASKED)
}

/// What such a process does.
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
    // The last end of the terminal on the side of the program.
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

/// Lets a process run on these processors alone; zero is this one.
pub fn pin(process: Pid, processors: &str) -> io::Result<()> {
    let mut set = CpuSet::new();
    for number in processors.split(',') {
        set.set(number.parse().map_err(io::Error::other)?)?;
    }
    Ok(sched_setaffinity(process, &set)?)
}

/// Gives a command a terminal as its stderr, and reads what comes there.
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
        // It fails when the other side is closed.
        while screen.read(&mut seen).is_ok_and(|read| read > 0) {}
    }))
}
