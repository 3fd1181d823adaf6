//! A list as a stream of text.

use std::io::BufReader;

use super::compressed::{Decompressor, RawReader};
use super::decoded::DecodedInput;

/// Size of the buffer for decoded text, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// A list as a stream of decompressed UTF-8, with a count of the bytes read from its file.
pub(super) struct InputStream {
    pub reader: BufReader<DecodedInput>,
}

impl InputStream {
    /// Creates the stream without reading anything: a pipe may not have a writer yet.
    pub(super) fn new(raw: RawReader) -> Self {
        Self {
            reader: BufReader::with_capacity(
                BUFFER_BYTES,
                DecodedInput::new(Decompressor::Unread(raw)),
            ),
        }
    }

    /// Sets that NULs end the entries of this list.
    pub(super) fn with_nuls(mut self) -> Self {
        self.reader.get_mut().set_nuls();
        self
    }

    /// Returns the number of bytes consumed from the file. Subtracts `unused` decoded bytes that are
    /// still buffered; for a compressed file they are included, so the result is a little higher.
    pub(super) fn position(&self, unused: usize) -> u64 {
        let decoded = self.reader.get_ref();
        let unused = (self.reader.buffer().len() + unused) as u64 * decoded.width();
        decoded.unpacked.position(unused)
    }
}
