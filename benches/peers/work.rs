//! A list to be fetched, and runs of programs that take turns at it.

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

/// A list as each program wants it.
pub struct Lists {
    pub urls: Urls,
    pub count: u64,
    /// Of all bodies.
    pub bytes: u64,
    /// The file with the authorities that programs are to trust.
    authorities: &'static str,
    /// Where they are saved, if they are: it is emptied before each run.
    output: Option<PathBuf>,
}

pub enum Urls {
    /// In files of this folder: [`PLAIN`] and [`CURL`].
    Listed(TempDir),
    /// This with a number after it, from a pipe.
    Numbered { start: String },
}

/// URLs, one a line.
pub const PLAIN: &str = "list";
/// A configuration file of curl.
pub const CURL: &str = "curl";

/// How far the sum of bodies drawn at random may be from what the list has: a few standard
/// deviations of ten thousand pages, of which the largest are a thousand times the mean.
const DRAWN: f64 = 0.5;

impl Lists {
    pub fn new(urls: &[String], bytes: u64) -> io::Result<Self> {
        Self::with_output(urls, bytes, None)
    }

    /// With a folder where programs put the bodies, curl into one file.
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

    /// With all that the system trusts.
    pub fn with_system(mut self) -> Self {
        self.authorities = certificates::WITH_SYSTEM;
        self
    }

    /// So many URLs, which come over a pipe, with bodies of one length.
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

/// Runs of several programs that took turns: one of each in a round.
pub struct Rounds {
    pub rans: Vec<(Program, Vec<Ran>)>,
    pub urls: u64,
}

impl Rounds {
    /// One run of each that does not count, and so many rounds that do: unless it went wrong,
    /// which is said once.
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

    /// The runs of the first program that is meant.
    pub fn of(&self, is_meant: impl Fn(&Program) -> bool) -> Option<&[Ran]> {
        let found = self.rans.iter().find(|(program, _)| is_meant(program));
        found.map(|(_, rans)| rans.as_slice())
    }

    pub fn tool(&self, tool: Tool) -> Option<&[Ran]> {
        self.of(|program| program.tool == tool)
    }
}

/// What the runs of one are of those of another, round by round; `None` when one of them went
/// wrong.
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
    let complaint = check(nginx, lists, program, &ran);
    ran.complaint = ran.complaint.or(complaint);
    tell(program, &ran);
    ran
}

/// How a program is run.
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

/// Says on stderr how a run went.
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

/// Whether all was asked for and came, as the server tells it, and the program where it does.
fn check(nginx: &mut Nginx, lists: &Lists, program: &Program, ran: &Ran) -> Option<String> {
    let times = u64::from(program.times);
    let (count, bytes) = (lists.count * times, lists.bytes * times);
    let answered = match nginx.answered(count) {
        Ok(answered) => answered,
        Err(error) => return Some(format!("the server's log: {error}")),
    };
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
