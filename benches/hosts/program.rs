//! The programs to measure, fetchall and its peers, and their arguments.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::installed::{version, without_proxies};
use crate::list::Url;

const CONCURRENCY: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Fetchall,
    Curl,
    Wget2,
    Aria2,
}

/// An installed program, with its name in the table.
pub struct Program {
    tool: Tool,
    label: String,
}

/// The settings of a scenario, which each program expresses in its own options.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// `--per-host`; no peer has such an option.
    pub per_host: Option<&'static str>,
    /// Retries; `None`: the default of the program.
    pub retries: Option<u32>,
    pub connect_timeout: Option<Duration>,
}

impl Program {
    pub fn ours() -> Self {
        Self {
            tool: Tool::Fetchall,
            label: "fetchall".to_owned(),
        }
    }

    /// Returns the installed peers, and the names of those that are missing.
    pub fn peers() -> (Vec<Self>, Vec<&'static str>) {
        let mut there = Vec::new();
        let mut missing = Vec::new();
        for tool in [Tool::Curl, Tool::Wget2, Tool::Aria2] {
            match version(tool.name()) {
                Some(version) => there.push(Self {
                    tool,
                    label: format!("{} {version}", tool.name()),
                }),
                None => missing.push(tool.name()),
            }
        }
        (there, missing)
    }

    pub fn is_ours(&self) -> bool {
        self.tool == Tool::Fetchall
    }

    /// Returns how often a measurement is repeated.
    pub fn rounds(&self) -> usize {
        if self.is_ours() { 3 } else { 1 }
    }

    /// Returns the program with its arguments and its list, which is written to the directory.
    pub fn command(&self, settings: &Settings, urls: &[Url], folder: &Path) -> Command {
        let list = folder.join("list");
        fs::write(&list, self.list(urls)).expect("a list in the temporary folder");
        let mut command = match self.tool {
            Tool::Fetchall => fetchall(settings),
            Tool::Curl => curl(settings),
            Tool::Wget2 => wget2(settings),
            Tool::Aria2 => aria2(settings, folder),
        };
        command.arg(list).stdin(Stdio::null()).stderr(Stdio::null());
        without_proxies(&mut command);
        command
    }

    fn list(&self, urls: &[Url]) -> String {
        let line = |(number, url): (usize, &Url)| match self.tool {
            Tool::Fetchall | Tool::Wget2 => format!("{}\n", url.text),
            Tool::Curl => format!("url = \"{}\"\noutput = \"/dev/null\"\n", url.text),
            Tool::Aria2 => format!("{}\n out={number}\n", url.text),
        };
        urls.iter().enumerate().map(line).collect()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Fetchall => "fetchall",
            Self::Curl => "curl",
            Self::Wget2 => "wget2",
            Self::Aria2 => "aria2c",
        }
    }
}

fn fetchall(settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetchall"));
    command
        .args(["-q", "--json", "--progress=none"])
        .arg(format!("-j{CONCURRENCY}"))
        .env("FETCHALL_NO_CONFIG", "1")
        .env_remove("RUST_LOG");
    if let Some(limit) = settings.per_host {
        command.arg(format!("--per-host={limit}"));
    }
    if let Some(retries) = settings.retries {
        command.arg(format!("--retries={retries}"));
    }
    if let Some(limit) = settings.connect_timeout {
        command.arg(format!("--connect-timeout={}ms", limit.as_millis()));
    }
    command
}

/// Without `--parallel-immediate`, curl waits for one connection to a host before it opens another,
/// in case that one can be shared.
fn curl(settings: &Settings) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["-q", "-s", "-Z", "--parallel-immediate", "--parallel-max"])
        .arg(CONCURRENCY.to_string());
    if let Some(retries) = settings.retries {
        command.args(["--retry", &retries.to_string()]);
    }
    if let Some(limit) = settings.connect_timeout {
        command.args(["--connect-timeout", &limit.as_secs_f64().to_string()]);
    }
    command.arg("-K");
    command
}

/// `--connect-timeout` alone has no effect (1.99).
fn wget2(settings: &Settings) -> Command {
    let mut command = Command::new("wget2");
    command
        .args(["--no-config", "-q", "-O", "/dev/null"])
        .arg(format!("--max-threads={CONCURRENCY}"));
    if let Some(retries) = settings.retries {
        command.arg(format!("--tries={}", retries + 1));
    }
    if let Some(limit) = settings.connect_timeout {
        command.arg(format!("--timeout={}", limit.as_secs_f64()));
    }
    command.arg("-i");
    command
}

/// aria2 cannot discard bodies, so they go to the directory.
fn aria2(settings: &Settings, folder: &Path) -> Command {
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "-q", "--file-allocation=none"])
        .args(["--retry-wait=1", "-x1", "-d"])
        .arg(folder.join("bodies"))
        .arg(format!("-j{CONCURRENCY}"));
    if let Some(retries) = settings.retries {
        command.arg(format!("--max-tries={}", retries + 1));
    }
    if let Some(limit) = settings.connect_timeout {
        command.arg(format!("--connect-timeout={}", limit.as_secs().max(1)));
    }
    command.arg("-i");
    command
}
