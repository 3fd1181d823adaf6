//! Prints `Hello`, waits two seconds without blocking the thread, prints `World`.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::sleep;

/// Prints two lines, two seconds apart.
pub async fn say_hello(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Hello")?;
    sleep(Duration::from_secs(2)).await;
    writeln!(out, "World")
}

#[tokio::main]
async fn main() -> io::Result<()> {
    say_hello(&mut io::stdout()).await
}
