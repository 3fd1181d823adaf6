//! The programs to measure, fetchall, its peers and the lower bounds, and their arguments.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::bare;
use crate::bodies::SIZE;
use crate::floor::Floor;
use crate::installed::{version, without_proxies};
use crate::run::{Ran, run};
use crate::server::Server;
use crate::space::Area;

pub const CONCURRENCY: u32 = 64;

/// What a program does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// fetchall, without saving.
    Plain,
    /// fetchall, with a file per body.
    Files,
    /// fetchall, with all bodies in one file.
    Pack,
    Curl,
    Wget2,
    Floor(Floor),
    /// The bare loop, with a file per body.
    Bare,
}

/// An installed program, with its name in the tables.
pub struct Program {
    pub tool: Tool,
    label: String,
}

/// What is fetched.
pub struct List<'a> {
    pub server: &'a Server,
    pub paths: Vec<String>,
    /// Length of each body.
    pub size: u64,
}

impl Program {
    /// Returns the installed programs in the order of the tables, and the names of the missing
    /// ones.
    pub fn all() -> (Vec<Self>, Vec<&'static str>) {
        let tools = [
            (Tool::Floor(Floor::Files), "floor"),
            (Tool::Floor(Floor::Pack), "floor"),
            (Tool::Bare, "floor"),
            (Tool::Plain, "fetchall"),
            (Tool::Files, "fetchall -o"),
            (Tool::Pack, "fetchall --pack"),
            (Tool::Curl, "curl"),
            (Tool::Wget2, "wget2"),
        ];
        let mut there = Vec::new();
        let mut missing = Vec::new();
        for (tool, name) in tools {
            match tool.label() {
                Some(label) => there.push(Self { tool, label }),
                None => missing.push(name),
            }
        }
        (there, missing)
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.tool, Tool::Plain | Tool::Files | Tool::Pack)
    }

    /// Fetches a list into a new directory, and checks that everything is there.
    pub fn run(&self, list: &List, area: &Area) -> Ran {
        let place = Place(area.folder());
        let mut ran = run(self.command(list, &place));
        if let Err(complaint) = self.check(list, &place) {
            ran.complaint.get_or_insert(complaint);
        }
        eprintln!("  {self}: {ran}");
        area.leave(place.0);
        ran
    }

    fn command(&self, list: &List, place: &Place) -> Command {
        let mut command = match self.tool {
            Tool::Plain => fetchall(),
            Tool::Files => with_out(fetchall(), "-o", &place.out()),
            Tool::Pack => with_out(fetchall(), "--pack", &place.pack()),
            Tool::Bare => bare::command(&place.out()),
            Tool::Curl => curl(),
            Tool::Wget2 => wget2(&place.out()),
            Tool::Floor(Floor::Files) => return Floor::Files.command(list.count(), &place.out()),
            Tool::Floor(Floor::Pack) => return Floor::Pack.command(list.count(), &place.pack()),
        };
        fs::write(place.list(), self.lines(list, place)).expect("a list");
        command.arg(place.list());
        without_proxies(&mut command);
        command
    }

    fn lines(&self, list: &List, place: &Place) -> String {
        let mut lines = String::new();
        for path in &list.paths {
            let url = list.server.url(path);
            let written = if self.tool == Tool::Curl {
                let file = place.out().join(path);
                writeln!(lines, "url = \"{url}\"\noutput = \"{}\"", file.display())
            } else {
                writeln!(lines, "{url}")
            };
            written.expect("a string takes everything");
        }
        lines
    }

    /// Checks that every body is in its place.
    fn check(&self, list: &List, place: &Place) -> Result<(), String> {
        let found = match self.tool {
            Tool::Plain => return Ok(()),
            Tool::Files | Tool::Curl | Tool::Wget2 | Tool::Bare | Tool::Floor(Floor::Files) => {
                files_of(list.size, &place.out())
            }
            Tool::Pack => responses(&place.pack()),
            Tool::Floor(Floor::Pack) => {
                let meta = fs::metadata(place.pack());
                meta.map_or(0, |meta| meta.len() / list.size)
            }
        };
        if found == u64::from(list.count()) {
            Ok(())
        } else {
            Err(format!("{found} of {} bodies are there", list.count()))
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Tool {
    /// Returns the name in the tables; `None` if the program is not installed.
    fn label(self) -> Option<String> {
        let label = match self {
            Self::Plain => "fetchall".to_owned(),
            Self::Files => "fetchall -o".to_owned(),
            Self::Pack if has_pack() => "fetchall --pack".to_owned(),
            Self::Pack => return None,
            Self::Curl => format!("curl {} -Z", version("curl")?),
            Self::Wget2 => format!("wget2 {}", version("wget2")?),
            Self::Bare => "bare loop: reqwest, create, write, rename".to_owned(),
            Self::Floor(Floor::Files) => "floor: create, write, rename".to_owned(),
            Self::Floor(Floor::Pack) => "floor: SHA-1, append".to_owned(),
        };
        Some(label)
    }
}

impl List<'_> {
    pub fn count(&self) -> u32 {
        u32::try_from(self.paths.len()).expect("not that many")
    }

    /// Returns the bytes of all bodies.
    pub fn bytes(&self) -> u64 {
        self.paths.len() as u64 * self.size
    }
}

/// A directory for one run.
struct Place(TempDir);

impl Place {
    fn list(&self) -> PathBuf {
        self.0.path().join("list")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    fn pack(&self) -> PathBuf {
        self.0.path().join("pack.warc")
    }
}

/// Counts files of this length below a directory. Hidden and small files do not count.
fn files_of(size: u64, folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let count = |entry: fs::DirEntry| {
        let meta = entry.metadata().expect("a file that is there");
        match entry.file_name().as_encoded_bytes().first() {
            Some(b'.') => 0,
            _ if meta.is_dir() => files_of(size, &entry.path()),
            _ => u64::from(meta.len() == size),
        }
    };
    entries
        .map(|entry| count(entry.expect("a folder that can be read")))
        .sum()
}

/// Counts the responses in a WARC file whose body has the common length.
fn responses(pack: &Path) -> u64 {
    let mut all = Vec::with_capacity(SIZE);
    let read = fs::File::open(pack).and_then(|mut file| file.read_to_end(&mut all));
    if read.is_err() {
        return 0;
    }
    let records = memchr::memmem::find_iter(&all, b"WARC-Type: response\r\n").count();
    let bodies = all.len() / SIZE;
    records.min(bodies) as u64
}

fn has_pack() -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_fetchall"))
        .arg("--help")
        .output();
    help.is_ok_and(|help| memchr::memmem::find(&help.stdout, b"--pack").is_some())
}

fn fetchall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetchall"));
    command
        .args(["-q", "--json", "--progress=none", "--max-size=1TiB"])
        .arg(format!("-j{CONCURRENCY}"))
        .arg(format!("--per-host={CONCURRENCY}"))
        .env("FETCHALL_NO_CONFIG", "1")
        .env_remove("RUST_LOG");
    command
}

fn with_out(mut command: Command, flag: &str, out: &Path) -> Command {
    command.arg(flag).arg(out);
    command
}

/// Without `--parallel-immediate`, curl waits for one connection to a host before it opens another,
/// in case that one can be shared.
fn curl() -> Command {
    let mut command = Command::new("curl");
    command
        .args(["-q", "-s", "-Z", "--parallel-immediate", "--parallel-max"])
        .arg(CONCURRENCY.to_string())
        .args(["--create-dirs", "-K"]);
    command
}

fn wget2(out: &Path) -> Command {
    let mut command = Command::new("wget2");
    command
        .args(["--no-config", "-q", "-x", "-P"])
        .arg(out)
        .arg(format!("--max-threads={CONCURRENCY}"))
        .arg("-i");
    command
}
