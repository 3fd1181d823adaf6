//! Two processors compared with one. The server has the second one in both cases.

use super::{Bench, labelled};
use crate::table::{Cost, Ratio, Report};

const WORK: &str = "10,000 pages";
const ONE: &str = "on one processor";
const TWO: &str = "on two processors";

pub fn report(bench: &mut Bench) -> Report {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() < 2) {
        return Report {
            notes: vec!["Two processors against one: there is one.".to_owned()],
            ..Report::default()
        };
    }
    let mut all = Report::default();
    bench.nginx.pin("1").expect("a second processor");
    for requests in ["-j64", "-j512"] {
        let program = |name: &str, processors| {
            let per_host = requests.replace("-j", "--per-host=");
            let ours = bench.ours().with(requests, &[requests, &per_host]);
            ours.with(name, &[]).on(processors)
        };
        let programs = [program(ONE, "0"), program(TWO, "0,1")];
        let rounds = bench.run(&bench.pages(), &programs);
        let of = format!("itself with {requests} {ONE}");
        let work = format!("{WORK}, {TWO}");
        let ratio = Ratio::of(&work, &of, labelled(&rounds, TWO), labelled(&rounds, ONE));
        all.extend(Report {
            costs: Cost::all(WORK, &rounds),
            ratios: vec![ratio.wall(1.0)],
            ..Report::default()
        });
    }
    let every: Vec<_> = (0..std::thread::available_parallelism().map_or(1, |n| n.get()))
        .map(|number| number.to_string())
        .collect();
    bench.nginx.pin(&every.join(",")).expect("all processors");
    all
}
