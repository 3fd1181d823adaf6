//! Room for another connection among the open files of this process.
//!
//! Each connection takes a descriptor, those that idle in the pool included, and their
//! number is nowhere to be seen. The system gives the lowest descriptor that is free, so the
//! highest it ever gave is a bound that costs nothing to know; only when that is near the
//! limit are the open ones counted.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{DESCRIPTOR_TIMEOUT, WireState, allowed_descriptors, is_out_of_descriptors};

/// Descriptors left for everything else: files, name look-ups, a second attempt at
/// connecting over the other address family.
const HEADROOM: usize = 64;
/// Time between two looks when there is no room.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A connection that has waited this long may take half of the headroom, too: files that were
/// opened since the first connection stay open.
const HEADROOM_AFTER: Duration = Duration::from_millis(100);
/// One that has waited this long may take nearly all that is left.
const ALL_AFTER: Duration = Duration::from_secs(5);
/// Descriptors that connections leave even then, as long as one of them is open: the bodies that
/// come over it may need them to be saved. A lone connection may take the last one, because nothing
/// would ever come free for it.
const RESERVE: usize = 2;
/// A count of the open descriptors holds for so long: it looks at every one of them.
const COUNT_TTL: Duration = Duration::from_millis(10);

/// No descriptor came free for a connection in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no open file was to be had for a connection within {} s", limit.as_secs())]
pub struct FdWaitError {
    /// The limit that passed.
    limit: Duration,
}

/// Requests that fit into what the system allows this process beside the files it has open
/// now; `None`: it sets no limit.
#[must_use]
pub fn max_requests() -> Option<usize> {
    let (allowed, open) = (allowed_descriptors()?, count_open());
    Some(most_open(allowed, open).saturating_sub(open).max(1))
}

/// Descriptors that may be open when another connection is made. There is always room for
/// one, or nothing would ever happen.
fn most_open(allowed: usize, open: usize) -> usize {
    (allowed - headroom(allowed)).max((open + 1).min(allowed))
}

fn headroom(allowed: usize) -> usize {
    HEADROOM.min(allowed / 4)
}

/// From this share of them on, connections are not kept for later.
const SCARCE_SHARE: (usize, usize) = (3, 4);

/// Counts connections that are being made, and lets new ones wait while there is no room.
#[derive(Debug, Clone)]
pub struct FdBudget {
    /// What the system allows, seen when the first connection is to be made: until then
    /// output files, threads and signals take theirs.
    limits: Arc<OnceLock<FdLimits>>,
    /// Longest wait for room.
    timeout: Duration,
    /// Connections being made; each may not have its descriptor yet.
    coming: Arc<AtomicUsize>,
    /// Those that wait for room.
    waiting: Arc<AtomicUsize>,
    /// The highest descriptor that was ever the lowest free one.
    highest: Arc<AtomicUsize>,
    /// The open descriptors when they were last counted.
    counted: Arc<Mutex<Option<(Instant, usize)>>>,
    /// Connections made since.
    made: Arc<AtomicUsize>,
}

/// The descriptors of this process.
#[derive(Debug, Clone, Copy)]
struct FdLimits {
    /// May be open when another connection is made; `None`: the system sets no limit.
    most: Option<usize>,
    /// Of the headroom beyond that, half.
    half: usize,
    /// Of the headroom beyond that, without the reserve.
    spare: usize,
    /// Were open when the first connection was made.
    others: usize,
    /// Sockets among them.
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

/// The right to make one connection. What was made of it is known once it is dropped.
#[derive(Debug)]
pub struct FdPermit {
    made: Arc<AtomicUsize>,
    _coming: CountGuard,
}

impl Drop for FdPermit {
    fn drop(&mut self) {
        self.made.fetch_add(1, Relaxed);
    }
}

/// One more in a count, as long as it lives.
#[derive(Debug)]
struct CountGuard(Arc<AtomicUsize>);

impl FdBudget {
    /// For the limit of this process as it is now.
    #[must_use]
    pub fn new() -> Self {
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

    /// Waits until there is room for a connection.
    ///
    /// # Errors
    /// When there was none for a minute.
    pub async fn acquire(&self, wire: Option<&WireState>) -> Result<FdPermit, FdWaitError> {
        let waits = |waits| {
            if let Some(wire) = wire {
                wire.set_waiting_for_fd(waits);
            }
        };
        waits(false);
        if let Some(room) = self.take(0) {
            return Ok(room);
        }
        let start = Instant::now();
        let _waiting = CountGuard::new(&self.waiting);
        waits(true);
        tracing::debug!("no room for another connection among the open files (ulimit -n)");
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let waited = start.elapsed();
            let spare = match self.limits() {
                _ if waited < HEADROOM_AFTER => 0,
                limits if waited < ALL_AFTER => limits.half,
                limits => limits.spare,
            };
            if let Some(room) = self.take(spare) {
                waits(false);
                return Ok(room);
            }
            if waited >= self.timeout {
                waits(false);
                let limit = self.timeout;
                return Err(FdWaitError { limit });
            }
        }
    }

    /// Waits a moment for a descriptor that a connection was to have, and did not get.
    pub async fn look_again(wire: &WireState) {
        wire.set_waiting_for_fd(true);
        tokio::time::sleep(POLL_INTERVAL).await;
    }

    /// Room for one connection, if there is any; `spare` descriptors of the headroom count.
    fn take(&self, spare: usize) -> Option<FdPermit> {
        let coming = CountGuard::new(&self.coming);
        self.has_room(spare).then(|| FdPermit {
            made: Arc::clone(&self.made),
            _coming: coming,
        })
    }

    /// Whether so few are left that a connection had better be closed after its request
    /// than kept for another one: idle connections take descriptors, too, and one of many
    /// hosts is seldom used again.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        let (part, whole) = SCARCE_SHARE;
        self.limits().most.is_some_and(|most| {
            let few = most / whole * part;
            self.waiting.load(Relaxed) > 0
                || self.limits().others >= few
                || (self.highest.load(Relaxed) > few && self.count() > few)
        })
    }

    /// Connections that are open now, about; `None` where that can't be seen.
    #[must_use]
    pub fn open_connections(&self) -> Option<usize> {
        let others = self.limits().others;
        (others > 0).then(|| self.count().saturating_sub(others))
    }

    fn has_room(&self, spare: usize) -> bool {
        let Some(most) = self.limits().most else {
            return true;
        };
        let most = most + spare;
        // When the system gives none, or does not say, connecting will tell why.
        let lowest = lowest_free().unwrap_or(most);
        let highest = self.highest.fetch_max(lowest, Relaxed).max(lowest);
        let coming = self.coming.load(Relaxed);
        highest + coming <= most || self.count() + coming <= most || (coming == 1 && self.is_lone())
    }

    /// Whether no connection is open that could make room for another one when it ends, and there is
    /// a descriptor all the same.
    fn is_lone(&self) -> bool {
        let before = self.limits().sockets;
        lowest_free().is_some() && open_sockets().nth(before).is_none()
    }

    /// The open descriptors, as they were a moment ago, and those that came since.
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

/// The descriptor that would be given next; `None` when none is left.
#[cfg(unix)]
fn lowest_free() -> Option<usize> {
    use std::os::fd::AsRawFd;
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).ok()?;
    usize::try_from(copy.as_raw_fd()).ok()
}

/// The open descriptors of this process that count against its limit, without the one for
/// looking. One beyond the limit was inherited, and does not. Where they can't be seen, none: then
/// connecting fails when there are too many.
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

/// The open sockets of this process, as far as they can be seen.
#[cfg(unix)]
fn open_sockets() -> impl Iterator<Item = ()> {
    use std::os::unix::fs::FileTypeExt;
    let open = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let kinds = open.filter_map(|entry| std::fs::metadata(entry.path()).ok());
    kinds.filter(|meta| meta.file_type().is_socket()).map(drop)
}

/// Other systems have no such limit.
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
    async fn without_room_a_connection_waits_for_another_to_end() {
        // Other tests open and close files meanwhile.
        let descriptors = FdBudget::with_most(count_open() + 500, DESCRIPTOR_TIMEOUT);
        let wire = WireState::new(Instant::now());
        let mut rooms = Vec::new();
        for _ in 0..400 {
            rooms.push(descriptors.acquire(Some(&wire)).await.unwrap());
        }
        assert!(!wire.is_waiting_for_fd());
        let more = async {
            for _ in 0..200 {
                rooms.push(descriptors.acquire(Some(&wire)).await.unwrap());
            }
        };
        let full = tokio::time::timeout(POLL_INTERVAL * 4, more).await;
        assert!(full.is_err(), "600 connections in 500 descriptors");
        assert!(wire.is_waiting_for_fd());
        rooms.clear();
        descriptors.acquire(Some(&wire)).await.unwrap();
        assert!(!wire.is_waiting_for_fd());
        assert_eq!(descriptors.coming.load(Relaxed), 0);
    }

    #[test]
    fn a_hole_among_the_open_files_does_not_pass_for_room() {
        let files: Vec<_> = (0..200)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let descriptors = FdBudget::with_most(count_open() - 50, DESCRIPTOR_TIMEOUT);
        assert!(!descriptors.has_room(0), "200 files too many");
        drop(files);
        std::thread::sleep(COUNT_TTL);
        assert!(descriptors.has_room(0));
    }

    #[tokio::test]
    async fn a_wait_for_a_descriptor_ends() {
        let descriptors = FdBudget::with_most(1, POLL_INTERVAL * 2);
        let wire = WireState::new(Instant::now());
        let waited =
            tokio::time::timeout(Duration::from_secs(30), descriptors.acquire(Some(&wire)));
        let error = waited.await.expect("it has an end").unwrap_err();
        assert!(error.to_string().starts_with("no open file was to be had"));
        assert!(!wire.is_waiting_for_fd());
        assert_eq!(descriptors.waiting.load(Relaxed), 0);
    }

    /// What is opened between the start and the first connection does not count against it.
    #[tokio::test]
    async fn the_limit_is_that_of_the_first_connection() {
        let descriptors = FdBudget::new();
        assert!(descriptors.limits.get().is_none());
        descriptors.acquire(None).await.unwrap();
        assert!(descriptors.limits.get().is_some());
    }

    #[test]
    fn some_descriptors_are_left_for_the_rest_and_there_is_always_room_for_one() {
        assert_eq!((headroom(1024), headroom(100), headroom(3)), (64, 25, 0));
        assert_eq!(most_open(1024, 12), 960);
        assert_eq!((most_open(16, 12), most_open(16, 16)), (13, 16));
    }
}
