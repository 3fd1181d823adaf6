//! The counters of a run at one moment, and their text.

use std::time::{Duration, Instant};

use bytesize::ByteSize;

use crate::model::{LiveStats, Straggler, elide_middle, escape_control, format_duration};
use crate::report::summary::{count, kinds};

/// Maximum number of held hosts named.
const MAX_HOSTS: usize = 3;
/// Maximum length of a host, in characters.
const MAX_HOST_CHARS: usize = 40;

/// The counters of a run at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    /// When the counters were read.
    pub now: Option<Instant>,
    /// Jobs done.
    pub settled: u64,
    /// Decoded bytes.
    pub bytes: u64,
    /// Jobs in total, if known or estimated.
    pub total: Option<u64>,
    /// Whether `total` is exact.
    pub exact: bool,
    /// Requests in flight.
    pub in_flight: u64,
    /// Parked attempts, mostly retries in backoff.
    pub waiting: u64,
    /// Origins whose robots.txt was asked for.
    pub robots_files: u64,
    /// Jobs failed.
    pub failed: u64,
    /// Text of the failures by kind.
    pub failures: String,
    /// Text of the hosts on hold.
    pub hosts: Option<String>,
    /// Long-running requests; near the end, all jobs the run still waits on.
    pub stragglers: Vec<Straggler>,
    /// URLs per second.
    pub rate: f64,
    /// Bytes per second.
    pub byte_rate: f64,
    /// Limit on the bytes per second on the wire.
    pub limit_rate: Option<u64>,
    /// Estimated time left.
    pub left: Option<Duration>,
}

impl Snapshot {
    /// Reads the counters. Rates and the time left are for the caller to fill in.
    pub(super) fn take(live: &LiveStats, now: Instant) -> Self {
        Self {
            now: Some(now),
            settled: live.settled(),
            bytes: live.bytes(),
            total: live.total(),
            exact: live.has_list_ended(),
            in_flight: live.in_flight(),
            waiting: live.parked(),
            robots_files: live.robots_files(),
            failed: live.failed(),
            failures: kinds(live.failures()),
            hosts: held_hosts_text(live, now),
            stragglers: live.stragglers(now),
            limit_rate: live.limit_rate(),
            ..Self::default()
        }
    }

    /// Returns the number of jobs not done yet, if known.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.total?.checked_sub(self.settled)
    }

    /// Returns done and total, time left, rate; the least important last, since it may not fit.
    pub(super) fn status_parts(&self) -> Vec<String> {
        let mut done = count(self.settled);
        if let Some(total) = self.total {
            let about = if self.exact { "" } else { "~" };
            done.push_str(&format!(" of {about}{}", count(total)));
        }
        let mut parts = vec![format!("{done} done")];
        if let Some(left) = self.left {
            parts.push(format!("{} left", format_duration(left)));
        }
        parts.push(format!("{}/s", rate_text(self.rate)));
        parts
    }

    /// Returns bytes, requests in flight, waiting attempts and failures.
    pub(super) fn detail_parts(&self) -> Vec<String> {
        let mut parts = vec![ByteSize(self.bytes).to_string()];
        if self.byte_rate >= 1.0 {
            parts.push(format!("{}/s", ByteSize(self.byte_rate as u64)));
        }
        if let Some(limit) = self.limit_rate {
            parts.push(format!("limit {}/s", ByteSize(limit)));
        }
        parts.push(format!("{} in flight", count(self.in_flight)));
        if self.waiting > 0 {
            parts.push(format!("{} waiting to retry", count(self.waiting)));
        }
        if self.robots_files > 0 {
            parts.push(format!("{} robots.txt", count(self.robots_files)));
        }
        if self.failed > 0 {
            parts.push(format!("{} failed: {}", count(self.failed), self.failures));
        }
        parts
    }

    /// Returns everything as one line.
    pub(super) fn line(&self) -> String {
        let mut text = format!(
            "{}; {}",
            self.status_parts().join(", "),
            self.detail_parts().join(", ")
        );
        if let Some(hosts) = &self.hosts {
            text.push_str("; ");
            text.push_str(hosts);
        }
        if !self.stragglers.is_empty() {
            let now = self.now.unwrap_or_else(Instant::now);
            let lines: Vec<_> = self.stragglers.iter().map(|one| one.line(now)).collect();
            text.push_str(&format!("; waiting on: {}", lines.join("; ")));
        }
        text
    }

    /// Returns the lines below the bar, none wider than `width`.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let mut lines = vec![fit(&self.detail_parts(), width)];
        let indented = |text: &String| cut(&format!("  {text}"), width);
        lines.extend(self.hosts.iter().map(indented));
        let now = self.now.unwrap_or_else(Instant::now);
        let room = width.saturating_sub(2);
        let columns = self.stragglers.iter().map(|one| one.columns(now, room));
        lines.extend(columns.map(|line| indented(&line)));
        lines
    }
}

/// Joins as many parts as fit into `width`.
pub(super) fn fit(parts: &[String], width: usize) -> String {
    let mut text = String::new();
    for part in parts {
        let comma = if text.is_empty() { "" } else { ", " };
        let room = width.saturating_sub(text.chars().count() + comma.len());
        if part.chars().count() > room {
            // The last part may be cut: failures are sorted, so the most frequent kinds stay.
            if room > 20 {
                text.push_str(comma);
                text.push_str(&cut(part, room));
            }
            break;
        }
        text.push_str(comma);
        text.push_str(part);
    }
    text
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Formats the hosts on hold: `on hold: http://a.test 12s, http://b.test 3s and 4 more`.
fn held_hosts_text(live: &LiveStats, now: Instant) -> Option<String> {
    let held = live.held_hosts(now, MAX_HOSTS);
    if held.count == 0 {
        return None;
    }
    let named: Vec<_> = held
        .longest
        .iter()
        .map(|(host, until)| {
            let host = elide_middle(&escape_control(&host.to_string()), MAX_HOST_CHARS);
            let left = until.saturating_duration_since(now) + Duration::from_millis(999);
            format!(
                "{host} {}",
                format_duration(Duration::from_secs(left.as_secs()))
            )
        })
        .collect();
    let more = match held.count - named.len() {
        0 => String::new(),
        more => format!(" and {} more", count(more as u64)),
    };
    Some(format!("on hold: {}{more}", named.join(", ")))
}

fn rate_text(rate: f64) -> String {
    if rate >= 10.0 {
        count(rate.round() as u64)
    } else {
        format!("{rate:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HostKey, StragglerPhase};

    fn waiting(url: &str) -> Straggler {
        Straggler {
            url: url.to_owned(),
            phase: StragglerPhase::Waiting(Duration::from_secs(7)),
        }
    }

    fn some() -> Snapshot {
        Snapshot {
            settled: 1234,
            bytes: 5 << 20,
            total: Some(10_000),
            in_flight: 64,
            waiting: 3,
            failed: 12,
            failures: "8 timeout, 4 reset".into(),
            rate: 512.4,
            byte_rate: 2.0 * 1024.0 * 1024.0,
            left: Some(Duration::from_secs(18)),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_line_has_done_total_rate_time_left_in_flight_and_failures() {
        let tail = Snapshot {
            settled: 9,
            total: Some(10),
            exact: true,
            in_flight: 1,
            rate: 1.0,
            left: Some(Duration::from_secs(1)),
            stragglers: vec![waiting("http://a/")],
            ..Snapshot::default()
        };
        let pipe = Snapshot {
            limit_rate: Some(500_000),
            settled: 5,
            in_flight: 1,
            rate: 0.5,
            ..Snapshot::default()
        };
        let page = [some(), tail, pipe].map(|snapshot| snapshot.line());
        insta::assert_snapshot!("lines", page.join("\n"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let wide = Snapshot {
            hosts: Some("on hold: http://example.com 12s".repeat(3)),
            stragglers: vec![waiting(&format!("http://a/{}", "x".repeat(80)))],
            failures: "8 timeout, 4 reset, 3 truncated, 2 status, 1 dns".into(),
            ..some()
        };
        for width in [20, 40, 80, 200] {
            for line in wide.lines(width) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(fit(&wide.status_parts(), width).chars().count() <= width);
        }
        assert_eq!(fit(&some().status_parts(), 30), "1,234 of ~10,000 done");
    }

    #[test]
    fn hosts_on_hold_are_named_with_their_time() {
        let live = LiveStats::default();
        live.enable_watch();
        let now = Instant::now();
        for (host, seconds) in [("a", 3), ("b", 12), ("c", 5), ("d", 1), ("gone", 0)] {
            let host = HostKey::from(format!("http://{host}.test").as_str());
            live.hold_host(&host, now + Duration::from_secs(seconds));
        }
        let snapshot = Snapshot::take(&live, now);
        insta::assert_snapshot!("hosts_that_wait", snapshot.hosts.unwrap());
        live.release_host(&HostKey::from("http://b.test"));
        assert!(
            Snapshot::take(&live, now)
                .hosts
                .unwrap()
                .contains(": http://c.test 5s")
        );
    }
}
