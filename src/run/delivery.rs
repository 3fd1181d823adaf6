//! `--pack-done`: runs a command for each finished pack of a series.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use super::packing::FinishedPacks;
use super::{Problem, SaveError};
use crate::config::PackCommand;
use crate::engine::Shutdown;
use crate::model::{EndReason, FinishedPack, PackNote};
use crate::notify::run_noting_stderr;
use crate::report::{JournalNotes, ReportError};
use crate::store::PackFiles;

/// Number of commands at a time.
const CONCURRENCY: usize = 2;
/// Time limit of a command: a gigabyte at 300 KB/s.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(3600);
/// Waits before a command that has failed is tried again.
const WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How often a wait looks whether the run ends.
const WAIT_STEP: Duration = Duration::from_millis(50);

/// Delivers finished packs, those of earlier runs first.
pub(super) struct PackDelivery {
    files: PackFiles,
    notes: JournalNotes,
    command: PackCommand,
    packs: Mutex<(Vec<FinishedPack>, mpsc::UnboundedReceiver<FinishedPack>)>,
    shutdown: Shutdown,
}

/// A delivery in progress.
pub(super) struct RunningDelivery(tokio::task::JoinHandle<Result<(), Problem>>);

impl PackDelivery {
    /// Starts to deliver these packs, and those that the run finishes.
    pub(super) fn start(
        packs: FinishedPacks,
        command: PackCommand,
        shutdown: Shutdown,
    ) -> RunningDelivery {
        let FinishedPacks {
            files,
            notes,
            mut earlier,
            new,
        } = packs;
        earlier.reverse();
        let delivery = Arc::new(Self {
            files,
            notes,
            command,
            packs: Mutex::new((earlier, new)),
            shutdown,
        });
        RunningDelivery(tokio::spawn(async move {
            let workers = (0..CONCURRENCY).map(|_| delivery.deliver_all());
            let ended = futures::future::join_all(workers);
            tokio::select! {
                ended = ended => ended.into_iter().collect(),
                () = delivery.shutdown.aborted() => Ok(()),
            }
        }))
    }

    /// Delivers packs until there are no more, or the run ends early.
    async fn deliver_all(&self) -> Result<(), Problem> {
        while let Some(pack) = self.next().await {
            if let Err(problem) = self.deliver(&pack).await {
                self.shutdown.end_early(EndReason::Delivery);
                return Err(problem);
            }
        }
        Ok(())
    }

    async fn next(&self) -> Option<FinishedPack> {
        let mut packs = self.packs.lock().await;
        let (earlier, new) = &mut *packs;
        let next = match earlier.pop() {
            Some(pack) => Some(pack),
            // Ends with the store.
            None => new.recv().await,
        };
        next.filter(|_| !self.is_over())
    }

    fn is_over(&self) -> bool {
        self.shutdown.ended_by().is_some()
    }

    /// Runs the command for a pack until it succeeds, a few times at most.
    async fn deliver(&self, pack: &FinishedPack) -> Result<(), Problem> {
        let path = self.files.path(Some(pack.n));
        let variables = self.variables(pack, &path.display().to_string());
        let mut waits = WAITS.into_iter();
        self.note(&PackNote::Delivering { n: pack.n })?;
        loop {
            let command = &self.command.command;
            let failed = match run_noting_stderr(command, &variables, COMMAND_TIMEOUT).await {
                Ok(()) => return self.note(&PackNote::Delivered { n: pack.n }),
                Err(failed) => failed,
            };
            // The command of a run that was killed may go on, and remove it.
            if !path.exists() {
                tracing::warn!(
                    "{}: gone after {failed}; taken as delivered",
                    path.display()
                );
                return self.note(&PackNote::Delivered { n: pack.n });
            }
            let Some(wait) = waits.next() else {
                return Err(undelivered(path, failed));
            };
            tracing::info!("{}: {failed}; trying again", path.display());
            if !self.wait(wait).await {
                return Ok(());
            }
        }
    }

    /// Waits this long. Returns whether the run goes on.
    async fn wait(&self, time: Duration) -> bool {
        let over = async {
            while !self.is_over() {
                tokio::time::sleep(WAIT_STEP).await;
            }
        };
        tokio::time::timeout(time, over).await.is_err()
    }

    fn variables(&self, pack: &FinishedPack, path: &str) -> Vec<(String, Option<String>)> {
        let of_pack = [
            ("", path.to_owned()),
            ("_BYTES", pack.bytes.to_string()),
            ("_RECORDS", pack.records.to_string()),
            ("_SHA256", pack.sha256.to_string()),
        ];
        let added = of_pack.map(|(name, value)| (format!("FETCHALL_RUN_PACK{name}"), Some(value)));
        self.command
            .variables
            .iter()
            .cloned()
            .chain(added)
            .collect()
    }

    fn note(&self, note: &PackNote) -> Result<(), Problem> {
        let noted = self.notes.append(note);
        noted.map_err(|source| {
            let what = "the journal".to_owned();
            Problem::Report(ReportError { what, source })
        })
    }
}

/// Waits until all packs are delivered, or the run is aborted. Without a command there is nothing to
/// wait for.
pub(super) async fn end_of(delivery: Option<RunningDelivery>) -> Result<(), Problem> {
    let Some(RunningDelivery(task)) = delivery else {
        return Ok(());
    };
    task.await
        .unwrap_or_else(|error| Err(Problem::Internal(error.to_string())))
}

fn undelivered(path: PathBuf, cause: impl ToString) -> Problem {
    let cause = io::Error::other(cause.to_string());
    Problem::Save(SaveError::Delivery { path, cause })
}
