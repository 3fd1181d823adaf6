//! The heads of files in a tar.

use std::ops::Range;

/// Heads and bodies begin at multiples of this.
pub(super) const BLOCK_BYTES: usize = 512;
/// Ends a tar.
pub(crate) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];
/// The largest size that fits into a head.
const MAX_SIZE: u64 = 0o777_7777_7777;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: &[u8] = b"ustar\x0000";
/// Magic and name of the owner, by which our files are known.
const MARK: Range<usize> = 257..297;
/// Name of the group: the id of the pack.
const PACK: Range<usize> = 297..329;
const OWNER: &[u8] = b"fetchall";

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TarEntry {
    /// A file of this size.
    File(u64),
    /// Attributes of the next file, which have this length.
    Attributes(u64),
}

/// What the heads of a pack have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct TarOrigin<'a> {
    /// The id of the pack.
    pub pack: &'a [u8],
    /// When the body was requested, in seconds since 1970.
    pub time: u64,
}

/// Appends the head of a file, with its attributes if the size does not fit into the head.
pub(super) fn push_head(out: &mut Vec<u8>, name: &str, size: u64, origin: TarOrigin<'_>) {
    if size <= MAX_SIZE {
        return push_block(out, name, size, b'0', origin);
    }
    let attribute = size_attribute(size);
    push_block(out, name, attribute.len() as u64, b'x', origin);
    out.extend_from_slice(attribute.as_bytes());
    pad(out, attribute.len() as u64);
    push_block(out, name, 0, b'0', origin);
}

/// Appends zeros up to the next block, behind this many bytes.
pub(super) fn pad(out: &mut Vec<u8>, length: u64) {
    out.resize(out.len() + padding(length), 0);
}

/// Returns the number of zeros behind this many bytes.
pub(super) fn padding(length: u64) -> usize {
    let over = length % BLOCK_BYTES as u64;
    usize::try_from(over).map_or(0, |over| (BLOCK_BYTES - over) % BLOCK_BYTES)
}

fn push_block(out: &mut Vec<u8>, name: &str, size: u64, kind: u8, origin: TarOrigin<'_>) {
    let mut head = Vec::with_capacity(BLOCK_BYTES);
    let mut push = |field: &[u8], width: usize| {
        let end = head.len() + width;
        head.extend(field.iter().take(width));
        head.resize(end, 0);
    };
    push(name.as_bytes(), 100);
    push(b"0000644", 8);
    push(b"0000000", 8);
    push(b"0000000", 8);
    push(format!("{size:011o}").as_bytes(), 12);
    push(format!("{:011o}", origin.time.min(MAX_SIZE)).as_bytes(), 12);
    push(b"        ", 8);
    push(&[kind], 101);
    push(MAGIC, MAGIC.len());
    push(OWNER, 32);
    push(origin.pack, PACK.len());
    push(b"0000000", 8);
    push(b"0000000", 8);
    push(b"", 167);
    let sum = format!("{:06o}\0 ", sum(&head));
    if let Some(field) = head.get_mut(CHECKSUM) {
        field.copy_from_slice(sum.as_bytes());
    }
    out.append(&mut head);
}

/// An attribute begins with its own length.
fn size_attribute(size: u64) -> String {
    let rest = format!(" size={size}\n");
    // All sizes that are written here have 10 to 20 digits, so that the length has two.
    format!("{}{rest}", rest.len() + 2)
}

/// Returns the size in attributes that [`size_attribute`] has made.
pub(super) fn size_of_attributes(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, size) = text.strip_suffix('\n')?.split_once(" size=")?;
    size.parse().ok()
}

/// Returns the sum of all bytes, in which the checksum counts as blanks.
fn sum(head: &[u8]) -> u64 {
    let bytes = (0..).zip(head);
    let value = |(at, byte): (usize, &u8)| match CHECKSUM.contains(&at) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    bytes.map(value).sum()
}

/// Reads a head that [`push_head`] has written, and the id of its pack; `None` for anything else.
pub(super) fn parse(head: &[u8]) -> Option<(TarEntry, &[u8])> {
    if head.len() != BLOCK_BYTES || !may_be_ours(head, None) {
        return None;
    }
    let number = |field: Range<usize>| {
        let text = std::str::from_utf8(head.get(field)?).ok()?;
        u64::from_str_radix(text.trim_end_matches(['\0', ' ']), 8).ok()
    };
    if number(CHECKSUM)? != sum(head) {
        return None;
    }
    let size = number(SIZE)?;
    let entry = match head.get(KIND)? {
        b'0' => TarEntry::File(size),
        b'x' => TarEntry::Attributes(size),
        _ => return None,
    };
    Some((entry, without_zeros(head.get(PACK)?)))
}

/// Whether a head, or the beginning of one, may be that of a file of a pack, as far as it goes.
pub(super) fn may_be_ours(head: &[u8], pack: Option<&[u8]>) -> bool {
    let has = |at: usize, expected: &[u8]| {
        let found = head.get(at..).unwrap_or_default();
        found.iter().zip(expected).all(|(one, other)| one == other)
    };
    let mark = [MAGIC, OWNER].concat();
    has(MARK.start, &mark)
        && pack.is_none_or(|pack| has(PACK.start, pack) && has(PACK.start + pack.len(), &[0]))
}

fn without_zeros(field: &[u8]) -> &[u8] {
    let last = field.iter().rposition(|byte| *byte != 0);
    last.and_then(|last| field.get(..=last)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: TarOrigin<'static> = TarOrigin {
        pack: b"0123-4567",
        time: 1_795_000_000,
    };

    #[test]
    fn a_size_above_8_gib_is_an_attribute() {
        for (size, length) in [(MAX_SIZE, BLOCK_BYTES), (MAX_SIZE + 1, 3 * BLOCK_BYTES)] {
            let mut head = Vec::new();
            push_head(&mut head, "1.bin", size, ORIGIN);
            assert_eq!(head.len(), length);
            let (entry, pack) = parse(&head[..BLOCK_BYTES]).unwrap();
            assert_eq!(pack, ORIGIN.pack);
            match entry {
                TarEntry::File(found) => assert_eq!(found, size),
                TarEntry::Attributes(long) => {
                    let text = &head[BLOCK_BYTES..][..usize::try_from(long).unwrap()];
                    assert_eq!(text, b"19 size=8589934592\n");
                    assert_eq!(text.len(), 19);
                    assert_eq!(size_of_attributes(text), Some(size));
                    let file = parse(&head[2 * BLOCK_BYTES..]).unwrap();
                    assert_eq!(file.0, TarEntry::File(0));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_found(size in 0..=MAX_SIZE, bit in 0..8 * BLOCK_BYTES) {
            let mut head = Vec::new();
            push_head(&mut head, "000000001-0123456789abcdef.body.json", size, ORIGIN);
            prop_assert_eq!(parse(&head).unwrap().0, TarEntry::File(size));
            head[bit / 8] ^= 1 << (bit % 8);
            let is_end_of_checksum = (154..156).contains(&(bit / 8));
            prop_assert!(is_end_of_checksum || parse(&head).is_none());
        }
    }
}
