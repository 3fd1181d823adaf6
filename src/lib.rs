//! Fetches every URL of a list at once, says exactly what became of each one, and never
//! loses count. The program of the same name is a thin shell around this library.
//!
//! Two ways in:
//! - [`fetch_all`]: a handful of URLs, their pages in the same order, every failure a
//!   typed [`FetchError`].
//! - [`run`]: a list of any length as a stream, a [`Record`] for every line, a
//!   [`Summary`] that adds up.
//!
//! Who knows Python's asyncio and is new to tokio starts with the [`guide`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! # let server = fetchall::demo::PracticeServer::start().await?;
//! # let config = server.config();
//! # let (good, gone) = (server.url("quick", "/1"), server.url("missing", "/page"));
//! let results = fetchall::fetch_all_with(config, [good, gone]).await;
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
//!   floor 6  main.rs                      parse, run, exit code
//!   floor 5  run  cli  demo               what joins everything
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

pub use config::{Config, RecordCallback, ReportOptions, ResultFormat, SaveOptions};
pub use engine::EngineOptions;
pub use fetch::{
    FaultPlan, HttpOptions, HttpVersion, Proxy, ProxyUrl, ResolveRule, TransportError, max_requests,
};
pub use input::{InputError, InputFormat, InputOptions, Source};
pub use model::{
    Cause, ContentChange, Credentials, EndReason, ErrorKind, FetchError, MaxFailures, OutcomeName,
    PackPlace, Record, RecordError, RedirectProblem, Sha256, SpecError, Summary, TimeLimit,
    parse_duration, parse_method,
};
#[doc(hidden)]
pub use model::{escape_control, is_control};
pub use notify::{
    Attachment, CommandError, Delivery, Email, FailedUrl, MailError, SmtpServer, WebhookError,
    deliver, run_command, send_email,
};
pub use report::{
    AtomicFile, JournalError, ProgressStyle, ReportError, Screen, Template, TemplateError,
    TimelineStyle, render_summary,
};
pub use run::{
    FetchedPage, NotifyError, Problem, RunError, SaveError, dry_run, fetch_all, fetch_all_with,
    notify_url, run, run_until,
};
pub use schedule::{PerHostLimit, RetryPolicy, RetryRules, ScheduleOptions};
pub use store::{FolderError, PackError};
