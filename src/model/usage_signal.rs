//! What sites say in response headers about the use of their content, as far as a run respects it.

use std::fmt;
use std::str::FromStr;

/// Something that a site can say against the use of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageSignal {
    /// Not for machine learning: `X-Robots-Tag: noai` or `noimageai`, or `Content-Usage: train-ai=n`.
    NoAi,
    /// Not for an index: `X-Robots-Tag: noindex`, `noimageindex` or `none`, or `Content-Usage:
    /// search=n`.
    NoIndex,
    /// Not for text and data mining: `TDM-Reservation: 1`.
    Tdm,
}

impl UsageSignal {
    /// All signals, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::NoAi, Self::NoIndex, Self::Tdm];

    /// Returns the name in options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAi => "noai",
            Self::NoIndex => "noindex",
            Self::Tdm => "tdm",
        }
    }

    /// Returns the directives of `X-Robots-Tag` that mean it.
    #[must_use]
    pub(crate) const fn directives(self) -> &'static [&'static str] {
        match self {
            Self::NoAi => &["noai", "noimageai"],
            Self::NoIndex => &["noindex", "noimageindex", "none"],
            Self::Tdm => &[],
        }
    }

    /// Returns the category of `Content-Usage` that means it if it is `n`.
    #[must_use]
    pub(crate) const fn category(self) -> Option<&'static str> {
        match self {
            Self::NoAi => Some("train-ai"),
            Self::NoIndex => Some("search"),
            Self::Tdm => None,
        }
    }
}

impl fmt::Display for UsageSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UsageSignal {
    type Err = String;

    /// Parses a name. The error is a message that lists all of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim();
        let mut all = Self::ALL.into_iter();
        let named = all.find(|one| one.as_str().eq_ignore_ascii_case(name));
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("expected {names}, not {name:?}")
        })
    }
}
