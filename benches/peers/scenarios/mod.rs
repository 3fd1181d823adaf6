//! The scenarios and their bounds.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::args::Args;
use crate::nginx::{Nginx, TINY};
use crate::programs::{Peers, Program, Tool};
use crate::site::{self, Page};
use crate::support::launch::Ran;
use crate::table::{Cost, Limit, Ratio, Report};
use crate::work::{Lists, Rounds};

/// Memory is independent of the length of the list.
mod endless;
/// Many hosts with a few pages each.
mod hosts;
/// One body of 4 GiB.
mod large;
/// Bodies that have to be decoded.
mod packed;
/// Pages of one host.
mod pages;
/// Two processors compared with one.
mod processors;
/// The cost of a progress bar.
mod progress;
/// More and more concurrent requests.
mod scale;
/// The time for one URL, including the start of the program.
mod start;

/// A scenario with its function.
pub struct Scenario {
    pub name: &'static str,
    pub report: fn(&mut Bench) -> Report,
}

pub const SCENARIOS: [Scenario; 16] = [
    Scenario {
        name: "pages",
        report: pages::pages,
    },
    Scenario {
        name: "tiny",
        report: pages::tiny,
    },
    Scenario {
        name: "http2",
        report: pages::http2,
    },
    Scenario {
        name: "hosts",
        report: hosts::plain,
    },
    Scenario {
        name: "hosts-tls",
        report: hosts::tls,
    },
    Scenario {
        name: "hosts-tls-many",
        report: hosts::tls_many,
    },
    Scenario {
        name: "packed",
        report: packed::report,
    },
    Scenario {
        name: "processors",
        report: processors::report,
    },
    Scenario {
        name: "scale",
        report: scale::report,
    },
    Scenario {
        name: "start",
        report: start::plain,
    },
    Scenario {
        name: "start-tls",
        report: start::tls,
    },
    Scenario {
        name: "endless",
        report: endless::tiny,
    },
    Scenario {
        name: "names",
        report: endless::names,
    },
    Scenario {
        name: "refused",
        report: endless::refused,
    },
    Scenario {
        name: "large",
        report: large::report,
    },
    Scenario {
        name: "progress",
        report: progress::report,
    },
];

/// What a scenario needs.
pub struct Bench {
    pub nginx: Nginx,
    pub peers: Peers,
    /// The directory of the pages.
    folder: PathBuf,
    pages: Vec<Page>,
    large: TempDir,
    rounds: usize,
}

/// Number of pages in a list.
const PAGES: usize = 10_000;
/// Bytes of the large body. Its file is sparse and takes no space.
const LARGE: u64 = 4 << 30;
const LARGE_NAME: &str = "body.bin";

impl Bench {
    /// Starts the server.
    pub fn new(args: Args) -> Result<Self, String> {
        let folder = args.pages();
        let pages = site::pages(&folder, PAGES).map_err(|problem| {
            let folder = folder.display();
            format!("pages in {folder}: {problem} (rustup component add rust-docs, or --pages DIR)")
        })?;
        let large = large_file().map_err(|problem| format!("a file of 4 GiB: {problem}"))?;
        let nginx = Nginx::start(&folder, large.path(), &hosts::addresses());
        let nginx = nginx.map_err(|problem| {
            format!("nginx does not start: {problem} (apt-get install nginx-light)")
        })?;
        Ok(Self {
            nginx,
            peers: Peers::find(),
            folder,
            pages,
            large,
            rounds: args.rounds.get(),
        })
    }

    /// Runs programs alternately.
    fn run(&mut self, lists: &Lists, programs: &[Program]) -> Rounds {
        Rounds::run(&mut self.nginx, lists, programs, self.rounds)
    }

    /// Runs programs alternately, in fewer rounds.
    fn run_few(&mut self, lists: &Lists, programs: &[Program]) -> Rounds {
        Rounds::run(&mut self.nginx, lists, programs, self.rounds.div_ceil(3))
    }

    /// Returns fetchall.
    fn ours(&self) -> Program {
        self.peers.get(Tool::Ours).expect("this was built with it")
    }

    /// Returns the pages, from one host.
    fn pages(&self) -> Lists {
        self.pages_of(|_, path| self.nginx.url(Ipv4Addr::LOCALHOST, path))
    }

    /// Returns the pages, each with the URL that `url` returns.
    fn pages_of(&self, url: impl Fn(usize, &str) -> String) -> Lists {
        let pages = self.pages.iter().enumerate();
        let urls: Vec<_> = pages
            .map(|(number, page)| url(number, &page.path))
            .collect();
        let bytes = self.pages.iter().map(|page| page.size).sum();
        Lists::new(&urls, bytes).expect("a temporary file")
    }

    /// Returns bodies of a few bytes, from one host.
    fn tiny(&self, count: u64) -> Lists {
        let url = |number| {
            self.nginx
                .url(Ipv4Addr::LOCALHOST, &format!("tiny/{number}"))
        };
        let urls: Vec<_> = (0..count).map(url).collect();
        Lists::new(&urls, count * TINY.len() as u64).expect("a temporary file")
    }
}

fn large_file() -> io::Result<TempDir> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    fs::File::create(folder.path().join(LARGE_NAME))?.set_len(LARGE)?;
    Ok(folder)
}

/// The bounds for fetchall compared with another program.
struct Asked {
    of: Tool,
    cpu: f64,
    wall: Option<f64>,
}

impl Asked {
    fn cpu(of: Tool, cpu: f64) -> Self {
        Self {
            of,
            cpu,
            wall: None,
        }
    }

    fn wall(mut self, wall: f64) -> Self {
        self.wall = Some(wall);
        self
    }
}

/// Returns the rows for programs that did the same work.
fn compare(work: &str, rounds: &Rounds, asked: &[Asked]) -> Report {
    let ours = rounds.tool(Tool::Ours).unwrap_or_default();
    let ratio = |asked: &Asked| {
        let (program, theirs) = rounds.rans.iter().find(|(one, _)| one.tool == asked.of)?;
        let ratio = Ratio::of(work, &program.label, ours, theirs).cpu(asked.cpu);
        Some(match asked.wall {
            Some(wall) => ratio.wall(wall),
            None => ratio,
        })
    };
    Report {
        costs: Cost::all(work, rounds),
        ratios: asked.iter().filter_map(ratio).collect(),
        ..Report::default()
    }
}

/// Returns a bound on memory.
fn memory(work: &str, what: &str, is: f64, most: f64) -> Limit {
    Limit {
        work: work.to_owned(),
        what: what.to_owned(),
        is,
        most,
        unit: "MiB",
    }
}

/// Returns the runs of the program with this in its name.
fn labelled<'a>(rounds: &'a Rounds, part: &str) -> &'a [Ran] {
    let is_meant = |program: &Program| program.label.contains(part);
    rounds.of(is_meant).unwrap_or_default()
}

/// Returns a directory on the disk.
fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Returns the path of the large body.
fn large_path(bench: &Bench) -> PathBuf {
    bench.large.path().join(LARGE_NAME)
}
