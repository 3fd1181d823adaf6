//! A host where 30 % of the attempts fail with 503: everything is fetched in the end, and other
//! hosts are not affected.

use std::time::Duration;

use super::{Pair, ms, ours};
use crate::list::{Group, shuffled};
use crate::program::{Program, Settings};
use crate::run::Task;
use crate::server::{Answer, Host, Server, Status};
use crate::table::Row;

const HEALTHY_HOSTS: usize = 20;
const URLS: u32 = 200;
const URLS_ALONE: u32 = 1000;
const LATENCY: Duration = ms(40);
const FAILING: f64 = 0.3;
const SETTINGS: Settings = Settings {
    per_host: None,
    retries: Some(10),
    connect_timeout: None,
};

/// The healthy hosts, compared with the same run without failures.
pub fn among_healthy(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| {
        let pair = Pair::median(program, || among(steady()), || among(flaky()));
        let whole = format!("the whole in {:.1} s", pair.ran.wall.as_secs_f64());
        pair.row(scenario, program).at_most(1.1).note(whole)
    };
    programs.iter().map(row).collect()
}

/// The flaky host itself, compared with the time of the same number of requests without waits. It
/// has no bound: the few URLs that fail five times in a row wait for their backoff, so the note
/// says when 90 % were done.
pub fn alone(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| {
        let base = task(vec![steady()], URLS_ALONE).run(program);
        let ideal = base.wall.div_f64(1.0 - FAILING);
        let ran = task(vec![flaky()], URLS_ALONE).ideal(ideal).run(program);
        let most = format!("nine tenths in {:.1} s", ran.most.as_secs_f64());
        Row::of(scenario, program, &ran)
            .base(&base)
            .ideal(ideal)
            .note(most)
    };
    ours(programs).map(row).collect()
}

fn among(host: Host) -> Task {
    let mut hosts = vec![host];
    hosts.extend((0..HEALTHY_HOSTS).map(|_| Host::steady(Group::Healthy, LATENCY)));
    task(hosts, URLS)
}

fn task(hosts: Vec<Host>, of_each: u32) -> Task {
    let server = Server::start(hosts);
    let mut urls = server.urls(Group::Troubled, of_each);
    urls.extend(server.urls(Group::Healthy, of_each));
    Task::new(server, shuffled(urls)).settings(SETTINGS)
}

fn steady() -> Host {
    Host::steady(Group::Troubled, LATENCY)
}

fn flaky() -> Host {
    Host::new(Group::Troubled, |arrival| Answer {
        after: LATENCY,
        status: if draw(arrival.number) < FAILING {
            Status::Unavailable
        } else {
            Status::Ok
        },
    })
}

/// Returns a number from 0 to 1, the same in every run (the mix of splitmix64).
fn draw(number: u64) -> f64 {
    let mut z = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    z as f64 / u64::MAX as f64
}
