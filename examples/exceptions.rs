//! A task that waits one second and fails; the failure is caught where it is awaited.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::sleep;

#[derive(Debug, thiserror::Error)]
#[error("Something went wrong!")]
struct TaskError;

async fn failing_task() -> Result<(), TaskError> {
    sleep(Duration::from_secs(1)).await;
    Err(TaskError)
}

/// Awaits the task and catches its error.
pub async fn exceptions(out: &mut impl Write) -> io::Result<()> {
    if let Err(error) = failing_task().await {
        writeln!(out, "Caught an error: {error}")?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    exceptions(&mut io::stdout()).await
}
