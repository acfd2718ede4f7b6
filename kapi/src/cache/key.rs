//! The hash table behind point reads.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use kcore::collections::HashSet;
use kcore::object::Object;

/// Bytes of a key kept in the table itself, so that comparing costs no visit elsewhere: enough for
/// most namespaces and names together.
const INLINE: usize = 54;
/// The longest key that is put together without an allocation: a namespace, a slash, a name.
const MAX_JOINED: usize = 63 + 1 + 253;

/// An object's key within its kind, short ones kept in place.
#[derive(Debug, Clone)]
enum Key {
    Inline { length: u8, bytes: [u8; INLINE] },
    Shared(Arc<str>),
}

impl Key {
    fn new(key: &Arc<str>) -> Self {
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

/// One object in the table. It fills a line of the processor's cache and never lies across two.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    key: Key,
    object: Object,
}

impl Borrow<[u8]> for Slot {
    fn borrow(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the bytes alone hash, which is what lookups come with.
        self.key.as_bytes().hash(state);
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.key.as_bytes() == other.key.as_bytes()
    }
}

impl Eq for Slot {}

/// Objects by their keys.
#[derive(Debug, Default)]
pub(super) struct Slots(HashSet<Slot>);

impl Slots {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Object> {
        self.0.get(key).map(|slot| &slot.object)
    }

    /// Puts an object in; returns the one it replaces.
    pub(super) fn insert(&mut self, key: &Arc<str>, object: Object) -> Option<Object> {
        self.0.replace(Slot { key: Key::new(key), object }).map(|slot| slot.object)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Object> {
        self.0.take(key).map(|slot| slot.object)
    }
}

/// Calls `read` with the key of an object in a namespace, put together on the stack.
pub(super) fn with_key<T>(namespace: &str, name: &str, read: impl FnOnce(&[u8]) -> T) -> T {
    let length = namespace.len() + 1 + name.len();
    if length > MAX_JOINED {
        return read(format!("{namespace}/{name}").as_bytes());
    }
    let mut key = [0; MAX_JOINED];
    key[..namespace.len()].copy_from_slice(namespace.as_bytes());
    key[namespace.len()] = b'/';
    key[namespace.len() + 1..length].copy_from_slice(name.as_bytes());
    read(&key[..length])
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn a_slot_is_a_line_of_the_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn long_and_short_keys_are_found_by_their_bytes() {
        let object =
            |version| Object::from_typed(ConfigMap::default()).unwrap().at_version(version);
        let mut slots = Slots::default();
        let keys: Vec<Arc<str>> = (0..120).map(|n| "k".repeat(n).into()).collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(slots.insert(key, object(at as u64)).is_none());
        }
        for (at, key) in keys.iter().enumerate() {
            let found = slots.get(key.as_bytes()).map(Object::resource_version);
            assert_eq!(found, Some(at as u64));
        }
        let replaced = slots.insert(&keys[3], object(1_000));
        assert_eq!(replaced.map(|object| object.resource_version()), Some(3));
        let removed = slots.remove(b"kkk");
        assert_eq!(removed.map(|object| object.resource_version()), Some(1_000));
        assert!(slots.get(b"kkk").is_none());
    }

    #[test]
    fn joined_keys_are_what_formatting_gives() {
        for (namespace, name) in [("a", "b"), ("", ""), (&"n".repeat(63), &"x".repeat(400))] {
            let expected = format!("{namespace}/{name}");
            with_key(namespace, name, |key| assert_eq!(key, expected.as_bytes()));
        }
    }
}
