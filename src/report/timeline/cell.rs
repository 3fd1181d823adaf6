//! The characters and colours of the timeline.

use crate::model::TraceOutcome;

/// What a cell of the timeline shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimelineCell {
    Nothing,
    Queue,
    Connect,
    Wait,
    Body,
    Redirect,
    Resend,
    GoesOn,
    Failed,
}

impl TimelineCell {
    /// The legend, in order.
    pub(super) const LEGEND: [(Self, &str); 8] = [
        (Self::Queue, "queue"),
        (Self::Connect, "connect"),
        (Self::Wait, "first byte"),
        (Self::Body, "body"),
        (Self::Redirect, "redirect"),
        (Self::Resend, "resent"),
        (Self::GoesOn, "continued"),
        (Self::Failed, "failed"),
    ];

    /// Returns the mark at the end of an attempt.
    pub(super) fn mark(outcome: TraceOutcome) -> Self {
        match outcome {
            TraceOutcome::Failed(_) => Self::Failed,
            TraceOutcome::Redirected => Self::Redirect,
            TraceOutcome::Resent => Self::Resend,
            TraceOutcome::GoesOn => Self::GoesOn,
            TraceOutcome::Fetched => Self::Body,
        }
    }

    pub(super) fn character(self, ascii: bool) -> char {
        let (plain, unicode) = match self {
            Self::Nothing => (' ', ' '),
            Self::Queue => ('.', '·'),
            Self::Connect => ('c', '░'),
            Self::Wait => ('=', '▒'),
            Self::Body => ('#', '█'),
            Self::Redirect => ('>', '›'),
            Self::Resend => ('r', '↻'),
            Self::GoesOn => ('+', '»'),
            Self::Failed => ('x', '✗'),
        };
        if ascii { plain } else { unicode }
    }

    pub(super) fn color(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Queue => "\u{1b}[2m",
            Self::Connect => "\u{1b}[33m",
            Self::Wait => "\u{1b}[34m",
            Self::Body => "\u{1b}[32m",
            Self::Redirect | Self::Resend | Self::GoesOn => "\u{1b}[36m",
            Self::Failed => "\u{1b}[31m",
        }
    }
}
