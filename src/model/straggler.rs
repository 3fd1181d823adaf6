//! What a run is still waiting for when nearly everything is done.

use std::time::{Duration, Instant};

use super::{WireState, elide_middle, escape_control, format_duration};

/// Stragglers that are named at most.
pub const MAX_STRAGGLERS: usize = 5;
/// Characters of a URL that are shown.
const MAX_URL_CHARS: usize = 60;
/// Columns that what it does usually takes.
const PHASE_WIDTH: usize = 18;

/// A job that keeps the run from ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Straggler {
    /// Its URL, without userinfo.
    pub url: String,
    /// What it is doing.
    pub phase: StragglerPhase,
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StragglerPhase {
    /// Its connection is being made, for so long.
    Connecting(Duration),
    /// The request was sent, and nothing has come back for so long.
    Waiting(Duration),
    /// The body is coming, for so long.
    Body(Duration),
    /// It is asked again at this time.
    Parked(Instant),
    /// It waits until its host may be asked.
    Queued,
}

impl StragglerPhase {
    /// The phase of a request that is under way.
    #[must_use]
    pub fn of(wire: &WireState, now: Instant) -> Self {
        let since = |from: Duration| now.saturating_duration_since(wire.started() + from);
        match (wire.head_time(), wire.connect_time()) {
            (Some(head), _) => Self::Body(since(head)),
            (None, None) if wire.is_connecting() => Self::Connecting(since(Duration::ZERO)),
            (None, connected) => Self::Waiting(since(connected.unwrap_or_default())),
        }
    }

    /// It in words.
    #[must_use]
    pub fn text(self, now: Instant) -> String {
        // Whole seconds: more would only flicker.
        let seconds = |time: Duration| format_duration(Duration::from_secs(time.as_secs()));
        match self {
            Self::Connecting(time) => format!("connecting for {}", seconds(time)),
            Self::Waiting(time) => format!("no answer for {}", seconds(time)),
            Self::Body(time) => format!("body coming for {}", seconds(time)),
            Self::Parked(until) => {
                let left = until.saturating_duration_since(now) + Duration::from_millis(999);
                format!("asked again in {}", seconds(left))
            }
            Self::Queued => "waits for its host".to_owned(),
        }
    }
}

impl Straggler {
    /// It in two columns of no more than `width`: what it does, and its URL.
    #[must_use]
    pub fn columns(&self, now: Instant, width: usize) -> String {
        let phase = self.phase.text(now);
        let room = width.saturating_sub(PHASE_WIDTH + 1);
        let url = elide_middle(&escape_control(&self.url), room);
        format!("{phase:<PHASE_WIDTH$} {url}")
    }

    /// It in a line of text.
    #[must_use]
    pub fn line(&self, now: Instant) -> String {
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
            "http://a/x: no answer for 1m 1s"
        );
        assert_eq!(
            line(StragglerPhase::Body(second * 2)),
            "http://a/x: body coming for 2s"
        );
        assert_eq!(
            line(StragglerPhase::Parked(now + second * 5)),
            "http://a/x: asked again in 5s"
        );
        assert_eq!(
            line(StragglerPhase::Queued),
            "http://a/x: waits for its host"
        );
    }

    #[test]
    fn in_columns_the_url_gets_the_room_that_there_is() {
        let now = Instant::now();
        let straggler = Straggler {
            url: "http://a.test/a/long/path".to_owned(),
            phase: StragglerPhase::Waiting(Duration::from_secs(7)),
        };
        assert_eq!(
            straggler.columns(now, 80),
            "no answer for 7s   http://a.test/a/long/path"
        );
        assert_eq!(straggler.columns(now, 30), "no answer for 7s   http:…/path");
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
            "over a connection that stood"
        );
        wire.mark_connecting();
        assert_eq!(at(2), StragglerPhase::Connecting(second * 2));
        wire.mark_connect_ended(start + second * 2, true);
        assert_eq!(at(5), StragglerPhase::Waiting(second * 3));
        wire.mark_head_received(start + second * 5);
        assert_eq!(at(6), StragglerPhase::Body(second));
    }
}
