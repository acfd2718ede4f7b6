//! A map that forgets what was not used for the longest time.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Lru<K, V> {
    capacity: usize,
    clock: u64,
    entries: BTreeMap<K, (u64, V)>,
    by_age: BTreeMap<u64, K>,
}

impl<K: Ord + Clone, V> Lru<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, entries: BTreeMap::new(), by_age: BTreeMap::new() }
    }

    /// The value at `key`, made by `make` if it is not there, which may push the oldest one out.
    pub(super) fn get_or(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        let clock = self.clock;
        if !self.entries.contains_key(key)
            && self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.entries.remove(&oldest);
        }
        let (age, value) = self.entries.entry(key.clone()).or_insert_with(|| (clock, make()));
        self.by_age.remove(age);
        *age = clock;
        self.by_age.insert(clock, key.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_used_for_longest_goes() {
        let mut lru = Lru::new(2);
        *lru.get_or(&1, || 0) += 10;
        *lru.get_or(&2, || 0) += 20;
        *lru.get_or(&1, || 0) += 1;
        lru.get_or(&3, || 0);
        assert_eq!(*lru.get_or(&1, || 0), 11);
        assert_eq!(*lru.get_or(&2, || 0), 0, "it was pushed out");
        assert_eq!(lru.by_age.len(), 2);
    }
}
