//! The bodies and their paths: the same for the server and for the lower bounds.

/// Length of a body.
pub const SIZE: usize = 12 * 1024;

const FOLDERS: u32 = 100;

/// Returns the directory of the nth body. Consecutive bodies are in different directories, which is
/// harder than a list sorted by directory.
pub fn folder(n: u32) -> String {
    format!("d{}", n % FOLDERS)
}

/// Returns the path of the nth body, in URLs and below an output directory.
pub fn path(n: u32) -> String {
    format!("{}/f{n}.html", folder(n))
}

/// Creates bodies that differ, at almost no cost.
#[derive(Clone)]
pub struct Bodies(Vec<u8>);

impl Bodies {
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        Self((0..SIZE).map(|_| random.alphanumeric() as u8).collect())
    }

    /// Returns the nth body.
    pub fn get(&mut self, n: u32) -> &[u8] {
        for (to, from) in self.0.iter_mut().zip(n.to_be_bytes()) {
            *to = from;
        }
        &self.0
    }
}
