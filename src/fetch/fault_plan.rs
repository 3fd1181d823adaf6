//! The plan of simulated faults, and the parser of its specification:
//!
//! `SPEC = item {"," item}`, `item = KIND ["(" DUR ")"] "=" NUM "%" ["@" HOST [":" PORT]]`.

use std::hash::Hasher;
use std::time::Duration;

use http::StatusCode;
use siphasher::sip::SipHasher13;
use url::Url;

use crate::model::{SpecError, similar_name};

/// Delay of `slow` without a duration.
const DEFAULT_SLOW_DELAY: Duration = Duration::from_secs(1);
/// The faults of `--simulate-failure` without a SPEC, in percent.
const TRANSIENT_MIX: [(Fault, f64); 7] = [
    (Fault::Dns, 2.0),
    (Fault::Refused, 4.0),
    (Fault::Reset, 6.0),
    (Fault::Body(BodyFault::Truncated), 6.0),
    (Fault::Status(StatusCode::INTERNAL_SERVER_ERROR, None), 4.0),
    (Fault::Status(StatusCode::BAD_GATEWAY, None), 2.0),
    (Fault::Status(StatusCode::SERVICE_UNAVAILABLE, None), 6.0),
];

/// A fault that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Temporary failure to resolve the name.
    Dns,
    /// The port is closed.
    Refused,
    /// There is no route to the host.
    Unreachable,
    /// Connecting hangs.
    ConnectTimeout,
    /// The certificate has expired.
    Tls,
    /// The proxy temporarily fails to open a tunnel.
    Proxy,
    /// The response head never arrives.
    Timeout,
    /// The connection is reset.
    Reset,
    /// The response violates the protocol.
    Protocol,
    /// A redirect without a `Location`.
    Redirect,
    /// The robots.txt of the origin disallows it.
    Robots,
    /// The request is sent after this delay.
    Slow(Duration),
    /// A status, optionally with `Retry-After`.
    Status(StatusCode, Option<Duration>),
    /// The response is real, and its body is faulty.
    Body(BodyFault),
}

/// A fault of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It stops in the middle while the connection stays open.
    Stalled,
    /// It ends in the middle.
    Truncated,
    /// Its bytes do not match its coding.
    Decode,
    /// Its media type is not expected.
    ContentType,
}

const NAMES: [(&str, Fault); 16] = [
    ("dns", Fault::Dns),
    ("refused", Fault::Refused),
    ("unreachable", Fault::Unreachable),
    ("connect_timeout", Fault::ConnectTimeout),
    ("tls", Fault::Tls),
    ("proxy", Fault::Proxy),
    ("timeout", Fault::Timeout),
    ("stalled", Fault::Body(BodyFault::Stalled)),
    ("reset", Fault::Reset),
    ("truncated", Fault::Body(BodyFault::Truncated)),
    ("protocol", Fault::Protocol),
    ("redirect", Fault::Redirect),
    ("robots", Fault::Robots),
    ("decode", Fault::Body(BodyFault::Decode)),
    ("content_type", Fault::Body(BodyFault::ContentType)),
    ("slow", Fault::Slow(DEFAULT_SLOW_DELAY)),
];

/// The host, and optionally the port, that a rule is limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FaultTarget {
    host: String,
    port: Option<u16>,
}

impl FaultTarget {
    /// Whether this target matches every request that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        self.host == other.host && (self.port.is_none() || self.port == other.port)
    }

    fn matches(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        host.eq_ignore_ascii_case(&self.host)
            && self
                .port
                .is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

#[derive(Debug, Clone, PartialEq)]
struct FaultRule {
    fault: Fault,
    percent: f64,
    target: Option<FaultTarget>,
}

impl FaultRule {
    /// Whether this rule applies to every request to which `other` applies.
    fn overlaps(&self, other: &Self) -> bool {
        match (&self.target, &other.target) {
            (None, None) => true,
            (Some(own), Some(other)) => own.covers(other),
            _ => false,
        }
    }
}

/// Which faults to inject, and how often. There is one draw per request, by a hash of seed, URL
/// and request number, so the same list and seed yield the same faults in any order of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan {
    items: Vec<FaultRule>,
    seed: u64,
}

impl FaultPlan {
    /// Returns the default plan: 30 % transient faults, no hangs.
    #[must_use]
    pub fn transient(seed: u64) -> Self {
        let items = TRANSIENT_MIX
            .iter()
            .map(|(fault, percent)| FaultRule {
                fault: *fault,
                percent: *percent,
                target: None,
            })
            .collect();
        Self { items, seed }
    }

    /// Parses a SPEC.
    ///
    /// # Errors
    /// [`SpecError`], which marks the wrong part and says what is expected there.
    pub fn parse(text: &str, seed: u64) -> Result<Self, SpecError> {
        let mut items: Vec<FaultRule> = Vec::new();
        let mut sums = Sums::default();
        let mut start = 0;
        for part in text.split(',') {
            let item = SpecParser { spec: text, part }.item()?;
            items.push(item);
            let most = sums.add(&items);
            if most > 100.0 + 1e-9 {
                let message = format!("fault percentages add up to {most} %, more than 100 %");
                return Err(SpecError::new(text, start, part.len(), message));
            }
            start += part.len() + 1;
        }
        Ok(Self { items, seed })
    }

    /// Draws the fault of a request, if it gets one. `ordinal` counts the requests of a job.
    #[must_use]
    pub fn draw(&self, url: &Url, ordinal: u32) -> Option<Fault> {
        let is_special = |item: &&FaultRule| {
            item.target
                .as_ref()
                .is_some_and(|target| target.matches(url))
        };
        // Rules for a host replace the general rules for its requests.
        let special = self.items.iter().any(|item| is_special(&item));
        let mut point = self.draw_point(url, ordinal);
        for item in &self.items {
            let applies = if special {
                is_special(&item)
            } else {
                item.target.is_none()
            };
            if applies {
                if point < item.percent {
                    return Some(item.fault);
                }
                point -= item.percent;
            }
        }
        None
    }

    /// Returns how often a request for `url` gets a fault, in percent.
    #[cfg(test)]
    pub fn percent_for(&self, url: &Url) -> f64 {
        let own = |item: &&FaultRule| {
            item.target
                .as_ref()
                .is_some_and(|target| target.matches(url))
        };
        let special = self.items.iter().any(|item| own(&item));
        let applies = |item: &&FaultRule| {
            if special {
                own(item)
            } else {
                item.target.is_none()
            }
        };
        let items = self.items.iter().filter(applies);
        items.map(|item| item.percent).sum()
    }

    /// Returns the number in 0..100 drawn for a request.
    fn draw_point(&self, url: &Url, ordinal: u32) -> f64 {
        let mut hash = SipHasher13::new_with_keys(self.seed, 0);
        hash.write(url.as_str().as_bytes());
        hash.write_u32(ordinal);
        // An f64 represents 53 bits exactly.
        (hash.finish() >> 11) as f64 / (1u64 << 53) as f64 * 100.0
    }
}

/// For each rule, the sum of the percentages of all rules that apply to the same requests. Updated
/// rule by rule: there may be thousands.
#[derive(Default)]
struct Sums(Vec<f64>);

impl Sums {
    /// Adds the last rule of `items`. Returns the largest sum.
    fn add(&mut self, items: &[FaultRule]) -> f64 {
        let Some(last) = items.last() else {
            return 0.0;
        };
        for (item, sum) in items.iter().zip(&mut self.0) {
            if last.overlaps(item) {
                *sum += last.percent;
            }
        }
        let with_it = items.iter().filter(|item| item.overlaps(last));
        self.0.push(with_it.map(|item| item.percent).sum());
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

/// Parses one item of a SPEC.
struct SpecParser<'a> {
    spec: &'a str,
    part: &'a str,
}

impl<'a> SpecParser<'a> {
    fn item(&self) -> Result<FaultRule, SpecError> {
        if self.part.trim().is_empty() {
            return Err(self.error(self.part, "missing item, such as reset=10%".to_owned()));
        }
        let (left, right) = self.part.split_once('=').unwrap_or((self.part, ""));
        self.check_order(left.trim(), right.trim())?;
        let fault = self.fault(left.trim())?;
        if right.trim().is_empty() {
            let hint = format!("missing percentage, such as {}=10%", left.trim());
            return Err(self.error(self.part, hint));
        }
        let (amount, target) = match right.split_once('@') {
            Some((amount, target)) => (amount, Some(self.target(target.trim())?)),
            None => (right, None),
        };
        Ok(FaultRule {
            fault,
            percent: self.percent(amount.trim())?,
            target,
        })
    }

    /// Rejects an item that has its parts in another order, or another sign between them.
    fn check_order(&self, left: &str, right: &str) -> Result<(), SpecError> {
        let is_percentage = left.ends_with('%') && !left.contains([':', '@']);
        let message = match left.split_once(':') {
            Some((kind, amount)) if right.is_empty() && amount.ends_with('%') => {
                format!("expected an equals sign: {}={}", kind.trim(), amount.trim())
            }
            _ if is_percentage && right.is_empty() => {
                format!("missing kind, such as reset={left}")
            }
            _ if is_percentage => format!("the kind comes first: {right}={left}"),
            _ => return Ok(()),
        };
        Err(self.error(self.part, message))
    }

    fn fault(&self, text: &'a str) -> Result<Fault, SpecError> {
        let (name, duration) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(|| {
                    self.error(
                        text,
                        "unclosed bracket; use a form like 429(2s)=10%".to_owned(),
                    )
                })?;
                (name, Some(self.duration(inner)?))
            }
        };
        let fault = self.kind(name)?;
        match (fault, duration) {
            (fault, None) => Ok(fault),
            (Fault::Slow(_), Some(duration)) => Ok(Fault::Slow(duration)),
            (Fault::Status(status, _), Some(duration))
                if matches!(status.as_u16(), 403 | 429 | 503) =>
            {
                Ok(Fault::Status(status, Some(duration)))
            }
            (_, Some(_)) => Err(self.error(
                text,
                format!("{name} takes no duration; slow, 403, 429 and 503 do"),
            )),
        }
    }

    fn kind(&self, name: &'a str) -> Result<Fault, SpecError> {
        if let Some((_, fault)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(*fault);
        }
        if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
            return match name
                .parse::<u16>()
                .ok()
                .filter(|code| (400..600).contains(code))
            {
                Some(code) => match StatusCode::from_u16(code) {
                    Ok(status) => Ok(Fault::Status(status, None)),
                    Err(_) => Err(self.error(name, "unknown status".to_owned())),
                },
                None => Err(self.error(name, "expected a status from 400 to 599".to_owned())),
            };
        }
        let message = match similar_name(name, NAMES.iter().map(|(known, _)| *known)) {
            Some(known) => format!("unknown fault {name}; did you mean {known}?"),
            None => {
                let names: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
                format!(
                    "unknown fault {name}; use {} or a status from 400 to 599",
                    names.join(", ")
                )
            }
        };
        Err(self.error(name, message))
    }

    fn duration(&self, text: &'a str) -> Result<Duration, SpecError> {
        crate::model::parse_duration(text).map_err(|message| self.error(text, message))
    }

    fn percent(&self, text: &'a str) -> Result<f64, SpecError> {
        let Some(number) = text.strip_suffix('%') else {
            let hint = format!("missing percent sign: {text}%");
            return Err(self.error(text, hint));
        };
        match number.trim().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
            _ => Err(self.error(text, "expected a percentage from 0% to 100%".to_owned())),
        }
    }

    fn target(&self, text: &'a str) -> Result<FaultTarget, SpecError> {
        // Lets the URL parser handle names, IPv4, [IPv6] and upper case.
        let parsed = Url::parse(&format!("http://{text}/")).ok().filter(|url| {
            let is_host_alone = url.query().is_none() && url.fragment().is_none();
            url.username().is_empty() && url.path() == "/" && is_host_alone
        });
        let host = parsed.as_ref().and_then(Url::host_str);
        let no_host = text.is_empty()
            || text.starts_with('*')
            || text.ends_with(':')
            // The URL parser would remove line ends and tabs, even inside a port.
            || text.contains(char::is_whitespace);
        let (Some(host), false) = (host, no_host) else {
            return Err(self.error(
                text,
                "expected a host: @example.com or @example.com:8080".to_owned(),
            ));
        };
        // Parsing drops the default port of http, so the port is taken from the text.
        let port = text
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'))
            .and_then(|(_, port)| port.parse().ok());
        Ok(FaultTarget {
            host: host.to_owned(),
            port,
        })
    }

    /// Returns an error that marks `place`, which is the item or a part of it.
    fn error(&self, place: &str, message: String) -> SpecError {
        SpecError::at(self.spec, place, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(spec: &str) -> FaultPlan {
        FaultPlan::parse(spec, 0).unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn every_kind_and_every_form_is_parsed() {
        for (name, fault) in NAMES {
            assert_eq!(
                plan(&format!("{name}=100%")).draw(&url("http://a/"), 1),
                Some(fault)
            );
        }
        let second = Duration::from_secs(1);
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (spec, fault) in [
            ("429(1s)=100%", Fault::Status(status(429), Some(second))),
            ("403(1s)=100%", Fault::Status(status(403), Some(second))),
            ("503=100%", Fault::Status(status(503), None)),
            ("404 = 100 %", Fault::Status(status(404), None)),
            ("slow(1000ms)=100%", Fault::Slow(second)),
        ] {
            assert_eq!(plan(spec).draw(&url("http://a/"), 1), Some(fault), "{spec}");
        }
    }

    #[test]
    fn the_drills_and_the_help_name_every_fault() {
        let kinds = |text: &str| {
            let (_, list) = text.split_once("KIND is ").unwrap();
            let (list, _) = list.split_once(" or a status").unwrap();
            let names = list
                .split(',')
                .map(|name| name.trim_matches(|c: char| !c.is_alphanumeric()));
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let names = NAMES.map(|(name, _)| name);
        assert_eq!(kinds(include_str!("../../docs/drills.md")), names);
        let help = include_str!("../cli/args.rs").replace("\n    ///", "");
        assert_eq!(kinds(&help), names);
    }

    #[test]
    fn rules_for_a_host_replace_the_general_rules() {
        let plan = plan("reset=100%,dns=0%@a.test,tls=100%@b.test:8080");
        assert_eq!(plan.draw(&url("http://a.test/"), 1), None);
        assert_eq!(plan.draw(&url("http://b.test:8080/"), 1), Some(Fault::Tls));
        assert_eq!(plan.draw(&url("http://b.test/"), 1), Some(Fault::Reset));
    }

    #[test]
    fn an_invalid_spec_is_marked_and_explained() {
        let mut page = Vec::new();
        for (spec, marked) in [
            ("resets=10%", "resets"),
            ("reset=10%,dsn=5%", "dsn"),
            ("reset", "reset"),
            ("reset=", "reset="),
            ("foo", "foo"),
            ("", ""),
            ("reset=5%@h:", "h:"),
            ("reset=5%@*", "*"),
            ("reset=60%@h,tls=50%@h:80", "tls=50%@h:80"),
            ("reset=10", "10"),
            ("reset=110%", "110%"),
            ("reset=60%,dns=50%", "dns=50%"),
            ("reset(2s)=10%", "reset(2s)"),
            ("429(2s=10%", "429(2s"),
            ("429(soon)=10%", "soon"),
            ("200=10%", "200"),
            ("reset=10%,,dns=1%", ""),
            ("reset=10%@", ""),
            ("reset=10%@a b", "a b"),
            ("reset=10%@a:8\t0", "a:8\t0"),
            ("reset=10%@a#b", "a#b"),
            ("\u{1b}[31m=1%", "\u{1b}[31m"),
            ("quux_and_more=1%", "quux_and_more"),
            ("50%=503", "50%=503"),
            ("reset=1%,50%", "50%"),
            ("503:50%", "503:50%"),
        ] {
            let error = FaultPlan::parse(spec, 0).unwrap_err();
            assert_eq!(error.marked(), marked, "{spec}");
            page.push(format!("{spec:?}\n{error}"));
        }
        insta::assert_snapshot!("no_specs", page.join("\n\n"));
    }

    #[test]
    fn thousands_of_items_are_parsed_quickly() {
        let spec = vec!["dns=0%"; 5000].join(",");
        let start = std::time::Instant::now();
        assert_eq!(plan(&spec).draw(&url("http://a/"), 1), None);
        // Takes some tenths of a second in a debug build; a naive algorithm takes hours.
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn the_default_plan_is_transient_and_near_30_percent() {
        let plan = FaultPlan::transient(0);
        let hits = (0..10_000)
            .filter(|n| plan.draw(&url(&format!("http://a/{n}")), 1).is_some())
            .count();
        assert!((2800..3200).contains(&hits), "{hits}");
    }

    #[test]
    fn the_draws_of_a_seed_never_change() {
        // A change here would change the outcome of every script that simulates faults.
        let plan = FaultPlan::parse("reset=50%", 7).unwrap();
        let draws: String = (0..16)
            .map(|n| plan.draw(&url(&format!("http://a/{n}")), n + 1))
            .map(|fault| if fault.is_some() { 'x' } else { '.' })
            .collect();
        assert_eq!(draws, ".x.xx..xxxxx....");
    }

    proptest! {
        #[test]
        fn no_spec_causes_a_panic(spec in "[a-z0-9%=@():,. é]{0,40}") {
            if let Err(error) = FaultPlan::parse(&spec, 0) {
                let _ = error.to_string();
            }
        }
    }
}
