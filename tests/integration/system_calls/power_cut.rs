//! What a power cut leaves: a run is recorded with `strace`, and its writes, new names and syncs are
//! replayed into the states that a file system may be in which reorders what was not synced.
//!
//! With `--sync`, a URL that was reported is whole in every one of these states. In any way, the next
//! run goes on from there and ends whole, as long as the file system writes each file from its front.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fetchall::Record;

use super::{PATHS, Place, Way, can_trace, files, site, tree};
use crate::support::Server;

/// Calls that change a disk, or sync it.
const RECORDED: &str = "?open,openat,?openat2,write,writev,pwrite64,?rename,renameat,?renameat2,\
    ?unlink,unlinkat,?mkdir,mkdirat,ftruncate,fsync,fdatasync,syncfs";

/// States in which the program runs again, for each way.
const RERUNS: usize = 25;

/// A change of the disk, or what makes it durable. Files are numbered in the order of their creation.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    MakeDir(PathBuf),
    Create(usize, PathBuf),
    Write(usize, usize, Vec<u8>),
    SetLength(usize, usize),
    Rename(usize, PathBuf, PathBuf),
    Remove(PathBuf),
    Sync(usize),
    SyncDir(PathBuf),
    SyncAll,
    /// Written to stdout.
    Report(String),
}

/// The content of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct DiskState {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    content: BTreeMap<usize, Vec<u8>>,
}

impl DiskState {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::MakeDir(path) => drop(self.dirs.insert(path.clone())),
            Step::Create(file, path) => drop(self.names.insert(path.clone(), *file)),
            Step::Write(file, at, bytes) => {
                let content = self.content.entry(*file).or_default();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Step::SetLength(file, length) => {
                self.content.entry(*file).or_default().resize(*length, 0);
            }
            Step::Rename(file, from, to) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Step::Remove(path) => drop(self.names.remove(path)),
            Step::Sync(_) | Step::SyncDir(_) | Step::SyncAll | Step::Report(_) => {}
        }
    }

    /// Returns the files that can be reached, by their names below `root`.
    fn files(&self, root: &Path) -> BTreeMap<String, Vec<u8>> {
        let is_reached = |path: &&PathBuf| {
            let above = path.ancestors().skip(1);
            above
                .take_while(|dir| *dir != root)
                .all(|dir| self.dirs.contains(dir))
        };
        let reached = self.names.iter().filter(|(path, _)| is_reached(path));
        let named = reached.filter_map(|(path, file)| {
            let name = path.strip_prefix(root).ok()?.to_str()?.to_owned();
            Some((name, self.content.get(file).cloned().unwrap_or_default()))
        });
        named.collect()
    }
}

/// Reads what `strace` recorded.
#[derive(Default)]
struct Recording {
    root: PathBuf,
    steps: Vec<Step>,
    live: DiskState,
    next: usize,
    /// Whether what is written to one file reaches the disk in its order.
    keeps_order: bool,
}

impl Recording {
    fn read(log: &str, root: &Path) -> Self {
        let mut recording = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        let mut begun = BTreeMap::new();
        for line in log.lines() {
            let (thread, rest) = line.split_once(' ').unwrap();
            let rest = rest.trim_start();
            if let Some(call) = rest.strip_suffix("<unfinished ...>") {
                recording.report(call);
                begun.insert(thread, call);
            } else if let Some((_, end)) = rest.split_once(" resumed>") {
                let call = format!("{}{end}", begun.remove(thread).unwrap_or_default());
                recording.call(&call);
            } else {
                recording.report(rest);
                recording.call(rest);
            }
        }
        recording
    }

    /// A report counts from the moment at which it begins.
    fn report(&mut self, call: &str) {
        let (name, args) = call.split_once('(').unwrap_or_default();
        if name.starts_with("write") && args.starts_with("1<") {
            let text = String::from_utf8(quoted(args).concat()).unwrap();
            self.steps.push(Step::Report(text));
        }
    }

    fn call(&mut self, call: &str) {
        let Some((call, result)) = call.rsplit_once(" = ") else {
            return;
        };
        if result.starts_with(['-', '?']) {
            return;
        }
        let (name, args) = call.split_once('(').unwrap();
        let paths = descriptors(args);
        let names = quoted(args);
        let path = |at: usize| {
            let name = names
                .get(at)
                .map(|name| String::from_utf8(name.clone()).unwrap());
            let dir = paths.get(at).cloned().unwrap_or_default();
            dir.join(name.unwrap_or_default())
        };
        let of_descriptor = paths
            .first()
            .and_then(|path| self.live.names.get(path))
            .copied();
        let number = |text: &str| text.trim_end_matches(')').trim().parse::<usize>().ok();
        let step = match name {
            "open" | "openat" | "openat2" if args.contains("O_CREAT") => {
                let opened = descriptors(result).first().cloned().unwrap_or_default();
                let is_new =
                    opened.starts_with(&self.root) && !self.live.names.contains_key(&opened);
                self.next += usize::from(is_new);
                is_new.then_some(Step::Create(self.next, opened))
            }
            "write" | "writev" | "pwrite64" => of_descriptor.map(|file| {
                let mut bytes = names.concat();
                bytes.truncate(number(result).unwrap());
                let end = self.live.content.get(&file).map_or(0, Vec::len);
                let at = match name {
                    "pwrite64" => args.rsplit(',').next().and_then(number).unwrap(),
                    _ => end,
                };
                Step::Write(file, at, bytes)
            }),
            "ftruncate" => of_descriptor.map(|file| {
                Step::SetLength(file, args.rsplit(',').next().and_then(number).unwrap())
            }),
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = (path(0), path(1));
                let file = self.live.names.get(&from).copied();
                file.map(|file| Step::Rename(file, from, to))
            }
            "unlink" | "unlinkat" => Some(Step::Remove(path(0))),
            "mkdir" | "mkdirat" => Some(Step::MakeDir(path(0))),
            "fsync" | "fdatasync" => match of_descriptor {
                Some(file) => Some(Step::Sync(file)),
                None => paths.first().cloned().map(Step::SyncDir),
            },
            "syncfs" => Some(Step::SyncAll),
            _ => None,
        };
        if let Some(step) = step {
            self.live.apply(&step);
            self.steps.push(step);
        }
    }

    /// Whether a step survives a cut before step `cut`, whatever else does.
    fn is_durable(&self, at: usize, cut: usize) -> bool {
        let parent = |path: &Path| path.parent().unwrap().to_owned();
        self.steps[at + 1..cut]
            .iter()
            .any(|later| match (later, &self.steps[at]) {
                (Step::SyncAll, _) => true,
                (Step::Sync(synced), Step::Write(file, ..) | Step::SetLength(file, _)) => {
                    synced == file
                }
                (
                    Step::SyncDir(dir),
                    Step::Create(_, path)
                    | Step::Rename(_, _, path)
                    | Step::Remove(path)
                    | Step::MakeDir(path),
                ) => *dir == parent(path),
                _ => false,
            })
    }

    /// Returns the state in which the durable steps before a cut are on disk, and the others that
    /// `is_kept` names: all of it, or half of what was written.
    fn state(&self, cut: usize, durable: &[bool], kept: impl Fn(usize) -> Kept) -> DiskState {
        let mut state = DiskState::default();
        let mut cut_off = BTreeSet::new();
        for (at, step) in self.steps[..cut].iter().enumerate() {
            // What was written to a file is there up to some byte.
            if let (true, Step::Write(file, ..)) = (self.keeps_order, step) {
                if cut_off.contains(file) {
                    continue;
                }
                if !durable[at] && kept(at) != Kept::Whole {
                    cut_off.insert(*file);
                }
            }
            match (durable[at], kept(at), step) {
                (true, ..) | (_, Kept::Whole, _) => state.apply(step),
                (false, Kept::Half, Step::Write(file, start, bytes)) => {
                    let half = bytes[..bytes.len() / 2].to_vec();
                    state.apply(&Step::Write(*file, *start, half));
                }
                (false, Kept::Half | Kept::Nothing, _) => {}
            }
        }
        state
    }

    /// Returns every state in which a cut before step `cut` may leave the disk, as far as they differ
    /// in one step from all or nothing, and some others.
    fn states(&self, cut: usize, rng: &mut fastrand::Rng) -> BTreeSet<DiskState> {
        let durable: Vec<_> = (0..cut).map(|at| self.is_durable(at, cut)).collect();
        let mut states = BTreeSet::new();
        states.insert(self.state(cut, &durable, |_| Kept::Whole));
        states.insert(self.state(cut, &durable, |_| Kept::Nothing));
        for one in (0..cut).filter(|at| !durable[*at]) {
            let only = |at, kept, others| if at == one { kept } else { others };
            states.insert(self.state(cut, &durable, |at| only(at, Kept::Nothing, Kept::Whole)));
            states.insert(self.state(cut, &durable, |at| only(at, Kept::Half, Kept::Whole)));
            states.insert(self.state(cut, &durable, |at| only(at, Kept::Whole, Kept::Nothing)));
        }
        for _ in 0..10 {
            let draws: Vec<_> = (0..cut).map(|_| rng.u8(..5)).collect();
            states.insert(self.state(cut, &durable, |at| match draws[at] {
                0 | 1 => Kept::Whole,
                2 => Kept::Half,
                _ => Kept::Nothing,
            }));
        }
        states
    }

    /// Returns the URLs that were reported before a step.
    fn reported(&self, cut: usize) -> Vec<Record> {
        let told = self.steps[..cut].iter().filter_map(|step| match step {
            Step::Report(text) => Some(text.as_str()),
            _ => None,
        });
        let told: String = told.collect();
        told.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// What of a step reached the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Whole,
    Half,
    Nothing,
}

/// Returns the strings among the arguments of a call.
fn quoted(args: &str) -> Vec<Vec<u8>> {
    args.split('"').skip(1).step_by(2).map(unescaped).collect()
}

/// Returns the paths of the descriptors among the arguments of a call.
fn descriptors(args: &str) -> Vec<PathBuf> {
    let parts = args
        .split('<')
        .skip(1)
        .filter_map(|part| part.split_once('>'));
    let paths = parts.map(|(path, _)| String::from_utf8(unescaped(path)).unwrap());
    paths.map(PathBuf::from).collect()
}

/// Decodes `\x2f`, as `strace -xx` writes all bytes.
fn unescaped(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    let bytes = text.split("\\x").skip(1);
    bytes
        .map(|hex| u8::from_str_radix(&hex[..2], 16).unwrap())
        .collect()
}

/// Runs a command and records what it does to the disk.
fn recorded(way: Way, server: &Server) -> (Place, Recording) {
    let place = Place::new(way, server);
    let root = fs::canonicalize(place.dir.path()).unwrap();
    let ended = place.run(&[
        "-y".to_owned(),
        "-xx".to_owned(),
        "-s".to_owned(),
        "10000000".to_owned(),
        "-o".to_owned(),
        place.at("log").to_str().unwrap().to_owned(),
        format!("--trace={RECORDED}"),
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let log = fs::read_to_string(place.at("log")).unwrap();
    let recording = Recording::read(&log, &root);
    // The recording is the run: replayed as a whole, it gives what is on disk.
    let mut all = DiskState::default();
    recording.steps.iter().for_each(|step| all.apply(step));
    let mut found = tree(place.dir.path());
    for name in ["log", "list.txt", "stdout", "stderr"] {
        found.remove(name);
    }
    let replayed = all.files(&root);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&replayed), names(&found));
    assert!(replayed == found);
    assert_eq!(recording.reported(recording.steps.len()).len(), PATHS.len());
    (place, recording)
}

/// Returns what is missing of a URL that was reported.
fn missing(
    record: &Record,
    found: &BTreeMap<String, Vec<u8>>,
    whole: &BTreeMap<String, Vec<u8>>,
    last: &BTreeMap<String, Vec<u8>>,
) -> Option<String> {
    let journals = ["out/fetchall.jsonl", "journal", "out.warc.gz.jsonl"];
    let lines = journals.iter().filter_map(|name| found.get(*name));
    let text: String = lines.map(|bytes| String::from_utf8_lossy(bytes)).collect();
    let is_in = |line: &str| {
        serde_json::from_str::<Record>(line).is_ok_and(|found| found.url == record.url && found.ok)
    };
    if !text.lines().any(is_in) {
        return Some("not in the journal".to_owned());
    }
    if let Some(file) = &record.file
        && found.get(&format!("out/{file}")) != whole.get(file)
    {
        return Some(format!("{file} is not whole"));
    }
    if let Some(place) = record.pack {
        let range = place.offset as usize..(place.offset + place.length) as usize;
        let of = |files: &BTreeMap<String, Vec<u8>>| {
            files
                .get("out.warc.gz")
                .and_then(|pack| pack.get(range.clone()).map(<[u8]>::to_vec))
        };
        if of(found) != of(last) {
            return Some("not in the pack".to_owned());
        }
    }
    None
}

/// Writes a state to the place of a run.
fn write_state(place: &Place, state: &DiskState, root: &Path) {
    for name in tree(place.dir.path())
        .into_keys()
        .filter(|name| !name.starts_with("list"))
    {
        fs::remove_file(place.at(&name)).unwrap();
    }
    let _ = fs::remove_dir_all(place.at("out"));
    for (name, content) in state.files(root) {
        let path = place.at(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Records what a way of saving does, checks what is left of it after a power cut, and returns where
/// it ran and the states that the disk may be left in.
fn recorded_states(
    way: Way,
    promises_all: bool,
    server: &Server,
    whole: &BTreeMap<String, Vec<u8>>,
) -> (Place, PathBuf, BTreeSet<DiskState>) {
    let (place, mut recording) = recorded(way, server);
    let root = recording.root.clone();
    let mut last = DiskState::default();
    recording.steps.iter().for_each(|step| last.apply(step));
    let last = last.files(&root);
    let mut rng = fastrand::Rng::with_seed(22);
    let mut all = BTreeSet::new();
    for cut in 0..=recording.steps.len() {
        let reported = recording.reported(cut);
        recording.keeps_order = false;
        for state in recording.states(cut, &mut rng) {
            let found = state.files(&root);
            for record in reported.iter().filter(|_| promises_all) {
                let missing = missing(record, &found, whole, &last);
                let steps = names(&recording.steps);
                assert_eq!(
                    missing, None,
                    "{} after step {cut} of {steps:#?}",
                    record.url
                );
            }
        }
        // A length alone does not tell whether there are zeros before it.
        recording.keeps_order = true;
        all.append(&mut recording.states(cut, &mut rng));
    }
    (place, root, all)
}

/// Replays what a way of saving does.
fn replay(way: Way, promises_all: bool) {
    if !can_trace() {
        return;
    }
    let server = site();
    let whole = files(&server);
    // On a busy machine, a run may write all at once: that has been checked, but shows little.
    let mut runs = (0..20).map(|_| recorded_states(way, promises_all, &server, &whole));
    let writes_often = |(_, _, all): &(Place, PathBuf, BTreeSet<DiskState>)| all.len() > 5;
    let (place, root, all) = runs.find(writes_often).unwrap();
    for state in all.iter().step_by(all.len().div_ceil(RERUNS)) {
        write_state(&place, state, &root);
        let names: Vec<_> = tree(&place.at(""))
            .into_iter()
            .map(|(name, content)| (name, content.len()))
            .collect();
        let ended = place.run(&[]);
        assert_eq!(ended.code, Some(0), "{names:?}: {}", ended.stderr);
        assert_eq!(
            ended.stdout.lines().count(),
            PATHS.len(),
            "{}",
            ended.stdout
        );
        assert_eq!(place.wrong(&whole), None, "{names:?}: {}", ended.stdout);
    }
}

/// Returns the steps without what was written.
fn names(steps: &[Step]) -> Vec<String> {
    let short = |step: &Step| match step {
        Step::Write(file, at, bytes) => format!("Write({file}, {at}, {} bytes)", bytes.len()),
        step => format!("{step:?}"),
    };
    steps.iter().map(short).collect()
}

#[test]
fn what_sync_reported_survives_a_power_cut_in_files() {
    replay(Way::Syncs, true);
}

#[test]
fn what_sync_reported_survives_a_power_cut_in_a_pack() {
    replay(Way::SyncsPack, true);
}

#[test]
fn what_sync_reported_survives_a_power_cut_in_a_journal() {
    replay(Way::SyncsJournal, true);
}

#[test]
fn without_sync_the_run_after_a_power_cut_still_ends_whole() {
    replay(Way::Saves, false);
}
