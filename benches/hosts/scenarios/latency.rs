//! A host whose latency grows with concurrency: does the adaptive limit find the best value?

use std::time::Duration;

use super::ours;
use crate::list::Group;
use crate::program::{Program, Settings};
use crate::run::{Ran, Task};
use crate::server::{Answer, Arrival, Host, Server, Status};
use crate::table::Row;

const BASE_MS: f64 = 20.0;
/// Up to this number of concurrent requests, latency is constant.
const KNEE: usize = 16;
/// Number of URLs for a fixed limit, which has nothing to learn, and for the adaptive one.
const FIXED_URLS: u32 = 2400;
const ADAPTIVE_URLS: u32 = 6000;
/// Only a long run pays for finding the step, beyond which throughput doubles.
const STEP_URLS: u32 = 12_000;
const AUTO: &str = "auto";
/// 95 % of the best throughput.
const BOUND: f64 = 1.0 / 0.95;

/// Latency doubles with every 16 concurrent requests above the knee.
pub fn knee(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let sweep = Sweep {
        scenario,
        latency: |in_flight| {
            let over = in_flight.saturating_sub(KNEE) as f64;
            BASE_MS * (over / KNEE as f64).exp2()
        },
        fixed: &["4", "8", "12", "16", "20", "24", "32", "48", "64"],
        urls: ADAPTIVE_URLS,
    };
    sweep.rows(programs)
}

/// Latency doubles once and then stays constant: throughput drops above the knee, and then exceeds
/// its earlier maximum.
pub fn step(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let sweep = Sweep {
        scenario,
        latency: |in_flight| {
            if in_flight <= KNEE {
                BASE_MS
            } else {
                2.0 * BASE_MS
            }
        },
        fixed: &["8", "16", "24", "32", "48", "64"],
        urls: STEP_URLS,
    };
    let ours: Vec<_> = ours(programs).collect();
    sweep.rows(ours)
}

/// Fixed limits, the adaptive limit compared with the best of them, and the peers with their
/// own limits.
struct Sweep {
    scenario: &'static str,
    latency: fn(usize) -> f64,
    fixed: &'static [&'static str],
    /// Number of URLs for the adaptive limit.
    urls: u32,
}

impl Sweep {
    fn rows<'a>(&self, programs: impl IntoIterator<Item = &'a Program>) -> Vec<Row> {
        let mut runs = Vec::new();
        for program in programs {
            if program.is_ours() {
                runs.extend(self.fixed.iter().map(|limit| {
                    let ran = self.run(program, Some(limit), FIXED_URLS);
                    (program, Some(*limit), ran)
                }));
                runs.push((
                    program,
                    Some(AUTO),
                    self.run(program, Some(AUTO), self.urls),
                ));
            } else {
                runs.push((program, None, self.run(program, None, FIXED_URLS)));
            }
        }
        let best = self.best(&runs);
        runs.iter()
            .map(|(program, limit, ran)| self.row(program, *limit, ran, best))
            .collect()
    }

    fn run(&self, program: &Program, per_host: Option<&'static str>, urls: u32) -> Ran {
        let latency = self.latency;
        let server = Server::start([Host::new(Group::Healthy, move |arrival: &Arrival| Answer {
            after: Duration::from_secs_f64(latency(arrival.in_flight) / 1000.0),
            status: Status::Ok,
        })]);
        let urls = server.urls(Group::Healthy, urls);
        let settings = Settings {
            per_host,
            ..Settings::default()
        };
        Task::new(server, urls).settings(settings).run(program)
    }

    /// Returns the throughput of the best fixed limit, in URLs per second.
    fn best(&self, runs: &[(&Program, Option<&str>, Ran)]) -> f64 {
        runs.iter()
            .filter(|(_, limit, _)| limit.is_some_and(|limit| self.fixed.contains(&limit)))
            .map(|(_, _, ran)| throughput(ran))
            .fold(0.0, f64::max)
    }

    fn row(&self, program: &Program, limit: Option<&str>, ran: &Ran, best: f64) -> Row {
        let row = Row::of(self.scenario, program, ran)
            .ideal(Duration::from_secs_f64(ran.reachable as f64 / best))
            .note(format!("{:.0} URLs/s", throughput(ran)));
        match limit {
            None => row,
            Some(AUTO) => row.with(&format!("--per-host {AUTO}")).at_most(BOUND),
            Some(limit) => row.with(&format!("--per-host {limit}")),
        }
    }
}

fn throughput(ran: &Ran) -> f64 {
    ran.fetched as f64 / ran.wall.as_secs_f64()
}
