//! The thread that feeds the reporters.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Reporter;
use super::reorder::ReorderBuffer;
use crate::model::{EndReason, EngineEvent, EventReturnQueue, Outcome, ReorderWindow, Summary};

/// Events that may wait for the reporters.
const QUEUE_EVENTS: usize = 256;
/// And with bodies in them, which may have megabytes.
const QUEUE_BODIES: usize = 16;
/// Shortest time between two wakings. Waking a thread costs as much as writing several
/// records, so at high rates records are taken in batches; nobody sees 2 ms.
const WAKE_INTERVAL: Duration = Duration::from_millis(2);
/// How long a stuck reporter is waited for once the run is to end at once.
const STUCK_TIMEOUT: Duration = Duration::from_millis(500);

/// A reporter that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {what}: {source}")]
pub struct ReportError {
    /// What was being written.
    pub what: String,
    /// Why it failed.
    pub source: io::Error,
}

/// What the pump knows at its end.
#[derive(Debug, Default)]
pub struct PumpEnd {
    /// The counts of what was reported; the rest of the summary is not its business.
    pub summary: Summary,
    /// The first reporter that failed.
    pub error: Option<ReportError>,
    /// Whether that was a journal: nothing counts as saved any more then.
    is_journal_broken: bool,
}

/// A named reporter.
type NamedReporter = (String, Box<dyn Reporter>);

/// The thread that feeds the reporters.
pub struct Pump {
    /// Told of everything as it comes, before anybody else is.
    journals: Vec<NamedReporter>,
    reporters: Vec<NamedReporter>,
    attach_bodies: bool,
    order: Option<ReorderBuffer>,
    failed: CancellationToken,
    end: PumpEnd,
    reported: ReportedCounts,
    /// Reported since the last flush.
    passed: Vec<EngineEvent>,
    spent: EventReturnQueue,
}

/// A pump at work.
pub struct RunningPump {
    ended: oneshot::Receiver<(Vec<NamedReporter>, PumpEnd)>,
    reported: ReportedCounts,
}

impl Pump {
    /// A pump that cancels `failed` when a reporter can't go on. With `attach_bodies`
    /// the records carry the bodies.
    #[must_use]
    pub fn new(failed: CancellationToken, attach_bodies: bool) -> Self {
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

    /// Where events are to be dropped after they were reported.
    #[must_use]
    pub fn spent(&self) -> EventReturnQueue {
        self.spent.clone()
    }

    /// Everything is reported in input order; credits go back to `window`.
    pub fn set_ordered(&mut self, window: ReorderWindow) {
        self.order = Some(ReorderBuffer::new(window));
    }

    /// Adds one that is told first, of a whole batch, and flushed before the others are told:
    /// what they say has been written down then. It gets things as they come, whatever the
    /// order of the others, and no bodies.
    pub fn add_journal(&mut self, what: impl Into<String>, reporter: Box<dyn Reporter>) {
        self.journals.push((what.into(), reporter));
    }

    /// Adds a reporter; `what` names it in errors.
    pub fn add(&mut self, what: impl Into<String>, reporter: Box<dyn Reporter>) {
        self.reporters.push((what.into(), reporter));
    }

    /// Starts the thread. It ends when every sender is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self) -> io::Result<(mpsc::Sender<EngineEvent>, RunningPump)> {
        let room = if self.attach_bodies {
            QUEUE_BODIES
        } else {
            QUEUE_EVENTS
        };
        let (sender, receiver) = mpsc::channel(room);
        let (end, ended) = oneshot::channel();
        let reported = self.reported.clone();
        std::thread::Builder::new()
            .name("report".into())
            .spawn(move || {
                // If this thread breaks down, nobody may go on fetching for nothing.
                let alarm = self.failed.clone().drop_guard();
                let ended = self.run(receiver);
                alarm.disarm();
                // Nobody waits any more when the wait was cut short.
                let _ = end.send(ended);
            })?;
        Ok((sender, RunningPump { ended, reported }))
    }

    fn run(mut self, mut events: mpsc::Receiver<EngineEvent>) -> (Vec<NamedReporter>, PumpEnd) {
        let mut batch = Vec::with_capacity(QUEUE_EVENTS);
        let mut last = None::<Instant>;
        while events.blocking_recv_many(&mut batch, QUEUE_EVENTS) > 0 {
            self.append_journals(&batch);
            for event in batch.drain(..) {
                self.take(event);
            }
            self.flush();
            let rested = last.map_or(WAKE_INTERVAL, |last| last.elapsed());
            if rested < WAKE_INTERVAL && events.is_empty() && !events.is_closed() {
                std::thread::sleep(WAKE_INTERVAL - rested);
            }
            last = Some(Instant::now());
        }
        let rest = self.order.as_mut().map(ReorderBuffer::drain);
        for event in rest.into_iter().flatten() {
            self.deliver(event);
        }
        self.flush();
        (self.reporters, self.end)
    }

    /// Also when nobody wants the results any more: it has been done.
    fn append_journals(&mut self, events: &[EngineEvent]) {
        let told = each(&mut self.journals, |journal| {
            events
                .iter()
                .try_for_each(|event| journal.on_event(event))?;
            journal.flush()
        });
        if told.is_err() {
            self.journals.clear();
            self.end.is_journal_broken = self.end.error.is_none();
        }
        self.record_error(told);
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
            // Not reported: it counts as left.
            return;
        }
        if let EngineEvent::Settled(settled) = &mut event
            && let (true, Outcome::Fetched(fetched)) = (self.attach_bodies, &settled.outcome)
            && let Some(body) = &fetched.saved.body
        {
            let body = body.clone();
            settled.attach_body(&body);
        }
        let told = each(&mut self.reporters, |reporter| reporter.on_event(&event));
        self.record_error(told);
        if let (None, EngineEvent::Settled(settled)) = (&self.end.error, &event) {
            self.end.summary.count(&settled.outcome);
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
            let told = each(&mut self.reporters, |reporter| reporter.flush());
            self.record_error(told);
        }
        self.spent.give_back(&mut self.passed);
        let mut reported = self.reported.lock();
        if self.end.error.is_none() {
            reported.clone_from(&self.end.summary);
        } else {
            // What did not get out of the buffers was not reported.
            self.end.summary.clone_from(&reported);
        }
    }

    /// The first error ends the run.
    fn record_error(&mut self, told: Result<(), ReportError>) {
        if let (Err(error), None) = (told, &self.end.error) {
            self.end.error = Some(error);
            self.failed.cancel();
        }
    }
}

/// Tells one after another, up to the first that fails.
fn each(
    reporters: &mut [NamedReporter],
    mut tell: impl FnMut(&mut dyn Reporter) -> io::Result<()>,
) -> Result<(), ReportError> {
    reporters.iter_mut().try_for_each(|(what, reporter)| {
        tell(reporter.as_mut()).map_err(|source| ReportError {
            what: what.clone(),
            source,
        })
    })
}

impl RunningPump {
    /// Waits until everything has been reported, completes the summary with `complete` (which
    /// is told what went wrong), and lets the reporters finish with it.
    ///
    /// Once `hurry` is cancelled, a reporter that is stuck (its pipe is full and nobody
    /// reads) is waited for only a moment longer; what it holds counts as left.
    pub async fn finish(
        self,
        hurry: CancellationToken,
        complete: impl FnOnce(&mut Summary, Option<&ReportError>),
    ) -> PumpEnd {
        let impatience = async {
            hurry.cancelled().await;
            tokio::time::sleep(STUCK_TIMEOUT).await;
        };
        let (mut reporters, mut end) = tokio::select! {
            biased;
            ended = self.ended => ended.unwrap_or_else(|_| self.reported.broken("the reporting thread broke down")),
            () = impatience => self.reported.broken("nobody reads them"),
        };
        complete(&mut end.summary, end.error.as_ref());
        if end.is_journal_broken && end.summary.left > 0 {
            end.summary.ended_by.get_or_insert(EndReason::Disk);
        }
        let summary = end.summary.clone();
        // Not here: one that writes to a pipe waits for its reader.
        let finishing = tokio::task::spawn_blocking(move || {
            let mut told = Ok(());
            for (what, reporter) in &mut reporters {
                let finished = reporter.finish(&summary).map_err(|source| ReportError {
                    what: what.clone(),
                    source,
                });
                told = told.and(finished);
            }
            told
        });
        let told = finishing.await.unwrap_or_else(|error| {
            Err(ReportError {
                what: "the results".to_owned(),
                source: io::Error::other(error),
            })
        });
        end.error = end.error.or(told.err());
        end
    }
}

/// The counts of what has been written for sure.
#[derive(Debug, Clone, Default)]
struct ReportedCounts(Arc<Mutex<Summary>>);

impl ReportedCounts {
    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a pump that does not come to one.
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
