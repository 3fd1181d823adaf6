//! Fetches every URL of a list at once, says exactly what became of each one, and never
//! loses count. The program of the same name is a thin shell around this library.
//!
//! Two ways in:
//! - [`Fetcher::fetch_all`]: a handful of URLs, their pages in the same order, every failure a
//!   typed [`FetchError`]; [`Fetcher::stream`]: each as it settles.
//! - [`Fetcher::run`]: a list of any length as a stream, a [`Record`] for every line, a
//!   [`Summary`] that adds up.
//!
//! Who knows Python's asyncio and is new to tokio starts with the [`guide`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = fetchall::demo::PracticeServer::start().await?;
//! # let builder = server.fetcher();
//! # let (good, gone) = (server.url("quick", "/1"), server.url("missing", "/page"));
//! # /*
//! let builder = fetchall::Fetcher::builder();
//! # */
//! let fetcher = builder.concurrency(32).retries(3).build()?;
//! let results = fetcher.fetch_all([good, gone]).await?;
//! for result in &results {
//!     match result {
//!         Ok(page) => println!("{}: {} bytes", page.url, page.body.len()),
//!         Err(error) => println!("{}: {error}", error.kind()),
//!     }
//! }
//! assert_eq!(results[1].as_ref().unwrap_err().to_string(), "404 Not Found");
//! # Ok(())
//! # }
//! ```
//!
//! # The house
//!
//! Five stages stand in a row on one model. A stage knows the model and nothing of the
//! other four; the engine walks a job through them, and `run` joins the pieces.
//!
//! ```text
//!   input ──▶ schedule ──▶ fetch ──▶ store ──▶ report
//!   lines →   whose turn,  one       body →    record → journal, stdout,
//!   jobs      and when     request   file      progress
//!                 ▲           │
//!                 └── parked ─┘     a retry or a redirect is data that goes back
//!
//!   floor 7  main.rs                      parse, run, exit code
//!   floor 6  demo  cli                    a practice server, the command line
//!   floor 5  run                          what joins everything
//!   floor 4  config                       the options of engine and stages
//!   floor 3  engine                       feed, workers, one attempt, shutdown
//!   floor 2  input schedule fetch store report notify     none imports another
//!   floor 1  model                        the words everyone speaks
//! ```
//!
//! `tests/architecture.rs` reads the sources and fails when a file looks up, or sideways.
//! The library never ends the process, prints nothing and keeps no global state.

mod config;
pub mod demo;
mod engine;
mod fetch;
#[cfg(test)]
mod fuzz;
mod input;
mod model;
mod notify;
mod report;
mod run;
mod schedule;
mod store;

/// What the micro-benchmarks of this package measure. No part of the library: it may change with
/// every version.
#[doc(hidden)]
pub mod pieces {
    pub use crate::input::bench_api::count_jobs;
    pub use crate::schedule::bench_api::take_turns;
    pub use crate::store::file_path_for;
}

#[doc = include_str!("guide.md")]
pub mod guide {}

/// The Rust code of these documents runs as a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
struct Documents;

/// What only the program needs of the library: no part of its public interface, it may change with
/// every version.
#[doc(hidden)]
pub mod program {
    pub use crate::config::{Config, RecordCallback, ReportOptions, ResultFormat, SaveOptions};
    pub use crate::engine::EngineOptions;
    pub use crate::fetch::{HttpOptions, is_framing_header, max_requests};
    pub use crate::input::{InputOptions, Source, UrlIterator};
    pub use crate::model::{Credentials, escape_control, is_control, parse_duration, parse_method};
    pub use crate::notify::{
        Attachment, CommandError, Delivery, Email, FailedUrl, MailError, SmtpServer, WebhookError,
        deliver, run_command,
    };
    pub use crate::report::{
        AtomicFile, ProgressStyle, Screen, Template, TemplateError, TimelineStyle, render_summary,
    };
    pub use crate::run::{NotifyError, dry_run, notify_url, run, run_until};
    pub use crate::schedule::{PerHostLimit, RetryPolicy, ScheduleOptions};
}

pub use fetch::{FaultPlan, HttpVersion, Proxy, ProxyUrl, ResolveRule, TransportError};
pub use input::{InputError, InputFormat};
pub use model::{
    Cause, ContentChange, EndReason, ErrorKind, FetchError, MaxFailures, OutcomeName, PackPlace,
    Record, RecordError, RedirectProblem, Sha256, SpecError, Summary, TimeLimit,
};
pub use notify::send_email;
pub use report::{JournalError, ReportError};
pub use run::{
    BuildError, FetchResult, FetchStream, FetchedPage, Fetcher, FetcherBuilder, List, Problem,
    RunError, SaveError, Sink, fetch_all,
};
pub use schedule::RetryRules;
pub use store::{FolderError, PackError};
