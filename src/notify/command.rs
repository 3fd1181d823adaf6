//! `--notify-cmd`: runs a shell command with the summary on its stdin.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

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
    let mut shell = shell(command);
    for (name, value) in variables {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
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
    let Ok(ended) = tokio::time::timeout(limit, work).await else {
        return Err(CommandError::TimedOut { limit });
    };
    group.disarm();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::Failed { status }),
        Err(cause) => Err(failed(cause)),
    }
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

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    // In its own process group, so that its child processes can be killed with it.
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
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
