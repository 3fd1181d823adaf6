//! Lines of a response as they come over the wire.

/// Maximum buffered head, in bytes: the limit of the parser. A longer head is passed on unchanged,
/// so that the parser rejects it. Also the maximum of all 1xx heads before the final one, where they
/// are limited: the parser reads an endless row of them.
pub(super) const MAX_HEAD_BYTES: usize = 400 * 1024;

/// Returns the line without the carriage returns and line feeds at its end.
pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    line.get(..end.map_or(0, |end| end + 1)).unwrap_or_default()
}
