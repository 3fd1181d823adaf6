//! The thread that feeds the reporters. Journals come first; an error ends the run.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Reporter;
use super::reorder::ReorderBuffer;
use crate::model::{
    EndReason, EngineEvent, EventReturnQueue, Outcome, ReorderWindow, Summary, WakePacer,
    spawn_blocking, start_thread,
};

/// Maximum number of queued events.
const QUEUE_EVENTS: usize = 256;
/// The same if events carry bodies, which may have megabytes each.
const QUEUE_BODIES: usize = 16;
/// How long to wait for a stuck reporter once the run is to end immediately.
const STUCK_TIMEOUT: Duration = Duration::from_millis(500);

/// A reporter that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {what}: {source}")]
pub struct ReportError {
    /// What it was writing.
    pub what: String,
    /// Why it failed.
    pub source: io::Error,
}

/// The result of a pump.
#[derive(Debug, Default)]
pub(crate) struct PumpEnd {
    /// The counts of what was reported. Other fields of the summary are for the caller to fill in.
    pub summary: Summary,
    /// The error of the first reporter that failed.
    pub error: Option<ReportError>,
    /// Whether that reporter was a journal; nothing counts as saved from then on.
    is_journal_broken: bool,
}

/// A reporter and its name in errors.
type NamedReporter = (String, Box<dyn Reporter>);

/// Feeds events to reporters on a thread of its own.
pub(crate) struct Pump {
    /// Receive each batch before all other reporters.
    journals: Vec<NamedReporter>,
    reporters: Vec<NamedReporter>,
    attach_bodies: bool,
    order: Option<ReorderBuffer>,
    failed: CancellationToken,
    end: PumpEnd,
    reported: ReportedCounts,
    /// Events reported since the last flush.
    passed: Vec<EngineEvent>,
    spent: EventReturnQueue,
}

/// A pump whose thread is running.
pub(crate) struct RunningPump {
    ended: oneshot::Receiver<(Vec<NamedReporter>, PumpEnd)>,
    reported: ReportedCounts,
}

impl Pump {
    /// Creates a pump that cancels `failed` when a reporter fails. With `attach_bodies`, records
    /// include the bodies.
    #[must_use]
    pub(crate) fn new(failed: CancellationToken, attach_bodies: bool) -> Self {
        Self {
            journals: Vec::new(),
            reporters: Vec::new(),
            attach_bodies,
            order: None,
            failed,
            end: PumpEnd::default(),
            reported: ReportedCounts::default(),
            passed: Vec::new(),
            spent: EventReturnQueue::default(),
        }
    }

    /// Returns the queue to which reported events are returned to be dropped.
    #[must_use]
    pub(crate) fn spent(&self) -> EventReturnQueue {
        self.spent.clone()
    }

    /// Reports in input order and returns credits to `window`. Journals are not affected.
    pub(crate) fn set_ordered(&mut self, window: ReorderWindow) {
        self.order = Some(ReorderBuffer::new(window));
    }

    /// Adds a journal. It receives and flushes a whole batch before the other reporters see it, so
    /// everything they report has been journaled. It gets events in the order in which they settle,
    /// even with [`set_ordered`](Self::set_ordered), and without bodies.
    pub(crate) fn add_journal(&mut self, what: impl Into<String>, reporter: Box<dyn Reporter>) {
        self.journals.push((what.into(), reporter));
    }

    /// Adds a reporter; errors call its output `what`.
    pub(crate) fn add(&mut self, what: impl Into<String>, reporter: Box<dyn Reporter>) {
        self.reporters.push((what.into(), reporter));
    }

    /// Starts the thread. It ends when all senders are dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(self) -> io::Result<(mpsc::Sender<EngineEvent>, RunningPump)> {
        let capacity = if self.attach_bodies {
            QUEUE_BODIES
        } else {
            QUEUE_EVENTS
        };
        let (sender, receiver) = mpsc::channel(capacity);
        let (end, ended) = oneshot::channel();
        let reported = self.reported.clone();
        #[cfg(test)]
        if crate::model::is_virtual() {
            tokio::spawn(async move {
                let stop_guard = self.failed.clone().drop_guard();
                let ended = self.run_as_task(receiver).await;
                stop_guard.disarm();
                let _ = end.send(ended);
            });
            return Ok((sender, RunningPump { ended, reported }));
        }
        start_thread("report", move || {
            // If this thread panics, stop fetching: nothing would be reported.
            let stop_guard = self.failed.clone().drop_guard();
            let ended = self.run(receiver);
            stop_guard.disarm();
            // The receiver is gone if `finish` timed out.
            let _ = end.send(ended);
        })?;
        Ok((sender, RunningPump { ended, reported }))
    }

    fn run(mut self, mut events: mpsc::Receiver<EngineEvent>) -> (Vec<NamedReporter>, PumpEnd) {
        let mut batch = Vec::with_capacity(QUEUE_EVENTS);
        let mut pacer = WakePacer::default();
        while events.blocking_recv_many(&mut batch, QUEUE_EVENTS) > 0 {
            self.report(&mut batch);
            pacer.rest_if(|| events.is_empty() && !events.is_closed());
        }
        self.end()
    }

    /// Does what [`run`](Self::run) does, in a simulated run.
    #[cfg(test)]
    async fn run_as_task(
        mut self,
        mut events: mpsc::Receiver<EngineEvent>,
    ) -> (Vec<NamedReporter>, PumpEnd) {
        let mut batch = Vec::new();
        while events.recv_many(&mut batch, QUEUE_EVENTS).await > 0 {
            self.report(&mut batch);
        }
        self.end()
    }

    fn report(&mut self, batch: &mut Vec<EngineEvent>) {
        self.append_journals(batch);
        for event in batch.drain(..) {
            self.take(event);
        }
        self.flush();
    }

    fn end(mut self) -> (Vec<NamedReporter>, PumpEnd) {
        let rest = self.order.as_mut().map(ReorderBuffer::drain);
        for event in rest.into_iter().flatten() {
            self.deliver(event);
        }
        self.flush();
        self.journals.append(&mut self.reporters);
        (self.journals, self.end)
    }

    /// Continues after an error of another reporter: the jobs are done all the same.
    fn append_journals(&mut self, events: &[EngineEvent]) {
        let result = try_each(&mut self.journals, |journal| {
            events
                .iter()
                .try_for_each(|event| journal.on_event(event))?;
            journal.flush()
        });
        if result.is_err() {
            self.journals.clear();
            self.end.is_journal_broken = self.end.error.is_none();
        }
        self.record_error(result);
    }

    fn take(&mut self, event: EngineEvent) {
        match (&mut self.order, event) {
            (Some(order), EngineEvent::Settled(settled)) => order.insert(settled),
            (_, event) => return self.deliver(event),
        }
        while let Some(event) = self.order.as_mut().and_then(ReorderBuffer::pop_ready) {
            self.deliver(event);
        }
    }

    fn deliver(&mut self, mut event: EngineEvent) {
        if self.end.error.is_some() {
            // Not reported, so it counts as left.
            return;
        }
        if let EngineEvent::Settled(settled) = &mut event
            && let (true, Outcome::Fetched(fetched)) = (self.attach_bodies, &settled.outcome)
            && let Some(body) = &fetched.saved.body
        {
            let body = body.clone();
            settled.attach_body(&body);
        }
        let result = try_each(&mut self.reporters, |reporter| reporter.on_event(&event));
        self.record_error(result);
        if let (None, EngineEvent::Settled(settled)) = (&self.end.error, &event) {
            self.end.summary.count(&settled.outcome);
            self.end.summary.simulated += u64::from(settled.record.simulated);
            self.end.summary.count_change(settled.record.change);
        }
        if let EngineEvent::Settled(settled) = &mut event
            && !self.attach_bodies
        {
            settled.forget_json();
            settled.forget_heavy_line();
            self.passed.push(event);
        }
    }

    fn flush(&mut self) {
        if self.end.error.is_none() {
            let result = try_each(&mut self.reporters, |reporter| reporter.flush());
            self.record_error(result);
        }
        self.spent.give_back(&mut self.passed);
        let mut reported = self.reported.lock();
        if self.end.error.is_none() {
            reported.clone_from(&self.end.summary);
        } else {
            // Records still in buffers were not reported.
            self.end.summary.clone_from(&reported);
        }
    }

    /// Keeps the first error, which ends the run.
    fn record_error(&mut self, result: Result<(), ReportError>) {
        if let (Err(error), None) = (result, &self.end.error) {
            self.end.error = Some(error);
            self.failed.cancel();
        }
    }
}

/// Calls each reporter in turn until one fails.
fn try_each(
    reporters: &mut [NamedReporter],
    mut call: impl FnMut(&mut dyn Reporter) -> io::Result<()>,
) -> Result<(), ReportError> {
    reporters.iter_mut().try_for_each(|(what, reporter)| {
        call(reporter.as_mut()).map_err(|source| ReportError {
            what: what.clone(),
            source,
        })
    })
}

impl RunningPump {
    /// Waits until all events have been reported, completes the summary with `complete` (which gets
    /// the error, if any), and finishes the reporters with it.
    ///
    /// Once `hurry` is cancelled, waits only [`STUCK_TIMEOUT`] longer for a stuck reporter, such as
    /// one whose pipe is full and not being read. Its unwritten records count as left.
    pub(crate) async fn finish(
        self,
        hurry: CancellationToken,
        complete: impl FnOnce(&mut Summary, Option<&ReportError>),
    ) -> PumpEnd {
        let timeout = async {
            hurry.cancelled().await;
            tokio::time::sleep(STUCK_TIMEOUT).await;
        };
        let (mut reporters, mut end) = tokio::select! {
            biased;
            ended = self.ended => ended.unwrap_or_else(|_| self.reported.broken("the reporter thread panicked")),
            () = timeout => self.reported.broken("the output is not being read"),
        };
        complete(&mut end.summary, end.error.as_ref());
        if end.error.is_some() && end.summary.left > 0 {
            let broken = match end.is_journal_broken {
                true => EndReason::Disk,
                false => EndReason::Output,
            };
            end.summary.ended_by.get_or_insert(broken);
        }
        let summary = end.summary.clone();
        // On a blocking thread, since a reporter may wait for the reader of a pipe.
        let finishing = spawn_blocking(move || {
            let mut result = Ok(());
            for (what, reporter) in &mut reporters {
                let finished = reporter.finish(&summary).map_err(|source| ReportError {
                    what: what.clone(),
                    source,
                });
                result = result.and(finished);
            }
            result
        });
        let result = finishing.await.unwrap_or_else(|error| {
            Err(ReportError {
                what: "the results".to_owned(),
                source: io::Error::other(error),
            })
        });
        end.error = end.error.or(result.err());
        end
    }
}

/// The counts of records that have been flushed.
#[derive(Debug, Clone, Default)]
struct ReportedCounts(Arc<Mutex<Summary>>);

impl ReportedCounts {
    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the end of a pump whose thread cannot return one.
    fn broken(&self, why: &str) -> (Vec<NamedReporter>, PumpEnd) {
        let end = PumpEnd {
            summary: self.lock().clone(),
            error: Some(ReportError {
                what: "the results".to_owned(),
                source: io::Error::other(why),
            }),
            is_journal_broken: false,
        };
        (Vec::new(), end)
    }
}
