//! The programs to measure, fetchall and its peers, and their arguments.

use std::env;
use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::bare;
use crate::installed::{version, without_proxies};
use crate::work::{CURL, Lists, PLAIN, Urls};

/// Concurrent requests.
pub const CONCURRENCY: u32 = 64;

/// The first curl with stricter bounds: it takes a quarter less time than its predecessors.
const NEWER_CURL: u32 = 8;

/// An installed program, with its name in the tables.
#[derive(Clone)]
pub struct Program {
    pub tool: Tool,
    pub label: String,
    /// Concurrent requests.
    concurrency: u32,
    /// Additional arguments.
    args: Vec<String>,
    /// The processors it may run on.
    pub processors: Option<&'static str>,
    /// Whether its stderr is a terminal.
    pub terminal: bool,
    /// Number of consecutive runs that count as one.
    pub times: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Ours,
    /// The bare loop.
    Bare,
    Curl,
    Oha,
    Aiohttp,
}

/// The installed peers.
pub struct Peers {
    curl: Option<String>,
    oha: Option<String>,
    aiohttp: Option<String>,
}

impl Peers {
    pub fn find() -> Self {
        Self {
            curl: version(&curl()),
            oha: version("oha"),
            aiohttp: aiohttp_version(),
        }
    }

    /// Returns how to install what is missing.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            (
                &self.curl,
                "curl is not there: apt-get install curl, or CURL=/path/to/curl",
            ),
            (&self.oha, "oha is not there: cargo install oha"),
            (
                &self.aiohttp,
                "aiohttp is not there: python3 -m venv venv && venv/bin/pip install aiohttp uvloop, and PYTHON=venv/bin/python",
            ),
        ];
        let missing = all.into_iter().filter(|(version, _)| version.is_none());
        missing.map(|(_, hint)| hint).collect()
    }

    /// Returns a program, if it is installed.
    pub fn get(&self, tool: Tool) -> Option<Program> {
        let label = match tool {
            Tool::Ours => "fetchall".to_owned(),
            Tool::Bare => "bare reqwest loop".to_owned(),
            Tool::Curl => format!("curl {} -Z", self.curl.as_ref()?),
            Tool::Oha => format!("oha {}", self.oha.as_ref()?),
            Tool::Aiohttp => format!("aiohttp {} + uvloop", self.aiohttp.as_ref()?),
        };
        Some(Program {
            tool,
            label,
            concurrency: CONCURRENCY,
            args: Vec::new(),
            processors: None,
            terminal: false,
            times: 1,
        })
    }

    /// Returns those of these programs that are installed.
    pub fn all(&self, tools: &[Tool]) -> Vec<Program> {
        tools.iter().filter_map(|tool| self.get(*tool)).collect()
    }

    /// Returns the bound for a comparison with curl, which is looser for an old version.
    pub fn of_curl(&self, old: f64, new: f64) -> f64 {
        let version = self
            .curl
            .as_ref()
            .and_then(|version| version.split('.').next());
        let major = version.and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= NEWER_CURL) {
            new
        } else {
            old
        }
    }
}

impl Program {
    /// Adds arguments, and a label for the tables.
    pub fn with(mut self, label: &str, args: &[&str]) -> Self {
        self.label = format!("{} {label}", self.label);
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Sends this many requests at once.
    pub fn at(mut self, concurrency: u32) -> Self {
        self.concurrency = concurrency;
        self.with(&format!("-j{concurrency}"), &[])
    }

    /// Restricts the program to these processors.
    pub fn on(mut self, processors: &'static str) -> Self {
        self.processors = Some(processors);
        self
    }

    /// Connects stderr to a terminal.
    pub fn watched(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// Runs the program this number of times in a row.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Returns the command for a list.
    pub fn command(&self, lists: &Lists) -> Command {
        let mut command = match self.tool {
            Tool::Ours => ours(self.concurrency),
            Tool::Bare => bare::command(self.concurrency),
            Tool::Curl => curl_command(self.concurrency),
            Tool::Oha => oha(lists.count, self.concurrency),
            Tool::Aiohttp => aiohttp(self.concurrency),
        };
        command.args(&self.args);
        match (self.tool, &lists.urls) {
            (_, Urls::Numbered { .. }) => command.arg("-"),
            (Tool::Curl, Urls::Listed(folder)) => command.arg("-K").arg(folder.path().join(CURL)),
            (_, Urls::Listed(folder)) => command.arg(folder.path().join(PLAIN)),
        };
        without_proxies(&mut command);
        command
    }

    /// Whether it requests random URLs of the list, some of them twice.
    pub fn draws(&self) -> bool {
        self.tool == Tool::Oha
    }

    /// Whether it prints a line for each URL.
    pub fn tells(&self) -> bool {
        matches!(self.tool, Tool::Ours | Tool::Bare | Tool::Aiohttp)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Returns fetchall, which prints a record for each URL.
pub fn ours(concurrency: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetchall"));
    command
        .args(["--json", "--max-size=1TiB"])
        .arg(format!("-j{concurrency}"))
        .arg(format!("--per-host={concurrency}"))
        .env("FETCHALL_NO_CONFIG", "1")
        .env_remove("RUST_LOG");
    command
}

/// Returns the name of curl.
pub fn curl() -> String {
    env::var("CURL").unwrap_or_else(|_| "curl".to_owned())
}

/// Prints nothing about the URLs, because that would cost curl more.
fn curl_command(concurrency: u32) -> Command {
    let mut command = Command::new(curl());
    command
        .args(["-q", "-s", "-Z", "--parallel-max"])
        .arg(concurrency.to_string());
    command
}

fn oha(count: u64, concurrency: u32) -> Command {
    let mut command = Command::new("oha");
    command
        .args(["--no-tui", "--output-format=quiet"])
        .arg(format!("-n{count}"))
        .arg(format!("-c{concurrency}"))
        .arg("--urls-from-file");
    command
}

fn python() -> String {
    env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn aiohttp(concurrency: u32) -> Command {
    let mut command = Command::new(python());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/gather.py");
    command.arg(script).arg(concurrency.to_string());
    command
}

fn aiohttp_version() -> Option<String> {
    let asked = "import aiohttp, uvloop; print(aiohttp.__version__)";
    let output = Command::new(python()).args(["-c", asked]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
