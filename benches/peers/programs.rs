//! The programs that are measured: ours and its peers, and how each is told what to do.

use std::env;
use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::bare;
use crate::installed::{version, without_proxies};
use crate::work::{CURL, Lists, PLAIN, Urls};

/// Requests at the same time.
pub const CONCURRENCY: u32 = 64;

/// The first curl of which more is asked: it takes a quarter less than those before.
const NEWER_CURL: u32 = 8;

/// A program that is there, under the name it has in the tables.
#[derive(Clone)]
pub struct Program {
    pub tool: Tool,
    pub label: String,
    /// Further arguments.
    args: Vec<String>,
    /// Processors it may run on.
    pub processors: Option<&'static str>,
    /// Whether it has a terminal as stderr.
    pub terminal: bool,
    /// Runs one after another, which count as one.
    pub times: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Ours,
    /// The same client without anything of ours.
    Bare,
    Curl,
    Oha,
    Aiohttp,
}

/// What is there beside ours.
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

    /// How to install what is not there.
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

    /// One of them, if it is there.
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
            args: Vec::new(),
            processors: None,
            terminal: false,
            times: 1,
        })
    }

    /// Those of these that are there.
    pub fn all(&self, tools: &[Tool]) -> Vec<Program> {
        tools.iter().filter_map(|tool| self.get(*tool)).collect()
    }

    /// What is asked against curl: less of an old one than of a new one.
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
    /// With further arguments, and what the table says of them.
    pub fn with(mut self, label: &str, args: &[&str]) -> Self {
        self.label = format!("{} {label}", self.label);
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// On these processors alone.
    pub fn on(mut self, processors: &'static str) -> Self {
        self.processors = Some(processors);
        self
    }

    /// With a terminal.
    pub fn watched(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// So often in a row.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// The command for a list.
    pub fn command(&self, lists: &Lists) -> Command {
        let mut command = match self.tool {
            Tool::Ours => ours(),
            Tool::Bare => bare::command(CONCURRENCY),
            Tool::Curl => curl_command(),
            Tool::Oha => oha(lists.count),
            Tool::Aiohttp => aiohttp(),
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

    /// Whether it asks for URLs of the list at random, and some twice.
    pub fn draws(&self) -> bool {
        self.tool == Tool::Oha
    }

    /// Whether it says of each URL that all is well.
    pub fn tells(&self) -> bool {
        matches!(self.tool, Tool::Ours | Tool::Bare | Tool::Aiohttp)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Ours, with a record for each URL to a pipe.
pub fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetchall"));
    command
        .args(["--json", "--max-size=1TiB"])
        .arg(format!("-j{CONCURRENCY}"))
        .arg(format!("--per-host={CONCURRENCY}"))
        .env("FETCHALL_NO_CONFIG", "1")
        .env_remove("RUST_LOG");
    command
}

/// The curl that is meant.
pub fn curl() -> String {
    env::var("CURL").unwrap_or_else(|_| "curl".to_owned())
}

/// It says nothing of what it has done: words for each URL would cost it more.
fn curl_command() -> Command {
    let mut command = Command::new(curl());
    command
        .args(["-q", "-s", "-Z", "--parallel-max"])
        .arg(CONCURRENCY.to_string());
    command
}

fn oha(count: u64) -> Command {
    let mut command = Command::new("oha");
    command
        .args(["--no-tui", "--output-format=quiet"])
        .arg(format!("-n{count}"))
        .arg(format!("-c{CONCURRENCY}"))
        .arg("--urls-from-file");
    command
}

fn python() -> String {
    env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn aiohttp() -> Command {
    let mut command = Command::new(python());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/gather.py");
    command.arg(script).arg(CONCURRENCY.to_string());
    command
}

fn aiohttp_version() -> Option<String> {
    let asked = "import aiohttp, uvloop; print(aiohttp.__version__)";
    let output = Command::new(python()).args(["-c", asked]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
