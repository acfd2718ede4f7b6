//! Keys of the hash map behind point reads.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes kept in the map's own slot, so that comparing a key costs no visit elsewhere: enough for
/// most namespaces and names together.
const INLINE: usize = 46;

/// An object's key within its kind, short ones kept in place.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Inline { length: u8, bytes: [u8; INLINE] },
    Shared(Arc<str>),
}

impl Key {
    pub(super) fn new(key: &Arc<str>) -> Self {
        match u8::try_from(key.len()) {
            Ok(length) if key.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..key.len()].copy_from_slice(key.as_bytes());
                Self::Inline { length, bytes }
            }
            _ => Self::Shared(Arc::clone(key)),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Shared(key) => key.as_bytes(),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the bytes alone hash, which is what lookups come with.
        self.as_bytes().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use kcore::collections::HashMap;

    use super::*;

    #[test]
    fn long_and_short_keys_are_found_by_their_bytes() {
        let mut map: HashMap<Key, usize> = HashMap::default();
        let keys: Vec<Arc<str>> = (0..120).map(|n| "k".repeat(n).into()).collect();
        for (at, key) in keys.iter().enumerate() {
            map.insert(Key::new(key), at);
        }
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(map.get(key.as_bytes()), Some(&at));
        }
        assert_eq!(map.len(), keys.len());
        assert_eq!(map.remove(b"kkk".as_slice()), Some(3));
    }
}
