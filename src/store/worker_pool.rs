//! Threads that write bodies, so that a slow disk does not block sockets. The first thread does
//! most of the work, in batches; the others help when it cannot keep up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::model::{WakePacer, start_thread};

/// Maximum number of orders per batch.
const BATCH_ORDERS: usize = 256;
/// Maximum size of queued bodies, in KiB. A longer queue would not only take more memory, but also
/// be slower, because queued bytes would drop out of the CPU caches.
const QUEUE_KIB: usize = 4 * 1024;
/// Maximum wait for space in the queue, and for a file to be opened. A disk that makes no progress
/// for this long hangs.
pub(super) const DISK_TIMEOUT: Duration = Duration::from_secs(300);

/// Carries out the orders of one thread.
pub(crate) trait OrderHandler: Send + 'static {
    /// The type of its orders.
    type Order: Send + 'static;

    /// Carries out an order.
    fn carry_out(&mut self, order: Self::Order);

    /// Called after each batch of orders.
    fn end_of_batch(&mut self) {}
}

/// A message to a thread.
enum WorkerMessage<O> {
    /// An order, with the queue space that its bytes take.
    Order(O, Option<OwnedSemaphorePermit>),
    /// A request for a signal once everything before it is done.
    Flush(oneshot::Sender<()>),
}

type WorkerQueue<O> = mpsc::UnboundedSender<WorkerMessage<O>>;

/// A pool of threads. They end when the pool is dropped and their queues are empty.
pub(crate) struct WorkerPool<O> {
    queues: Vec<(WorkerQueue<O>, Arc<AtomicUsize>)>,
    /// Number of queued orders from which a thread counts as busy and the next one helps.
    busy: usize,
    /// One permit per KiB.
    space: Arc<Semaphore>,
    /// Set when queued orders are to be dropped.
    stopped: Arc<AtomicBool>,
}

impl<O: Send + 'static> WorkerPool<O> {
    /// Starts a thread per handler. A thread with `busy` queued orders is busy; the next one then
    /// helps.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(crate) fn start(
        name: &str,
        busy: usize,
        handlers: impl IntoIterator<Item = impl OrderHandler<Order = O>>,
    ) -> io::Result<Self> {
        let mut queues = Vec::new();
        let stopped = Arc::new(AtomicBool::new(false));
        for handler in handlers {
            let (sender, tasks) = mpsc::unbounded_channel();
            let waiting = Arc::new(AtomicUsize::new(0));
            queues.push((sender, Arc::clone(&waiting)));
            let stopped = Arc::clone(&stopped);
            start_thread(name, move || run(handler, tasks, &waiting, &stopped))?;
        }
        let space = Arc::new(Semaphore::new(QUEUE_KIB));
        Ok(Self {
            queues,
            busy,
            space,
            stopped,
        })
    }

    /// Returns the first thread that is not busy, or else the one with the shortest queue.
    pub(crate) fn pick_worker(&self) -> usize {
        let waiting = |queue: &(_, Arc<AtomicUsize>)| queue.1.load(Relaxed);
        let idle = self
            .queues
            .iter()
            .position(|queue| waiting(queue) < self.busy);
        idle.or_else(|| (0..self.queues.len()).min_by_key(|at| self.queues.get(*at).map(waiting)))
            .unwrap_or_default()
    }

    /// Returns the thread with the shortest queue; the first one, which does most of the work, only
    /// if all others are longer.
    pub(crate) fn pick_idle(&self) -> usize {
        let waiting = |at: &usize| self.queues.get(*at).map(|queue| queue.1.load(Relaxed));
        (0..self.queues.len())
            .rev()
            .min_by_key(waiting)
            .unwrap_or_default()
    }

    /// Returns the thread for an id, always the same one, so that orders for one id stay in order.
    pub(crate) fn worker_for(&self, id: u64) -> usize {
        usize::try_from(id).unwrap_or_default() % self.queues.len().max(1)
    }

    /// Reserves queue space for `bytes` bytes; `None` if none is free within [`DISK_TIMEOUT`].
    pub(crate) async fn reserve_bytes(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from((bytes / 1024 + 1).min(QUEUE_KIB)).unwrap_or(u32::MAX);
        // There is nearly always space, and a wait with a timeout costs a timer.
        if let Ok(permit) = Arc::clone(&self.space).try_acquire_many_owned(kib) {
            return Some(permit);
        }
        let permit = Arc::clone(&self.space).acquire_many_owned(kib);
        // The semaphore is never closed.
        tokio::time::timeout(DISK_TIMEOUT, permit).await.ok()?.ok()
    }

    /// Sends an order to a thread. Each thread carries out its orders in sequence.
    pub(crate) fn send_to(&self, to: usize, order: O, permit: Option<OwnedSemaphorePermit>) {
        self.send(to, WorkerMessage::Order(order, permit));
    }

    fn send(&self, to: usize, task: WorkerMessage<O>) {
        if let Some((queue, waiting)) = self.queues.get(to) {
            waiting.fetch_add(1, Relaxed);
            // The threads outlive their queues.
            let _ = queue.send(task);
        }
    }

    /// Drops all queued orders. Orders being carried out are completed.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Waits until all orders sent so far have been carried out.
    pub(crate) async fn flush(&self) {
        let mut flushed = Vec::new();
        for thread in 0..self.queues.len() {
            let (sender, receiver) = oneshot::channel();
            self.send(thread, WorkerMessage::Flush(sender));
            flushed.push(receiver);
        }
        for receiver in flushed {
            // The threads outlive their queues. If a disk hangs, an abort ends this wait (see
            // `close` of the stores).
            let _ = receiver.await;
        }
    }
}

fn run<H: OrderHandler>(
    mut handler: H,
    mut tasks: mpsc::UnboundedReceiver<WorkerMessage<H::Order>>,
    waiting: &AtomicUsize,
    stopped: &AtomicBool,
) {
    let mut batch = Vec::with_capacity(BATCH_ORDERS);
    let mut pacer = WakePacer::default();
    while tasks.blocking_recv_many(&mut batch, BATCH_ORDERS) > 0 {
        let mut flushed = Vec::new();
        for task in batch.drain(..) {
            match task {
                WorkerMessage::Order(order, permit) => {
                    // A panic costs one order. Its job counts as left, which ends the run with an
                    // error. The thread must survive, or the other orders would wait forever.
                    if !stopped.load(Relaxed) {
                        let _ = catch_unwind(AssertUnwindSafe(|| handler.carry_out(order)));
                    }
                    drop(permit);
                }
                WorkerMessage::Flush(sender) => flushed.push(sender),
            }
            waiting.fetch_sub(1, Relaxed);
        }
        handler.end_of_batch();
        for sender in flushed {
            let _ = sender.send(());
        }
        pacer.rest_if(|| tasks.is_empty() && !tasks.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Records its orders.
    struct RecordingHandler(Arc<Mutex<Vec<u32>>>);

    impl OrderHandler for RecordingHandler {
        type Order = u32;

        fn carry_out(&mut self, order: u32) {
            self.0.lock().unwrap().push(order);
        }
    }

    #[tokio::test]
    async fn orders_for_one_id_stay_in_order_and_a_flush_waits_for_all() {
        let notes: Vec<_> = (0..3).map(|_| Arc::default()).collect();
        let pool = WorkerPool::start(
            "test",
            2,
            notes.iter().map(Arc::clone).map(RecordingHandler),
        )
        .unwrap();
        for n in 0..3000 {
            let permit = pool.reserve_bytes(10).await;
            pool.send_to(pool.worker_for(u64::from(n)), n, permit);
        }
        pool.flush().await;
        let all: Vec<_> = notes
            .iter()
            .flat_map(|notes| {
                let notes = notes.lock().unwrap();
                assert!(notes.is_sorted());
                notes.clone()
            })
            .collect();
        assert_eq!(all.len(), 3000);
        assert_eq!(pool.pick_worker(), 0, "the first thread while it keeps up");
        assert_eq!(pool.pick_idle(), 2, "not the one that is picked first");
        assert_eq!(pool.space.available_permits(), QUEUE_KIB);
    }

    #[tokio::test]
    async fn queued_bytes_are_bounded() {
        struct StuckHandler;
        impl OrderHandler for StuckHandler {
            type Order = std::sync::mpsc::Receiver<()>;
            fn carry_out(&mut self, order: Self::Order) {
                let _ = order.recv();
            }
        }
        let pool = WorkerPool::start("test", 2, [StuckHandler]).unwrap();
        let (release, stuck) = std::sync::mpsc::channel();
        let permit = pool.reserve_bytes(QUEUE_KIB * 1024).await;
        pool.send_to(0, stuck, permit);
        let more = tokio::time::timeout(Duration::from_millis(50), pool.reserve_bytes(1)).await;
        assert!(more.is_err(), "the queue is full");
        drop(release);
        pool.reserve_bytes(1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_disk_that_hangs_ends() {
        struct IdleHandler;
        impl OrderHandler for IdleHandler {
            type Order = ();
            fn carry_out(&mut self, (): ()) {}
        }
        let pool = WorkerPool::start("test", 2, [IdleHandler]).unwrap();
        let all = pool.reserve_bytes(QUEUE_KIB * 1024).await.unwrap();
        assert!(pool.reserve_bytes(1).await.is_none());
        drop(all);
        assert!(pool.reserve_bytes(1).await.is_some());
    }
}
