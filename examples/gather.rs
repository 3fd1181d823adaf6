//! Joins a task of two seconds and a task of one second: both are done after two seconds, not
//! three.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;

/// The output of both tasks, which write to it one at a time.
type Shared<W> = Arc<Mutex<W>>;

async fn task<W: Write>(number: u32, seconds: u64, out: Shared<W>) -> io::Result<()> {
    sleep(Duration::from_secs(seconds)).await;
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(out, "Task {number} completed")
}

/// Runs both tasks at once.
pub async fn gather<W: Write>(out: Shared<W>) -> io::Result<()> {
    let tasks = [task(1, 2, Arc::clone(&out)), task(2, 1, out)];
    // Like asyncio.gather: both tasks wait at the same time, and the results are in the order of
    // the tasks.
    join_all(tasks).await.into_iter().collect()
}

#[tokio::main]
async fn main() -> io::Result<()> {
    gather(Arc::new(Mutex::new(io::stdout()))).await
}
