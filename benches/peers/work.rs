//! A list to fetch, and alternating runs of several programs.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::certificates;
use crate::nginx::Nginx;
use crate::programs::{Program, Tool};
use crate::support::launch::{Launch, Ran};
use crate::support::numbers::{Spread, mib};

/// A list in the format of each program.
pub struct Lists {
    pub urls: Urls,
    pub count: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// The file with the CAs that programs trust.
    authorities: &'static str,
    /// The directory for saved bodies, if any. It is emptied before each run.
    output: Option<PathBuf>,
}

pub enum Urls {
    /// In files of this directory: [`PLAIN`] and [`CURL`].
    Listed(TempDir),
    /// URLs that consist of `start` and a number, from a pipe.
    Numbered { start: String },
}

/// The file with one URL per line.
pub const PLAIN: &str = "list";
/// The configuration file of curl.
pub const CURL: &str = "curl";

/// How far the sum of randomly drawn bodies may differ from that of the list: a few standard
/// deviations of ten thousand pages, the largest of which are a thousand times the mean.
const DRAWN: f64 = 0.5;

impl Lists {
    pub fn new(urls: &[String], bytes: u64) -> io::Result<Self> {
        Self::with_output(urls, bytes, None)
    }

    /// Creates a list with a directory for the bodies. curl saves them to one file.
    pub fn saved(urls: &[String], bytes: u64, output: &Path) -> io::Result<Self> {
        Self::with_output(urls, bytes, Some(output.to_owned()))
    }

    fn with_output(urls: &[String], bytes: u64, folder: Option<PathBuf>) -> io::Result<Self> {
        let file = folder.as_ref().map(|folder| folder.join(CURL));
        let file = file.unwrap_or_else(|| "/dev/null".into());
        let output = file.display();
        let lists = tempfile::tempdir()?;
        let line = |url: &String| format!("url = \"{url}\"\noutput = \"{output}\"\n");
        let plain: String = urls.iter().flat_map(|url| [url.as_str(), "\n"]).collect();
        let curl: String = urls.iter().map(line).collect();
        fs::write(lists.path().join(PLAIN), plain)?;
        fs::write(lists.path().join(CURL), curl)?;
        Ok(Self {
            urls: Urls::Listed(lists),
            count: urls.len() as u64,
            bytes,
            authorities: certificates::ALONE,
            output: folder,
        })
    }

    /// Also trusts the CAs of the system.
    pub fn with_system(mut self) -> Self {
        self.authorities = certificates::WITH_SYSTEM;
        self
    }

    /// Creates a list of this number of URLs, from a pipe, with bodies of one length.
    pub fn numbered(start: String, count: u64, size: u64) -> Self {
        Self {
            urls: Urls::Numbered { start },
            count,
            bytes: count * size,
            authorities: certificates::ALONE,
            output: None,
        }
    }
}

/// Alternating runs of several programs: one of each per round.
pub struct Rounds {
    pub rans: Vec<(Program, Vec<Ran>)>,
    pub urls: u64,
}

impl Rounds {
    /// Runs each program once without counting it, then for this number of rounds. A program that
    /// fails is reported once and not run again.
    pub fn run(nginx: &mut Nginx, lists: &Lists, programs: &[Program], rounds: usize) -> Self {
        let mut rans: Vec<_> = programs
            .iter()
            .map(|one| (one.clone(), Vec::new()))
            .collect();
        for round in 0..=rounds {
            for (program, rans) in &mut rans {
                if rans.iter().any(|ran: &Ran| ran.complaint.is_some()) {
                    continue;
                }
                let ran = one(nginx, lists, program);
                if round > 0 || ran.complaint.is_some() {
                    rans.push(ran);
                }
            }
        }
        Self {
            rans,
            urls: lists.count,
        }
    }

    /// Returns the runs of the first program that matches.
    pub fn of(&self, is_meant: impl Fn(&Program) -> bool) -> Option<&[Ran]> {
        let found = self.rans.iter().find(|(program, _)| is_meant(program));
        found.map(|(_, rans)| rans.as_slice())
    }

    pub fn tool(&self, tool: Tool) -> Option<&[Ran]> {
        self.of(|program| program.tool == tool)
    }
}

/// Returns the ratio of the runs of two programs, round by round; `None` if one of them failed.
pub fn ratio(ours: &[Ran], theirs: &[Ran], of: fn(&Ran) -> f64) -> Option<Spread> {
    let is_fine = |ran: &Ran| ran.complaint.is_none();
    if !ours.iter().chain(theirs).all(is_fine) {
        return None;
    }
    Spread::of(
        ours.iter()
            .zip(theirs)
            .map(|(ours, theirs)| of(ours) / of(theirs)),
    )
}

fn one(nginx: &mut Nginx, lists: &Lists, program: &Program) -> Ran {
    let mut command = program.command(lists);
    for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
        command.env(name, nginx.authorities(lists.authorities));
    }
    command.env_remove("SSL_CERT_DIR");
    if let Some(output) = &lists.output {
        let _ = fs::remove_dir_all(output);
        fs::create_dir(output).expect("a folder of our own");
    }
    let mut ran = launch(command, lists, program).run();
    let complaint = check(nginx, lists, program, &mut ran);
    ran.complaint = ran.complaint.or(complaint);
    tell(program, &ran);
    ran
}

/// Prepares the launch of a program.
pub fn launch(command: Command, lists: &Lists, program: &Program) -> Launch {
    let mut launch = Launch::new(command).times(program.times);
    if let Some(processors) = program.processors {
        launch = launch.processors(processors);
    }
    if program.terminal {
        launch = launch.terminal();
    }
    if let Urls::Numbered { start } = &lists.urls {
        let (start, count) = (start.clone(), lists.count);
        launch = launch.feed(move |pipe| {
            let mut pipe = BufWriter::new(pipe);
            (0..count).try_for_each(|number| writeln!(pipe, "{start}{number}"))?;
            pipe.flush()
        });
    }
    launch
}

/// Prints the result of a run on stderr.
pub fn tell(program: &Program, ran: &Ran) {
    let (cpu, wall) = (ran.cpu, ran.wall);
    eprint!(
        "  {program}: CPU {cpu:.2?}, wall {wall:.2?}, {:.1} MiB",
        mib(ran.peak)
    );
    match &ran.complaint {
        Some(complaint) => eprintln!(", {complaint}"),
        None => eprintln!(),
    }
}

/// Checks that everything was requested and received, according to the server, and to the program
/// if it prints that.
fn check(nginx: &mut Nginx, lists: &Lists, program: &Program, ran: &mut Ran) -> Option<String> {
    let times = u64::from(program.times);
    let (count, bytes) = (lists.count * times, lists.bytes * times);
    let answered = match nginx.answered(count) {
        Ok(answered) => answered,
        Err(error) => return Some(format!("the server's log: {error}")),
    };
    ran.connections = answered.connections;
    if answered.requests != count || answered.others > 0 {
        return Some(format!("{answered:?} instead of {count}"));
    }
    let apart = answered.bytes.abs_diff(bytes) as f64 / bytes as f64;
    if apart > if program.draws() { DRAWN } else { 0.0 } {
        return Some(format!("{} of {bytes} bytes", answered.bytes));
    }
    if program.tells() && ran.marked != count {
        return Some(format!("{} of {count} URLs are told of", ran.marked));
    }
    None
}
