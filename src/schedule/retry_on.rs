//! `--retry-on LIST`: failures that are retried in addition to the default ones, and exceptions.
//!
//! `LIST = item {"," item}`, `item = ["!"] (STATUS | CLASS | KIND)`, such as `404,5xx,tls,!500`.

use std::str::FromStr;

use crate::model::{ErrorKind, FetchError, SpecError, similar_name};

/// Kinds that are never retried, and why.
const NOT_RETRYABLE: [(ErrorKind, &str); 5] = [
    (
        ErrorKind::InvalidUrl,
        "nothing is sent for an invalid input line",
    ),
    (ErrorKind::Robots, "the site would say the same again"),
    (ErrorKind::Denied, "it would be denied again"),
    (ErrorKind::Conflict, "the other line keeps the file"),
    (
        ErrorKind::Save,
        "the cause is on this machine; fix it, then rerun the command to fetch the rest",
    ),
];

/// Failures that are retried in addition to the default ones, and exceptions. If several items
/// match a failure, the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryRules {
    items: Vec<RetryItem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RetryItem {
    failure: RetriedFailure,
    is_retried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RetriedFailure {
    Status(u16),
    /// The first digit: 5 means 5xx.
    Class(u16),
    Kind(ErrorKind),
}

impl RetriedFailure {
    fn includes(self, kind: ErrorKind, status: Option<u16>) -> bool {
        match self {
            // The status of the server, or of a proxy that rejected the tunnel to it.
            Self::Status(code) => status == Some(code),
            Self::Class(first) => status.is_some_and(|code| code / 100 == first),
            // A 202 is polled, not retried: it is not a failure.
            Self::Kind(ErrorKind::Status) => kind == ErrorKind::Status && status != Some(202),
            Self::Kind(own) => own == kind,
        }
    }
}

impl FromStr for RetryRules {
    type Err = SpecError;

    /// Parses a LIST. The error marks the invalid item.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let items = text.split(',').map(|part| item(text, part));
        Ok(Self {
            items: items.collect::<Result<_, _>>()?,
        })
    }
}

impl RetryRules {
    /// Appends the items of another list.
    #[must_use]
    pub fn followed_by(mut self, other: Self) -> Self {
        self.items.extend(other.items);
        self
    }

    /// Whether this failure is retried in this run.
    #[must_use]
    pub fn is_retried(&self, error: &FetchError) -> bool {
        self.listed(error).unwrap_or_else(|| error.is_transient())
    }

    /// Returns whether the list adds or excludes this failure; `None` if no item matches it.
    #[must_use]
    pub fn listed(&self, error: &FetchError) -> Option<bool> {
        let status = error.status().or_else(|| error.proxy_status());
        self.find(error.kind(), status.map(|status| status.as_u16()))
    }

    /// Returns whether the list adds or excludes 202 Accepted; `None` if no item names it.
    #[must_use]
    pub fn listed_accepted(&self) -> Option<bool> {
        self.find(ErrorKind::Status, Some(202))
    }

    fn find(&self, kind: ErrorKind, status: Option<u16>) -> Option<bool> {
        let mut later_first = self.items.iter().rev();
        later_first
            .find(|item| item.failure.includes(kind, status))
            .map(|item| item.is_retried)
    }
}

fn item(list: &str, part: &str) -> Result<RetryItem, SpecError> {
    let text = part.trim();
    if text.is_empty() {
        let message = "missing item, such as 404, 5xx or tls".to_owned();
        return Err(SpecError::at(list, part, message));
    }
    let (name, is_retried) = match text.strip_prefix('!') {
        Some(name) => (name.trim_start(), false),
        None => (text, true),
    };
    if name.is_empty() {
        let message = "missing item after !, such as !500".to_owned();
        return Err(SpecError::at(list, text, message));
    }
    let at = |message| SpecError::at(list, name, message);
    let failure = failure(name).map_err(at)?;
    if let RetriedFailure::Kind(kind) = failure
        && is_retried
        && let Some((_, why)) = NOT_RETRYABLE.iter().find(|(never, _)| *never == kind)
    {
        return Err(at(format!("{kind} is never retried: {why}")));
    }
    Ok(RetryItem {
        failure,
        is_retried,
    })
}

fn failure(name: &str) -> Result<RetriedFailure, String> {
    let lower = name.to_ascii_lowercase();
    if let Some(kind) = ErrorKind::ALL.iter().find(|kind| kind.as_str() == lower) {
        return Ok(RetriedFailure::Kind(*kind));
    }
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if name.len() == 3 && is_number {
        return status(name.parse().unwrap_or_default());
    }
    match lower.strip_suffix("xx").map(str::as_bytes) {
        Some(b"1" | b"2") => Err(format!(
            "{lower} is not a failure; use 4xx or 5xx, for example"
        )),
        Some([b'0' | b'6'..=b'9']) => Err(format!(
            "{lower} is no class of statuses; use 3xx, 4xx or 5xx"
        )),
        Some([digit @ b'3'..=b'5']) => Ok(RetriedFailure::Class(u16::from(digit - b'0'))),
        _ => Err(unknown(name)),
    }
}

fn status(code: u16) -> Result<RetriedFailure, String> {
    match code {
        202 | 300 | 304..=306 | 309..=999 => Ok(RetriedFailure::Status(code)),
        200..=299 => Err(format!(
            "{code} is not a failure; of the 2xx statuses only 202 can be retried"
        )),
        301..=399 => Err(format!(
            "{code} is followed as a redirect; use the kind redirect for those that fail"
        )),
        _ => Err(format!("{code:03} is not a final status")),
    }
}

fn unknown(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("invalid status {name}; use 404, or 5xx for 500 to 599");
    }
    let names = || ErrorKind::ALL.iter().map(|kind| kind.as_str());
    match similar_name(name, names()) {
        Some(known) => format!("unknown kind {name}; did you mean {known}?"),
        None => {
            let names: Vec<_> = names().collect();
            format!(
                "unknown kind {name}; expected a status, a class such as 5xx, or a kind: {}",
                names.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GiveUpReason;
    use crate::model::{Cause, TimeLimit};
    use http::StatusCode;
    use proptest::prelude::*;
    use std::time::Duration;

    fn status(code: u16) -> FetchError {
        FetchError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: None,
            note: None,
        }
    }

    fn rules(list: &str) -> RetryRules {
        list.parse::<RetryRules>().unwrap()
    }

    #[test]
    fn statuses_classes_and_kinds_are_added_and_excluded() {
        let rules = rules("404, tls ,!500,!timeout,4XX,!410");
        let tls = FetchError::Tls {
            cause: Cause::from_text("x"),
        };
        let timeout = FetchError::Timeout {
            limit: TimeLimit::Head(Duration::ZERO),
        };
        let reset = FetchError::Reset {
            cause: Cause::from_text("x"),
        };
        for (error, is_retried) in [
            (status(404), true),
            (status(418), true),
            (status(410), false),
            (status(500), false),
            (status(503), true),
            (status(501), false),
            (tls, true),
            (timeout, false),
            (reset, true),
        ] {
            assert_eq!(rules.is_retried(&error), is_retried, "{error}");
        }
    }

    #[test]
    fn the_last_matching_item_counts() {
        assert!(rules("!5xx,503").is_retried(&status(503)));
        assert!(!rules("503,!5xx").is_retried(&status(503)));
        assert!(!rules("status,!status").is_retried(&status(503)));
        assert!(rules("!status,status").is_retried(&status(404)));
        let both = rules("404").followed_by(rules("!404,tls"));
        assert_eq!(both, rules("404,!404,tls"));
    }

    /// A 202 is not a failure, so items about failures do not match it.
    #[test]
    fn a_202_is_matched_only_by_its_number() {
        for (list, says) in [
            ("202", Some(true)),
            ("!202", Some(false)),
            ("status,5xx", None),
            ("!status", None),
        ] {
            assert_eq!(rules(list).listed_accepted(), says, "{list}");
        }
    }

    /// `HostGivenUp` has the kind and status of its underlying error.
    #[test]
    fn a_host_given_up_is_judged_by_its_error() {
        let error = FetchError::HostGivenUp {
            error: status(404).into(),
            why: GiveUpReason::HostDown { failures: 3 },
        };
        assert!(rules("404").is_retried(&error));
        assert!(!rules("tls").is_retried(&error));
    }

    #[test]
    fn an_invalid_list_shows_where_and_how_to_fix_it() {
        let mut page = Vec::new();
        for (list, marked) in [
            ("404,tsl", "tsl"),
            ("404,tsl,500", "tsl"),
            ("404,!tsl", "tsl"),
            ("connect-timeout", "connect-timeout"),
            ("foo_and_more", "foo_and_more"),
            ("", ""),
            ("404,,500", ""),
            ("404, ", " "),
            ("404,! ", "!"),
            ("!!500", "!500"),
            ("5x", "5x"),
            ("500-504", "500-504"),
            ("0404", "0404"),
            ("42", "42"),
            ("099", "099"),
            ("100", "100"),
            ("200", "200"),
            ("2xx", "2xx"),
            ("404,6xx", "6xx"),
            ("!9XX", "9XX"),
            ("0xx", "0xx"),
            ("000", "000"),
            ("1000", "1000"),
            ("302", "302"),
            ("reset,save", "save"),
            ("denied", "denied"),
            ("invalid_url", "invalid_url"),
            ("\u{1b}[31m", "\u{1b}[31m"),
        ] {
            let error = RetryRules::from_str(list).unwrap_err();
            assert_eq!(error.marked(), marked, "{list}");
            page.push(format!("{list:?}\n{error}"));
        }
        insta::assert_snapshot!("no_rules", page.join("\n\n"));
    }

    #[test]
    fn every_kind_can_be_excluded_and_all_but_four_be_added() {
        for kind in ErrorKind::ALL {
            assert_eq!(
                rules(&format!("!{kind}")).find(*kind, Some(500)),
                Some(false)
            );
            let added = RetryRules::from_str(kind.as_str());
            let is_never = NOT_RETRYABLE.iter().any(|(never, _)| never == kind);
            assert_eq!(added.is_err(), is_never, "{kind}");
            if let Ok(rules) = added {
                assert_eq!(rules.find(*kind, Some(500)), Some(true), "{kind}");
            }
        }
    }

    /// An item, and the number or kind it names.
    fn any_item() -> impl Strategy<Value = (String, Option<u16>, Option<ErrorKind>)> {
        let kinds = ErrorKind::ALL.iter().copied();
        let kinds: Vec<_> = kinds
            .filter(|kind| NOT_RETRYABLE.iter().all(|(never, _)| never != kind))
            .collect();
        prop_oneof![
            (400u16..1000).prop_map(|code| (code.to_string(), Some(code), None)),
            (3u16..6).prop_map(|class| (format!("{class}xx"), Some(class), None)),
            prop::sample::select(kinds).prop_map(|kind| (kind.to_string(), None, Some(kind))),
        ]
    }

    proptest! {
        /// Checks every status and every kind against the simplest reading of the list.
        #[test]
        fn a_list_changes_what_it_names_and_nothing_else(
            list in prop::collection::vec((any_item(), any::<bool>()), 1..8)
        ) {
            let text: Vec<_> = list
                .iter()
                .map(|((name, ..), add)| format!("{}{name}", if *add { "" } else { "!" }))
                .collect();
            let rules = rules(&text.join(","));
            for code in 300..1000 {
                let error = status(code);
                let mut expected = error.is_transient();
                for ((_, number, kind), add) in &list {
                    let is_it = *kind == Some(ErrorKind::Status)
                        || *number == Some(code)
                        || *number == Some(code / 100);
                    if is_it {
                        expected = *add;
                    }
                }
                prop_assert_eq!(rules.is_retried(&error), expected, "{}", code);
            }
            for kind in ErrorKind::ALL.iter().filter(|kind| **kind != ErrorKind::Status) {
                let said = list.iter().rev().find(|((.., own), _)| *own == Some(*kind));
                prop_assert_eq!(rules.find(*kind, None), said.map(|(_, add)| *add), "{}", kind);
            }
        }

        #[test]
        fn no_list_makes_it_panic(list in "[a-z0-9!,x é]{0,40}") {
            if let Err(error) = RetryRules::from_str(&list) {
                let _ = error.to_string();
            }
        }
    }
}
