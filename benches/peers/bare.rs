//! The bare loop: the minimum for a program with the same HTTP client. It sends requests on one
//! thread and prints a JSON line for each. It does not check, retry or limit anything.
//!
//! It runs in a separate process, which is this program started again.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::process::Command;

use futures::future::join_all;
use serde::Serialize;

const ASKED: &str = "--bare";

/// Returns the command that runs the bare loop. Its last argument is the list.
pub fn command(concurrency: u32) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.arg(ASKED).arg(concurrency.to_string());
    command
}

/// Whether this process was started as the bare loop.
pub fn is_asked_for() -> bool {
    env::args().nth(1).is_some_and(|arg| arg == ASKED)
}

/// Runs the bare loop.
pub fn main() {
    let mut args = env::args().skip(2);
    let mut next = || args.next().expect("an argument");
    let concurrency = next().parse().expect("a number");
    let list = fs::read_to_string(next()).expect("a list");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(fetch(&list, concurrency));
}

#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    ok: bool,
    status: u16,
    bytes: usize,
}

async fn fetch(list: &str, concurrency: usize) {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let lines = RefCell::new(list.lines());
    let out = RefCell::new(BufWriter::new(io::stdout().lock()));
    let worker = async |_| {
        loop {
            let Some(url) = lines.borrow_mut().next() else {
                break;
            };
            let response = client.get(url).send().await.expect("a response");
            let status = response.status().as_u16();
            let bytes = response.bytes().await.expect("a body").len();
            let ok = status == 200;
            let line = Line {
                url,
                ok,
                status,
                bytes,
            };
            let mut out = out.borrow_mut();
            serde_json::to_writer(&mut *out, &line).expect("a pipe");
            out.write_all(b"\n").expect("a pipe");
        }
    };
    join_all((0..concurrency).map(worker)).await;
}
