//! The jobs a run is still waiting for when nearly everything is done.

use std::time::{Duration, Instant};

use super::{WireState, elide_middle, escape_control, format_duration};

/// Maximum number of stragglers shown.
pub(crate) const MAX_STRAGGLERS: usize = 5;
/// Maximum characters of a URL in [`Straggler::line`].
const MAX_URL_CHARS: usize = 60;
/// Width of the phase column in [`Straggler::columns`]: enough for most phases.
const PHASE_WIDTH: usize = 20;

/// A job that keeps the run from ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Straggler {
    /// Its URL, without userinfo.
    pub url: String,
    /// What it is waiting for.
    pub phase: StragglerPhase,
}

/// The phase of an unfinished job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StragglerPhase {
    /// Connecting for this long.
    Connecting(Duration),
    /// The request was sent this long ago, and no response has arrived.
    Waiting(Duration),
    /// Receiving the body for this long.
    Body(Duration),
    /// The same, with so many requests.
    Segments(Duration, usize),
    /// Retried at this time.
    Parked(Instant),
    /// Waiting for its turn.
    Queued,
    /// Nothing is sent to its host before this time: it is on hold, or slowed down.
    HostWaits(Instant),
}

impl StragglerPhase {
    /// Returns the phase of a request in flight.
    #[must_use]
    pub(crate) fn of(wire: &WireState, now: Instant) -> Self {
        let since = |from: Duration| now.saturating_duration_since(wire.started() + from);
        match (wire.head_time(), wire.connect_time()) {
            (Some(head), _) if wire.segments() > 1 => Self::Segments(since(head), wire.segments()),
            (Some(head), _) => Self::Body(since(head)),
            (None, None) if wire.is_connecting() => Self::Connecting(since(Duration::ZERO)),
            (None, connected) => Self::Waiting(since(connected.unwrap_or_default())),
        }
    }

    /// Formats the phase: `no response for 7s`.
    #[must_use]
    pub(crate) fn text(self, now: Instant) -> String {
        // Whole seconds: fractions would only flicker.
        let seconds = |time: Duration| format_duration(Duration::from_secs(time.as_secs()));
        let left =
            |until: Instant| until.saturating_duration_since(now) + Duration::from_millis(999);
        match self {
            Self::Connecting(time) => format!("connecting for {}", seconds(time)),
            Self::Waiting(time) => format!("no response for {}", seconds(time)),
            Self::Body(time) => format!("receiving for {}", seconds(time)),
            Self::Segments(time, count) => {
                format!("receiving for {} x{count}", seconds(time))
            }
            Self::Parked(until) => format!("retry in {}", seconds(left(until))),
            Self::HostWaits(until) => format!("host waits {}", seconds(left(until))),
            Self::Queued => "queued".to_owned(),
        }
    }
}

impl Straggler {
    /// Formats phase and URL as two columns, at most `width` characters in total.
    #[must_use]
    pub(crate) fn columns(&self, now: Instant, width: usize) -> String {
        let phase = self.phase.text(now);
        let url_width = width.saturating_sub(PHASE_WIDTH + 1);
        let url = elide_middle(&escape_control(&self.url), url_width);
        format!("{phase:<PHASE_WIDTH$} {url}")
    }

    /// Formats URL and phase as one line of text.
    #[must_use]
    pub(crate) fn line(&self, now: Instant) -> String {
        format!(
            "{}: {}",
            elide_middle(&escape_control(&self.url), MAX_URL_CHARS),
            self.phase.text(now)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_url_phase_and_seconds() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let line = |phase| {
            let url = "http://a/x".to_owned();
            Straggler { url, phase }.line(now)
        };
        assert_eq!(
            line(StragglerPhase::Connecting(second)),
            "http://a/x: connecting for 1s"
        );
        assert_eq!(
            line(StragglerPhase::Waiting(second * 61)),
            "http://a/x: no response for 1m 1s"
        );
        assert_eq!(
            line(StragglerPhase::Body(second * 2)),
            "http://a/x: receiving for 2s"
        );
        assert_eq!(
            line(StragglerPhase::Segments(second * 2, 8)),
            "http://a/x: receiving for 2s x8"
        );
        assert_eq!(
            line(StragglerPhase::Parked(now + second * 5)),
            "http://a/x: retry in 5s"
        );
        assert_eq!(line(StragglerPhase::Queued), "http://a/x: queued");
        assert_eq!(
            line(StragglerPhase::HostWaits(
                now + Duration::from_millis(13_001)
            )),
            "http://a/x: host waits 14s"
        );
    }

    #[test]
    fn the_url_column_takes_the_remaining_width() {
        let now = Instant::now();
        let straggler = Straggler {
            url: "http://a.test/a/long/path".to_owned(),
            phase: StragglerPhase::Waiting(Duration::from_secs(7)),
        };
        assert_eq!(
            straggler.columns(now, 80),
            "no response for 7s   http://a.test/a/long/path"
        );
        assert_eq!(straggler.columns(now, 30), "no response for 7s   http…path");
    }

    #[test]
    fn the_phase_is_read_from_the_wire() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let wire = WireState::new(start);
        let at = |seconds: u32| StragglerPhase::of(&wire, start + second * seconds);
        assert_eq!(
            at(1),
            StragglerPhase::Waiting(second),
            "over a reused connection"
        );
        wire.mark_connecting();
        assert_eq!(at(2), StragglerPhase::Connecting(second * 2));
        wire.mark_connect_ended(start + second * 2, true);
        assert_eq!(at(5), StragglerPhase::Waiting(second * 3));
        wire.mark_head_received(start + second * 5);
        assert_eq!(at(6), StragglerPhase::Body(second));
        wire.set_segments(3);
        assert_eq!(at(6), StragglerPhase::Segments(second, 3));
        wire.set_segments(1);
        assert_eq!(at(6), StragglerPhase::Body(second));
    }
}
