//! 200 hosts, five of them black holes with a fifth of the URLs: the others finish as early as
//! without the black holes.

use std::time::Duration;

use super::{Pair, ms};
use crate::black_hole::BlackHole;
use crate::list::{Group, Url, shuffled};
use crate::program::{Program, Settings};
use crate::run::Task;
use crate::server::{Host, Server};
use crate::table::Row;

const HEALTHY_HOSTS: usize = 195;
const HEALTHY_URLS: u32 = 8;
const DEAD_URLS: u32 = 78;
const LATENCY: Duration = ms(150);

pub fn rows(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let holes: Vec<_> = (1..=5).map(BlackHole::new).collect();
    let row = |program: &Program| {
        let with_holes = || task(program, &holes);
        let pair = Pair::median(program, || task(program, &[]), with_holes);
        let row = pair.row(scenario, program).at_most(1.1);
        let whole = format!("the whole in {:.1} s", pair.ran.wall.as_secs_f64());
        let row = row.note(whole);
        if program.is_ours() {
            row.note(format!(
                "{} attempts at black holes",
                pair.ran.dead_attempts
            ))
        } else {
            row.note("no retries")
        }
    };
    programs.iter().map(row).collect()
}

/// Peers get no retries here, because they would spend even more time in timeouts.
fn task(program: &Program, holes: &[BlackHole]) -> Task {
    let hosts = (0..HEALTHY_HOSTS).map(|_| Host::steady(Group::Healthy, LATENCY));
    let server = Server::start(hosts);
    let mut urls = server.urls(Group::Healthy, HEALTHY_URLS);
    for hole in holes {
        urls.extend((0..DEAD_URLS).map(|n| Url::new(Group::Dead, hole.addr(), n)));
    }
    Task::new(server, shuffled(urls)).settings(Settings {
        retries: Some(u32::from(program.is_ours())),
        connect_timeout: Some(ms(2000)),
        ..Settings::default()
    })
}
