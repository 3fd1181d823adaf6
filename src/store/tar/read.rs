//! Reads the files of a tar that fetchall has written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::head::{BLOCK_BYTES, END, TarEntry, may_be_ours, padding, parse, size_of_attributes};

/// Maximum length of the attributes of a file.
const MAX_ATTRIBUTES_BYTES: u64 = 64;

/// Reads one file, checks what is around its content, and passes that to `take`. Returns whether
/// there was one; otherwise, this was the end of the tar.
///
/// # Errors
/// `UnexpectedEof` if it is cut off, `InvalidData` if it is damaged, others if it cannot be read.
pub(crate) fn read_file(from: &mut impl BufRead, take: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut head = [0; BLOCK_BYTES];
    from.read_exact(&mut head)?;
    if is_zero(&head) {
        from.read_exact(&mut head)?;
        return match is_zero(&head) {
            true => Ok(false),
            false => Err(damaged("wrong end")),
        };
    }
    let size = match parse(&head) {
        Some((TarEntry::File(size), _)) => size,
        Some((TarEntry::Attributes(length), _)) => {
            let size = read_attributes(from, length)?;
            from.read_exact(&mut head)?;
            match parse(&head) {
                Some((TarEntry::File(_), _)) => size,
                _ => return Err(damaged("wrong head")),
            }
        }
        None => return Err(damaged("wrong head")),
    };
    read_content(from, size, take)?;
    Ok(true)
}

fn read_attributes(from: &mut impl BufRead, length: u64) -> io::Result<u64> {
    if length > MAX_ATTRIBUTES_BYTES {
        return Err(damaged("wrong attributes"));
    }
    let mut text = Vec::new();
    read_content(from, length, |piece| text.extend_from_slice(piece))?;
    size_of_attributes(&text).ok_or_else(|| damaged("wrong attributes"))
}

/// Reads a content, and the zeros behind it.
fn read_content(
    from: &mut impl BufRead,
    length: u64,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let piece = from.fill_buf()?;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let piece = piece.get(..most).unwrap_or(piece);
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(piece);
        let taken = piece.len();
        from.consume(taken);
        left -= taken as u64;
    }
    let mut zeros = [0; BLOCK_BYTES];
    let zeros = zeros.get_mut(..padding(length)).unwrap_or_default();
    from.read_exact(zeros)?;
    match is_zero(zeros) {
        true => Ok(()),
        false => Err(damaged("wrong end of a file")),
    }
}

/// Returns the id of the pack; `None` if its first head is torn, or is none.
pub(crate) fn pack_id(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let begin = block_at(file, 0)?;
    Ok(parse(&begin).map(|(_, id)| id.to_owned()))
}

/// Whether a file begins as our tars do: with one of our files, which may be torn, or with the end.
pub(crate) fn begins_as_ours(file: &mut File) -> io::Result<bool> {
    let begin = block_at(file, 0)?;
    let is_torn = begin.len() < BLOCK_BYTES;
    Ok(match is_zero(&begin) {
        true => is_torn || is_ended_at(file, 0)?,
        false => parse(&begin).is_some() || is_torn && may_be_ours(&begin, None),
    })
}

/// Whether everything from `start` on is what runs leave: whole files of this pack, the last one
/// possibly torn, or the end of the tar.
pub(crate) fn ends_as_ours(file: &mut File, start: u64) -> io::Result<bool> {
    let pack = pack_id(file)?;
    let length = file.metadata()?.len();
    let mut at = start;
    while at < length {
        let head = block_at(file, at)?;
        if is_zero(&head) {
            return is_end(file, at);
        }
        if head.len() < BLOCK_BYTES {
            return Ok(may_be_ours(&head, pack.as_deref()));
        }
        let Some((entry, id)) = parse(&head) else {
            return Ok(false);
        };
        if pack.as_deref() != Some(id) {
            return Ok(false);
        }
        let size = match entry {
            TarEntry::File(size) => size,
            TarEntry::Attributes(size) => {
                // The next head does not have the size, which may be beyond the end.
                let mut attributes = BufReader::new(&*file);
                let Ok(size) = read_attributes(&mut attributes, size) else {
                    return Ok(length - at < 2 * BLOCK_BYTES as u64);
                };
                at += 2 * BLOCK_BYTES as u64;
                size
            }
        };
        let content = size.saturating_add(padding(size) as u64);
        at = at
            .saturating_add(BLOCK_BYTES as u64)
            .saturating_add(content);
    }
    Ok(true)
}

/// Whether the tar ends here as it should.
pub(crate) fn is_ended_at(file: &mut File, at: u64) -> io::Result<bool> {
    let is_whole = file.metadata()?.len().checked_sub(at) == Some(END.len() as u64);
    Ok(is_whole && is_end(file, at)?)
}

/// Whether from here on there is the end of a tar, which may be torn.
fn is_end(file: &mut File, at: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(at))?;
    let mut rest = Vec::new();
    file.take(END.len() as u64 + 1).read_to_end(&mut rest)?;
    Ok(rest.len() <= END.len() && is_zero(&rest))
}

/// Reads a block, or what there is of it.
fn block_at(file: &mut File, at: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    file.take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
    Ok(block)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::head::{TarOrigin, push_head};
    use super::*;

    const ORIGIN: TarOrigin<'static> = TarOrigin {
        pack: b"0123-4567",
        time: 1,
    };

    /// A file without its content.
    fn head(size: u64) -> Vec<u8> {
        let mut head = Vec::new();
        push_head(&mut head, "1.bin", size, ORIGIN);
        head
    }

    #[test]
    fn what_follows_a_file_above_8_gib_is_looked_at() {
        let size = 9 << 30;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&head(size)).unwrap();
        let end = 3 * BLOCK_BYTES as u64 + size;
        // It takes no space: all of it are holes.
        file.set_len(end).unwrap();
        assert!(ends_as_ours(&mut file, 0).unwrap());
        for (added, is_ours) in [(head(3), true), (b"other".repeat(200), false)] {
            file.seek(SeekFrom::Start(end)).unwrap();
            file.write_all(&added).unwrap();
            assert_eq!(ends_as_ours(&mut file, 0).unwrap(), is_ours);
        }
        for torn in [1100, 1024, 1000, 520, 100] {
            file.set_len(torn).unwrap();
            assert!(ends_as_ours(&mut file, 0).unwrap(), "{torn}");
        }
    }

    #[test]
    fn attributes_are_read_and_damaged_ones_are_found() {
        let mut long = head(9 << 30);
        let read = |bytes: &[u8]| {
            let mut pieces = 0;
            let read = read_file(&mut &*bytes, |_| pieces += 1);
            (read.unwrap_err().kind(), pieces)
        };
        let cut_off = (io::ErrorKind::UnexpectedEof, 0);
        assert_eq!(read(&long), cut_off);
        long.push(1);
        assert_eq!(read(&long), (io::ErrorKind::UnexpectedEof, 1));
        for at in [3, 515, 1000, 1030] {
            let mut damaged = long.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged), (io::ErrorKind::InvalidData, 0), "{at}");
        }
    }
}
