//! The bodies, and where each belongs: the same for the server and for the floors.

/// Length of a body.
pub const SIZE: usize = 12 * 1024;

const FOLDERS: u32 = 100;

/// The folder of the nth body. The next one belongs to another: a list that is sorted by
/// folder would be kinder.
pub fn folder(n: u32) -> String {
    format!("d{}", n % FOLDERS)
}

/// The path of the nth body, in URLs and below an output folder.
pub fn path(n: u32) -> String {
    format!("{}/f{n}.html", folder(n))
}

/// Makes bodies that differ, at next to no cost.
#[derive(Clone)]
pub struct Bodies(Vec<u8>);

impl Bodies {
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        Self((0..SIZE).map(|_| random.alphanumeric() as u8).collect())
    }

    /// The nth body.
    pub fn get(&mut self, n: u32) -> &[u8] {
        for (to, from) in self.0.iter_mut().zip(n.to_be_bytes()) {
            *to = from;
        }
        &self.0
    }
}
