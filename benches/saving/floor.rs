//! Loops that write the bodies and do nothing else: the lower bounds. They run in separate
//! processes, which are this program started again, so that they are measured like the other
//! programs.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::bodies::{self, Bodies};

const ASKED: &str = "--floor";

/// What a loop does with each body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// Creates, writes, closes and renames a file.
    Files,
    /// Hashes the body, and appends it to one file.
    Pack,
}

impl Floor {
    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Pack => "pack",
        }
    }

    /// Returns the command of a loop that writes this number of bodies to a directory or file.
    pub fn command(self, urls: u32, out: &Path) -> Command {
        let this = env::current_exe().expect("the path of this program");
        let mut command = Command::new(this);
        command.args([ASKED, self.name(), &urls.to_string()]);
        command.arg(out);
        command
    }
}

/// Whether this process was started as such a loop.
pub fn is_asked_for() -> bool {
    env::args().nth(1).is_some_and(|arg| arg == ASKED)
}

/// Runs the loop.
pub fn main() {
    let mut args = env::args().skip(2);
    let mut next = || args.next().expect("an argument");
    let (kind, urls, out) = (next(), next(), next());
    let urls = urls.parse().expect("a number");
    if kind == Floor::Files.name() {
        files(urls, Path::new(&out)).expect("files that can be written");
    } else {
        pack(urls, Path::new(&out)).expect("a file that can be written");
    }
}

fn files(urls: u32, out: &Path) -> io::Result<()> {
    let temp = out.join(".tmp");
    fs::create_dir_all(&temp)?;
    for n in 0..urls {
        let folder = out.join(bodies::folder(n));
        // The first body of each directory comes before its second one.
        if !folder.exists() {
            fs::create_dir(folder)?;
        }
    }
    let mut bodies = Bodies::new();
    for n in 0..urls {
        let part = temp.join(n.to_string());
        File::create_new(&part)?.write_all(bodies.get(n))?;
        fs::rename(part, out.join(bodies::path(n)))?;
    }
    fs::remove_dir(temp)
}

fn pack(urls: u32, out: &Path) -> io::Result<()> {
    let mut file = File::create_new(out)?;
    let mut bodies = Bodies::new();
    for n in 0..urls {
        let body = bodies.get(n);
        std::hint::black_box(digest(&SHA1_FOR_LEGACY_USE_ONLY, body));
        file.write_all(body)?;
    }
    Ok(())
}
