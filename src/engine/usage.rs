//! What a site says about the use of a response, in headers and in robots.txt: it is recorded, and
//! fails the response if the run respects it.

use http::HeaderName;

use super::Engine;
use crate::model::{Attempt, FetchError, ResponseHead, RobotsProblem, UsageSignal, elide_middle};

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const CONTENT_USAGE: HeaderName = HeaderName::from_static("content-usage");
const TDM_RESERVATION: HeaderName = HeaderName::from_static("tdm-reservation");
/// Directives of `X-Robots-Tag` that have a value after a colon; another name there is a crawler.
const WITH_VALUE: [&str; 4] = [
    "unavailable_after",
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
];
/// Maximum length of a header in a message, in characters.
const MAX_SHOWN_CHARS: usize = 100;

/// What a site says about the use of a response; `None` where it says nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UsageNotes {
    /// The values of `X-Robots-Tag`. A crawler named in one of them is not meant by the others.
    tags: Vec<String>,
    /// `Content-Usage` of the response, then that of robots.txt.
    pub content_usage: Option<String>,
    /// `TDM-Reservation`.
    pub tdm_reservation: Option<String>,
}

impl UsageNotes {
    /// Collects what is said about the response of an attempt.
    pub(super) fn of<T, S>(engine: &Engine<T, S>, attempt: &Attempt, head: &ResponseHead) -> Self {
        let of_site = engine.scheduler.content_usage(attempt.url());
        Self::from_head(head).with_site(of_site)
    }

    fn from_head(head: &ResponseHead) -> Self {
        let is_said = |name| [X_ROBOTS_TAG, CONTENT_USAGE, TDM_RESERVATION].contains(name);
        // A shortcut: most responses have none, and each lookup computes a hash.
        if !head.headers.keys().any(is_said) {
            return Self::default();
        }
        Self {
            tags: values(head, &X_ROBOTS_TAG).collect(),
            content_usage: joined(values(head, &CONTENT_USAGE)),
            tdm_reservation: joined(values(head, &TDM_RESERVATION)),
        }
    }

    /// Returns `X-Robots-Tag`, several joined as one.
    pub(super) fn x_robots_tag(&self) -> Option<String> {
        joined(self.tags.iter().cloned())
    }

    fn with_site(mut self, of_site: Option<String>) -> Self {
        let said = self.content_usage.take().into_iter().chain(of_site);
        self.content_usage = said.reduce(|own, of_site| format!("{own}, {of_site}"));
        self
    }

    /// Returns the header that says one of these things, to a crawler with this product token.
    fn objection(&self, respected: &[UsageSignal], agent: &str) -> Option<String> {
        let shown = |name: HeaderName, value: &str| {
            format!("{name}: {}", elide_middle(value, MAX_SHOWN_CHARS))
        };
        respected.iter().find_map(|signal| {
            let mut tags = self.tags.iter();
            let tag = tags.find(|tag| has_directive(tag, signal.directives(), agent));
            let usage = self.content_usage.as_deref();
            let usage =
                usage.filter(|usage| signal.category().is_some_and(|it| is_denied(usage, it)));
            let tdm = self.tdm_reservation.as_deref();
            let tdm = tdm.filter(|value| *signal == UsageSignal::Tdm && value.trim() == "1");
            tag.map(|tag| shown(X_ROBOTS_TAG, tag))
                .or_else(|| usage.map(|usage| shown(CONTENT_USAGE, usage)))
                .or_else(|| tdm.map(|value| shown(TDM_RESERVATION, value)))
        })
    }
}

/// Checks that a response does not say what the run respects.
///
/// # Errors
/// `robots` if it does.
pub(super) fn check<T, S>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    head: &ResponseHead,
) -> Result<(), FetchError> {
    let respected = &engine.options.respect;
    if respected.is_empty() || attempt.job.is_auxiliary() {
        return Ok(());
    }
    let agent = &engine.options.robots_agent;
    match UsageNotes::of(engine, attempt, head).objection(respected, agent) {
        None => Ok(()),
        Some(said) => Err(FetchError::Robots {
            problem: RobotsProblem::Reserved(said),
        }),
    }
}

/// Returns the values of a header.
fn values(head: &ResponseHead, name: &HeaderName) -> impl Iterator<Item = String> {
    let values = head.headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn joined(values: impl Iterator<Item = String>) -> Option<String> {
    values.reduce(|one, other| format!("{one}, {other}"))
}

/// Whether an `X-Robots-Tag` has one of these directives for a crawler with this product token. A
/// name with a colon in front restricts the directives after it to that crawler.
fn has_directive(tag: &str, names: &[&str], agent: &str) -> bool {
    let mut is_for_us = true;
    tag.split(',').any(|part| {
        let directive = match part.split_once(':') {
            Some((name, rest)) if !is_one_of(name, &WITH_VALUE) => {
                is_for_us = name.trim().eq_ignore_ascii_case(agent);
                rest
            }
            _ => part,
        };
        is_for_us && is_one_of(directive, names)
    })
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known))
}

/// Whether a `Content-Usage` has the category with the value `n`.
fn is_denied(usage: &str, category: &str) -> bool {
    usage.split(',').any(|part| {
        let part = part.split(';').next().unwrap_or_default();
        let pair = part.split_once('=');
        pair.is_some_and(|(name, value)| name.trim() == category && value.trim() == "n")
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn notes(headers: &[(HeaderName, &str)]) -> UsageNotes {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        UsageNotes::from_head(&ResponseHead::http11(StatusCode::OK, map))
    }

    #[test]
    fn values_are_joined_and_robots_txt_comes_last() {
        let said = notes(&[(X_ROBOTS_TAG, "noai"), (X_ROBOTS_TAG, "noindex")]);
        assert_eq!(said.x_robots_tag().as_deref(), Some("noai, noindex"));
        assert_eq!(said.with_site(None).content_usage, None);
        let site = || Some("search=y".to_owned());
        let said = notes(&[(CONTENT_USAGE, "train-ai=n")]).with_site(site());
        assert_eq!(said.content_usage.as_deref(), Some("train-ai=n, search=y"));
        assert_eq!(notes(&[]).with_site(site()).content_usage, site());
    }

    #[test]
    fn what_is_said_counts_if_it_is_respected_and_for_this_crawler() {
        use UsageSignal::{NoAi, NoIndex, Tdm};
        for (name, value, meant) in [
            (X_ROBOTS_TAG, "noai", Some(NoAi)),
            (X_ROBOTS_TAG, "nofollow, NoImageAI", Some(NoAi)),
            (X_ROBOTS_TAG, "none", Some(NoIndex)),
            (X_ROBOTS_TAG, "noimageindex", Some(NoIndex)),
            (X_ROBOTS_TAG, "fetchall: noindex", Some(NoIndex)),
            (X_ROBOTS_TAG, "otherbot: noindex", None),
            (X_ROBOTS_TAG, "otherbot: noindex, noai", None),
            (
                X_ROBOTS_TAG,
                "otherbot: noindex, FetchAll: nofollow, noai",
                Some(NoAi),
            ),
            (X_ROBOTS_TAG, "max-snippet: 10, noai", Some(NoAi)),
            (
                X_ROBOTS_TAG,
                "unavailable_after: 25 Jun 2010 15:00:00 PST",
                None,
            ),
            (X_ROBOTS_TAG, "all, noaisle", None),
            (CONTENT_USAGE, "train-ai=n", Some(NoAi)),
            (CONTENT_USAGE, "train-ai=y, search=n;x=1", Some(NoIndex)),
            (CONTENT_USAGE, "train-ai, bots=n", None),
            (TDM_RESERVATION, "1", Some(Tdm)),
            (TDM_RESERVATION, "0", None),
        ] {
            let said = notes(&[(name, value)]);
            for signal in UsageSignal::ALL {
                let objection = said.objection(&[signal], "fetchall");
                assert_eq!(
                    objection.is_some(),
                    meant == Some(signal),
                    "{value}, {signal}"
                );
            }
            assert_eq!(said.objection(&[], "fetchall"), None);
        }
        let said = notes(&[(X_ROBOTS_TAG, "otherbot: nofollow"), (X_ROBOTS_TAG, "noai")]);
        let objection = said.objection(&[NoAi], "fetchall");
        assert_eq!(
            objection.as_deref(),
            Some("x-robots-tag: noai"),
            "a line of its own"
        );
    }
}
