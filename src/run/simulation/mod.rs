//! Whole runs in simulation: a seed makes a list, options, servers, a disk and the moments at which
//! runs end. The run itself is the library's own, over a scripted transport and a store in memory, on
//! one thread and a clock that only jumps ahead, so that a seed gives the same run to the byte. After
//! each run, the invariants are checked, and the same command runs again until everything is done.
//!
//! `FETCHALL_SEEDS=1000000 cargo test --release --lib run::simulation` runs that many seeds, from
//! `FETCHALL_FIRST_SEED` on. A seed that fails is made smaller, and printed as the command that repeats it.

mod case;
mod checks;
mod disk;
mod draw;
mod site;
mod transport;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{OpenedList, PreparedRun, saving};
use crate::input::read_list;
use crate::model::{ListEntry, LiveStats, Record, VirtualTime};
use crate::store::DiscardStore;

use case::{PARTS, SimCase, SimEnding, SimPlan};
use checks::{SeenRun, SimEnd, Wrongs, done_lines, journaled};
use disk::{DiskContent, SimDisk};
use draw::random;
use transport::SimTransport;
use world::{SharedWorld, SimWorld};

/// Seeds in a usual test run.
const SEEDS: u64 = 2000;
/// Of so many seeds, one is run twice to see that it repeats.
const REPEATED: u64 = 50;
/// Time after which a run counts as one that does not end. Hosts that are down and slow limits take
/// hours.
const ENDLESS: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time between two runs; all outages are over then.
const PAUSE: Duration = Duration::from_secs(600);

/// What a case came to.
#[derive(Debug, PartialEq, Eq)]
struct SimResult {
    /// Every request and every record, in their order.
    transcript: Vec<String>,
    wrong: Vec<String>,
}

/// The runs of one case.
struct SimRuns {
    plan: Arc<SimPlan>,
    world: SharedWorld,
    disk: Arc<Mutex<DiskContent>>,
    dir: tempfile::TempDir,
    wrong: Wrongs,
}

impl SimRuns {
    fn run_all(case: &SimCase) -> SimResult {
        let plan = Arc::new(SimPlan::of(case));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let world = runtime.block_on(async { SimWorld::new(&plan) });
        let mut runs = Self {
            world: Arc::new(Mutex::new(world)),
            disk: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            wrong: Wrongs::default(),
            plan: Arc::clone(&plan),
        };
        for (number, ending) in plan.endings.iter().enumerate() {
            runs.run(number, ending, false);
        }
        runs.run(plan.endings.len(), &SimEnding::default(), true);
        let mut world = runs.world.lock().unwrap();
        let mut wrong = std::mem::take(&mut world.wrong);
        wrong.append(&mut runs.wrong.0);
        SimResult {
            transcript: std::mem::take(&mut world.transcript),
            wrong,
        }
    }

    /// Runs once, in a runtime of its own, as in a process of its own.
    fn run(&mut self, number: usize, ending: &SimEnding, is_last: bool) {
        let plan = Arc::clone(&self.plan);
        let journal = self.dir.path().join("journal");
        let before = journaled(&journal, &mut self.wrong);
        let done = done_lines(&plan, &before, &self.disk.lock().unwrap().files);
        self.disk.lock().unwrap().revive();
        let entries = read_list(plan.format, &plan.list(), plan.saves).unwrap();
        let numbers = numbers(&entries);
        let records = Arc::new(Mutex::new(Vec::new()));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let end = runtime.block_on(self.run_in(number, ending, is_last, entries, &done, &records));
        // The rest of a killed run ends here, and changes nothing any more.
        self.disk
            .lock()
            .unwrap()
            .end_process(matches!(end, Some(SimEnd::Killed)));
        drop(runtime);
        let Some(end) = end else {
            self.wrong.0.push("a run that does not end".to_owned());
            return;
        };
        let after = journaled(&journal, &mut self.wrong);
        let records: Vec<Record> = std::mem::take(&mut *records.lock().unwrap());
        let mut world = self.world.lock().unwrap();
        for record in &records {
            world
                .transcript
                .push(serde_json::to_string(record).unwrap());
        }
        if let SimEnd::Ended(summary, error) = &end {
            world.transcript.push(format!("{summary:?} {error:?}"));
        }
        let seen = SeenRun {
            plan: &plan,
            config: &plan.config(is_last),
            site: &plan.site,
            is_last,
            end: &end,
            records: &records,
            journaled: &after[before.len().min(after.len())..],
            done: &done,
            jobs: &world.jobs,
            files: &self.disk.lock().unwrap().files,
            numbers: &numbers,
            served: &world.served,
        };
        seen.check(&mut self.wrong);
    }

    /// `None`: it does not end.
    async fn run_in(
        &self,
        number: usize,
        ending: &SimEnding,
        is_last: bool,
        entries: Vec<ListEntry>,
        done: &BTreeSet<u64>,
        records: &Arc<Mutex<Vec<Record>>>,
    ) -> Option<SimEnd> {
        let plan = &self.plan;
        let mut config = plan.config(is_last);
        let _virtual_time = VirtualTime::start(self.world.lock().unwrap().passed());
        self.world
            .lock()
            .unwrap()
            .begin_run(&config, is_last, done.clone());
        let told = Arc::clone(records);
        config.report.on_record = Some(Box::new(move |record| {
            told.lock().unwrap().push(record.clone());
        }));
        let journal =
            saving::open_standalone_journal(&self.dir.path().join("journal"), &config.save);
        let rng = random(plan.case.seed, ("run", number));
        let disk = SimDisk::new(&self.disk, rng.clone(), ending, config.save.refresh);
        let list = fed(entries, rng);
        let run = PreparedRun::prepare(config, list, Vec::new(), Some(journal.unwrap())).unwrap();
        let live = Arc::clone(&run.live);
        let transport = SimTransport(Arc::clone(&self.world));
        let stop = after(ending.stop);
        let abort = after(ending.abort);
        let work = async {
            let ended = match plan.saves {
                true => run.go(transport, disk, stop, abort).await,
                false => run.go(transport, DiscardStore, stop, abort).await,
            };
            match ended {
                Ok(summary) => SimEnd::Ended(Box::new(summary), None),
                Err(error) => {
                    let text = error.to_string();
                    SimEnd::Ended(error.summary, Some(text))
                }
            }
        };
        let end = tokio::select! {
            biased;
            end = work => Some(end),
            () = after(ending.crash) => Some(SimEnd::Killed),
            () = sleep(ENDLESS) => None,
        };
        let mut world = self.world.lock().unwrap();
        if matches!(end, Some(SimEnd::Ended(..))) && live.in_flight() > 0 {
            world
                .wrong
                .push(format!("{} requests in flight", live.in_flight()));
        }
        world.wrong.extend(VirtualTime::leaks());
        world.end_run(PAUSE);
        end
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Returns the list as an input that is read bit by bit.
fn fed(mut entries: Vec<ListEntry>, mut rng: fastrand::Rng) -> OpenedList {
    let live = Arc::new(LiveStats::default());
    live.add_listed(entries.len() as u64);
    live.mark_list_ended();
    let (sender, batches) = mpsc::channel(4);
    let is_slow = rng.u8(..4) == 0;
    tokio::spawn(async move {
        while !entries.is_empty() {
            let rest = entries.split_off(rng.usize(1..=8).min(entries.len()));
            let batch = std::mem::replace(&mut entries, rest);
            if sender.send(Ok(batch)).await.is_err() {
                return;
            }
            if is_slow {
                sleep(Duration::from_millis(rng.u64(..2000))).await;
            }
        }
    });
    OpenedList { live, batches }
}

/// Returns the number of the entry on each line.
fn numbers(entries: &[ListEntry]) -> BTreeMap<u64, u64> {
    let places = entries.iter().map(|entry| match entry {
        ListEntry::Job(job) => (job.position.line, job.position.number),
        ListEntry::Invalid(line) => (line.position.line, line.position.number),
        other => panic!("{other:?}"),
    });
    places.collect()
}

/// Returns what is wrong with a case; a panic is, too.
fn problem(case: &SimCase) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| SimRuns::run_all(case))) {
        Ok(result) if result.wrong.is_empty() => None,
        Ok(result) => Some(result.wrong.join("\n")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(format!("panicked: {}", text.unwrap_or_default()))
        }
    }
}

/// Leaves out of a failing case what it does not need.
fn shrunk(case: &SimCase) -> SimCase {
    let mut case = case.clone();
    for part in PARTS {
        let mut smaller = case.clone();
        smaller.without.insert(part);
        if problem(&smaller).is_some() {
            case = smaller;
        }
    }
    let plan = SimPlan::of(&case);
    let mut lines: BTreeSet<u64> = plan.lines.iter().map(|line| line.id).collect();
    let mut chunk = lines.len().div_ceil(2);
    while chunk > 0 {
        for some in lines.clone().into_iter().collect::<Vec<_>>().chunks(chunk) {
            let left: BTreeSet<_> = lines
                .iter()
                .copied()
                .filter(|id| !some.contains(id))
                .collect();
            let smaller = SimCase {
                lines: Some(left.clone()),
                ..case.clone()
            };
            if problem(&smaller).is_some() {
                (case, lines) = (smaller, left);
            }
        }
        chunk /= 2;
    }
    case
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Fails with a case as small as it can be made.
fn fail(case: &SimCase) -> ! {
    let small = shrunk(case);
    let wrong = problem(&small)
        .or_else(|| problem(case))
        .unwrap_or_default();
    panic!("seed {}:\n{wrong}\nTo repeat it:\n{small}", case.seed);
}

#[test]
fn whatever_happens_every_line_comes_to_its_end() {
    let first = variable("FETCHALL_FIRST_SEED").unwrap_or(0);
    let end = first + variable("FETCHALL_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(None);
    let work = || {
        while let seed @ 0.. = next.fetch_add(1, Ordering::Relaxed)
            && seed < end
            && failed.lock().unwrap().is_none()
        {
            let case = SimCase::whole(seed);
            if problem(&case).is_some() {
                failed.lock().unwrap().get_or_insert(case);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some(case) = failed.into_inner().unwrap() {
        fail(&case);
    }
}

/// Without it, no seed could be repeated.
#[test]
fn a_seed_gives_the_same_runs_to_the_byte() {
    for seed in (0..SEEDS).step_by(REPEATED as usize) {
        let case = SimCase::whole(seed);
        let (one, other) = (SimRuns::run_all(&case), SimRuns::run_all(&case));
        assert!(!one.transcript.is_empty());
        assert_eq!(one.transcript, other.transcript, "seed {seed}");
    }
}

/// Repeats the case that `FETCHALL_SEED` and its relatives name, and tells everything about it.
#[test]
fn one_seed() {
    let Some(seed) = variable("FETCHALL_SEED") else {
        return;
    };
    let lines = variable::<String>("FETCHALL_SEED_LINES");
    let without = variable::<String>("FETCHALL_SEED_WITHOUT").unwrap_or_default();
    let case = SimCase {
        seed,
        lines: lines.map(|lines| {
            let numbers = lines.split(',').filter(|text| !text.is_empty());
            numbers.map(|number| number.parse().unwrap()).collect()
        }),
        without: PARTS
            .into_iter()
            .filter(|part| without.split(',').any(|one| one == *part))
            .collect(),
    };
    let plan = SimPlan::of(&case);
    println!("{}", String::from_utf8_lossy(&plan.list()));
    println!("{:#?}\n{:?}", plan.endings, plan.config(false));
    let result = SimRuns::run_all(&case);
    println!("{}", result.transcript.join("\n"));
    assert!(result.wrong.is_empty(), "{}", result.wrong.join("\n"));
}
