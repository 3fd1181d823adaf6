//! Runs a [`Config`]: opens inputs and outputs and connects engine, stages and reporters.

mod builder;
#[cfg(feature = "cli")]
mod delivery;
#[cfg(feature = "cli")]
mod dry_run;
mod end;
mod fetcher;
mod host_options;
mod list;
#[cfg(feature = "cli")]
mod merge;
mod packing;
mod problem;
#[cfg(feature = "cli")]
mod reporters;
mod saving;
#[cfg(test)]
mod simulation;
mod sink;
#[cfg(feature = "cli")]
mod split;
#[cfg(feature = "cli")]
mod verify;
#[cfg(feature = "cli")]
mod webhook;

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, ReportOptions};
use crate::engine::{self, DecoderBudget, Engine, RunClock, Shutdown};
use crate::fetch::{FaultyTransport, HttpTransport, Transport, TransportError};
use crate::input::{self, Batch};
use crate::model::{
    EndReason, EngineEvent, LiveStats, ReorderWindow, RobotsRoom, Sha256, Summary, start_thread,
};
use crate::report::{JournalReader, Pump, ReportError, Reporter};
use crate::schedule::{Bandwidth, Scheduler};
use crate::store::{BodyStore, DiscardStore, MemoryStore};

pub use builder::{BuildError, FetcherBuilder};
#[cfg(feature = "cli")]
pub use dry_run::dry_run;
pub use fetcher::{FetchResult, FetchStream, FetchedPage, Fetcher, fetch_all};
pub use host_options::HostOptions;
#[cfg(feature = "cli")]
pub use host_options::host_name;
pub use list::List;
#[cfg(feature = "cli")]
pub use merge::merge;
pub use problem::{Problem, RunError, SaveError};
pub use sink::Sink;
#[cfg(feature = "cli")]
pub use split::{SplitOptions, split};
#[cfg(feature = "cli")]
pub use verify::verify;
#[cfg(feature = "cli")]
pub use webhook::{NotifyError, notify_url};

#[cfg(feature = "cli")]
use delivery::{PackDelivery, RunningDelivery};
use end::{StartedOutputs, ended_early, run_until_stopped};

use saving::OpenedJournal;

#[cfg(feature = "cli")]
/// Fetches all URLs of the configured inputs.
///
/// When `shutdown` completes, no new requests are started, those in flight get
/// `config.engine.grace` to finish, and the rest counts as left in the summary. Dropping the future
/// aborts everything immediately. Requires a tokio runtime with I/O and time enabled.
///
/// # Errors
/// [`RunError`] when the run itself cannot continue. Failed URLs are not an error of the run; the
/// summary counts them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), fetchall::RunError> {
/// use fetchall::program::{Config, Source};
///
/// let mut config = Config::default();
/// config.input.sources = vec![Source::Url("http://127.0.0.1:1/".into())];
/// config.retry.retries = 0;
/// config.report.on_record = Some(Box::new(|record| {
///     assert_eq!(record.error.as_ref().map(|error| error.kind.as_str()), Some("refused"));
/// }));
///
/// let summary = fetchall::program::run(config, std::future::pending()).await?;
/// assert_eq!((summary.input, summary.failed), (1, 1));
/// # Ok(())
/// # }
/// ```
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<Summary, RunError> {
    run_until(config, shutdown, std::future::pending()).await
}

#[cfg(feature = "cli")]
/// Fetches as [`run`] does, with a second future that aborts the run: requests in flight are
/// dropped and count as left, and the summary is still returned.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    config: Config,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    run_with_new_transport(config, Vec::new(), stop, abort).await
}

/// A reporter with its name in errors.
type ExtraReporter = (&'static str, Box<dyn Reporter>);

/// Makes the transport, with its connection pool, and runs with it.
#[cfg(feature = "cli")]
async fn run_with_new_transport(
    config: Config,
    extra: Vec<ExtraReporter>,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    // Certificates may come from a pipe whose writer is late.
    let prepared = run_blocking(move || {
        let transport = transport(&config)?;
        Ok((config, Arc::new(transport)))
    });
    let mut stop = std::pin::pin!(stop);
    let (config, transport) = tokio::select! {
        prepared = prepared => prepared?,
        () = &mut stop => return Ok(Summary {
            ended_by: Some(EndReason::Shutdown),
            ..Summary::default()
        }),
    };
    run_with_faults(config, transport, extra, stop, abort).await
}

/// The transport of these options, with its connection pool.
fn transport(config: &Config) -> Result<HttpTransport, TransportError> {
    let mut http = config.http.clone();
    // A pack holds the requests, too.
    http.keep_requests |= config.save.pack.is_some();
    if let Some(window) = config.engine.stall_timeout {
        // A server that replies to pings only once it has made its response still has all of it.
        http.ping = window;
    }
    let idle = config
        .schedule
        .per_host
        .upper_bound(config.engine.concurrency);
    HttpTransport::new(http, idle.get(), config.engine.threads.get())
}

/// Puts the simulated faults, if there are any, before the transport, and runs.
async fn run_with_faults(
    config: Config,
    transport: Arc<HttpTransport>,
    extra: Vec<ExtraReporter>,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    match &config.faults {
        Some(plan) => {
            let plan = plan.clone();
            let limit = config.http.connect_timeout;
            let expects_types = config.engine.expected_types.is_some();
            let faulty =
                FaultyTransport::new(transport, plan, limit).expecting_types(expects_types);
            open_and_run(config, faulty, extra, stop, abort).await
        }
        None => open_and_run(config, transport, extra, stop, abort).await,
    }
}

/// Opens list, store and journal, and runs.
async fn open_and_run<T: Transport>(
    mut config: Config,
    transport: T,
    extra: Vec<ExtraReporter>,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let keeps_bodies = config.report.body || !extra.is_empty();
    config.save.shard = config.input.shard;
    // Inputs first: if one does not exist, nothing is created.
    let list = OpenedList::open(&mut config)?;
    let save = config.save.clone();
    if let Some(dir) = save.dir.clone() {
        let opened = run_blocking(move || saving::open_files(&dir, &save));
        let (files, journal) = opened.await?;
        let run = PreparedRun::prepare(config, list, extra, Some(journal))?;
        return run.go(transport, files, stop, abort).await;
    }
    if let Some(path) = save.pack.clone() {
        let body = config.http.body.clone();
        #[cfg(feature = "cli")]
        let command = save.pack_done.clone();
        let opened = run_blocking(move || packing::open_packs(&path, &save, body)).await?;
        #[cfg_attr(
            not(feature = "cli"),
            expect(unused_mut, reason = "only the program delivers")
        )]
        let mut run = PreparedRun::prepare(config, list, extra, Some(opened.journal))?;
        #[cfg(feature = "cli")]
        if let Some(command) = command {
            let shutdown = run.shutdown.clone();
            run.delivery = Some(PackDelivery::start(opened.finished, command, shutdown));
        }
        return run.go(transport, opened.store, stop, abort).await;
    }
    let journal = match save.journal.clone() {
        Some(path) => {
            Some(run_blocking(move || saving::open_standalone_journal(&path, &save)).await?)
        }
        None => None,
    };
    let run = PreparedRun::prepare(config, list, extra, journal)?;
    if keeps_bodies {
        run.go(transport, MemoryStore, stop, abort).await
    } else {
        run.go(transport, DiscardStore, stop, abort).await
    }
}

/// Runs blocking work off the runtime: reading a journal of millions of lines takes seconds.
async fn run_blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Problem> + Send + 'static,
) -> Result<R, Problem> {
    let (sender, result) = oneshot::channel();
    let started = start_thread("open", move || {
        let _ = sender.send(work());
    });
    started.map_err(Problem::Thread)?;
    let ended = result.await;
    ended.unwrap_or_else(|_| Err(Problem::Internal("a thread panicked".to_owned())))
}

/// The inputs, opened and being read.
struct OpenedList {
    live: Arc<LiveStats>,
    batches: mpsc::Receiver<Batch>,
}

impl OpenedList {
    fn open(config: &mut Config) -> Result<Self, Problem> {
        let live = Arc::new(LiveStats::default());
        let mut sources = std::mem::take(&mut config.input);
        sources.saves_files |= config.save.dir.is_some();
        let batches = input::open(sources, Arc::clone(&live))?;
        Ok(Self { live, batches })
    }
}

/// A run whose inputs and outputs are open.
struct PreparedRun {
    config: Config,
    clock: RunClock,
    live: Arc<LiveStats>,
    batches: mpsc::Receiver<Batch>,
    window: Option<ReorderWindow>,
    pump: Pump,
    shutdown: Shutdown,
    past: JournalReader,
    /// Takes the packs that the run finishes.
    #[cfg(feature = "cli")]
    delivery: Option<RunningDelivery>,
}

impl PreparedRun {
    /// Opens all outputs, so that one that cannot be opened fails before the first request.
    fn prepare(
        mut config: Config,
        list: OpenedList,
        extra: Vec<ExtraReporter>,
        journal: Option<OpenedJournal>,
    ) -> Result<Self, RunError> {
        let OpenedList { live, batches } = list;
        let shutdown = Shutdown::new();
        let window = config
            .report
            .ordered
            .then(|| ReorderWindow::new(config.report.order_window()));
        let mut pump = Pump::new(shutdown.abort_token(), config.report.body);
        if let Some(window) = &window {
            pump.set_ordered(window.clone());
        }
        let mut past = JournalReader::default();
        let mut warnings = Vec::new();
        if let Some(opened) = journal {
            warnings = opened.warnings;
            pump.add_journal(opened.what, Box::new(opened.journal));
            past = opened.past;
        }
        #[cfg(not(feature = "cli"))]
        warnings.iter().for_each(|text| tracing::warn!("{text}"));
        #[cfg(feature = "cli")]
        {
            config.engine.trace_attempts |= config.report.needs_traces();
            reporters::add_notices(&mut pump, &mut config.report, &warnings);
            reporters::add_files(&mut pump, &config.report, &shutdown).map_err(Problem::from)?;
        }
        add_records(&mut pump, &mut config.report);
        #[cfg(feature = "cli")]
        reporters::add_streams(&mut pump, &mut config.report);
        for (what, reporter) in extra {
            pump.add(what, reporter);
        }
        // The fields of `EngineOptions` that are marked as derived.
        config.engine.refresh = config.save.refresh;
        config.engine.with_body = config.http.body.is_some();
        config.engine.body_digest = config.http.body.as_deref().map(Sha256::of);
        config.engine.partial_is_fine |= config.http.headers.contains_key(http::header::RANGE);
        let cookies = config.http.headers.get_all(http::header::COOKIE);
        config.engine.own_cookies = cookies.iter().cloned().collect();
        Ok(Self {
            config,
            clock: RunClock::start(),
            live,
            batches,
            window,
            pump,
            shutdown,
            past,
            #[cfg(feature = "cli")]
            delivery: None,
        })
    }

    async fn go<T: Transport, S: BodyStore>(
        self,
        transport: T,
        store: S,
        stop: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
    ) -> Result<Summary, RunError> {
        let spent = self.pump.spent();
        let (events, pump) = self.pump.start().map_err(results_problem)?;
        #[cfg(feature = "cli")]
        let progress = reporters::start_progress(&self.config.report, &self.live);
        let (grace, stop_after) = (self.config.engine.grace, self.config.engine.stop_after);
        let outputs = StartedOutputs {
            pump,
            live: Arc::clone(&self.live),
            clock: self.clock,
            shutdown: self.shutdown.clone(),
            is_shard: self.config.save.shard.is_some(),
            #[cfg(feature = "cli")]
            progress,
            #[cfg(feature = "cli")]
            delivery: self.delivery,
        };
        let scheduler = Scheduler::new(
            &self.config.schedule,
            &self.config.retry,
            self.config.engine.concurrency,
            self.config.engine.worker_threads(),
            Arc::clone(&self.live),
        );
        self.live.set_limit_rate(self.config.schedule.limit_rate);
        let engine = Engine {
            scheduler,
            bandwidth: Arc::new(Bandwidth::new(&self.config.schedule)),
            options: self.config.engine,
            retry: self.config.retry,
            transport,
            store,
            live: self.live,
            clock: self.clock,
            events,
            spent,
            shutdown: self.shutdown.clone(),
            past: self.past,
            windows: DecoderBudget::new(),
            robots_room: RobotsRoom::default(),
            broken: OnceLock::new(),
        };
        let updates = self.config.limit_updates;
        let work = async {
            let end = engine::run(engine, self.batches, self.window, updates).await;
            outputs.finish(end).await
        };
        let early = ended_early(&self.shutdown, stop_after, stop);
        run_until_stopped(work, &self.shutdown, grace, early, abort).await
    }
}

/// Returns the problem of results that cannot be reported.
fn results_problem(source: std::io::Error) -> Problem {
    Problem::from(ReportError {
        what: "the results".to_owned(),
        source,
    })
}

/// Calls the callback of the caller with every record.
fn add_records(pump: &mut Pump, options: &mut ReportOptions) {
    if let Some(mut on_record) = options.on_record.take() {
        let tap = EventTap(move |event: &EngineEvent| {
            if let EngineEvent::Settled(settled) = event {
                on_record(&settled.record);
            }
        });
        pump.add("records", Box::new(tap));
    }
}

/// Passes every event of a run to a closure.
struct EventTap<F>(F);

impl<F: FnMut(&EngineEvent) + Send> Reporter for EventTap<F> {
    fn on_event(&mut self, event: &EngineEvent) -> std::io::Result<()> {
        (self.0)(event);
        Ok(())
    }
}
