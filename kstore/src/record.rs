//! What a store holds: keys, values and the revisions that wrote them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::LeaseId;

/// A point in the one history of a store.
///
/// An empty store is at revision 1 and its first write makes revision 2, so that the current
/// revision is always a valid
/// [`resourceVersion`][versions].
///
/// [versions]: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
///
/// `Revision(0)` is the revision of what does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of an empty store.
    pub const FIRST: Self = Self(1);

    /// The revision that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Revision {
    fn from(revision: u64) -> Self {
        Self(revision)
    }
}

/// Something decoded that travels beside the bytes it was decoded from.
pub type Attachment = Arc<dyn Any + Send + Sync>;

/// Bytes, and optionally what they decode to.
///
/// A backend may drop the attachment (one that leaves the process must) and never reads it: the
/// bytes are the truth. Two values are equal if their bytes are.
#[derive(Clone, Default)]
pub struct Value {
    /// The bytes that are stored.
    pub bytes: Bytes,
    /// What the writer had in hand when it made the bytes.
    pub attachment: Option<Attachment>,
}

impl Value {
    /// A value without an attachment.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), attachment: None }
    }

    /// The same bytes with `attachment` beside them.
    #[must_use]
    pub fn attach(mut self, attachment: Attachment) -> Self {
        self.attachment = Some(attachment);
        self
    }

    /// The attachment, if it is there and a `T`.
    #[must_use]
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.attachment.clone()?.downcast().ok()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values carry secrets: never their bytes.
        f.debug_struct("Value")
            .field("len", &self.bytes.len())
            .field("attached", &self.attachment.is_some())
            .finish()
    }
}

impl<B: Into<Bytes>> From<B> for Value {
    fn from(bytes: B) -> Self {
        Self::new(bytes)
    }
}

/// A key and what it holds at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a deletion's event and in a page of keys only.
    pub value: Value,
    /// The revision that created the key (since it was last deleted).
    pub created: Revision,
    /// The revision that wrote this value.
    pub modified: Revision,
    /// How often the key was written since it was created: 1 for a new key.
    pub version: u64,
    /// The lease the key is attached to: it is deleted when the lease ends.
    pub lease: Option<LeaseId>,
}

impl Record {
    /// The bytes this record stands for in quotas: key and value.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.value.bytes.len()
    }
}
