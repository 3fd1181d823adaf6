//! Many hosts with a few pages each, in an order that returns to a host only after all others.

use std::net::Ipv4Addr;

use super::{Asked, Bench, compare, labelled, memory};
use crate::nginx::Nginx;
use crate::programs::Tool;
use crate::support::launch::Ran;
use crate::table::{Cost, Limit, Ratio, Report, peak};
use crate::work::{Lists, ratio};

const HOSTS: u32 = 2_000;
const TOOLS: [Tool; 3] = [Tool::Ours, Tool::Bare, Tool::Curl];
/// In MiB.
const MOST_MEMORY: f64 = 48.0;
/// Concurrent requests, and the CPU and TLS handshakes with many of them, of those with few.
const FEW: u32 = 64;
const MANY: u32 = 512;
const MOST_CPU: f64 = 1.25;
const MOST_HANDSHAKES: f64 = 1.05;

/// Returns the addresses of the hosts; the first is localhost.
pub fn addresses() -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (first..first + HOSTS).map(Ipv4Addr::from).collect()
}

pub fn plain(bench: &mut Bench) -> Report {
    report(bench, "2,000 hosts", Nginx::url, 0.35)
}

/// With a TLS handshake per host.
pub fn tls(bench: &mut Bench) -> Report {
    report(bench, "2,000 hosts over TLS", Nginx::tls_url, 0.15)
}

/// Many TLS hosts with many requests at once compared with few, both of fetchall.
pub fn tls_many(bench: &mut Bench) -> Report {
    let work = format!("2,000 hosts over TLS, -j{MANY}");
    let lists = lists(bench, Nginx::tls_url);
    let programs = [FEW, MANY].map(|requests| bench.ours().at(requests));
    let rounds = bench.run(&lists, &programs);
    let [few, many] = [FEW, MANY].map(|requests| labelled(&rounds, &format!("-j{requests}")));
    let of = format!("itself with -j{FEW}");
    let connections = |ran: &Ran| ran.connections as f64;
    let handshakes = ratio(many, few, connections).map(|ratio| Limit {
        what: format!("handshakes, of {of}"),
        is: ratio.median,
        most: MOST_HANDSHAKES,
        unit: "×",
        work: work.clone(),
    });
    Report {
        costs: Cost::all("2,000 hosts over TLS", &rounds),
        ratios: vec![Ratio::of(&work, &of, many, few).cpu(MOST_CPU)],
        limits: handshakes.into_iter().collect(),
        ..Report::default()
    }
}

fn report(
    bench: &mut Bench,
    work: &str,
    url: fn(&Nginx, Ipv4Addr, &str) -> String,
    of_curl: f64,
) -> Report {
    let lists = lists(bench, url);
    let rounds = bench.run(&lists, &bench.peers.all(&TOOLS));
    let mut report = compare(work, &rounds, &[Asked::cpu(Tool::Curl, of_curl)]);
    let ours = peak(rounds.tool(Tool::Ours).unwrap_or_default());
    report
        .limits
        .push(memory(work, "peak memory", ours, MOST_MEMORY));
    report
}

/// Returns the pages, each from the next host.
fn lists(bench: &Bench, url: fn(&Nginx, Ipv4Addr, &str) -> String) -> Lists {
    let hosts = addresses();
    let host = |number: usize| hosts.get(number % hosts.len()).copied();
    bench.pages_of(|number, path| {
        url(
            &bench.nginx,
            host(number).unwrap_or(Ipv4Addr::LOCALHOST),
            path,
        )
    })
}
