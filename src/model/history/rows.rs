//! What is known of one body, as a number of 48 bits: its length, or a row of a table that holds
//! what takes more.

use super::{Detail, PackPlace, Sha256};

/// Bits of a number that say how long the body is, or which row is its own.
const ROW_BITS: u32 = 45;

/// What is known of one body.
#[derive(Debug, Clone)]
pub struct Body {
    pub bytes: u64,
    pub pack: Option<PackPlace>,
    pub detail: Option<Detail>,
}

/// What a number means.
#[derive(Debug, Clone, Copy)]
enum Code {
    /// A body of this length, of which nothing else is known.
    Plain(u64),
    Packed(u64),
    Hashed(u64),
    Rare(u64),
    /// No body: the one that had this place is no longer there.
    Lost(u64),
}

impl Code {
    fn number(self) -> u64 {
        let (kind, rest) = match self {
            Self::Plain(bytes) => (0, bytes),
            Self::Packed(row) => (1, row),
            Self::Hashed(row) => (2, row),
            Self::Rare(row) => (3, row),
            Self::Lost(row) => (4, row),
        };
        kind << ROW_BITS | rest
    }

    fn of(number: u64) -> Self {
        let rest = number & ((1 << ROW_BITS) - 1);
        match number >> ROW_BITS {
            0 => Self::Plain(rest),
            1 => Self::Packed(rest),
            2 => Self::Hashed(rest),
            3 => Self::Rare(rest),
            _ => Self::Lost(rest),
        }
    }
}

/// The tables. Nobody pays for one that it is not in.
#[derive(Debug, Default)]
pub struct Rows {
    packed: Slots<Packed>,
    hashed: Slots<(u64, Sha256)>,
    rare: Slots<Body>,
    lost: Slots<PackPlace>,
}

impl Rows {
    /// The number for a body.
    pub fn body(&mut self, body: Body) -> u64 {
        let bytes = body.bytes;
        let code = match (body.pack, &body.detail) {
            (None, None) if bytes >> ROW_BITS == 0 => Code::Plain(bytes),
            (Some(place), None) => match Packed::new(bytes, place) {
                Some(packed) => Code::Packed(self.packed.put(packed)),
                None => Code::Rare(self.rare.put(body)),
            },
            (None, Some(detail)) => match detail.only_hash() {
                Some(hash) => Code::Hashed(self.hashed.put((bytes, hash))),
                None => Code::Rare(self.rare.put(body)),
            },
            _ => Code::Rare(self.rare.put(body)),
        };
        code.number()
    }

    /// The number that says that what has this place is not there any more.
    pub fn lost(&mut self, place: PackPlace) -> u64 {
        Code::Lost(self.lost.put(place)).number()
    }

    /// The body of a number, if it is one.
    pub fn get(&self, number: u64) -> Option<Body> {
        let plain = |bytes| Body {
            bytes,
            pack: None,
            detail: None,
        };
        match Code::of(number) {
            Code::Plain(bytes) => Some(plain(bytes)),
            Code::Packed(row) => self.packed.get(row).map(|packed| Body {
                pack: Some(packed.place()),
                ..plain(packed.bytes())
            }),
            Code::Hashed(row) => self.hashed.get(row).map(|(bytes, hash)| Body {
                detail: Some(Detail::of_hash(*hash)),
                ..plain(*bytes)
            }),
            Code::Rare(row) => self.rare.get(row).cloned(),
            Code::Lost(_) => None,
        }
    }

    /// The place of a body in a pack.
    pub fn pack(&self, number: u64) -> Option<PackPlace> {
        match Code::of(number) {
            Code::Packed(row) => self.packed.get(row).map(Packed::place),
            Code::Rare(row) => self.rare.get(row)?.pack,
            Code::Plain(_) | Code::Hashed(_) | Code::Lost(_) => None,
        }
    }

    /// The place of what is not there any more.
    pub fn lost_place(&self, number: u64) -> Option<PackPlace> {
        match Code::of(number) {
            Code::Lost(row) => self.lost.get(row).copied(),
            _ => None,
        }
    }

    /// Whether a number takes the place of the one before it: what is in a pack may be lost, and
    /// then what was there before counts again. Whoever is replaced gives its row away.
    pub fn replaces(&mut self, old: u64, new: u64) -> bool {
        let is_for_good = |number| self.pack(number).is_none() && self.lost_place(number).is_none();
        let replaces = is_for_good(old) && is_for_good(new);
        if replaces {
            match Code::of(old) {
                Code::Hashed(row) => self.hashed.free.push(row),
                Code::Rare(row) => self.rare.free.push(row),
                Code::Plain(_) | Code::Packed(_) | Code::Lost(_) => {}
            }
        }
        replaces
    }

    /// Whether a pack had a part in anything.
    pub fn has_packed(&self) -> bool {
        let is_packed = |body: &Body| body.pack.is_some();
        !self.packed.rows.is_empty()
            || !self.lost.rows.is_empty()
            || self.rare.rows.iter().any(is_packed)
    }

    /// Nothing more is coming.
    pub fn shrink(&mut self) {
        self.packed.shrink();
        self.hashed.shrink();
        self.rare.shrink();
        self.lost = Slots::default();
    }

    /// Bytes that they take, without what the details hold.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.packed.size() + self.hashed.size() + self.rare.size() + self.lost.size()
    }
}

/// Rows of one kind. Those that are free are taken again; what they hold stays until then.
#[derive(Debug)]
struct Slots<T> {
    rows: Vec<T>,
    free: Vec<u64>,
}

impl<T> Slots<T> {
    fn put(&mut self, row: T) -> u64 {
        let free = self.free.pop();
        let place = free.unwrap_or(self.rows.len() as u64);
        match self.rows.get_mut(place as usize) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
        place
    }

    fn get(&self, row: u64) -> Option<&T> {
        self.rows.get(row as usize)
    }

    fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.free = Vec::new();
    }

    #[cfg(test)]
    fn size(&self) -> usize {
        self.rows.capacity() * size_of::<T>() + self.free.capacity() * size_of::<u64>()
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            free: Vec::new(),
        }
    }
}

/// A body in a pack, in 16 bytes: where it begins (48 bits), its length there (40 bits) and its
/// own (40 bits). What is larger is a rarity.
#[derive(Debug, Clone, Copy)]
struct Packed(u128);

impl Packed {
    const LENGTH_BITS: u32 = 40;
    const LENGTH: u64 = (1 << Self::LENGTH_BITS) - 1;

    fn new(bytes: u64, place: PackPlace) -> Option<Self> {
        let fits = bytes <= Self::LENGTH && place.length <= Self::LENGTH && place.offset >> 48 == 0;
        let [offset, length, bytes] = [place.offset, place.length, bytes].map(u128::from);
        fits.then_some(Self(
            offset << (2 * Self::LENGTH_BITS) | length << Self::LENGTH_BITS | bytes,
        ))
    }

    fn place(&self) -> PackPlace {
        PackPlace {
            offset: (self.0 >> (2 * Self::LENGTH_BITS)) as u64,
            length: (self.0 >> Self::LENGTH_BITS) as u64 & Self::LENGTH,
        }
    }

    fn bytes(&self) -> u64 {
        self.0 as u64 & Self::LENGTH
    }
}
