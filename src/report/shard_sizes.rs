//! Says how large the shards of a list are, and what bounds the time that they take.

use std::time::Duration;

use super::summary::count;
use crate::model::{Shard, ShardBy, ShardTally, format_duration};

/// Hosts that are named.
pub(crate) const LARGEST_HOSTS: usize = 10;
/// Shards whose sizes are listed; of more of them, only the range is.
const LISTED_SHARDS: usize = 20;

/// Describes the shards in lines of text. `interval` is the minimum time between two requests to a
/// host, zero if there is none.
pub(crate) fn shard_sizes(
    tally: &mut ShardTally,
    shard: Shard,
    interval: impl Fn(&str) -> Duration,
) -> Vec<String> {
    let own = tally.lines().get(shard.index() as usize).copied();
    let all: u64 = tally.lines().iter().sum();
    let mut lines = vec![format!(
        "shard {shard}: {} of {} lines; all shards: {}",
        count(own.unwrap_or_default()),
        count(all),
        shard_counts(tally.lines())
    )];
    lines.extend(largest_hosts(tally));
    let hosts = tally.largest(LARGEST_HOSTS);
    if !hosts.is_empty() {
        lines.push(bound(&hosts, shard, interval));
    }
    lines
}

/// Names the largest hosts, if there are any.
pub(crate) fn largest_hosts(tally: &mut ShardTally) -> Option<String> {
    let hosts = tally.largest(LARGEST_HOSTS);
    let named = hosts.iter();
    let named: Vec<_> = named
        .map(|(host, n)| format!("{host} {}", count(*n)))
        .collect();
    let missed = match tally.uncertainty() {
        0 => String::new(),
        most => format!(" (each may have up to {} more)", count(most)),
    };
    let named = named.join(", ");
    (!named.is_empty()).then(|| format!("largest hosts: {named}{missed}"))
}

/// Lists the sizes of all shards, or their range.
pub(crate) fn shard_counts(lines: &[u64]) -> String {
    if lines.len() <= LISTED_SHARDS {
        let each: Vec<_> = lines.iter().map(|n| count(*n)).collect();
        return each.join(", ");
    }
    let mut sorted = lines.to_vec();
    sorted.sort_unstable();
    let at = |number: usize| count(sorted.get(number).copied().unwrap_or_default());
    let (median, last) = (sorted.len() / 2, sorted.len() - 1);
    format!("{} to {}, median {}", at(0), at(last), at(median))
}

/// Says how long the host takes that takes longest: the intervals between its requests.
fn bound(hosts: &[(String, u64)], shard: Shard, interval: impl Fn(&str) -> Duration) -> String {
    // Where a host is in all shards, each of them has only its part.
    let shards = match shard.by() {
        ShardBy::Host => 1,
        ShardBy::Url => u64::from(shard.of().get()),
    };
    let time = |(host, urls): &(String, u64)| {
        let interval = interval(host);
        let urls = u32::try_from(urls.div_ceil(shards)).unwrap_or(u32::MAX);
        interval.saturating_mul(urls.saturating_sub(1))
    };
    let longest = hosts.iter().max_by_key(|host| time(host));
    match longest.map(|host| (host, time(host), interval(&host.0))) {
        Some(((host, urls), time, interval)) if !time.is_zero() => format!(
            "at least {} because of {host}: {} requests, {} apart",
            format_duration(time),
            count(urls.div_ceil(shards)),
            format_duration(interval)
        ),
        _ if hosts.is_empty() && !interval("").is_zero() => {
            "no minimum time is known: no host has many more requests than the others".to_owned()
        }
        Some((_, _, interval)) if !interval.is_zero() => {
            "no minimum time: no host has more than one request".to_owned()
        }
        _ => {
            "no minimum time is known: no interval between the requests to a host is set".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn report(of: u32, by: ShardBy, interval: u64) -> String {
        let of = NonZeroU32::new(of).unwrap();
        let mut tally = ShardTally::new(of);
        for n in 0..100 {
            tally.add(
                n % of,
                Some(["a.example", "b.example"][usize::from(n % 5 == 0)]),
            );
        }
        tally.add(0, None);
        let shard = Shard::new(1, of, by).unwrap();
        let interval = |host: &str| {
            let seconds = if host == "b.example" { 30 } else { interval };
            Duration::from_secs(seconds)
        };
        shard_sizes(&mut tally, shard, interval).join("\n")
    }

    #[test]
    fn without_a_bound_it_says_why() {
        let shard = Shard::new(0, NonZeroU32::new(2).unwrap(), ShardBy::Host).unwrap();
        let second = |_: &str| Duration::from_secs(1);
        assert!(bound(&[], shard, second).contains("more requests than the others"));
        let once = [("a.example".to_owned(), 1)];
        assert!(bound(&once, shard, second).contains("more than one request"));
        assert!(bound(&once, shard, |_| Duration::ZERO).contains("is set"));
    }

    #[test]
    fn it_names_sizes_hosts_and_the_bound() {
        let page = [
            report(4, ShardBy::Host, 0),
            report(4, ShardBy::Host, 100),
            report(50, ShardBy::Url, 1),
        ];
        insta::assert_snapshot!("shard_sizes", page.join("\n\n"));
    }
}
