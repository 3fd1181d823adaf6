//! Decides when a large body is fetched in segments, several requests at the same time, and where it
//! is split. Pure: the clock is passed in.
//!
//! The number of requests doubles as long as that makes the body come faster; what does not is taken
//! back. Every byte that is not there belongs to one request, or to none: then it is a gap, which is
//! asked for later. A request gives up the part that another one is to bring only when that has
//! begun to answer, so none depends on another.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::model::ByteRanges;

/// Requests that failed after which no more are made.
const MAX_FAILED_SEGMENTS: u32 = 3;
/// Maximum verdicts of slowness per body; after these, no request is judged slow.
const MAX_REPLACED_SEGMENTS: u32 = 16;

/// When and how far a body is split.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRules {
    /// Maximum requests for one body at the same time; 1 by default: it is not split.
    pub most: NonZeroUsize,
    /// A body is split while more bytes than this are missing...
    pub min_left: u64,
    /// ...or while they will take longer than this.
    pub min_time_left: Duration,
    /// Minimum bytes of each half.
    pub min_segment: u64,
    /// More requests must raise the rate within this time.
    pub trial_time: Duration,
    /// Minimum gain in rate that a round must bring: this share, or half the share of requests
    /// added, if less.
    pub min_gain: f64,
    /// Minimum time over which the rate is measured.
    pub rate_window: Duration,
    /// A request slower than this share of the median of the others is replaced.
    pub slow_share: f64,
}

impl SegmentRules {
    /// Maximum requests for one body unless a number is given.
    pub const AUTO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
}

impl Default for SegmentRules {
    fn default() -> Self {
        Self {
            most: NonZeroUsize::MIN,
            min_left: 64 << 20,
            min_time_left: Duration::from_secs(10),
            min_segment: 16 << 20,
            trial_time: Duration::from_secs(5),
            min_gain: 0.2,
            rate_window: Duration::from_millis(200),
            slow_share: 0.25,
        }
    }
}

/// A request to be made for a part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentRequest {
    /// Its number.
    pub id: usize,
    /// The offset of its first byte.
    pub start: u64,
    /// The offset after its last byte.
    pub end: u64,
    /// Whether an earlier request for these bytes failed or was slow.
    pub is_repeated: bool,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SegmentState {
    /// Sent, and not answered.
    Asked,
    Running,
    /// It brought all its bytes, or failed.
    Over,
    /// Its bytes are no longer wanted from it.
    Dropped,
}

/// A request and the bytes that it is to bring.
#[derive(Debug)]
struct Segment {
    next: u64,
    end: u64,
    /// Where its response ends, at `end` or after it.
    reach: u64,
    /// The request that it takes its bytes from.
    parent: Option<usize>,
    state: SegmentState,
    received: u64,
    /// When it was answered.
    began: Instant,
    /// When its rate was measured last, and what it had received then.
    mark: (Instant, u64),
    /// Bytes per second, measured last or in all.
    rate: Option<f64>,
    is_slow: bool,
}

impl Segment {
    fn is_live(&self) -> bool {
        matches!(self.state, SegmentState::Asked | SegmentState::Running)
    }

    fn left(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// Requests that were added together, and have to prove that they help.
#[derive(Debug)]
struct SegmentRound {
    began: Instant,
    /// The rate before it, in bytes per second.
    rate: f64,
    /// Requests before it.
    live: usize,
    added: Vec<usize>,
    /// When the first of them was answered.
    accepted: Option<Instant>,
}

/// What a body needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SegmentNeed {
    Nothing,
    /// This many requests in place of others that ended.
    Refill(usize),
    /// This many requests more than have been proven to help.
    Growth(usize),
    /// One in place of the first, which is slow.
    Relief,
}

/// The requests of one body. The first is the transfer that the job began with; its number is 0.
#[derive(Debug)]
pub(crate) struct SegmentPlan {
    rules: SegmentRules,
    total: u64,
    kept: ByteRanges,
    segments: Vec<Segment>,
    /// How many requests at a time have proved to help.
    proven: usize,
    round: Option<SegmentRound>,
    /// Whether more requests did not help.
    is_settled: bool,
    /// Whether no more requests are made.
    is_ended: bool,
    is_first_slow: bool,
    /// Whether a request for a range brought all of it.
    has_whole_range: bool,
    failures: u32,
    replaced: u32,
    received: u64,
    /// What had been received when.
    samples: VecDeque<(Instant, u64)>,
}

impl SegmentPlan {
    /// The number of the first request.
    pub(crate) const FIRST: usize = 0;

    /// Creates the plan of a body of `total` bytes, of which these are `kept`. The first request brings
    /// those from `kept.prefix()` up to `reach`.
    #[must_use]
    pub(crate) fn new(
        rules: SegmentRules,
        total: u64,
        kept: ByteRanges,
        reach: u64,
        now: Instant,
    ) -> Self {
        let gap = kept.gaps(total).next().unwrap_or((total, total));
        let mut plan = Self {
            rules,
            total,
            kept,
            segments: Vec::new(),
            proven: 1,
            round: None,
            is_settled: false,
            is_ended: false,
            is_first_slow: false,
            has_whole_range: false,
            failures: 0,
            replaced: 0,
            received: 0,
            samples: VecDeque::from([(now, 0)]),
        };
        plan.add((gap.0, gap.1.min(reach)), None, now);
        if let Some(first) = plan.segments.first_mut() {
            first.state = SegmentState::Running;
            first.reach = reach;
        }
        plan
    }

    fn add(&mut self, (start, end): (u64, u64), parent: Option<usize>, now: Instant) -> usize {
        self.segments.push(Segment {
            next: start,
            end,
            reach: end,
            parent,
            state: SegmentState::Asked,
            received: 0,
            began: now,
            mark: (now, 0),
            rate: None,
            is_slow: false,
        });
        self.segments.len() - 1
    }

    /// Returns the length of the body.
    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Returns how many bytes are there from the start on.
    #[must_use]
    pub(crate) fn prefix(&self) -> u64 {
        self.kept.prefix()
    }

    /// Returns how many requests brought bytes.
    #[must_use]
    pub(crate) fn used(&self) -> usize {
        let used = self.segments.iter().filter(|segment| segment.received > 0);
        used.count()
    }

    /// Whether a request for a range brought all of it, but for the first.
    #[must_use]
    pub(crate) fn has_whole_range(&self) -> bool {
        self.has_whole_range
    }

    /// Returns the number of requests in flight.
    #[must_use]
    pub(crate) fn live(&self) -> usize {
        let live = self.segments.iter().filter(|segment| segment.is_live());
        live.count()
    }

    /// Whether a request is no longer wanted.
    #[must_use]
    pub(crate) fn is_dropped(&self, id: usize) -> bool {
        let segment = self.segments.get(id);
        segment.is_none_or(|segment| segment.state == SegmentState::Dropped)
    }

    /// Whether a request is still to bring bytes.
    #[must_use]
    pub(crate) fn is_wanted(&self, id: usize) -> bool {
        let segment = self.segments.get(id);
        segment.is_some_and(|segment| segment.state == SegmentState::Running)
    }

    /// Whether a request is slow and is to be replaced, or was.
    #[must_use]
    pub(crate) fn is_slow(&self, id: usize) -> bool {
        match id {
            Self::FIRST => self.is_first_slow,
            id => self.segments.get(id).is_some_and(|segment| segment.is_slow),
        }
    }

    /// Returns how many of the next `bytes` bytes of a request belong to it.
    #[must_use]
    pub(crate) fn room(&self, id: usize, bytes: usize) -> usize {
        let segment = self.segments.get(id);
        let left = segment.map_or(0, Segment::left);
        bytes.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Takes the next `bytes` bytes of a request, which are written.
    pub(crate) fn take(&mut self, id: usize, bytes: u64, now: Instant) {
        let segment = self.segments.get_mut(id);
        let running = segment.filter(|segment| segment.state == SegmentState::Running);
        let Some(segment) = running else {
            return;
        };
        let taken = bytes.min(segment.left());
        self.kept.add(segment.next, segment.next + taken);
        segment.next += taken;
        segment.received += taken;
        self.received += taken;
        if segment.left() == 0 {
            segment.state = SegmentState::Over;
            // One that ends earlier, because another has its last bytes, might have been cut off there.
            self.has_whole_range |= id != Self::FIRST && segment.next == segment.reach;
            let time = now.saturating_duration_since(segment.began);
            segment.rate = Some(segment.received as f64 / time.as_secs_f64().max(1e-3));
        }
    }

    /// Records that a request is answered with the bytes that it asked for. The request that was to
    /// bring them before ends where it begins.
    pub(crate) fn accept(&mut self, id: usize, now: Instant) {
        let Some(segment) = self.segments.get_mut(id) else {
            return;
        };
        if segment.state != SegmentState::Asked {
            return;
        }
        segment.state = SegmentState::Running;
        segment.began = now;
        segment.mark = (now, 0);
        let (start, parent) = (segment.next, segment.parent);
        if let Some(round) = self.round.as_mut().filter(|it| it.added.contains(&id)) {
            if round.accepted.is_none() {
                // What comes with the first answer comes at once, so it is measured from later on.
                self.samples.clear();
            }
            round.accepted.get_or_insert(now);
        }
        for (other, segment) in self.segments.iter_mut().enumerate() {
            // One that has taken bytes back may have them, too.
            let has_them = parent == Some(other) || (segment.next..segment.end).contains(&start);
            if other != id && has_them && segment.is_live() {
                segment.end = segment.end.min(start.max(segment.next));
                if segment.left() == 0 {
                    segment.state = SegmentState::Dropped;
                }
            }
        }
    }

    /// Reassigns the bytes that a request did not deliver to the request that ends where it began,
    /// if its response covers them. What was delivered comes again, so that must not be much.
    fn give_back(&mut self, id: usize) {
        let Some(segment) = self.segments.get(id) else {
            return;
        };
        let (begin, end) = (segment.next - segment.received, segment.end);
        if segment.received > self.rules.min_segment / 2 {
            return;
        }
        let taker = self.segments.iter_mut().find(|taker| {
            taker.state == SegmentState::Running && taker.end == begin && taker.reach > begin
        });
        if let Some(taker) = taker {
            taker.end = end.min(taker.reach);
        }
    }

    /// After the last failure that is put up with, the first request goes on to the end of the
    /// first gap, unless that would download more than `min_left` twice.
    fn extend_first(&mut self) {
        let Some((begin, end)) = self.gaps().first().copied() else {
            return;
        };
        if let Some(first) = self.segments.first_mut()
            && first.state == SegmentState::Running
            && begin.saturating_sub(first.end) <= self.rules.min_left
        {
            first.end = first.end.max(end.min(first.reach));
        }
    }

    /// Records that a request ended. What it did not bring is a gap, unless another is to bring it.
    /// Does nothing if it has brought everything, or was dropped.
    pub(crate) fn end_request(&mut self, id: usize) {
        let segment = self.segments.get_mut(id);
        if let Some(segment) = segment.filter(|segment| segment.is_live()) {
            segment.state = SegmentState::Over;
            self.failures += 1;
            self.is_ended |= self.failures >= MAX_FAILED_SEGMENTS;
            self.give_back(id);
            if self.is_ended {
                self.extend_first();
            }
        }
    }

    /// Ends all requests but the first, because the server no longer sends the body that it began. The
    /// first goes on as far as its response does.
    pub(crate) fn end_others(&mut self) {
        self.is_ended = true;
        for (id, segment) in self.segments.iter_mut().enumerate() {
            match segment.is_live() {
                true if id == Self::FIRST => segment.end = segment.reach,
                true => segment.state = SegmentState::Dropped,
                false => {}
            }
        }
    }

    /// Advances the plan to `now`: judges the requests that were added last, and finds the slow
    /// ones. Afterwards some may be [dropped](Self::is_dropped).
    pub(crate) fn update(&mut self, now: Instant) {
        self.samples.push_back((now, self.received));
        let is_old =
            |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) > self.rules.trial_time;
        while self.samples.len() > 1 && self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
        self.measure(now);
        self.judge_round(now);
        self.drop_slow(now);
        self.drop_needless();
    }

    /// Returns the rate of the whole body, in bytes per second, since the last requests were added, once
    /// it is known. The longer that is ago, the less do short changes of the rate count.
    fn rate(&self, now: Instant) -> Option<f64> {
        let (at, received) = *self.samples.front()?;
        let time = now.saturating_duration_since(at);
        let received = self.received.saturating_sub(received) as f64;
        (time >= self.rules.rate_window).then(|| received / time.as_secs_f64())
    }

    fn measure(&mut self, now: Instant) {
        for segment in &mut self.segments {
            let (at, received) = segment.mark;
            let time = now.saturating_duration_since(at);
            if segment.state == SegmentState::Running && time >= self.rules.trial_time {
                let received = (segment.received - received) as f64;
                segment.rate = Some(received / time.as_secs_f64());
                segment.mark = (now, segment.received);
            }
        }
    }

    fn judge_round(&mut self, now: Instant) {
        let Some(round) = &self.round else {
            return;
        };
        let added = round.added.iter().copied();
        let is_live = |id: &usize| self.segments.get(*id).is_some_and(Segment::is_live);
        let live: Vec<usize> = added.filter(is_live).collect();
        let since = |at: Instant| now.saturating_duration_since(at);
        let share = round.added.len() as f64 / round.live.max(1) as f64;
        let wanted = round.rate * (1.0 + self.rules.min_gain.min(share / 2.0));
        let measured = self.rate(now).filter(|_| round.accepted.is_some());
        let is_faster = measured.is_some_and(|rate| rate >= wanted);
        let is_late = since(round.began) >= self.rules.trial_time;
        if is_faster {
            self.proven = self.proven.max(round.live + live.len());
        } else if is_late {
            self.is_settled = true;
            for id in &live {
                self.drop_segment(*id);
            }
        }
        if is_faster || is_late || live.is_empty() {
            self.round = None;
        }
    }

    fn drop_segment(&mut self, id: usize) {
        if let Some(segment) = self.segments.get_mut(id) {
            segment.state = SegmentState::Dropped;
        }
        self.give_back(id);
    }

    /// Drops requests that are far slower than the others, so that their bytes are asked for again.
    fn drop_slow(&mut self, now: Instant) {
        let all = self.segments.iter().enumerate();
        let measured: Vec<(usize, f64)> = all
            .filter_map(|(id, segment)| Some((id, segment.rate?)))
            .collect();
        for (id, rate) in &measured {
            if !self.is_wanted(*id) {
                continue;
            }
            let others = measured.iter().filter(|(other, _)| other != id);
            let Some(median) = median(others.map(|(_, rate)| *rate).collect()) else {
                return;
            };
            let Some(segment) = self.segments.get_mut(*id) else {
                continue;
            };
            let time_left = segment.left() as f64 / rate.max(1.0);
            let is_slow = *rate < median * self.rules.slow_share
                && time_left > self.rules.trial_time.as_secs_f64()
                && self.replaced < MAX_REPLACED_SEGMENTS
                && !self.is_ended;
            if *id == Self::FIRST {
                self.is_first_slow = is_slow;
            }
            if !is_slow {
                continue;
            }
            // Measured anew before it is judged again.
            segment.rate = None;
            segment.mark = (now, segment.received);
            self.replaced += 1;
            if *id != Self::FIRST {
                segment.is_slow = true;
                self.drop_segment(*id);
            }
        }
    }

    /// Drops requests whose bytes others have brought meanwhile.
    fn drop_needless(&mut self) {
        let kept = &self.kept;
        for segment in &mut self.segments {
            let missing = |segment: &Segment| {
                let there = kept.between(segment.next, segment.end).length();
                segment.left() > there
            };
            if segment.state == SegmentState::Asked && !missing(segment) {
                segment.state = SegmentState::Dropped;
            }
        }
    }

    /// Returns how many more requests the body needs now.
    #[must_use]
    pub(crate) fn wanted(&self, now: Instant) -> usize {
        match self.need(now) {
            SegmentNeed::Nothing => 0,
            SegmentNeed::Refill(count) | SegmentNeed::Growth(count) => count,
            SegmentNeed::Relief => 1,
        }
    }

    fn need(&self, now: Instant) -> SegmentNeed {
        let (live, most) = (self.live(), self.rules.most.get());
        if self.is_ended || live == 0 || live >= most {
            return SegmentNeed::Nothing;
        }
        if self.is_first_slow && self.is_splittable(Self::FIRST, 1) {
            return SegmentNeed::Relief;
        }
        let gaps = self.gaps().len();
        let missing = self.proven.saturating_sub(live);
        if gaps > 0 && missing > 0 {
            return SegmentNeed::Refill(gaps.min(missing));
        }
        let known = self.rate(now).filter(|_| self.round.is_none());
        let Some(rate) = known.filter(|rate| self.is_worth(*rate)) else {
            return SegmentNeed::Nothing;
        };
        let half = self.rules.min_segment;
        let count = gaps
            + (0..self.segments.len())
                .filter(|id| self.is_splittable(*id, half))
                .count();
        match missing {
            0 if self.is_settled || rate <= 0.0 => SegmentNeed::Nothing,
            0 => SegmentNeed::Growth(count.min(live).min(most - live)),
            missing => SegmentNeed::Refill(count.min(missing)),
        }
    }

    fn is_worth(&self, rate: f64) -> bool {
        let left = self.total.saturating_sub(self.kept.length());
        let time_left = left as f64 / rate.max(1.0);
        left > self.rules.min_left || time_left > self.rules.min_time_left.as_secs_f64()
    }

    /// Whether both halves of what a request is to bring would have this many bytes.
    fn is_splittable(&self, id: usize, half: u64) -> bool {
        let is_child =
            |segment: &Segment| segment.state == SegmentState::Asked && segment.parent == Some(id);
        self.is_wanted(id)
            && self
                .segments
                .get(id)
                .is_some_and(|segment| segment.left() / 2 >= half)
            && !self.segments.iter().any(is_child)
    }

    /// Returns the bytes that no request is to bring.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let mut covered = self.kept.clone();
        for segment in self.segments.iter().filter(|segment| segment.is_live()) {
            covered.add(segment.next, segment.end);
        }
        covered.gaps(self.total).collect()
    }

    /// Adds up to `count` requests, for each of which there is a slot.
    pub(crate) fn open(&mut self, count: usize, now: Instant) -> Vec<SegmentRequest> {
        let need = self.need(now);
        let mut opened = Vec::new();
        let gaps = match need {
            SegmentNeed::Refill(_) | SegmentNeed::Growth(_) => self.gaps(),
            SegmentNeed::Relief | SegmentNeed::Nothing => Vec::new(),
        };
        let live = self.live();
        for gap in gaps.into_iter().take(count) {
            let is_repeated = self.segments.iter().any(|other| other.end == gap.1);
            opened.push((self.add(gap, None, now), is_repeated));
        }
        while opened.len() < count {
            let split = match need {
                SegmentNeed::Relief => {
                    std::mem::take(&mut self.is_first_slow).then_some(Self::FIRST)
                }
                SegmentNeed::Refill(_) | SegmentNeed::Growth(_) => self.largest(),
                SegmentNeed::Nothing => None,
            };
            let Some(range) = split.and_then(|id| self.rest_to_split(id, need)) else {
                break;
            };
            let id = self.add(range, split, now);
            opened.push((id, need == SegmentNeed::Relief));
        }
        if let (SegmentNeed::Growth(_), Some(rate), false) =
            (need, self.rate(now), opened.is_empty())
        {
            self.round = Some(SegmentRound {
                began: now,
                rate,
                live,
                added: opened.iter().map(|(id, _)| *id).collect(),
                accepted: None,
            });
        }
        opened
            .into_iter()
            .filter_map(|(id, is_repeated)| self.request(id, is_repeated))
            .collect()
    }

    fn request(&self, id: usize, is_repeated: bool) -> Option<SegmentRequest> {
        let segment = self.segments.get(id)?;
        Some(SegmentRequest {
            id,
            start: segment.next,
            end: segment.end,
            is_repeated,
        })
    }

    /// Returns the request that is to bring most.
    fn largest(&self) -> Option<usize> {
        let half = self.rules.min_segment;
        let all = 0..self.segments.len();
        all.filter(|id| self.is_splittable(*id, half))
            .max_by_key(|id| self.segments.get(*id).map_or(0, Segment::left))
    }

    /// Returns the second half of what a request is to bring, or all of it if that is slow.
    fn rest_to_split(&self, id: usize, need: SegmentNeed) -> Option<(u64, u64)> {
        let segment = self.segments.get(id)?;
        let start = match need {
            SegmentNeed::Relief => segment.next,
            _ => segment.next + segment.left() / 2,
        };
        Some((start, segment.end))
    }
}

fn median(mut rates: Vec<f64>) -> Option<f64> {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}

#[cfg(test)]
mod tests;
