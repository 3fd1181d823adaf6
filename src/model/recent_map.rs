//! What is known of texts that occurred lately, in memory that does not depend on their number.

use std::hash::{DefaultHasher, Hasher as _};

/// Values of texts. Each text has one place, which its hash gives, and shares it with others.
#[derive(Debug)]
pub(crate) struct RecentMap<V> {
    places: usize,
    /// Empty before the first text.
    entries: Vec<RecentEntry<V>>,
}

/// The last text at a place.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentEntry<V> {
    pub text: String,
    pub value: V,
}

impl<V: Clone + Default> RecentMap<V> {
    /// Creates an empty map with so many places.
    #[must_use]
    pub(crate) fn with_places(places: usize) -> Self {
        Self {
            places,
            entries: Vec::new(),
        }
    }

    /// Returns the place of a text, where another one may be; `None` only without places.
    pub(crate) fn place_of(&mut self, text: &str) -> Option<&mut RecentEntry<V>> {
        if self.entries.is_empty() {
            self.entries.resize(self.places, RecentEntry::default());
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let place = hasher.finish().checked_rem(self.places as u64)?;
        self.entries.get_mut(place as usize)
    }
}

impl<V> RecentEntry<V> {
    /// Replaces the text and its value.
    pub(crate) fn set(&mut self, text: &str, value: V) {
        self.text.clear();
        self.text.push_str(text);
        self.value = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_until_another_one_has_its_place() {
        let mut map = RecentMap::<u32>::with_places(8);
        for n in 0..100 {
            let text = n.to_string();
            let place = map.place_of(&text).unwrap();
            assert_ne!(place.text, text);
            place.set(&text, n);
            let place = map.place_of(&text).unwrap();
            assert_eq!((place.text.as_str(), place.value), (text.as_str(), n));
        }
        assert_eq!(map.entries.len(), 8);
        assert!(RecentMap::<u32>::with_places(0).place_of("a").is_none());
    }
}
