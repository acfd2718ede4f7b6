//! Answers that are good for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A bounded map whose entries expire. When it is full, what expires first makes room.
///
/// Strangers choose the keys, so it is ordered: nobody can make them collide.
pub(super) struct TtlCache<K, V> {
    entries: BTreeMap<K, (V, Instant)>,
    limit: usize,
}

impl<K: Ord + Clone, V: Clone> TtlCache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: BTreeMap::new(), limit }
    }

    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        let (value, until) = self.entries.get(key)?;
        if *until > now {
            return Some(value.clone());
        }
        self.entries.remove(key);
        None
    }

    pub(super) fn put(&mut self, key: K, value: V, ttl: Duration, now: Instant) {
        if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            self.entries.retain(|_, (_, until)| *until > now);
            if self.entries.len() >= self.limit {
                let first = self.entries.iter().min_by_key(|(_, (_, until))| *until);
                if let Some(first) = first.map(|(key, _)| key.clone()) {
                    self.entries.remove(&first);
                }
            }
        }
        self.entries.insert(key, (value, now + ttl));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// How many answers there are, never what they are about: keys may be tokens.
impl<K, V> std::fmt::Debug for TtlCache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TtlCache({}/{})", self.entries.len(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_expire_and_make_room() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cache = TtlCache::new(2);
        cache.put("long", 1, 10 * second, start);
        cache.put("short", 2, 2 * second, start);
        assert_eq!(cache.get(&"short", start + second), Some(2));
        assert_eq!(cache.get(&"short", start + 2 * second), None);
        cache.put("short", 2, 2 * second, start);
        cache.put("third", 3, 5 * second, start);
        assert_eq!((cache.len(), cache.get(&"short", start)), (2, None));
        cache.put("long", 4, 10 * second, start);
        assert_eq!((cache.get(&"long", start), cache.get(&"third", start)), (Some(4), Some(3)));
    }

    #[test]
    fn debug_of_a_cache_shows_no_keys_x8() {
        let mut cache = TtlCache::new(2);
        cache.put("hunter2", 1, Duration::from_secs(1), Instant::now());
        assert_eq!(format!("{cache:?}"), "TtlCache(1/2)");
    }
}
