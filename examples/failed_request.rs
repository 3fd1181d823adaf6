//! Simulates a failing API request and handles it by matching on the typed error.

use std::io::{self, Write};

use fetchall::demo::PracticeServer;
use fetchall::{FaultPlan, FetchError, FetcherBuilder};

/// Says what to do about a failure, which depends on its kind.
fn advice(error: &FetchError) -> String {
    match error {
        FetchError::Status { status, .. } if status.as_u16() == 404 => {
            "it is gone: take it off the list".to_owned()
        }
        FetchError::Status { status, .. } if status.is_server_error() => {
            format!("the server is in trouble ({status}): try again later")
        }
        FetchError::Dns { host, .. } => format!("check the name {host}"),
        error if error.is_transient() => format!("it may work next time ({})", error.kind()),
        error => format!("it will not work ({})", error.kind()),
    }
}

/// Sends one request with the faults of `spec`.
pub async fn failed_request(
    builder: FetcherBuilder,
    url: String,
    spec: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let faults = FaultPlan::parse(spec, 0).map_err(io::Error::other)?;
    let fetcher = builder.faults(faults).retries(0).build();
    let fetcher = fetcher.map_err(io::Error::other)?;
    for result in fetcher.fetch_all([url]).await.map_err(io::Error::other)? {
        match result {
            Ok(page) => writeln!(out, "fetched {} bytes", page.body.len())?,
            Err(error) => writeln!(out, "The request failed: {error}\n  {}", advice(&error))?,
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let server = PracticeServer::start().await?;
    let mut out = io::stdout();
    for spec in ["500=100%", "404=100%", "reset=100%", "tls=100%"] {
        failed_request(server.fetcher(), server.url("quick", "/1"), spec, &mut out).await?;
    }
    Ok(())
}
