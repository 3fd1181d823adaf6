//! Runs the program under test.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fetchall::{ErrorKind, OutcomeName, Record};
use tempfile::TempDir;

use super::peak;

/// Time after which a run is killed: far more than any takes, even on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the program, without any environment variables that would change its behaviour.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetchall"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FETCHALL_") {
            command.env_remove(name);
        }
    }
    // Neither the user's nor the machine's configuration file applies.
    command
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("FETCHALL_NO_CONFIG", "1");
    for name in ["RUST_LOG", "NO_COLOR", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name);
    }
    command
}

/// A builder for a run of the program, started with [`go`](Self::go).
#[derive(Default)]
pub struct Run {
    args: Vec<String>,
    stdin: Vec<u8>,
    env: Vec<(String, String)>,
    text: bool,
    bare: bool,
    settings: Option<TempDir>,
    open_files: Option<usize>,
}

/// The result of a run.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub records: Vec<Record>,
    /// Duration of the run.
    pub took: Duration,
    /// Peak resident memory, in KiB, as seen by polling; 0 if unknown.
    pub peak: u64,
}

impl Run {
    /// Creates a run with `--json` and a short backoff.
    pub fn new() -> Self {
        Self::default().args(["--retry-delay=1ms"])
    }

    /// Prints text lines instead of records.
    pub fn text(mut self) -> Self {
        self.text = true;
        self
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<I: IntoIterator<Item = impl Into<String>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Uses a configuration file with these settings.
    pub fn settings(mut self, toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.toml");
        std::fs::write(&path, toml).unwrap();
        self.settings = Some(dir);
        self.arg("--config").arg(path.to_str().unwrap())
    }

    /// Passes a list on stdin.
    pub fn urls<I: IntoIterator<Item = impl Into<String>>>(mut self, urls: I) -> Self {
        for url in urls {
            self.stdin.extend_from_slice(url.into().as_bytes());
            self.stdin.push(b'\n');
        }
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Clears the environment, except for variables set with [`env`](Self::env).
    pub fn without_environment(mut self) -> Self {
        self.bare = true;
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Limits the number of open files.
    pub fn open_files(mut self, most: usize) -> Self {
        self.open_files = Some(most);
        self
    }

    pub fn go(self) -> Done {
        let mut command = binary();
        if let Some(most) = self.open_files {
            command = limited(&command, most);
        }
        if self.bare {
            command.env_clear();
        }
        command
            .args(&self.args)
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !self.text {
            command.arg("--json");
        }
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let (mut stdin, list) = (child.stdin.take().unwrap(), self.stdin);
        // The program may end without reading its whole list.
        let writing = thread::spawn(move || drop(stdin.write_all(&list)));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let (status, peak) = wait(&mut child, start);
        let took = start.elapsed();
        writing.join().unwrap();
        let stdout = stdout.join().unwrap();
        let records = if self.text {
            Vec::new()
        } else {
            let parse =
                |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            stdout.lines().map(parse).collect()
        };
        Done {
            code: status.code(),
            stdout,
            stderr: stderr.join().unwrap(),
            records,
            took,
            peak,
        }
    }

    /// Runs the program, which must end with this exit code.
    pub fn expect_exit(self, code: i32) -> Done {
        let done = self.go();
        assert_eq!(
            done.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            done.stdout,
            done.stderr
        );
        done
    }
}

impl Done {
    /// Returns the only record.
    pub fn record(&self) -> &Record {
        assert_eq!(self.records.len(), 1, "{}{}", self.stdout, self.stderr);
        &self.records[0]
    }

    /// Returns the record of the URL with this end.
    pub fn of(&self, end: &str) -> &Record {
        let found = self.records.iter().find(|record| record.url.ends_with(end));
        found.unwrap_or_else(|| panic!("no record of {end} in {}", self.stdout))
    }

    /// Returns the error kind and the number of attempts of the only record.
    pub fn failure(&self) -> (ErrorKind, u32) {
        let record = self.record();
        let error = record
            .error
            .as_ref()
            .unwrap_or_else(|| panic!("{}", self.stdout));
        (error.kind, record.attempts)
    }

    /// Returns the number of skipped records.
    pub fn skipped(&self) -> usize {
        let skipped = |record: &&Record| record.outcome == OutcomeName::Skipped;
        self.records.iter().filter(skipped).count()
    }

    pub fn message(&self) -> &str {
        &self.record().error.as_ref().unwrap().message
    }
}

/// Returns a command that runs a program with the same environment, but without its arguments, in
/// a shell with a limit on open files.
pub fn limited(program: &Command, most: usize) -> Command {
    let mut shell = Command::new("/bin/sh");
    let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// Waits for the end of a run. Returns its status and its peak memory.
fn wait(child: &mut Child, start: Instant) -> (ExitStatus, u64) {
    let mut max = 0;
    loop {
        max = max.max(peak(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            return (status, max);
        }
        if start.elapsed() > RUN_TIMEOUT {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(2));
    }
}
