//! `--notify-cmd` and `--pack-done`: run a shell command.

use std::future::Future;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

#[cfg(feature = "cli")]
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Why a command failed. The command itself is not repeated, since it may contain a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The shell cannot be started.
    #[error("cannot run the command: {cause}")]
    Start {
        /// The cause.
        cause: io::Error,
    },
    /// The command failed.
    #[error("command failed: {status}")]
    Failed {
        /// Its exit status.
        status: ExitStatus,
    },
    /// The command exceeded its time limit.
    #[error("command timed out after {} s and was killed", limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
}

/// Runs a shell command with `input` on its stdin. `variables` are set in its environment; those
/// without a value are removed from it. Its output goes to stderr, as stdout carries results.
///
/// # Errors
/// [`CommandError`] when it cannot be started, fails, or takes longer than `limit`. On a timeout,
/// and when the future is dropped, the command and its child processes are killed.
pub async fn run_command(
    command: &str,
    input: &str,
    variables: &[(String, Option<String>)],
    limit: Duration,
) -> Result<(), CommandError> {
    let failed = |cause| CommandError::Start { cause };
    let mut shell = shell_with(command, variables);
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(to_stderr().map_err(failed)?)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let group = ProcessGroup(child.id());
    let work = async {
        if let Some(mut stdin) = stdin {
            // The command does not have to read its stdin.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait().await
    };
    ended_within(limit, work, group).await
}

/// Waits for a command, at most this long.
async fn ended_within(
    limit: Duration,
    work: impl Future<Output = io::Result<ExitStatus>>,
    group: ProcessGroup,
) -> Result<(), CommandError> {
    let Ok(ended) = tokio::time::timeout(limit, work).await else {
        return Err(CommandError::TimedOut { limit });
    };
    group.disarm();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::Failed { status }),
        Err(cause) => Err(CommandError::Start { cause }),
    }
}

/// Runs a shell command as [`run_command`] does, without input.
///
/// # Errors
/// As text: the error of [`run_command`], and the last line that the command wrote to its stderr.
#[cfg(feature = "cli")]
pub(crate) async fn run_noting_stderr(
    command: &str,
    variables: &[(String, Option<String>)],
    limit: Duration,
) -> Result<(), String> {
    let failed = |cause| CommandError::Start { cause }.to_string();
    let mut shell = shell_with(command, variables);
    let mut child = shell
        .stdin(Stdio::null())
        .stdout(to_stderr().map_err(failed)?)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut last = String::new();
    let stderr = child.stderr.take();
    let group = ProcessGroup(child.id());
    let work = async {
        let reading = pass_on(stderr, &mut last);
        tokio::pin!(reading);
        tokio::select! {
            ended = child.wait() => {
                // What it left running may keep the pipe open.
                let _ = tokio::time::timeout(REST_OF_STDERR, reading).await;
                ended
            }
            () = &mut reading => child.wait().await,
        }
    };
    let ended = ended_within(limit, work, group).await;
    ended.map_err(|error| match last.is_empty() {
        true => error.to_string(),
        false => format!("{error}: {last}"),
    })
}

/// How long the rest of what a command wrote is waited for, once it has ended.
#[cfg(feature = "cli")]
const REST_OF_STDERR: Duration = Duration::from_millis(200);
/// Maximum length of a line that is kept of it, in bytes.
#[cfg(feature = "cli")]
const MAX_LAST_LINE_BYTES: usize = 500;

/// Copies a stream to stderr, and keeps its last line that is not blank.
#[cfg(feature = "cli")]
async fn pass_on(from: Option<tokio::process::ChildStderr>, last: &mut String) {
    use std::io::Write as _;

    let Some(mut from) = from else { return };
    let (mut piece, mut line) = ([0; 4096], Vec::new());
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let read = piece.get(..length).unwrap_or_default();
        // As good as the program's own messages: ignored if stderr is closed.
        let _ = io::stderr().write_all(read);
        for byte in read {
            if *byte != b'\n' {
                if line.len() < MAX_LAST_LINE_BYTES {
                    line.push(*byte);
                }
                continue;
            }
            keep_line(&mut line, last);
        }
    }
    keep_line(&mut line, last);
}

#[cfg(feature = "cli")]
fn keep_line(line: &mut Vec<u8>, last: &mut String) {
    let text = line.trim_ascii();
    if !text.is_empty() {
        *last = String::from_utf8_lossy(text).into_owned();
    }
    line.clear();
}

/// Kills a command and its child processes on drop: Ctrl-C in a terminal does not reach them, and
/// dropping the `Child` would only kill the shell.
struct ProcessGroup(Option<u32>);

impl ProcessGroup {
    /// Keeps child processes running, after the command has ended by itself: it left them on
    /// purpose.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        end_group(self.0);
    }
}

fn shell_with(command: &str, variables: &[(String, Option<String>)]) -> Command {
    let mut shell = shell(command);
    for (name, value) in variables {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    // In its own process group, so that its child processes can be killed with it.
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(windows)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    // As it is: cmd does not undo the quoting of an argument.
    shell.arg("/C").raw_arg(command);
    shell
}

#[cfg(unix)]
fn to_stderr() -> io::Result<Stdio> {
    use std::os::fd::AsFd as _;
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
fn to_stderr() -> io::Result<Stdio> {
    Ok(Stdio::null())
}

#[cfg(unix)]
fn end_group(group: Option<u32>) {
    let group = group.and_then(|id| i32::try_from(id).ok());
    if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
        // Fails if the group has just ended.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
fn end_group(_group: Option<u32>) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_command_gets_its_input_and_variables() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let command = format!(
            "cat > {0}; echo \"$OUTCOME\" \"${{CARGO_PKG_NAME-none}}\" >> {0}",
            file.display()
        );
        let variables = [
            ("OUTCOME".to_owned(), Some("ok".to_owned())),
            ("CARGO_PKG_NAME".to_owned(), None),
        ];
        run_command(&command, "{}\n", &variables, LONG)
            .await
            .unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{}\nok none\n");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_told_from_one_that_reads_nothing() {
        let large = "x".repeat(1 << 20);
        run_command("true", &large, &[], LONG).await.unwrap();
        let failed = run_command("exit 3", "", &[], LONG).await.unwrap_err();
        assert_eq!(failed.to_string(), "command failed: exit status: 3");
        let unknown = run_command("no-such-program 2>/dev/null", "", &[], LONG)
            .await
            .unwrap_err();
        assert!(
            unknown.to_string().contains("exit status: 127"),
            "{unknown}"
        );
    }

    #[tokio::test]
    async fn the_last_line_of_a_failure_is_kept_and_its_children_are_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let child = dir.path().join("child");
        std::fs::write(&child, "").unwrap();
        let command = format!(
            "echo one >&2; printf 'why it failed\\n\\n' >&2; \
             (while test -e {}; do sleep 0.1; done) & exit 4",
            child.display()
        );
        let failed = run_noting_stderr(&command, &[], LONG).await.unwrap_err();
        assert_eq!(failed, "command failed: exit status: 4: why it failed");
        std::fs::remove_file(child).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        run_noting_stderr("cat; exec 2>&-", &[], LONG)
            .await
            .unwrap();
        let hangs = "echo slow >&2; sleep 600";
        let failed = run_noting_stderr(hangs, &[], Duration::from_secs(1)).await;
        let expected = "command timed out after 1 s and was killed: slow";
        assert_eq!(failed.unwrap_err(), expected);
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("later");
        let command = format!("(sleep 2; touch {}) & sleep 600", file.display());
        let start = Instant::now();
        let error = run_command(&command, "", &[], Duration::from_secs(1))
            .await
            .unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(start.elapsed() < LONG);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_dropped_command_is_killed_and_one_that_ended_keeps_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let (not, yes) = (dir.path().join("not"), dir.path().join("yes"));
        let command = format!("sleep 1; touch {}", not.display());
        let run = run_command(&command, "", &[], LONG);
        let dropped = tokio::time::timeout(Duration::from_millis(300), run).await;
        assert!(dropped.is_err());
        let command = format!("(sleep 1; touch {}) &", yes.display());
        run_command(&command, "", &[], LONG).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!not.exists() && yes.exists());
    }
}
