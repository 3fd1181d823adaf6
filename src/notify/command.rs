//! `--notify-cmd`: a command of the user's, told of the run on its stdin.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Why a command did not do its work. The command itself is not repeated: a token may stand in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no shell.
    #[error("cannot run the command: {cause}")]
    Start {
        /// Why.
        cause: io::Error,
    },
    /// It failed.
    #[error("the command failed: {status}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
    },
    /// It did not end.
    #[error("the command was not done within {} s, and was ended", limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
}

/// Runs a command in the shell, with `input` on its stdin and these variables; those without a
/// value are taken out of its environment. What it prints goes to stderr: stdout is for results.
///
/// # Errors
/// [`CommandError`] when it can't be started, fails, or is not done within `limit`. Then, and when
/// the future is dropped, it and what it has started are ended.
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
            // It need not read it.
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

/// A command with all that it has started. They are ended when nobody waits for it any more:
/// Ctrl-C of a terminal does not reach them, and dropping the command would end its shell alone.
struct ProcessGroup(Option<u32>);

impl ProcessGroup {
    /// The command has ended by itself; what it leaves running is meant to run.
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
    // A group of its own, so that what it starts ends with it.
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
        // It may have ended just now.
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
    async fn it_gets_its_input_and_its_variables() {
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
    async fn one_that_fails_or_reads_nothing_is_told_apart() {
        let large = "x".repeat(1 << 20);
        run_command("true", &large, &[], LONG).await.unwrap();
        let failed = run_command("exit 3", "", &[], LONG).await.unwrap_err();
        assert_eq!(failed.to_string(), "the command failed: exit status: 3");
        let unknown = run_command("no-such-program 2>/dev/null", "", &[], LONG)
            .await
            .unwrap_err();
        assert!(
            unknown.to_string().contains("exit status: 127"),
            "{unknown}"
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_it_has_started() {
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
    async fn one_that_is_not_waited_for_is_ended_and_one_that_ended_leaves_what_it_will() {
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
