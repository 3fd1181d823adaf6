use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::support::faults;

const ASKED: &str = "FETCHALL_SOAK_SERVES";

/// The server in another process, which ends when this is dropped.
pub struct Neighbour {
    child: Child,
    origin: String,
}

impl Neighbour {
    /// Starts this program again, as the server.
    pub fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["neighbour::serves", "--exact", "--nocapture"])
            .env(ASKED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let origin = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("serves ")?.to_owned()))
            .unwrap();
        // The test harness reports slow tests on stdout, and panics if that is closed.
        thread::spawn(move || lines.for_each(drop));
        Self { child, origin }
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves, if this process was started for that, until its stdin is closed.
#[test]
fn serves() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    let server = faults::server();
    println!("\nserves http://{}", server.addr);
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
