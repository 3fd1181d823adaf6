//! The bare loop that saves: the minimum for a program with the same HTTP client. It sends requests
//! on one thread, writes each body and renames the file. It does not check, retry or remember
//! anything.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use futures::future::join_all;

use crate::program::CONCURRENCY;

const ASKED: &str = "--bare";

/// Returns the command that runs the bare loop. Its last argument is the list.
pub fn command(out: &Path) -> Command {
    let this = env::current_exe().expect("the path of this program");
    let mut command = Command::new(this);
    command.arg(ASKED).arg(out);
    command
}

/// Whether this process was started as the bare loop.
pub fn is_asked_for() -> bool {
    env::args().nth(1).is_some_and(|arg| arg == ASKED)
}

/// Runs the bare loop.
pub fn main() {
    let mut args = env::args_os().skip(2).map(PathBuf::from);
    let mut next = || args.next().expect("an argument");
    let (out, list) = (next(), next());
    let list = fs::read_to_string(list).expect("a list");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(fetch(&list, &out));
}

async fn fetch(list: &str, out: &Path) {
    let temp = out.join(".tmp");
    fs::create_dir_all(&temp).expect("a folder");
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let lines = Mutex::new(list.lines());
    let worker = async |number: usize| {
        let part = temp.join(number.to_string());
        loop {
            let line = lines.lock().expect("no worker has panicked").next();
            let Some(url) = line else { break };
            let response = client.get(url).send().await.expect("a response");
            let path = out.join(response.url().path().trim_start_matches('/'));
            let body = response.bytes().await.expect("a body");
            let mut file = File::create_new(&part).expect("a new file");
            file.write_all(&body).expect("a file that can be written");
            if fs::rename(&part, &path).is_err() {
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::rename(&part, &path).expect("a free name");
            }
        }
    };
    join_all((0..CONCURRENCY as usize).map(worker)).await;
    fs::remove_dir(temp).expect("nothing is left in it");
}
