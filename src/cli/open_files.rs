//! Checks before a run that the limit on open files suffices for it.

#[cfg(unix)]
use super::convert::is_file;
#[cfg(unix)]
use super::fd_limit::free_descriptors;
#[cfg(unix)]
use super::pack_names::is_series;
use super::{Cli, EarlySignals};

/// Descriptors of the runtime, some of which are opened where a failure cannot be reported, and
/// those of the signal thread.
#[cfg(unix)]
const RUNTIME_DESCRIPTORS: usize = 4 + 4;
/// Descriptors of the runtime of each further thread.
#[cfg(unix)]
const THREAD_DESCRIPTORS: usize = 4;
/// The output directory, that of unfinished files, the lock and the journal.
#[cfg(unix)]
const FOLDER_DESCRIPTORS: usize = 4;
/// The pack and its journal.
#[cfg(unix)]
const PACK_DESCRIPTORS: usize = 2;
/// Of a series: the pack that is being finished, open twice, and its index.
#[cfg(unix)]
const SERIES_DESCRIPTORS: usize = 3;
/// Two commands for finished packs: their output, and both ends of a pipe.
#[cfg(unix)]
const DELIVERY_DESCRIPTORS: usize = 2 * 3;
/// One body being saved while the next one arrives: its file and the directory of that.
#[cfg(unix)]
const SAVING_DESCRIPTORS: usize = 2;
/// The practice server: its listener and its end of a connection.
#[cfg(unix)]
const DEMO_DESCRIPTORS: usize = 2;
/// A command at the end: starting it takes more than the connection that is closed by then.
#[cfg(unix)]
const COMMAND_DESCRIPTORS: usize = 1;

/// Returns the limit on open files that this run needs at least, if the current one is lower.
#[cfg(unix)]
pub(crate) fn lacking_descriptors(cli: &Cli, early: &EarlySignals) -> Option<usize> {
    let needed = early.missing_descriptors() + needed_descriptors(cli);
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let missing = needed - free_descriptors(needed);
    // Inherited descriptors may have numbers above the limit.
    let unused = (allowed..).filter(|number| !is_open(*number));
    let last = unused.take(missing).last()?;
    usize::try_from(last).ok()?.checked_add(1)
}

/// Whether a descriptor is open. Opens none itself.
#[cfg(unix)]
fn is_open(number: u64) -> bool {
    std::fs::symlink_metadata(format!("/dev/fd/{number}")).is_ok()
}

/// Returns `None`: other systems have no such limit.
#[cfg(not(unix))]
pub fn lacking_descriptors(_: &Cli, _: &EarlySignals) -> Option<usize> {
    None
}

/// The descriptors that a run has open at once, with a single connection.
#[cfg(unix)]
fn needed_descriptors(cli: &Cli) -> usize {
    let lists = cli.inputs.iter().filter(|input| is_file(input)).count();
    let files = [
        &cli.saving.journal,
        &cli.failed,
        &cli.report,
        &cli.summary_json,
    ];
    let store = match (&cli.saving.output_dir, &cli.saving.pack) {
        (Some(_), _) => FOLDER_DESCRIPTORS + SAVING_DESCRIPTORS,
        (_, Some(pack)) => {
            let series = if is_series(pack) {
                SERIES_DESCRIPTORS
            } else {
                0
            };
            let delivery = cli.saving.pack_done.as_ref();
            let delivery = delivery.map_or(0, |_| DELIVERY_DESCRIPTORS);
            PACK_DESCRIPTORS + SAVING_DESCRIPTORS + series + delivery
        }
        _ => 0,
    };
    let demo = if cli.demo { DEMO_DESCRIPTORS } else { 0 };
    let command = cli
        .notification
        .notify_cmd
        .as_ref()
        .map_or(0, |_| COMMAND_DESCRIPTORS);
    let files = files.into_iter().flatten().count();
    let threads = cli.threads.number(cli.concurrency).get() - 1;
    RUNTIME_DESCRIPTORS + threads * THREAD_DESCRIPTORS + lists + files + store + demo + command + 1
}
