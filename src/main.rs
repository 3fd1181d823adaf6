//! The program: parses the command line, runs, and reports the outcome.

#![warn(unreachable_pub)]

mod cli;

use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use fetchall::demo::PracticeServer;
use fetchall::program::{Config, ProgressStyle, Screen, WarningCallback};
use fetchall::{JournalError, PartsError, Problem, RunError, SaveError, Summary};

use cli::{
    Cli, CliAction, CliError, EarlySignals, LimitReader, RunNotifier, SettingOrigins, Signals,
};

/// A URL takes some 65 allocations, most of them in the HTTP client: this allocator saves a tenth of
/// the CPU time. mimalloc is as fast, but keeps three times as much memory after large bodies.
/// jemalloc does not build on Windows.
#[cfg(all(unix, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_RUN_FAILED: u8 = 3;
const EXIT_PIPE_CLOSED: u8 = 141;

fn main() -> ExitCode {
    cli::report_panics();
    cli::raise_descriptor_limit();
    // Before anything slow: until then, SIGUSR1 and SIGUSR2 would end the process.
    let early = EarlySignals::catch();
    let (cli, origins) = match cli::read(std::env::args_os()) {
        Ok(CliAction::Run(cli, origins)) => (*cli, origins),
        Ok(CliAction::Print(text)) => return print(&text),
        Err(error) => return reject(&error),
    };
    if let Some(needed) = cli::lacking_descriptors(&cli, &early) {
        let text =
            format!("open-file limit too low: this run needs at least {needed}; raise ulimit -n");
        return fail_with(&text, EXIT_RUN_FAILED);
    }
    let runtime = match cli::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail_with(
                &format!("cannot start the runtime: {error}"),
                EXIT_RUN_FAILED,
            );
        }
    };
    let run = AssertUnwindSafe(|| runtime.block_on(program(cli, origins, early)));
    // What is wrong was said when the panic began: it need not be a bug (`cli/panics.rs`).
    let (Ok(code) | Err(code)) =
        std::panic::catch_unwind(run).unwrap_or_else(|_| Err(ExitCode::from(EXIT_RUN_FAILED)));
    // Tasks that are still running must not keep the process from exiting.
    runtime.shutdown_background();
    code
}

/// Prints the result of an action such as `--print-config`.
fn print(text: &str) -> ExitCode {
    end_print(cli::print(text))
}

/// Returns the exit code of output to stdout, and explains an error.
fn end_print(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_PIPE_CLOSED),
        Err(error) => fail_with(&format!("cannot write to stdout: {error}"), EXIT_RUN_FAILED),
    }
}

/// Prints why the command line was rejected, or the help if it was requested.
fn reject(error: &CliError) -> ExitCode {
    match error {
        CliError::Usage(error) if error.use_stderr() => {
            // Ignored if the stream is closed.
            let _ = error.print();
            ExitCode::from(EXIT_USAGE)
        }
        CliError::Usage(help) => end_print(help.print().and_then(|()| io::stdout().flush())),
        other => fail_with(&other.to_string(), EXIT_USAGE),
    }
}

/// Runs what the command line asks for. Returns the exit code; as an error if the run could not
/// start, which is reported by then.
async fn program(
    cli: Cli,
    origins: SettingOrigins,
    early: EarlySignals,
) -> Result<ExitCode, ExitCode> {
    let console = Console {
        quiet: cli.quiet,
        failures_ok: cli.cluster.failures_ok,
        origins,
    };
    let mut notifier = RunNotifier::from_cli(&cli)
        .map_err(|error| fail_with(&console.origins.describe(&error), EXIT_USAGE))?;
    let (demo, verbose) = (cli.demo, cli.verbose);
    let (action, merge) = (Action::of(&cli), cli.cluster.merge);
    let summary_json = cli.summary_json.clone();
    let mut config = configure(cli, &console)?;
    // Not earlier: Ctrl-C has to end the reading of a request body from a terminal.
    let screen = config.report.screen.clone();
    let limits = console.origins.limits.clone();
    let limits = LimitReader::new(std::env::args_os(), limits, &mut config);
    let signals = listen(early, screen.clone(), limits)?;
    if let Some(screen) = screen.as_ref().filter(|_| !console.quiet) {
        cli::start_logs(verbose, Screen::clone(screen));
    }
    let warned = screen.clone().filter(|_| !console.quiet);
    config.input.on_warning = warned.map(warn_above);
    // The server runs until this is dropped.
    let _server = match demo {
        true => Some(start_demo(&mut config, &console).await?),
        false => None,
    };
    if action.is_some() || merge {
        // There are no requests whose limits could change.
        config.limit_updates = None;
    }
    if let Some(action) = action {
        return Ok(action.carry_out(config, &signals, &console).await);
    }
    let opened = notifier.open(summary_json.as_deref());
    opened
        .map_err(|error| fail_with(&explain(&error.into(), &console.origins), EXIT_RUN_FAILED))?;
    if merge {
        return Ok(merge_journals(config, &signals, &notifier, &console).await);
    }
    notifier.attach_to(&mut config);
    let stop = async {
        signals.next().await;
        console.print_above(screen.as_ref(), STOPPING);
    };
    let end = fetchall::program::run_until(config, stop, signals.next()).await;
    let code = console.finish_run(&end, &signals, &notifier).await;
    if demo && code == EXIT_FAILED && is_regular_demo(&end) {
        console.print(EPILOGUE);
    }
    Ok(ExitCode::from(code))
}

/// What the program does with a list instead of fetching it.
enum Action {
    DryRun,
    Split(fetchall::program::SplitOptions),
    Verify,
}

impl Action {
    fn of(cli: &Cli) -> Option<Self> {
        let dry_run = cli.saving.dry_run.then_some(Self::DryRun);
        let verify = || cli.saving.verify.then_some(Self::Verify);
        dry_run
            .or_else(|| cli.cluster.split().map(Self::Split))
            .or_else(verify)
    }

    async fn carry_out(self, config: Config, signals: &Signals, console: &Console) -> ExitCode {
        let end = match self {
            Self::DryRun => until_signal(fetchall::program::dry_run(config), signals).await,
            Self::Split(options) => fetchall::program::split(config, options, signals.next()).await,
            Self::Verify => until_signal(fetchall::program::verify(config), signals).await,
        };
        finish_action(&end, signals, console)
    }
}

/// Returns the configuration of the run, and prints the warnings about it.
fn configure(cli: Cli, console: &Console) -> Result<Config, ExitCode> {
    let mut early = cli::lacks_password(&cli);
    early.extend(cli::netrc_warning(&cli));
    let mut config = Config::try_from(cli)
        .map_err(|error| fail_with(&console.origins.describe(&error), EXIT_USAGE))?;
    for warning in early.into_iter().chain(cli::warnings(&config)) {
        let warning = console.origins.redactions.apply(warning);
        console.print(&format!("fetchall: warning: {warning}"));
    }
    if let Some(most) = cli::bound_by_descriptors(&mut config.engine.concurrency) {
        console.print(&format!(
            "limited to {most} concurrent requests by the open-file limit (ulimit -n)"
        ));
    }
    if cli::is_only_for_reading(&io::stdout()) {
        let text = "cannot write the results: stdout is open for reading only";
        return Err(fail_with(text, EXIT_RUN_FAILED));
    }
    Ok(config)
}

/// Returns what prints the warnings of a list above the progress bar.
fn warn_above(screen: Screen) -> WarningCallback {
    WarningCallback(Box::new(move |text| {
        screen.suspend(|| {
            // Ignored if stderr is closed.
            let _ = writeln!(io::stderr(), "fetchall: warning: {}", cli::redact(text));
        });
    }))
}

/// Listens for signals. The status of the run is shown on `screen`, and `limits` are read again.
fn listen(
    early: EarlySignals,
    screen: Option<Screen>,
    limits: LimitReader,
) -> Result<Signals, ExitCode> {
    let screen = screen.unwrap_or_else(|| Screen::new(ProgressStyle::None));
    Signals::listen(early, screen, limits).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::WouldBlock => format!("; {}", cli::MORE_THREADS),
            _ => String::new(),
        };
        let text = format!("cannot listen for signals: {error}{advice}");
        fail_with(&text, EXIT_RUN_FAILED)
    })
}

/// Starts the practice server, whose pages become the list.
async fn start_demo(config: &mut Config, console: &Console) -> Result<PracticeServer, ExitCode> {
    let server = PracticeServer::start().await.map_err(|error| {
        let text = format!("cannot start the practice server: {error}");
        fail_with(&text, EXIT_RUN_FAILED)
    })?;
    server.practise(config);
    console.print(&introduction(&server));
    Ok(server)
}

/// Waits for an action that leaves nothing behind, whenever it ends.
async fn until_signal(
    action: impl Future<Output = Result<Summary, RunError>>,
    signals: &Signals,
) -> Result<Summary, RunError> {
    tokio::select! {
        end = action => end,
        () = signals.next() => Ok(Summary::default()),
    }
}

/// Prints the error of an action that fetches nothing, and returns the exit code.
fn finish_action(
    end: &Result<Summary, RunError>,
    signals: &Signals,
    console: &Console,
) -> ExitCode {
    if let Err(error) = end
        && !error.problem.is_closed_pipe()
    {
        fail_with(&explain(&error.problem, &console.origins), EXIT_RUN_FAILED);
    }
    ExitCode::from(console.exit_code(end, signals))
}

/// Puts journals together, and returns the exit code.
async fn merge_journals(
    config: Config,
    signals: &Signals,
    notifier: &RunNotifier,
    console: &Console,
) -> ExitCode {
    let end = until_signal(fetchall::program::merge(config), signals).await;
    if let Ok(summary) = &end {
        for problem in &summary.problems {
            fail_with(problem, EXIT_FAILED);
        }
    }
    ExitCode::from(console.finish_run(&end, signals, notifier).await)
}

/// Whether the demo went as its epilogue describes: three pages failed, and none is left.
fn is_regular_demo(end: &Result<Summary, RunError>) -> bool {
    matches!(end, Ok(summary) if summary.failed == 3 && summary.left == 0)
}

/// Returns the exit code if the summary could not be written either.
fn worse(code: u8) -> u8 {
    match code {
        0 | EXIT_FAILED | EXIT_USAGE => EXIT_RUN_FAILED,
        code => code,
    }
}

/// Prints messages for the user on stderr, unless `-q` is given, and returns the exit code.
struct Console {
    quiet: bool,
    failures_ok: bool,
    origins: SettingOrigins,
}

impl Console {
    /// Prints a message during the run, without tearing the progress display.
    fn print_above(&self, screen: Option<&Screen>, text: &str) {
        match screen {
            Some(screen) => screen.suspend(|| self.print(text)),
            None => self.print(text),
        }
    }

    fn print(&self, text: &str) {
        if !self.quiet {
            // Ignored if stderr is closed.
            let _ = writeln!(io::stderr(), "{}", cli::redact(text));
        }
    }

    fn exit_code(&self, end: &Result<Summary, RunError>, signals: &Signals) -> u8 {
        signals.exit_code().unwrap_or(match end {
            Ok(summary) if summary.is_complete() => 0,
            Ok(summary) if self.failures_ok && summary.is_settled() => 0,
            Ok(_) => EXIT_FAILED,
            Err(error) if error.problem.is_closed_pipe() => EXIT_PIPE_CLOSED,
            Err(error) if cli::is_out_of_threads(&error.problem) => EXIT_RUN_FAILED,
            Err(error) => match error.problem {
                Problem::Input(_)
                | Problem::Transport(_)
                | Problem::Save(
                    SaveError::NoJournal(_)
                    | SaveError::Parts {
                        cause: PartsError::Occupied | PartsError::InUse,
                        ..
                    }
                    | SaveError::Journal {
                        cause: JournalError::OtherShard { .. },
                        ..
                    },
                ) => EXIT_USAGE,
                _ => EXIT_RUN_FAILED,
            },
        })
    }

    /// Prints the outcome of the run and sends the notifications. Returns the exit code.
    async fn finish_run(
        &self,
        end: &Result<Summary, RunError>,
        signals: &Signals,
        notifier: &RunNotifier,
    ) -> u8 {
        let (summary, problem) = match end {
            Ok(summary) => (summary, None),
            Err(error) => (&*error.summary, Some(&error.problem)),
        };
        let pipe_closed = problem.is_some_and(Problem::is_closed_pipe);
        if let Some(problem) = problem.filter(|_| !pipe_closed) {
            fail_with(&explain(problem, &self.origins), EXIT_RUN_FAILED);
        }
        let mut code = self.exit_code(end, signals);
        let interrupt = async {
            if signals.exit_code().is_none() {
                signals.next().await;
            }
        };
        if let Err(error) = notifier.write(summary, code, interrupt).await {
            fail_with(&explain(&error.into(), &self.origins), EXIT_RUN_FAILED);
            code = worse(code);
        }
        if let Some(warning) = notifier.warning(summary) {
            self.print(&format!("fetchall: warning: {warning}"));
        }
        // If an input could not even be opened, there is nothing to summarize.
        if problem.is_none() || pipe_closed || summary.input > 0 {
            self.print(&fetchall::program::render_summary(summary, cli::end_text));
            tokio::select! {
                () = notifier.notify_all(summary, code) => {}
                () = signals.next() => self.print("interrupted; remaining notifications skipped"),
            }
        }
        signals.exit_code().unwrap_or(code)
    }
}

/// Prints an error on stderr. Returns the exit code.
fn fail_with(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "fetchall: {}", cli::redact(text));
    ExitCode::from(code)
}

/// Returns the message of a problem, with a hint and the source of the setting where there are any.
fn explain(problem: &Problem, origins: &SettingOrigins) -> String {
    let text = cli::problem_text(problem);
    let explained = match problem {
        Problem::Input(error) => match error.likely_url() {
            Some(url) => format!("{text}; did you mean {url}?"),
            None => with_advice(text, problem),
        },
        _ => match origins.origin_of_path(&text) {
            Some(origin) => format!("{}; {origin}", with_advice(text, problem)),
            None => with_advice(text, problem),
        },
    };
    origins.redactions.apply(explained)
}

fn with_advice(text: String, problem: &Problem) -> String {
    match cli::advice_for(problem) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

fn introduction(server: &PracticeServer) -> String {
    let mut text = String::from("started a practice server on this machine with these pages:\n");
    for (url, what) in server.pages() {
        text.push_str(&format!("  {url:<36} {what}\n"));
    }
    text.push_str("fetching all of them concurrently; each line appears as its URL completes:\n");
    text
}

const STOPPING: &str = "stopping: requests in flight get 10 s; interrupt again to quit now";

const EPILOGUE: &str = "
three of these pages always fail, so the exit code is 1. Try next:
  fetchall --demo --json                 print JSON records
  fetchall --demo --ordered -v           keep the order of the list; log retries
  fetchall --demo --simulate-failure     inject faults into 30 % of all requests
  fetchall your-list.txt                 fetch your own list";
