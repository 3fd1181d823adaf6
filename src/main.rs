//! The program: read the command line, run, say how it went.

mod cli;

use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use fetchall::demo::PracticeServer;
use fetchall::program::{Config, ProgressStyle, Screen};
use fetchall::{Problem, RunError, Summary};

use cli::{Cli, CliAction, CliError, EarlySignals, RunNotifier, SettingOrigins, Signals};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_BROKEN: u8 = 3;
const EXIT_PIPE_CLOSED: u8 = 141;

fn main() -> ExitCode {
    // A mistake in this program ends the run with an error of its own; the default
    // message with its backtrace helps nobody who only wanted to fetch.
    std::panic::set_hook(Box::new(|_| {}));
    cli::raise_descriptor_limit();
    // Before anything slow: until then SIGUSR1 ends the process.
    let early = EarlySignals::catch();
    let (cli, origins) = match cli::read(std::env::args_os()) {
        Ok(CliAction::Run(cli, origins)) => (*cli, origins),
        Ok(CliAction::Print(text)) => return print(&text),
        Err(refused) => return refuse(&refused),
    };
    if let Some(needed) = cli::lacking_descriptors(&cli, &early) {
        let text = format!(
            "too few open files are allowed: this run needs at least {needed}; raise ulimit -n"
        );
        return fail_with(&text, EXIT_BROKEN);
    }
    let runtime = match cli::runtime(cli.concurrency) {
        Ok(runtime) => runtime,
        Err(error) => return fail_with(&format!("no runtime: {error}"), EXIT_BROKEN),
    };
    let run = AssertUnwindSafe(|| runtime.block_on(program(cli, origins, early)));
    let code = std::panic::catch_unwind(run)
        .unwrap_or_else(|_| fail_with("internal error; please report it", EXIT_BROKEN));
    // Whatever still runs must not keep the process from ending.
    runtime.shutdown_background();
    code
}

/// A text that was asked for is the result of the call.
fn print(text: &str) -> ExitCode {
    match cli::print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_PIPE_CLOSED),
        Err(error) => fail_with(&format!("cannot write to stdout: {error}"), EXIT_BROKEN),
    }
}

fn refuse(refused: &CliError) -> ExitCode {
    match refused {
        CliError::Usage(error) => {
            // With nobody there to read it nothing else can be done.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 })
        }
        other => fail_with(&other.to_string(), EXIT_USAGE),
    }
}

async fn program(cli: Cli, origins: SettingOrigins, early: EarlySignals) -> ExitCode {
    let people = Console {
        quiet: cli.quiet,
        origins,
    };
    let mut afterwards = match RunNotifier::from_cli(&cli) {
        Ok(afterwards) => afterwards,
        Err(error) => return fail_with(&people.origins.describe(&error), EXIT_USAGE),
    };
    let (demo, verbose, dry_run) = (cli.demo, cli.verbose, cli.dry_run);
    let summary_json = cli.summary_json.clone();
    let mut config = match Config::try_from(cli) {
        Ok(config) => config,
        Err(error) => return fail_with(&people.origins.describe(&error), EXIT_USAGE),
    };
    for warning in cli::warnings(&config) {
        let warning = people.origins.redactions.apply(warning);
        people.say(&format!("fetchall: warning: {warning}"));
    }
    if let Some(most) = cli::bound_by_descriptors(&mut config.engine.concurrency) {
        people.say(&format!(
            "no more than {most} requests at the same time: this process may have no more open files (ulimit -n)"
        ));
    }
    if cli::is_only_for_reading(&io::stdout()) {
        return fail_with(
            "cannot write the results: stdout is open for reading alone",
            EXIT_BROKEN,
        );
    }
    // Not before: reading a body from a terminal ends by Ctrl-C like anything else.
    let screen = config.report.screen.clone();
    let shown = screen
        .clone()
        .unwrap_or_else(|| Screen::new(ProgressStyle::None));
    let signals = match Signals::listen(early, shown) {
        Ok(signals) => signals,
        Err(error) => {
            return fail_with(&format!("cannot listen for signals: {error}"), EXIT_BROKEN);
        }
    };
    if let Some(screen) = config.report.screen.as_ref().filter(|_| !people.quiet) {
        cli::start_logs(verbose, Screen::clone(screen));
    }
    // Kept until the run has ended.
    let _server = if demo {
        match PracticeServer::start().await {
            Ok(server) => {
                server.practise(&mut config);
                people.say(&introduction(&server));
                Some(server)
            }
            Err(error) => return fail_with(&format!("no practice server: {error}"), EXIT_BROKEN),
        }
    } else {
        None
    };
    if dry_run {
        let end = tokio::select! {
            end = fetchall::program::dry_run(config) => end,
            () = signals.next() => Ok(Summary::default()),
        };
        if let Err(error) = &end
            && !error.problem.is_closed_pipe()
        {
            fail_with(&explain(&error.problem, &people.origins), EXIT_BROKEN);
        }
        return ExitCode::from(exit_code(&end, &signals));
    }
    if let Err(error) = afterwards.open(summary_json.as_deref()) {
        return fail_with(&explain(&error.into(), &people.origins), EXIT_BROKEN);
    }
    afterwards.attach_to(&mut config);
    let stop = async {
        signals.next().await;
        people.say_aside(screen.as_ref(), STOPPING);
    };
    let end = fetchall::program::run_until(config, stop, signals.next()).await;
    let code = people.finish_run(&end, &signals, &afterwards).await;
    if demo && is_whole_demo(&end) {
        people.say(EPILOGUE);
    }
    ExitCode::from(code)
}

/// Whether the demo went as its epilogue tells: not interrupted, no faults added.
fn is_whole_demo(end: &Result<Summary, RunError>) -> bool {
    matches!(end, Ok(summary) if summary.failed == 3 && summary.left == 0)
}

fn exit_code(end: &Result<Summary, RunError>, signals: &Signals) -> u8 {
    signals.exit_code().unwrap_or(match end {
        Ok(summary) if summary.is_complete() => 0,
        Ok(_) => EXIT_FAILED,
        Err(error) if error.problem.is_closed_pipe() => EXIT_PIPE_CLOSED,
        Err(error) => match error.problem {
            Problem::Input(_) | Problem::Transport(_) => EXIT_USAGE,
            Problem::Report(_)
            | Problem::Save(_)
            | Problem::EndedEarly(_)
            | Problem::Internal(_) => EXIT_BROKEN,
        },
    })
}

/// The exit code when the summary could not be written either.
fn worse(code: u8) -> u8 {
    match code {
        0 | EXIT_FAILED | EXIT_USAGE => EXIT_BROKEN,
        code => code,
    }
}

/// What is said on stderr, and to whom else.
struct Console {
    quiet: bool,
    origins: SettingOrigins,
}

impl Console {
    /// Says something while the run goes on, without tearing the progress display.
    fn say_aside(&self, screen: Option<&Screen>, text: &str) {
        match screen {
            Some(screen) => screen.suspend(|| self.say(text)),
            None => self.say(text),
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // With stderr closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "{}", cli::redact(text));
        }
    }

    /// Says how the run ended, and has it told; gives its exit code.
    async fn finish_run(
        &self,
        end: &Result<Summary, RunError>,
        signals: &Signals,
        afterwards: &RunNotifier,
    ) -> u8 {
        let (summary, problem) = match end {
            Ok(summary) => (summary, None),
            Err(error) => (&*error.summary, Some(&error.problem)),
        };
        let pipe_closed = problem.is_some_and(Problem::is_closed_pipe);
        if let Some(problem) = problem.filter(|_| !pipe_closed) {
            fail_with(&explain(problem, &self.origins), EXIT_BROKEN);
        }
        let mut code = exit_code(end, signals);
        let interrupt = async {
            if signals.exit_code().is_none() {
                signals.next().await;
            }
        };
        if let Err(error) = afterwards.write(summary, code, interrupt).await {
            fail_with(&explain(&error.into(), &self.origins), EXIT_BROKEN);
            code = worse(code);
        }
        // Nothing was done yet when the inputs could not even be opened.
        if problem.is_none() || pipe_closed || summary.input > 0 {
            self.say(&fetchall::program::render_summary(summary));
            tokio::select! {
                () = afterwards.notify_all(summary, code) => {}
                () = signals.next() => self.say("interrupted; not told any further"),
            }
        }
        signals.exit_code().unwrap_or(code)
    }
}

/// Says on stderr what went wrong.
fn fail_with(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "fetchall: {}", cli::redact(text));
    ExitCode::from(code)
}

/// The problem, with a hint where there is one.
fn explain(problem: &Problem, origins: &SettingOrigins) -> String {
    let text = problem.to_string();
    let explained = match problem {
        Problem::Input(error) => match error.likely_url() {
            Some(url) => format!("{text}; did you mean {url}"),
            None => with_next_step(text, problem),
        },
        _ => match origins.origin_of_path(&text) {
            Some(who) => format!("{}; {who}", with_next_step(text, problem)),
            None => with_next_step(text, problem),
        },
    };
    origins.redactions.apply(explained)
}

fn with_next_step(text: String, problem: &Problem) -> String {
    match cli::next_step(problem) {
        Some(step) => format!("{text}; {step}"),
        None => text,
    }
}

fn introduction(server: &PracticeServer) -> String {
    let mut text = String::from("a practice server was started on this machine; its pages:\n");
    for (url, what) in server.pages() {
        text.push_str(&format!("  {url:<40} {what}\n"));
    }
    text.push_str("fetchall fetches all of them at once; each line below comes as soon as its URL is settled:\n");
    text
}

const STOPPING: &str =
    "stopping: what is in flight has 10 seconds to end; once more ends it at once";

const EPILOGUE: &str = "
three of these pages fail whatever is done, so the exit code is 1, as a script would want it. Try next:
  fetchall --demo --json                 the same as records for machines
  fetchall --demo --ordered -v           in the order of the list, with a word on every retry
  fetchall --demo --simulate-failure     30 % of all requests fail: what do the retries save?
  fetchall your-list.txt                 the real thing";
