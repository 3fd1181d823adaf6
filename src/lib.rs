//! Fetches a list of URLs concurrently, with an exact result for every line. The program of the
//! same name is a thin layer on top of this library.
//!
//! A [`Fetcher`] has three methods:
//! - [`fetch_all`](Fetcher::fetch_all) takes a handful of URLs and returns their pages in the same
//!   order, with a typed [`FetchError`] for each failure.
//! - [`stream`](Fetcher::stream) yields each result as it settles.
//! - [`run`](Fetcher::run) streams lists of any length, produces a [`Record`] for every line, and
//!   returns a [`Summary`] whose counts add up.
//!
//! If you know Python's asyncio and are new to tokio, start with the [`guide`].
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
//! # Architecture
//!
//! Five stages share one data model. A stage depends on the model and on no other stage; the
//! engine passes each job through them, and `run` connects everything.
//!
//! ```text
//!   input ──▶ schedule ──▶ fetch ──▶ store ──▶ report
//!   lines →   which job    one       body →    record → journal, stdout,
//!   jobs      runs, when   request   file      progress
//!                 ▲           │
//!                 └── parked ─┘     retries and redirects go back as data
//!
//!   layer 6  demo                         the practice server
//!   layer 5  run                          connects everything; the Fetcher
//!   layer 4  config                       the options of engine and stages
//!   layer 3  engine                       feed, workers, one attempt, shutdown
//!   layer 2  input schedule fetch store report notify     none depends on another
//!   layer 1  model                        shared data types
//! ```
//!
//! The program adds `cli` (options, environment, config files, signals) and `main.rs` on top.
//! `tests/architecture.rs` fails when a module depends on one of the same or a higher layer. The
//! library never exits the process, prints nothing and keeps no global state.

// Unit tests share code with the other test crates, where everything of it is public.
#![cfg_attr(not(test), warn(unreachable_pub))]
#![cfg_attr(
    not(feature = "cli"),
    expect(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "parts of the shared modules serve only the program"
    )
)]

#[cfg(not(any(unix, windows)))]
compile_error!("fetchall needs a system with sockets, threads and files: Unix or Windows");

mod config;
pub mod demo;
mod engine;
mod fetch;
#[cfg(test)]
mod fuzz;
mod input;
mod model;
#[cfg(feature = "cli")]
mod notify;
mod report;
mod run;
mod schedule;
mod store;

/// Functions for the micro-benchmarks of this package. Not part of the public API.
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
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program {
    pub use crate::config::{
        Config, PackCommand, RecordCallback, ReportOptions, ResultFormat, SaveOptions,
    };
    pub use crate::engine::EngineOptions;
    pub use crate::fetch::{
        ClientCertificate, HostRequestOptions, HttpOptions, Netrc, is_framing_header, max_requests,
    };
    pub use crate::input::{InputOptions, Source, UrlIterator, WarningCallback, is_kept};
    pub use crate::model::{
        CookieFileError, CookieFileSummary, CookieFlaw, CookieJar, Credentials, add_extension,
        escape_control, is_control, is_thread_error, parse_duration, parse_method, similar_name,
    };
    pub use crate::notify::{
        Attachment, CommandError, Delivery, Email, FailedUrl, MailError, SmtpServer, WebhookError,
        deliver, run_command,
    };
    pub use crate::report::{
        AtomicFile, ProgressStyle, Screen, Template, TemplateError, TimelineStyle, render_summary,
    };
    pub use crate::run::SplitOptions;
    pub use crate::run::{
        NotifyError, dry_run, host_name, merge, notify_url, run, run_until, split, verify,
    };
    pub use crate::schedule::{
        HostLimit, HostLimits, LimitUpdate, PerHostLimit, RetryPolicy, ScheduleOptions,
        SegmentRules,
    };
    pub use crate::store::check_pack_name;
}

pub use fetch::{
    AddressFamily, FaultPlan, HttpVersion, LocalEnd, Proxy, ProxyUrl, ProxyUrlError, ResolveRule,
    TransportError,
};
pub use input::{BaseUrl, DefaultScheme, InputError, InputFormat};
pub use model::{
    Cause, Columns, ContentChange, EndReason, ErrorKind, ExpectedTypes, FetchError, GiveUpOption,
    GiveUpReason, HashAlgorithm, Hint, MaxFailures, Md5, OutcomeName, PackPlace, Record,
    RecordError, RedirectProblem, RobotsProblem, Sha1, Sha256, Sha512, Shard, ShardBy, SpecError,
    Summary, TimeLimit, UsageSignal,
};
#[cfg(feature = "cli")]
pub use notify::send_email;
pub use report::{JournalError, ReportError};
pub use run::{
    BuildError, FetchResult, FetchStream, FetchedPage, Fetcher, FetcherBuilder, HostOptions, List,
    Problem, RunError, SaveError, Sink, fetch_all,
};
pub use schedule::{RetryRules, RobotsOptions};
#[cfg(feature = "cli")]
pub use store::PartsError;
pub use store::{FolderError, PackError};
