//! Which keys, and what of them.

use bytes::Bytes;

use crate::{Record, Revision};

/// A set of neighboring keys, in byte order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRange {
    start: Bytes,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum End {
    /// Only `start` itself.
    Single,
    /// Every key that `start` is a prefix of.
    Prefix,
    /// Every key from `start` up to, without, this one.
    Before(Bytes),
    /// Every key from `start` on.
    Unbounded,
}

impl KeyRange {
    /// One key.
    #[must_use]
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: End::Single }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self { start: prefix.into(), end: End::Prefix }
    }

    /// Every key from `start` up to, without, `end`.
    #[must_use]
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: End::Before(end.into()) }
    }

    /// Every key from `start` on.
    #[must_use]
    pub fn from(start: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: End::Unbounded }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: End::Prefix }
    }

    /// The part of this range that lies strictly after `key`: where the next page starts.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        let start = Bytes::from(start).max(self.start.clone());
        match self.end() {
            Some(end) => Self::between(start, end),
            None => Self::from(start),
        }
    }

    /// True if `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == self.start,
            End::Prefix => key.starts_with(&self.start),
            End::Before(end) => key >= &self.start[..] && key < &end[..],
            End::Unbounded => key >= &self.start[..],
        }
    }

    /// The first key that may lie in the range.
    #[must_use]
    pub fn start(&self) -> &Bytes {
        &self.start
    }

    /// The first key after the range; `None` if it has no end.
    #[must_use]
    pub fn end(&self) -> Option<Bytes> {
        match &self.end {
            End::Single => {
                let mut end = self.start.to_vec();
                end.push(0);
                Some(end.into())
            }
            End::Prefix => {
                // The successor of a prefix: drop trailing 0xff bytes, then count the last one up.
                let mut end = self.start.to_vec();
                while end.last() == Some(&u8::MAX) {
                    end.pop();
                }
                *end.last_mut()? += 1;
                Some(end.into())
            }
            End::Before(end) => Some(end.clone()),
            End::Unbounded => None,
        }
    }

    /// The key, if the range was made from a single one.
    #[must_use]
    pub fn as_single(&self) -> Option<&Bytes> {
        matches!(self.end, End::Single).then_some(&self.start)
    }

    /// The prefix, if the range was made from one.
    #[must_use]
    pub fn as_prefix(&self) -> Option<&Bytes> {
        matches!(self.end, End::Prefix).then_some(&self.start)
    }
}

/// What a range read returns. Set what differs from the default:
///
/// ```
/// # use kstore::{RangeOptions, Revision};
/// let options = RangeOptions::default().at(Revision(7)).limit(500).keys_only();
/// assert_eq!(options.limit, Some(500));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeOptions {
    /// The revision to read; unset: the current one, linearizable.
    pub at: Option<Revision>,
    /// The most records to return; unset: all.
    pub limit: Option<usize>,
    /// Return the count alone.
    pub count_only: bool,
    /// Return records with empty values.
    pub keys_only: bool,
}

impl RangeOptions {
    /// Reads `revision` instead of the current one.
    #[must_use]
    pub fn at(mut self, revision: Revision) -> Self {
        self.at = Some(revision);
        self
    }

    /// Returns at most `records`, the first in key order; zero means all, as in etcd.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = (records > 0).then_some(records);
        self
    }

    /// Returns only how many keys match.
    #[must_use]
    pub fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }

    /// Returns records with empty values.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }
}

/// The answer to a range read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The records, in byte order of their keys.
    pub records: Vec<Record>,
    /// The revision this page shows. Read the next page at it.
    pub revision: Revision,
    /// True if the limit cut records off.
    pub more: bool,
    /// How many keys match, whatever the limit.
    pub count: u64,
}
