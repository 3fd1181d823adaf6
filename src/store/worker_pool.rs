//! Threads that work off orders: bodies are handed on to them, so that a slow disk holds up no
//! socket. The first one does most of the work, in batches; the others help when it can't keep
//! up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Orders that are taken at once.
const BATCH_ORDERS: usize = 256;
/// Bytes that may wait to be written, in KiB. What waits longer leaves the caches of the
/// processor: more would be slower, not only larger.
const QUEUE_KIB: usize = 4 * 1024;
/// Longest wait for room, and for a file to be opened: a disk that takes nothing for so long
/// hangs.
pub const DISK_TIMEOUT: Duration = Duration::from_secs(300);
/// Shortest time between two wakings: waking a thread costs as much as writing a small file,
/// and nobody sees 2 ms.
const WAKE_INTERVAL: Duration = Duration::from_millis(2);

/// What one thread does with its orders.
pub trait OrderHandler: Send + 'static {
    /// What it is told to do.
    type Order: Send + 'static;

    /// Does it.
    fn carry_out(&mut self, order: Self::Order);

    /// There is nothing more to do for the moment.
    fn end_of_batch(&mut self) {}
}

/// What a thread is sent.
enum WorkerMessage<O> {
    /// An order, with the room that its bytes take.
    Order(O, Option<OwnedSemaphorePermit>),
    /// Everything before this is to be done.
    Flush(oneshot::Sender<()>),
}

type WorkerQueue<O> = mpsc::UnboundedSender<WorkerMessage<O>>;

/// The threads. They end when this is dropped and their queues are empty.
pub struct WorkerPool<O> {
    queues: Vec<(WorkerQueue<O>, Arc<AtomicUsize>)>,
    /// So many orders may wait for a thread before the next one helps.
    busy: usize,
    room: Arc<Semaphore>,
    /// Nothing more is to be done.
    stopped: Arc<AtomicBool>,
}

impl<O: Send + 'static> WorkerPool<O> {
    /// Starts a thread for each hand; the next one helps when more than `busy` orders wait.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(
        name: &str,
        busy: usize,
        hands: impl IntoIterator<Item = impl OrderHandler<Order = O>>,
    ) -> io::Result<Self> {
        let mut queues = Vec::new();
        let stopped = Arc::new(AtomicBool::new(false));
        for hand in hands {
            let (sender, tasks) = mpsc::unbounded_channel();
            let waiting = Arc::new(AtomicUsize::new(0));
            queues.push((sender, Arc::clone(&waiting)));
            let stopped = Arc::clone(&stopped);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(hand, tasks, &waiting, &stopped))?;
        }
        let room = Arc::new(Semaphore::new(QUEUE_KIB));
        Ok(Self {
            queues,
            busy,
            room,
            stopped,
        })
    }

    /// The thread to be given the next order.
    pub fn pick_worker(&self) -> usize {
        let waiting = |queue: &(_, Arc<AtomicUsize>)| queue.1.load(Relaxed);
        let idle = self
            .queues
            .iter()
            .position(|queue| waiting(queue) < self.busy);
        idle.or_else(|| (0..self.queues.len()).min_by_key(|at| self.queues.get(*at).map(waiting)))
            .unwrap_or_default()
    }

    /// The thread for what has this number: always the same one, so that its orders stay in
    /// order.
    pub fn worker_for(&self, id: u64) -> usize {
        usize::try_from(id).unwrap_or_default() % self.queues.len().max(1)
    }

    /// Waits until there is room for so many bytes; `None` when the disk took nothing for minutes.
    pub async fn reserve_bytes(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from((bytes / 1024 + 1).min(QUEUE_KIB)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib);
        // The semaphore is never closed.
        tokio::time::timeout(DISK_TIMEOUT, room).await.ok()?.ok()
    }

    /// Hands an order to a thread. Those handed to one are carried out in their order.
    pub fn send_to(&self, to: usize, order: O, room: Option<OwnedSemaphorePermit>) {
        self.send(to, WorkerMessage::Order(order, room));
    }

    fn send(&self, to: usize, task: WorkerMessage<O>) {
        if let Some((queue, waiting)) = self.queues.get(to) {
            waiting.fetch_add(1, Relaxed);
            // The threads end only after their queues.
            let _ = queue.send(task);
        }
    }

    /// What waits is dropped from here on; what is being done goes on to its end.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Waits until everything handed in so far was done.
    pub async fn flush(&self) {
        let mut flushed = Vec::new();
        for thread in 0..self.queues.len() {
            let (sender, receiver) = oneshot::channel();
            self.send(thread, WorkerMessage::Flush(sender));
            flushed.push(receiver);
        }
        for receiver in flushed {
            // The threads end only after their queues. Where a disk hangs, an abort ends this wait
            // (see `close` of the stores).
            let _ = receiver.await;
        }
    }
}

fn run<H: OrderHandler>(
    mut hand: H,
    mut tasks: mpsc::UnboundedReceiver<WorkerMessage<H::Order>>,
    waiting: &AtomicUsize,
    stopped: &AtomicBool,
) {
    let mut batch = Vec::with_capacity(BATCH_ORDERS);
    let mut last = None::<Instant>;
    while tasks.blocking_recv_many(&mut batch, BATCH_ORDERS) > 0 {
        let mut flushed = Vec::new();
        for task in batch.drain(..) {
            match task {
                WorkerMessage::Order(order, room) => {
                    // A mistake costs one order, whose job then counts as left and ends the
                    // run with an error; the thread goes on, or the others would wait for ever.
                    if !stopped.load(Relaxed) {
                        let _ = catch_unwind(AssertUnwindSafe(|| hand.carry_out(order)));
                    }
                    drop(room);
                }
                WorkerMessage::Flush(sender) => flushed.push(sender),
            }
            waiting.fetch_sub(1, Relaxed);
        }
        hand.end_of_batch();
        for sender in flushed {
            let _ = sender.send(());
        }
        let rested = last.map_or(WAKE_INTERVAL, |last| last.elapsed());
        if rested < WAKE_INTERVAL && tasks.is_empty() && !tasks.is_closed() {
            std::thread::sleep(WAKE_INTERVAL - rested);
        }
        last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Notes what it is told, and when a batch ends.
    struct RecordingHandler(Arc<Mutex<Vec<u32>>>);

    impl OrderHandler for RecordingHandler {
        type Order = u32;

        fn carry_out(&mut self, order: u32) {
            self.0.lock().unwrap().push(order);
        }
    }

    #[tokio::test]
    async fn orders_of_one_number_stay_in_order_and_a_flush_waits_for_all() {
        let notes: Vec<_> = (0..3).map(|_| Arc::default()).collect();
        let crew = WorkerPool::start(
            "test",
            2,
            notes.iter().map(Arc::clone).map(RecordingHandler),
        )
        .unwrap();
        for n in 0..3000 {
            let room = crew.reserve_bytes(10).await;
            crew.send_to(crew.worker_for(u64::from(n)), n, room);
        }
        crew.flush().await;
        let all: Vec<_> = notes
            .iter()
            .flat_map(|notes| {
                let notes = notes.lock().unwrap();
                assert!(notes.is_sorted());
                notes.clone()
            })
            .collect();
        assert_eq!(all.len(), 3000);
        assert_eq!(
            crew.pick_worker(),
            0,
            "the first one, as long as it keeps up"
        );
        assert_eq!(crew.room.available_permits(), QUEUE_KIB);
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        struct StuckHandler;
        impl OrderHandler for StuckHandler {
            type Order = std::sync::mpsc::Receiver<()>;
            fn carry_out(&mut self, order: Self::Order) {
                let _ = order.recv();
            }
        }
        let crew = WorkerPool::start("test", 2, [StuckHandler]).unwrap();
        let (release, stuck) = std::sync::mpsc::channel();
        let room = crew.reserve_bytes(QUEUE_KIB * 1024).await;
        crew.send_to(0, stuck, room);
        let more = tokio::time::timeout(Duration::from_millis(50), crew.reserve_bytes(1)).await;
        assert!(more.is_err(), "there is no room");
        drop(release);
        crew.reserve_bytes(1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_disk_that_hangs_ends() {
        struct IdleHandler;
        impl OrderHandler for IdleHandler {
            type Order = ();
            fn carry_out(&mut self, (): ()) {}
        }
        let crew = WorkerPool::start("test", 2, [IdleHandler]).unwrap();
        let all = crew.reserve_bytes(QUEUE_KIB * 1024).await.unwrap();
        assert!(crew.reserve_bytes(1).await.is_none());
        drop(all);
        assert!(crew.reserve_bytes(1).await.is_some());
    }
}
