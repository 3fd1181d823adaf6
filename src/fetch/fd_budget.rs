//! Keeps the number of connections within the limit on open files.
//!
//! Each connection takes a file descriptor, including idle ones in the pool, and the client does
//! not expose how many it has. The system assigns the lowest free descriptor, so the highest one
//! assigned so far is an upper bound on the number of open ones, and costs nothing to know. They
//! are counted only when this bound is near the limit.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{DESCRIPTOR_TIMEOUT, WireState, allowed_descriptors, is_out_of_descriptors};

/// Descriptors reserved for everything else: files, DNS lookups, a second connection attempt over
/// the other address family.
const HEADROOM: usize = 64;
/// Interval between checks while waiting for a descriptor.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Wait after which a connection may also take half of the headroom: files that were opened since
/// the first connection stay open.
const HEADROOM_AFTER: Duration = Duration::from_millis(100);
/// Wait after which a connection may take everything but [`RESERVE`].
const ALL_AFTER: Duration = Duration::from_secs(5);
/// Descriptors that connections never take while one of them is open, because saving its body may
/// need them. A lone connection may take the last descriptor: no other one would ever be freed.
const RESERVE: usize = 2;
/// How long a count of the open descriptors is reused. Counting looks at every one of them.
const COUNT_TTL: Duration = Duration::from_millis(10);

/// No descriptor became free for a connection in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no free file descriptor within {} s", limit.as_secs())]
pub(super) struct FdWaitError {
    /// The limit on the wait.
    limit: Duration,
}

/// Returns how many concurrent requests the limit on open files allows, in addition to the files
/// that are open now. `None` if there is no limit.
#[must_use]
pub fn max_requests() -> Option<usize> {
    let (allowed, open) = (allowed_descriptors()?, count_open());
    Some(most_open(allowed, open).saturating_sub(open).max(1))
}

/// Returns how many descriptors may be open, including that of the next connection. At least one
/// connection is always possible, or the run would make no progress.
fn most_open(allowed: usize, open: usize) -> usize {
    (allowed - headroom(allowed)).max((open + 1).min(allowed))
}

fn headroom(allowed: usize) -> usize {
    HEADROOM.min(allowed / 4)
}

/// The share of used descriptors above which connections are no longer kept alive.
const SCARCE_SHARE: (usize, usize) = (3, 4);

/// Limits connections to the available descriptors: new ones wait until one is free.
#[derive(Debug, Clone)]
pub(super) struct FdBudget {
    /// Determined at the first connection, when output files, threads and signals already have
    /// their descriptors.
    limits: Arc<OnceLock<FdLimits>>,
    /// Maximum wait for a descriptor.
    timeout: Duration,
    /// Connections being made, which may not have their descriptors yet.
    coming: Arc<AtomicUsize>,
    /// Connections waiting for a descriptor.
    waiting: Arc<AtomicUsize>,
    /// The highest descriptor seen to be the lowest free one.
    highest: Arc<AtomicUsize>,
    /// Number of open descriptors, and when they were counted.
    counted: Arc<Mutex<Option<(Instant, usize)>>>,
    /// Connections made since that count.
    made: Arc<AtomicUsize>,
}

/// The descriptors of this process.
#[derive(Debug, Clone, Copy)]
struct FdLimits {
    /// How many may be open, with that of the next connection; `None` if there is no limit.
    most: Option<usize>,
    /// Half of `spare`.
    half: usize,
    /// The headroom beyond `most`, without [`RESERVE`].
    spare: usize,
    /// How many were open at the first connection.
    others: usize,
    /// How many of these were sockets.
    sockets: usize,
}

impl FdLimits {
    fn of_system() -> Self {
        let (allowed, others) = (allowed_descriptors(), count_open());
        let most = allowed.map(|allowed| most_open(allowed, others));
        let beyond = allowed.zip(most).map(|(allowed, most)| allowed - most);
        let spare = beyond.unwrap_or(0).saturating_sub(RESERVE);
        Self {
            most,
            half: spare / 2,
            spare,
            others,
            sockets: open_sockets().count(),
        }
    }
}

/// The right to make one connection. Dropping it counts the connection as made.
#[derive(Debug)]
pub(super) struct FdPermit {
    made: Arc<AtomicUsize>,
    _coming: CountGuard,
}

impl Drop for FdPermit {
    fn drop(&mut self) {
        self.made.fetch_add(1, Relaxed);
    }
}

/// Increments a counter for as long as it lives.
#[derive(Debug)]
struct CountGuard(Arc<AtomicUsize>);

impl FdBudget {
    /// Creates a budget. The limit of this process is read at the first connection.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            limits: Arc::default(),
            timeout: DESCRIPTOR_TIMEOUT,
            waiting: Arc::default(),
            coming: Arc::default(),
            highest: Arc::default(),
            counted: Arc::default(),
            made: Arc::default(),
        }
    }

    fn limits(&self) -> FdLimits {
        *self.limits.get_or_init(FdLimits::of_system)
    }

    /// Waits until a descriptor is available for a connection.
    ///
    /// # Errors
    /// When none becomes available within [`DESCRIPTOR_TIMEOUT`].
    pub(super) async fn acquire(&self, wire: Option<&WireState>) -> Result<FdPermit, FdWaitError> {
        let set_waiting = |is_waiting| {
            if let Some(wire) = wire {
                wire.set_waiting_for_fd(is_waiting);
            }
        };
        set_waiting(false);
        if let Some(permit) = self.try_acquire(0) {
            return Ok(permit);
        }
        let start = Instant::now();
        let _waiting = CountGuard::new(&self.waiting);
        set_waiting(true);
        tracing::debug!("waiting for a free file descriptor (ulimit -n)");
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let waited = start.elapsed();
            let spare = match self.limits() {
                _ if waited < HEADROOM_AFTER => 0,
                limits if waited < ALL_AFTER => limits.half,
                limits => limits.spare,
            };
            if let Some(permit) = self.try_acquire(spare) {
                set_waiting(false);
                return Ok(permit);
            }
            if waited >= self.timeout {
                set_waiting(false);
                let limit = self.timeout;
                return Err(FdWaitError { limit });
            }
        }
    }

    /// Waits for [`POLL_INTERVAL`] after the system had no descriptor for a connection.
    pub(super) async fn wait_before_resend(wire: &WireState) {
        wire.set_waiting_for_fd(true);
        tokio::time::sleep(POLL_INTERVAL).await;
    }

    /// Returns a permit if a descriptor is available. The connection may use up to `spare`
    /// descriptors of the headroom.
    fn try_acquire(&self, spare: usize) -> Option<FdPermit> {
        let coming = CountGuard::new(&self.coming);
        self.has_free(spare).then(|| FdPermit {
            made: Arc::clone(&self.made),
            _coming: coming,
        })
    }

    /// Whether so few descriptors are left that connections should be closed after their request.
    /// Idle connections take descriptors, too, and with many hosts few of them are used again.
    #[must_use]
    pub(super) fn is_scarce(&self) -> bool {
        let (part, whole) = SCARCE_SHARE;
        self.limits().most.is_some_and(|most| {
            let few = most / whole * part;
            self.waiting.load(Relaxed) > 0
                || self.limits().others >= few
                || (self.highest.load(Relaxed) > few && self.count() > few)
        })
    }

    /// Returns the approximate number of open connections, or `None` if the system does not tell.
    #[must_use]
    pub(super) fn open_connections(&self) -> Option<usize> {
        let others = self.limits().others;
        (others > 0).then(|| self.count().saturating_sub(others))
    }

    fn has_free(&self, spare: usize) -> bool {
        let Some(most) = self.limits().most else {
            return true;
        };
        let most = most + spare;
        // If no descriptor is free, let the connection fail with the system's own error.
        let lowest = lowest_free().unwrap_or(most);
        let highest = self.highest.fetch_max(lowest, Relaxed).max(lowest);
        let coming = self.coming.load(Relaxed);
        highest + coming <= most || self.count() + coming <= most || (coming == 1 && self.is_lone())
    }

    /// Whether a descriptor is free and no connection is open that could free one by ending.
    fn is_lone(&self) -> bool {
        let before = self.limits().sockets;
        lowest_free().is_some() && open_sockets().nth(before).is_none()
    }

    /// Returns the number of open descriptors: a recent count plus the connections made since.
    fn count(&self) -> usize {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        match *counted {
            Some((at, count)) if at.elapsed() < COUNT_TTL => count + self.made.load(Relaxed),
            _ => {
                self.made.store(0, Relaxed);
                let count = count_open();
                *counted = Some((Instant::now(), count));
                count
            }
        }
    }
}

impl CountGuard {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Returns the descriptor that the system would assign next, or `None` if none is left.
#[cfg(unix)]
fn lowest_free() -> Option<usize> {
    use std::os::fd::AsRawFd;
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).ok()?;
    usize::try_from(copy.as_raw_fd()).ok()
}

/// Counts the open descriptors of this process, without that of the directory it reads. Inherited
/// descriptors above the limit do not count against it. Returns 0 if they can't be listed;
/// connecting then fails when there are too many.
#[cfg(unix)]
fn count_open() -> usize {
    let allowed = allowed_descriptors().unwrap_or(usize::MAX);
    match std::fs::read_dir("/dev/fd") {
        Ok(open) => {
            let numbers = open
                .flatten()
                .filter_map(|entry| number(&entry.file_name()));
            numbers
                .filter(|number| *number < allowed)
                .count()
                .saturating_sub(1)
        }
        Err(error) if is_out_of_descriptors(&error) => allowed,
        Err(_) => 0,
    }
}

#[cfg(unix)]
fn number(name: &std::ffi::OsStr) -> Option<usize> {
    name.to_str()?.parse().ok()
}

/// Lists the open sockets of this process, as far as the system shows them.
#[cfg(unix)]
fn open_sockets() -> impl Iterator<Item = ()> {
    use std::os::unix::fs::FileTypeExt;
    let open = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let kinds = open.filter_map(|entry| std::fs::metadata(entry.path()).ok());
    kinds.filter(|meta| meta.file_type().is_socket()).map(drop)
}

/// Systems other than Unix have no such limit.
#[cfg(not(unix))]
fn lowest_free() -> Option<usize> {
    Some(0)
}

#[cfg(not(unix))]
fn count_open() -> usize {
    0
}

#[cfg(not(unix))]
fn open_sockets() -> impl Iterator<Item = ()> {
    std::iter::empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl FdBudget {
        fn with_most(most: usize, timeout: Duration) -> Self {
            let limits = FdLimits {
                most: Some(most),
                half: 0,
                spare: 0,
                others: 0,
                sockets: 0,
            };
            Self {
                limits: Arc::new(OnceLock::from(limits)),
                timeout,
                ..Self::new()
            }
        }
    }

    #[tokio::test]
    async fn a_connection_waits_until_another_one_ends() {
        // The margin is large because other tests open and close files at the same time.
        let descriptors = FdBudget::with_most(count_open() + 500, DESCRIPTOR_TIMEOUT);
        let wire = WireState::new(Instant::now());
        let mut permits = Vec::new();
        for _ in 0..400 {
            permits.push(descriptors.acquire(Some(&wire)).await.unwrap());
        }
        assert!(!wire.is_waiting_for_fd());
        let more = async {
            for _ in 0..200 {
                permits.push(descriptors.acquire(Some(&wire)).await.unwrap());
            }
        };
        let full = tokio::time::timeout(POLL_INTERVAL * 4, more).await;
        assert!(full.is_err(), "600 connections in 500 descriptors");
        assert!(wire.is_waiting_for_fd());
        permits.clear();
        descriptors.acquire(Some(&wire)).await.unwrap();
        assert!(!wire.is_waiting_for_fd());
        assert_eq!(descriptors.coming.load(Relaxed), 0);
    }

    #[test]
    fn a_gap_in_the_open_descriptors_does_not_count_as_available() {
        let files: Vec<_> = (0..200)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let descriptors = FdBudget::with_most(count_open() - 50, DESCRIPTOR_TIMEOUT);
        assert!(!descriptors.has_free(0), "200 files too many");
        drop(files);
        std::thread::sleep(COUNT_TTL);
        assert!(descriptors.has_free(0));
    }

    #[tokio::test]
    async fn a_wait_for_a_descriptor_ends() {
        let descriptors = FdBudget::with_most(1, POLL_INTERVAL * 2);
        let wire = WireState::new(Instant::now());
        let waited =
            tokio::time::timeout(Duration::from_secs(30), descriptors.acquire(Some(&wire)));
        let error = waited.await.expect("the wait ends").unwrap_err();
        assert!(error.to_string().starts_with("no free file descriptor"));
        assert!(!wire.is_waiting_for_fd());
        assert_eq!(descriptors.waiting.load(Relaxed), 0);
    }

    /// Files opened before the first connection do not count as connections.
    #[tokio::test]
    async fn the_limit_is_read_at_the_first_connection() {
        let descriptors = FdBudget::new();
        assert!(descriptors.limits.get().is_none());
        descriptors.acquire(None).await.unwrap();
        assert!(descriptors.limits.get().is_some());
    }

    #[test]
    fn headroom_is_kept_and_one_connection_is_always_possible() {
        assert_eq!((headroom(1024), headroom(100), headroom(3)), (64, 25, 0));
        assert_eq!(most_open(1024, 12), 960);
        assert_eq!((most_open(16, 12), most_open(16, 16)), (13, 16));
    }
}
