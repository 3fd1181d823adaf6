use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const TICK: Duration = Duration::from_millis(50);

fn rules(most: usize) -> SegmentRules {
    SegmentRules {
        most: NonZeroUsize::new(most).unwrap(),
        ..SegmentRules::default()
    }
}

/// A server with a limit for each connection and for all, in bytes per second.
#[derive(Clone, Copy)]
struct Line {
    each: f64,
    all: f64,
    /// Ticks until a request is answered.
    answer: u32,
}

/// A body that is fetched over a line, without a real clock.
struct Download {
    plan: SegmentPlan,
    line: Line,
    start: Instant,
    ticks: u32,
    /// For each request: the tick of its answer.
    answers: Vec<u32>,
    /// Bytes that were sent, wanted or not.
    sent: u64,
    most_live: usize,
    slots: usize,
}

impl Download {
    fn new(rules: SegmentRules, total: u64, line: Line) -> Self {
        let start = Instant::now();
        Self {
            plan: SegmentPlan::new(rules, total, ByteRanges::default(), total, start),
            line,
            start,
            ticks: 0,
            answers: vec![0],
            sent: 0,
            most_live: 0,
            slots: usize::MAX,
        }
    }

    fn now(&self) -> Instant {
        self.start + TICK * self.ticks
    }

    fn running(&self) -> Vec<usize> {
        let all = 0..self.answers.len();
        all.filter(|id| self.plan.is_wanted(*id)).collect()
    }

    /// Passes a tick of time, in which each request is as fast as `speed` says.
    fn tick(&mut self, speed: impl Fn(usize) -> f64) {
        self.ticks += 1;
        let now = self.now();
        for id in 0..self.answers.len() {
            if self.answers[id] == self.ticks {
                self.plan.accept(id, now);
            }
        }
        let running = self.running();
        let share = (self.line.all / running.len().max(1) as f64).min(self.line.each);
        for id in running {
            let bytes = (share * speed(id) * TICK.as_secs_f64()) as u64;
            self.sent += bytes;
            let room = self.plan.room(id, bytes as usize);
            self.plan.take(id, room as u64, now);
        }
        self.plan.update(now);
        let slots = self.slots.saturating_sub(self.plan.live());
        let wanted = self.plan.wanted(now).min(slots);
        let opened = self.plan.open(wanted, now);
        assert!(opened.len() <= wanted);
        for request in opened {
            assert_eq!(request.id, self.answers.len());
            assert!(request.start < request.end);
            self.answers.push(self.ticks + self.line.answer);
        }
        self.most_live = self.most_live.max(self.plan.live());
        self.check();
    }

    /// What always holds: no byte is lost, and none is to come twice.
    fn check(&self) {
        let plan = &self.plan;
        assert!(plan.live() <= plan.rules.most.get());
        let mut there = plan.kept.clone();
        for (start, end) in plan.gaps() {
            there.add(start, end);
        }
        let running = |segment: &&Segment| segment.state == SegmentState::Running;
        let ranges = plan.segments.iter().filter(running);
        let mut ranges: Vec<_> = ranges.map(|one| (one.next, one.end)).collect();
        ranges
            .iter()
            .for_each(|(start, end)| there.add(*start, *end));
        let asked = |segment: &&Segment| segment.state == SegmentState::Asked;
        for segment in plan.segments.iter().filter(asked) {
            there.add(segment.next, segment.end);
        }
        assert_eq!(there.length(), plan.total, "{plan:#?}");
        ranges.sort_unstable();
        let is_disjoint = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        assert!(is_disjoint || plan.is_ended, "{plan:#?}");
    }

    /// Runs until no request is left. Returns the seconds that it took.
    fn run(&mut self) -> f64 {
        while self.plan.live() > 0 {
            self.tick(|_| 1.0);
            assert!(self.ticks < 1_000_000);
        }
        f64::from(self.ticks) * TICK.as_secs_f64()
    }
}

fn line(each: f64, all: f64) -> Line {
    Line {
        each: each * 1e6,
        all: all * 1e6,
        answer: 1,
    }
}

#[test]
fn where_each_connection_is_limited_all_are_used_soon() {
    let mut download = Download::new(rules(16), 1 << 30, line(5.0, 1e6));
    let took = download.run();
    assert_eq!(download.plan.prefix(), 1 << 30);
    assert_eq!(download.most_live, 16);
    let ideal = (1u64 << 30) as f64 / 80e6;
    assert!(took < ideal * 1.1, "{took} s, at best {ideal}");
}

#[test]
fn where_they_share_a_limit_a_second_one_is_taken_back() {
    let mut download = Download::new(rules(16), 1 << 30, line(50.0, 50.0));
    while download.ticks < 120 {
        download.tick(|_| 1.0);
    }
    assert_eq!(download.most_live, 2);
    assert_eq!(download.plan.live(), 1);
    // The first comes to the half, and what the second has not brought is asked for afterwards.
    download.run();
    assert!(download.plan.prefix() >= 512 * MIB);
    assert_eq!(download.plan.gaps().len(), 1);
    let missing = download.plan.total() - download.plan.kept.length();
    assert!(
        download.sent + missing < (1 << 30) + 8 * MIB,
        "nothing twice"
    );
}

#[test]
fn what_is_small_quick_or_alone_is_not_split() {
    for (rules, total, line) in [
        (rules(16), 64 * MIB, line(20.0, 1e6)),
        (rules(16), 31 * MIB, line(1.0, 1e6)),
        (rules(1), 1 << 30, line(5.0, 1e6)),
    ] {
        let mut download = Download::new(rules, total, line);
        download.run();
        assert_eq!(download.answers.len(), 1);
        assert_eq!(download.plan.used(), 1);
    }
    // 64 MiB at 5 MB/s take 13 s.
    let mut slow = Download::new(rules(16), 64 * MIB, line(5.0, 1e6));
    slow.run();
    assert!(slow.plan.used() > 1);
}

#[test]
fn a_slow_request_is_made_again_and_the_first_is_relieved() {
    for slow in [0, 3] {
        let mut download = Download::new(rules(8), 1 << 30, line(5.0, 1e6));
        while download.plan.live() > 0 {
            download.tick(|id| if id == slow { 0.01 } else { 1.0 });
            assert!(download.ticks < 2_000, "{:#?}", download.plan);
        }
        assert_eq!(download.plan.prefix(), 1 << 30, "{slow}");
    }
}

#[test]
fn after_a_contradiction_the_first_brings_the_rest() {
    let mut download = Download::new(rules(8), 1 << 30, line(5.0, 1e6));
    while download.plan.live() < 8 {
        download.tick(|_| 1.0);
    }
    download.plan.end_others();
    assert_eq!(download.plan.live(), 1);
    let requests = download.answers.len();
    download.run();
    assert_eq!(download.plan.prefix(), 1 << 30);
    assert_eq!(download.answers.len(), requests);
}

/// A server may serve the whole body, and cut or slow down every range of it.
#[test]
fn what_a_request_does_not_bring_the_one_before_brings() {
    for brought in [0.0, 0.01] {
        let mut download = Download::new(rules(2), 256 * MIB, line(5.0, 1e6));
        while download.plan.live() > 0 {
            download.tick(|id| if id == 0 { 1.0 } else { brought });
            let others = download.running().into_iter().filter(|id| *id > 0);
            if brought == 0.0 {
                others.for_each(|id| download.plan.end_request(id));
            }
            download.check();
            assert!(download.ticks < 3_000, "{:#?}", download.plan);
        }
        assert_eq!(download.plan.prefix(), 256 * MIB, "{brought}");
        assert!(download.sent < 264 * MIB, "{}", download.sent);
    }
}

#[test]
fn after_the_last_failure_the_first_goes_on_over_what_is_there() {
    let mut download = Download::new(rules(2), 256 * MIB, line(5.0, 1e6));
    while download.plan.live() > 0 {
        download.tick(|_| 1.0);
        let others = download.running().into_iter().filter(|id| *id > 0);
        let plan = &download.plan;
        let failing: Vec<_> = others
            .filter(|id| plan.segments[*id].received > 20 * MIB)
            .collect();
        failing.iter().for_each(|id| download.plan.end_request(*id));
    }
    assert_eq!(download.plan.prefix(), 256 * MIB, "{:#?}", download.plan);
}

#[test]
fn what_an_earlier_run_kept_is_not_asked_for_again() {
    let kept: ByteRanges = [(0, 100 * MIB), (200 * MIB, 400 * MIB), (600 * MIB, 1 << 30)]
        .into_iter()
        .collect();
    let now = Instant::now();
    for most in [1, 4] {
        let mut download = Download::new(rules(most), 1 << 30, line(5.0, 1e6));
        download.plan = SegmentPlan::new(rules(most), 1 << 30, kept.clone(), 200 * MIB, now);
        download.start = now;
        download.run();
        let missing = (1 << 30) - kept.length();
        let brought = match most {
            1 => 100 * MIB,
            _ => missing,
        };
        assert!(download.sent <= brought + MIB, "{most}: {}", download.sent);
        assert_eq!(download.plan.kept.length(), kept.length() + brought);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails, is late or has no slot: what is not there belongs to a request or is a gap.
    #[test]
    fn no_byte_is_lost(
        total in 1u64..400, each in 1u32..40, all in 1u32..400, answer in 1u32..60, most in 1usize..20,
        events in prop::collection::vec((0u32..600, 0usize..24, 0u8..8), 0..24), slots in 1usize..24
    ) {
        let line = Line { answer, ..line(each.into(), all.into()) };
        let mut download = Download::new(rules(most), total * MIB, line);
        download.slots = slots;
        let mut ended = false;
        while download.plan.live() > 0 {
            for (_, id, what) in events.iter().filter(|(at, ..)| *at == download.ticks) {
                match what {
                    0 if *id == 0 => {
                        download.plan.end_others();
                        ended = true;
                    }
                    1 if *id == 0 => {}
                    2 => download.slots = *id,
                    _ => download.plan.end_request(*id),
                }
                download.check();
            }
            let requests = download.answers.len();
            download.tick(|_| 1.0);
            prop_assert!(!ended || download.answers.len() == requests);
            prop_assert!(download.ticks < 200_000);
        }
        // A job that goes on asks for the gaps, one after the other.
        let missing = download.plan.total() - download.plan.kept.length();
        let gaps: u64 = download.plan.gaps().iter().map(|(start, end)| end - start).sum();
        prop_assert_eq!(missing, gaps);
    }
}
