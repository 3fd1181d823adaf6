//! Room for another connection among the open files of this process.
//!
//! Each connection takes a descriptor, those that idle in the pool included, and their
//! number is nowhere to be seen. So before a connection is made the system is asked which
//! descriptor it would give next: it always gives the lowest that is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Descriptors left for everything else: files, name look-ups, a second attempt at
/// connecting over the other address family.
const HEADROOM: usize = 64;
/// Time between two looks when there is no room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Requests that fit into what the system allows this process; `None`: it sets no limit.
#[must_use]
pub fn most_requests() -> Option<usize> {
    allowed().map(|allowed| (allowed - headroom(allowed)).max(1))
}

fn headroom(allowed: usize) -> usize {
    HEADROOM.min(allowed / 4)
}

/// From this share of them on, connections are not kept for later.
const SCARCE: (usize, usize) = (3, 4);

/// Counts connections that are being made, and lets new ones wait while there is no room.
#[derive(Debug, Clone)]
pub struct Descriptors {
    most: Option<usize>,
    /// Connections being made; each may not have its descriptor yet.
    coming: Arc<AtomicUsize>,
    /// The lowest free descriptor when a connection was last made.
    lowest: Arc<AtomicUsize>,
}

/// The right to make one connection.
#[derive(Debug)]
pub struct Room(Arc<AtomicUsize>);

impl Descriptors {
    /// For the limit of this process as it is now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            most: most_requests(),
            coming: Arc::default(),
            lowest: Arc::default(),
        }
    }

    /// Waits until there is room for a connection. What was made of it is known once the
    /// room is dropped.
    pub async fn room(&self) -> Room {
        loop {
            let room = Room::new(&self.coming);
            if self.has_room() {
                return room;
            }
            drop(room);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether so few are left that a connection had better be closed after its request
    /// than kept for another one: idle connections take descriptors, too, and one of many
    /// hosts is seldom used again.
    #[must_use]
    pub fn are_scarce(&self) -> bool {
        let (part, whole) = SCARCE;
        self.most
            .is_some_and(|most| self.lowest.load(Relaxed) > most / whole * part)
    }

    fn has_room(&self) -> bool {
        let Some(most) = self.most else {
            return true;
        };
        match lowest_free() {
            Some(free) => {
                self.lowest.store(free, Relaxed);
                free + self.coming.load(Relaxed) <= most
            }
            None => false,
        }
    }
}

impl Room {
    fn new(coming: &Arc<AtomicUsize>) -> Self {
        coming.fetch_add(1, Relaxed);
        Self(Arc::clone(coming))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(unix)]
fn allowed() -> Option<usize> {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current?;
    usize::try_from(limit).ok()
}

/// The descriptor that would be given next; `None` when none is left.
#[cfg(unix)]
fn lowest_free() -> Option<usize> {
    use std::os::fd::AsRawFd;
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).ok()?;
    usize::try_from(copy.as_raw_fd()).ok()
}

/// Other systems have no such limit.
#[cfg(not(unix))]
fn allowed() -> Option<usize> {
    None
}

#[cfg(not(unix))]
fn lowest_free() -> Option<usize> {
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_room_a_connection_waits_for_another_to_end() {
        let mut descriptors = Descriptors::new();
        let used = lowest_free().unwrap();
        // Other tests open and close files meanwhile.
        descriptors.most = Some(used + 500);
        let mut rooms = Vec::new();
        for _ in 0..400 {
            rooms.push(descriptors.room().await);
        }
        let more = async {
            for _ in 0..200 {
                rooms.push(descriptors.room().await);
            }
        };
        let full = tokio::time::timeout(LOOK_AGAIN * 4, more).await;
        assert!(full.is_err(), "600 connections in 500 descriptors");
        rooms.clear();
        descriptors.room().await;
        assert_eq!(descriptors.coming.load(Relaxed), 0);
    }

    #[test]
    fn some_descriptors_are_left_for_the_rest() {
        assert_eq!((headroom(1024), headroom(100), headroom(3)), (64, 25, 0));
    }
}
