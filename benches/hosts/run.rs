//! One run of one program, and its result.

use std::collections::HashSet;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fetchall::Record;

use crate::list::{Group, Url};
use crate::program::{Program, Settings};
use crate::server::{Server, Tally};

/// Maximum duration of a run without a known ideal.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(2);

/// A list for a server, which any of the programs can fetch.
pub struct Task {
    server: Server,
    urls: Vec<Url>,
    settings: Settings,
    limit: Duration,
}

/// The result of a run.
pub struct Ran {
    /// Time from the start of the program to its end.
    pub wall: Duration,
    /// Time to the last URL of a healthy host: to its record for fetchall, to its response for a
    /// peer. The time of the whole run if some are missing.
    pub healthy: Duration,
    /// Time to the record at 90 %; the whole run for a peer.
    pub most: Duration,
    /// The URLs of hosts that respond, and the number of them that were fetched.
    pub reachable: usize,
    pub fetched: usize,
    /// The requests that the server saw.
    pub tally: Tally,
    /// Attempts at dead hosts, as reported by fetchall.
    pub dead_attempts: u64,
    /// Why the run does not count.
    pub complaint: Option<String>,
}

impl Task {
    pub fn new(server: Server, urls: Vec<Url>) -> Self {
        Self {
            server,
            urls,
            settings: Settings::default(),
            limit: PATIENCE,
        }
    }

    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the expected duration. A run that takes several times as long is killed.
    pub fn ideal(mut self, ideal: Duration) -> Self {
        self.limit = ideal * 3 + PATIENCE;
        self
    }

    pub fn run(self, program: &Program) -> Ran {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = program.command(&self.settings, &self.urls, folder.path());
        command.stdout(if program.is_ours() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let start = Instant::now();
        let mut child = Running(command.spawn().expect("a program that starts"));
        let lines = child.0.stdout.take();
        let (status, wall, lines) = thread::scope(|scope| {
            let reader = scope.spawn(|| lines.map(|lines| read(lines, start)));
            let status = child.wait(start + self.limit);
            let wall = start.elapsed();
            (status, wall, reader.join().expect("a reader that reads"))
        });
        let mut ran = self.seen_by_server(start, wall);
        if let Some(lines) = lines {
            self.told(&mut ran, &lines, status);
        }
        if status.is_none() {
            ran.complaint = Some(format!("did not end within {:.0?}", self.limit));
        }
        eprintln!("  {program}: {ran}");
        ran
    }

    fn seen_by_server(&self, start: Instant, wall: Duration) -> Ran {
        let healthy = self.server.tally(|group| group == Group::Healthy);
        let is_done = healthy.fetched == self.count(|group| group == Group::Healthy);
        let last = healthy.last.filter(|_| is_done);
        let tally = self.server.tally(|_| true);
        Ran {
            wall,
            healthy: last.map_or(wall, |last| last - start),
            most: wall,
            reachable: self.count(|group| group != Group::Dead),
            fetched: tally.fetched,
            tally,
            dead_attempts: 0,
            complaint: None,
        }
    }

    fn count(&self, wanted: impl Fn(Group) -> bool) -> usize {
        self.urls.iter().filter(|url| wanted(url.group)).count()
    }

    /// Takes from fetchall's records what they show better than the server does.
    fn told(&self, ran: &mut Ran, lines: &[(Duration, String)], status: Option<ExitStatus>) {
        ran.fetched = 0;
        let mut last_healthy = None;
        let mut settled = HashSet::new();
        for (at, line) in lines {
            // The last line of a killed program may be torn.
            let Ok(record) = serde_json::from_str::<Record>(line) else {
                continue;
            };
            settled.insert(record.line);
            let place = usize::try_from(record.line).expect("a line of the list") - 1;
            let url = self.urls.get(place).expect("a line of the list");
            ran.fetched += usize::from(record.ok);
            match url.group {
                Group::Healthy => last_healthy = Some(*at),
                Group::Troubled => {}
                Group::Dead => ran.dead_attempts += u64::from(record.attempts),
            }
        }
        ran.healthy = last_healthy.unwrap_or(ran.wall);
        let most = lines.get(self.urls.len() * 9 / 10);
        ran.most = most.map_or(ran.wall, |(at, _)| *at);
        let (settled, lines, urls) = (settled.len(), lines.len(), self.urls.len());
        if settled != urls || lines != urls {
            ran.complaint = Some(format!("{lines} records of {settled} of {urls} URLs"));
        }
        if status.is_some_and(|status| !matches!(status.code(), Some(0 | 1))) {
            ran.complaint = status.map(|status| format!("ended with {status}"));
        }
    }
}

impl Ran {
    /// Returns the number of requests beyond one per URL.
    pub fn wasted(&self) -> u64 {
        self.tally.requests.saturating_sub(self.reachable as u64)
    }

    /// Whether it ended well and fetched everything that can be fetched.
    pub fn is_whole(&self) -> bool {
        self.complaint.is_none() && self.fetched == self.reachable
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fetched,
            reachable,
            wall,
            ..
        } = self;
        write!(f, "{fetched} of {reachable} in {wall:.2?}")?;
        match &self.complaint {
            Some(complaint) => write!(f, ", {complaint}"),
            None => Ok(()),
        }
    }
}

/// Returns every line with the time at which it arrived.
fn read(lines: impl Read, start: Instant) -> Vec<(Duration, String)> {
    let lines = BufReader::new(lines).lines().map_while(Result::ok);
    lines.map(|line| (start.elapsed(), line)).collect()
}

/// A child process that is killed when dropped.
struct Running(Child);

impl Running {
    /// Waits for the end, and kills the process if that takes too long.
    fn wait(&mut self, until: Instant) -> Option<ExitStatus> {
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().expect("a child of ours") {
                return Some(status);
            }
            thread::sleep(POLL);
        }
        self.end();
        None
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
