//! Ranges of keys, in etcd's words: the empty end is one key, a zero byte is no end.

use bytes::Bytes;

use crate::KeyRange;

/// The end that etcd takes for none, and the least key there can be.
const ZERO: &[u8] = &[0];

/// `key` and `range_end` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) key: Bytes,
    pub(super) range_end: Bytes,
}

impl Span {
    /// The same keys; `None` if there can be none, which etcd has no words for.
    #[cfg(feature = "etcd")]
    pub(super) fn of(range: &KeyRange) -> Option<Self> {
        if let Some(key) = range.as_single() {
            return (!key.is_empty()).then(|| Self::single(key.clone()));
        }
        // No key is less than a zero byte.
        let key = match range.start() {
            start if start.is_empty() => Bytes::from_static(ZERO),
            start => start.clone(),
        };
        match range.end() {
            None => Some(Self { key, range_end: Bytes::from_static(ZERO) }),
            Some(end) if end <= key => None,
            Some(end) => Some(Self { key, range_end: end }),
        }
    }

    /// One key.
    #[cfg(feature = "etcd")]
    pub(super) fn single(key: Bytes) -> Self {
        Self { key, range_end: Bytes::new() }
    }

    /// Every key.
    #[cfg(feature = "etcd")]
    pub(super) fn all() -> Self {
        Self { key: Bytes::from_static(ZERO), range_end: Bytes::from_static(ZERO) }
    }

    /// The same keys in our words.
    #[cfg(feature = "etcd-server")]
    pub(super) fn range(self) -> KeyRange {
        match &self.range_end[..] {
            [] => KeyRange::single(self.key),
            ZERO => KeyRange::from(self.key),
            _ => KeyRange::between(self.key, self.range_end),
        }
    }
}

#[cfg(all(test, feature = "etcd"))]
mod tests {
    use super::*;

    fn of(range: KeyRange) -> Option<(Vec<u8>, Vec<u8>)> {
        Span::of(&range).map(|span| (span.key.to_vec(), span.range_end.to_vec()))
    }

    #[test]
    fn ranges_become_keys_and_ends() {
        let span = |key: &[u8], end: &[u8]| Some((key.to_vec(), end.to_vec()));
        assert_eq!(of(KeyRange::single("a")), span(b"a", b""));
        assert_eq!(of(KeyRange::prefix("a/")), span(b"a/", b"a0"));
        assert_eq!(of(KeyRange::prefix(vec![0xff])), span(&[0xff], &[0]));
        assert_eq!(of(KeyRange::between("a", "b")), span(b"a", b"b"));
        assert_eq!(of(KeyRange::between("", "b")), span(&[0], b"b"));
        assert_eq!(of(KeyRange::from("a")), span(b"a", &[0]));
        assert_eq!(of(KeyRange::all()), span(&[0], &[0]));
    }

    #[test]
    fn what_can_hold_no_key_has_no_words() {
        assert_eq!(of(KeyRange::single("")), None);
        assert_eq!(of(KeyRange::between("", "")), None);
        assert_eq!(of(KeyRange::between("b", "a")), None);
        // An end of a zero byte would be taken for no end.
        assert_eq!(of(KeyRange::between("", vec![0])), None);
        assert_eq!(of(KeyRange::between("b", vec![0])), None);
    }

    #[cfg(feature = "etcd-server")]
    #[test]
    fn spans_come_back_as_the_same_keys() {
        for range in [KeyRange::single("a"), KeyRange::prefix("a/"), KeyRange::from("b")] {
            let back = Span::of(&range).unwrap().range();
            for key in ["a", "a/", "a/1", "a0", "b", "c"] {
                assert_eq!(back.contains(key.as_bytes()), range.contains(key.as_bytes()));
            }
        }
    }
}
