//! A case: everything about the runs of one seed that is decided before they begin.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use fastrand::Rng;

use super::draw::random;
use super::site::{Page, PageKind, SimSite};
use crate::config::Config;
use crate::engine::EngineOptions;
use crate::input::InputFormat;
use crate::model::{MaxFailures, Sha256};
use crate::schedule::{PerHostLimit, RetryPolicy, RobotsOptions, ScheduleOptions};

/// Parts of a case that can be left out, to make a failing one smaller.
pub(super) const PARTS: [&str; 22] = [
    "ordered",
    "interval",
    "rate",
    "bandwidth",
    "robots",
    "max-time",
    "max-failures",
    "stop-after",
    "look-ahead",
    "refresh",
    "stop",
    "abort",
    "crash",
    "disk",
    "outages",
    "throttling",
    "flaky",
    "slow",
    "repeats",
    "bad-lines",
    "hashes",
    "mirrors",
];

/// A seed, and what is left out of what it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SimCase {
    pub seed: u64,
    /// The lines that are left; `None`: all.
    pub lines: Option<BTreeSet<u64>>,
    /// The parts that are left out.
    pub without: BTreeSet<&'static str>,
}

impl SimCase {
    /// The whole case of a seed.
    pub(super) fn whole(seed: u64) -> Self {
        Self {
            seed,
            lines: None,
            without: BTreeSet::new(),
        }
    }

    /// Whether the case has a part, which `one_in` cases have.
    pub(super) fn has(&self, part: &'static str, one_in: u32) -> bool {
        assert!(PARTS.contains(&part), "{part}");
        !self.without.contains(part) && random(self.seed, part).u32(..one_in) == 0
    }
}

impl fmt::Display for SimCase {
    /// Writes the command that repeats it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FETCHALL_SEED={}", self.seed)?;
        if let Some(lines) = &self.lines {
            let lines: Vec<_> = lines.iter().map(u64::to_string).collect();
            write!(f, " FETCHALL_SEED_LINES={}", lines.join(","))?;
        }
        if !self.without.is_empty() {
            let without: Vec<_> = self.without.iter().copied().collect();
            write!(f, " FETCHALL_SEED_WITHOUT={}", without.join(","))?;
        }
        f.write_str(" cargo test --lib run::simulation::one_seed -- --nocapture")
    }
}

/// A line of the list that is a URL or an invalid one.
#[derive(Debug, Clone)]
pub(super) struct SimLine {
    /// Its number in the case, which stays when others are left out.
    pub id: u64,
    /// The pages of its URL and of its mirrors; none: the line is invalid.
    pub pages: Vec<Page>,
    /// The hash that its body is to have.
    pub hash: Option<Sha256>,
    text: String,
}

/// How one of the runs of a case ends, if nothing else ends it.
#[derive(Debug, Clone, Default)]
pub(super) struct SimEnding {
    pub stop: Option<Duration>,
    /// After the stop.
    pub abort: Option<Duration>,
    /// The process is killed.
    pub crash: Option<Duration>,
    /// The number of the write to disk that fails, and whether every later one does.
    pub disk: Option<(u32, bool)>,
}

/// What a case runs.
#[derive(Debug)]
pub(super) struct SimPlan {
    pub case: SimCase,
    pub site: SimSite,
    pub lines: Vec<SimLine>,
    pub format: InputFormat,
    pub saves: bool,
    /// The runs before the last one, in which nothing fails any more.
    pub endings: Vec<SimEnding>,
}

impl SimPlan {
    pub(super) fn of(case: &SimCase) -> Self {
        let mut rng = random(case.seed, "list");
        let hosts = if rng.u8(..4) == 0 {
            rng.u64(10..25)
        } else {
            rng.u64(1..5)
        };
        let formats = [
            InputFormat::Text,
            InputFormat::Nul,
            InputFormat::JsonLines,
            InputFormat::Csv,
            InputFormat::Tsv,
        ];
        let format = formats[rng.usize(..formats.len())];
        let count = if rng.u8(..8) == 0 {
            rng.u64(40..90)
        } else {
            rng.u64(1..22)
        };
        let site = SimSite::of(case.seed);
        let lines = (0..count).map(|id| line(case, &site, format, hosts, id));
        let is_left = |line: &SimLine| {
            let left = case.lines.as_ref();
            left.is_none_or(|left| left.contains(&line.id))
        };
        let lines = lines.filter(is_left).collect();
        let runs = rng.u64(..4);
        Self {
            endings: (0..runs).map(|run| ending(case, run)).collect(),
            case: case.clone(),
            site,
            lines,
            format,
            saves: rng.bool(),
        }
    }

    /// Whether every line with the URL of this one is equal to it. Else the file that they share may
    /// change while the run reads the list.
    pub(super) fn owns_its_file(&self, number: u64) -> bool {
        let url = |line: &SimLine| line.pages.first().map(|page| page.url.clone());
        let line = usize::try_from(number)
            .ok()
            .and_then(|at| self.lines.get(at));
        line.is_some_and(|line| {
            let others = self.lines.iter().filter(|other| url(other) == url(line));
            others.into_iter().all(|other| other.text == line.text)
        })
    }

    /// Returns the list. Entries are numbered in this order.
    pub(super) fn list(&self) -> Vec<u8> {
        let mut rng = random(self.case.seed, "comments");
        let mut list = match self.format {
            InputFormat::Csv => "url,sha256,mirrors\n".to_owned(),
            InputFormat::Tsv => "url\tsha256\tmirrors\n".to_owned(),
            _ => String::new(),
        };
        let end = if self.format == InputFormat::Nul {
            '\0'
        } else {
            '\n'
        };
        for line in &self.lines {
            match (self.format, rng.u8(..8)) {
                (InputFormat::Text, 0) => list.push_str("# a comment\n"),
                (InputFormat::Text | InputFormat::JsonLines, 1) => list.push('\n'),
                _ => {}
            }
            list.push_str(&line.text);
            list.push(end);
        }
        list.into_bytes()
    }

    /// Returns the options of a run; those of the last one let everything come to its end.
    pub(super) fn config(&self, is_last: bool) -> Config {
        let case = &self.case;
        let mut rng = random(case.seed, "options");
        let some = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        let seconds = Duration::from_secs_f64;
        let concurrency = some([1, 2, 3, 5, 7, 8, 20, 64][rng.usize(..8)]);
        let per_host = match rng.u8(..4) {
            0 => PerHostLimit::Auto { max: None },
            1 => PerHostLimit::Auto {
                max: NonZeroUsize::new(rng.usize(1..9)),
            },
            _ => PerHostLimit::Fixed(some(rng.usize(1..7))),
        };
        let retry = RetryPolicy {
            retries: rng.u32(..5),
            delay: seconds([0.0, 0.01, 0.5, 2.0][rng.usize(..4)]),
            max_delay: seconds([0.5, 5.0, 30.0][rng.usize(..3)]),
            retry_after_max: seconds([1.0, 30.0, 300.0][rng.usize(..3)]),
            max_wait: seconds([20.0, 900.0][rng.usize(..2)]),
            ..RetryPolicy::default()
        };
        let stall = seconds([5.0, 30.0][rng.usize(..2)]);
        let mut config = Config {
            engine: EngineOptions {
                concurrency,
                seed: Some(case.seed),
                stall_timeout: Some(stall),
                max_size: super::site::MAX_SIZE,
                max_redirects: rng.u32(2..11),
                max_time: (case.has("max-time", 5) && !is_last).then(|| seconds(rng.f64() * 20.0)),
                trace_attempts: rng.bool(),
                ..EngineOptions::default()
            },
            schedule: ScheduleOptions {
                per_host,
                ..ScheduleOptions::default()
            },
            retry,
            ..Config::default()
        };
        let schedule = &mut config.schedule;
        if case.has("interval", 5) {
            schedule.host_interval = seconds(rng.f64() * 2.0);
        }
        schedule.rate = case.has("rate", 6).then(|| 0.5 + rng.f64() * 50.0);
        if case.has("bandwidth", 6) {
            schedule.limit_rate = rng.bool().then(|| rng.u64(4_000..400_000));
            schedule.host_limit_rate = rng.bool().then(|| rng.u64(4_000..400_000));
        }
        schedule.robots = case.has("robots", 6).then(RobotsOptions::default);
        if case.has("look-ahead", 4) {
            schedule.look_ahead = some(rng.usize(1..10));
        }
        config.report.ordered = case.has("ordered", 3);
        config.save.refresh = case.has("refresh", 4) && !is_last;
        if case.has("max-failures", 8) && !is_last {
            config.engine.max_failures = Some(match rng.bool() {
                true => MaxFailures::Number(rng.u64(..5)),
                false => MaxFailures::Percent(rng.f64() * 10.0),
            });
        }
        if case.has("stop-after", 8) && !is_last {
            config.engine.stop_after = Some(seconds(rng.f64() * 30.0));
        }
        config
    }
}

fn line(case: &SimCase, site: &SimSite, format: InputFormat, hosts: u64, id: u64) -> SimLine {
    let mut rng = random(case.seed, ("line", id));
    // An equal line: the same numbers make the same line.
    if case.has("repeats", 2) && id > 0 && rng.u8(..8) == 0 {
        let of = rng.u64(..id);
        return SimLine {
            id,
            ..line(case, site, format, hosts, of)
        };
    }
    if case.has("bad-lines", 2) && rng.u8(..8) == 0 {
        return bad_line(format, id, &mut rng);
    }
    let fields = matches!(
        format,
        InputFormat::JsonLines | InputFormat::Csv | InputFormat::Tsv
    );
    let mut pages = vec![site.page(rng.u64(..hosts), rng.u64(..40))];
    if fields && case.has("mirrors", 3) && rng.u8(..3) == 0 {
        pages.push(site.page(rng.u64(..hosts), rng.u64(..40)));
    }
    let mut hash = None;
    if fields && case.has("hashes", 3) && rng.u8(..3) == 0 {
        hash = match &pages[0].kind {
            PageKind::Body(body) if body.period.is_none() => Some(Sha256::of(&body.bytes(0))),
            _ => Some(Sha256::of(b"another body")),
        };
    }
    let urls: Vec<_> = pages.iter().map(|page| page.url.as_str()).collect();
    let hex = hash.map(|hash| hash.to_string()).unwrap_or_default();
    let text = match format {
        InputFormat::JsonLines => {
            let mut fields = serde_json::json!({ "url": urls[0] });
            if urls.len() > 1 {
                fields["mirrors"] = urls[1..].into();
            }
            if hash.is_some() {
                fields["sha256"] = hex.into();
            }
            fields.to_string()
        }
        InputFormat::Csv => format!("{},{hex},{}", urls[0], urls[1..].join(" ")),
        InputFormat::Tsv => format!("{}\t{hex}\t{}", urls[0], urls[1..].join(" ")),
        _ => urls[0].to_owned(),
    };
    SimLine {
        id,
        pages,
        hash,
        text,
    }
}

fn bad_line(format: InputFormat, id: u64, rng: &mut Rng) -> SimLine {
    let bad = [
        "no url",
        "ftp://h0.test/x",
        "http://",
        "http://[::1/",
        "http://h0.test/a b",
    ];
    // In a cell or a field, a blank is part of the URL.
    let bad = match format {
        InputFormat::Text => bad[rng.usize(..bad.len())],
        _ => bad[rng.usize(..bad.len() - 1)],
    };
    let text = match format {
        InputFormat::JsonLines if rng.bool() => "{\"url\":".to_owned(),
        InputFormat::JsonLines => serde_json::json!({ "url": bad }).to_string(),
        InputFormat::Csv => format!("{bad},,"),
        InputFormat::Tsv => format!("{bad}\t\t"),
        _ => bad.to_owned(),
    };
    SimLine {
        id,
        pages: Vec::new(),
        hash: None,
        text,
    }
}

fn ending(case: &SimCase, run: u64) -> SimEnding {
    let mut rng = random(case.seed, ("ending", run));
    // Most moments are early: there the most happens.
    let mut moment = |part, one_in| {
        let exponent = rng.f64() * 5.0 - 3.0;
        let is_there = rng.u32(..one_in) == 0 && !case.without.contains(part);
        is_there.then(|| Duration::from_secs_f64(10f64.powf(exponent)))
    };
    let (stop, abort, crash) = (moment("stop", 2), moment("abort", 2), moment("crash", 3));
    let fails = rng.u8(..4) == 0 && !case.without.contains("disk");
    SimEnding {
        stop,
        abort,
        crash,
        disk: fails.then(|| (rng.u32(..30), rng.bool())),
    }
}
