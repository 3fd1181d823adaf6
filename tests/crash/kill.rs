//! `SIGKILL` at any moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::folder::{End, Folder, end, was_killed};
use crate::site::{Line, Site};

/// Number of pages of the site.
const PAGES: usize = 240;
/// Number of kills, unless `FETCHALL_KILLS` is set.
const FEW: usize = 15;
/// At least one kill in this number must hit in the middle of the work. That is far less than the
/// usual share, and far more than the share if the moments were wrong.
const IN_THE_MIDDLE: usize = 4;

const BAD_LINE: Line = Line {
    cut: 25,
    held: 0,
    delayed: 20,
};

/// Reads a number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The results of all kills.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Kills before a journal existed, or with an empty one.
    early: usize,
    /// Kills with some pages done and others not.
    in_the_middle: usize,
    /// Kills that left unfinished files.
    with_rests: usize,
    /// Runs ended by a signal that can be caught.
    interrupted: usize,
    /// Directories that were run into until all pages were there.
    folders: usize,
    /// Requests for the rest of a body.
    continued: usize,
}

/// Runs into one directory, each ended early, until one completes.
struct Hunt<'a> {
    site: &'a Site,
    folder: Folder,
    usual: Duration,
    done: BTreeSet<usize>,
}

impl Hunt<'_> {
    /// Runs once. Returns whether everything is done.
    fn run(&mut self, rng: &mut fastrand::Rng, tally: &mut Tally) -> bool {
        let (wait, how) = (moment(self.usual, rng), manner(rng));
        let child = self.folder.start();
        std::thread::sleep(wait);
        let status = end(child, how);
        let asked = self.site.take_asked();
        tally.continued += asked.iter().filter(|asked| asked.range.is_some()).count();
        for asked in asked {
            let is_new = !self.done.contains(&asked.page);
            assert!(is_new, "{asked:?} had been done before; {status}");
        }
        let left = self.folder.check(self.site);
        assert!(left.done.is_superset(&self.done), "the journal got shorter");
        if was_killed(status) {
            tally.kills += 1;
            tally.early += usize::from(left.done.is_empty());
            let some = !left.done.is_empty() && left.done.len() < PAGES;
            tally.in_the_middle += usize::from(some);
            tally.with_rests += usize::from(!left.unfinished.is_empty());
        } else if status.code() == Some(130) {
            tally.interrupted += 1;
            // One that ended before it had opened the folder leaves it as it was.
            if !self.folder.stderr().contains("\n0 URLs: ") {
                self.folder.listed_parts(self.site);
            }
        } else {
            let is_known = matches!(how, End::Signal(..)) || status.code() == Some(0);
            assert!(is_known, "{status}: {}", self.folder.stderr());
        }
        self.done = left.done;
        status.code() == Some(0)
    }
}

/// Draws a moment between the start, when nothing exists yet, and the end, when all is done.
fn moment(usual: Duration, rng: &mut fastrand::Rng) -> Duration {
    let longest = match rng.u8(..8) {
        0 => Duration::from_millis(15),
        1..5 => usual / 4,
        _ => usual,
    };
    longest.mul_f64(rng.f64())
}

/// Interrupts some runs, so that those killed later have partial bodies to continue.
fn manner(rng: &mut fastrand::Rng) -> End {
    match rng.u8(..5) {
        0 => End::Signal(Signal::INT, Some(Duration::from_millis(rng.u64(..30)))),
        _ => End::Kill,
    }
}

#[test]
fn killed_at_any_moment_it_leaves_whole_files_and_the_next_run_goes_on() {
    let seed = number("FETCHALL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let wanted = number("FETCHALL_KILLS").map_or(FEW, |kills| kills as usize);
    println!("FETCHALL_SEED={seed} FETCHALL_KILLS={wanted}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let site = Site::start(PAGES, seed);
    site.set_line(BAD_LINE);

    let start = Instant::now();
    Folder::new(&site).finish(&site);
    let usual = start.elapsed();

    let mut tally = Tally::default();
    while tally.kills < wanted {
        let mut hunt = Hunt {
            site: &site,
            folder: Folder::new(&site),
            usual,
            done: BTreeSet::new(),
        };
        site.take_asked();
        while !hunt.run(&mut rng, &mut tally) && tally.kills < wanted {}
        site.take_asked();
        let done = hunt.done;
        hunt.folder.finish(&site);
        let again = site.take_asked();
        let is_new = again.iter().all(|asked| !done.contains(&asked.page));
        assert!(is_new, "what was done was not asked for again");
        tally.folders += 1;
    }
    println!("{tally:?}, a usual run takes {usual:?}");
    assert!(tally.in_the_middle >= wanted / IN_THE_MIDDLE, "{tally:?}");
    // With very few kills, none may hit an unfinished file.
    let has_rests = tally.with_rests > 0 && tally.continued > 0;
    assert!(has_rests || wanted < FEW, "{tally:?}");
}
