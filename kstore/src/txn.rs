//! Transactions: compare, then write or read.

use bytes::Bytes;

use crate::{KeyRange, LeaseId, Page, RangeOptions, Record, Revision, Value};

/// If every compare holds, do `then`, else do `otherwise`; all of it at one revision.
///
/// ```
/// # use kstore::{Compare, KeyRange, Op, RangeOptions, Txn};
/// let create = Txn::default()
///     .when(Compare::absent("a"))
///     .and_then(Op::put("a", "1"))
///     .or_else(Op::range(KeyRange::single("a"), RangeOptions::default()));
/// # assert_eq!(create.compares.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold; none holds always.
    pub compares: Vec<Compare>,
    /// The operations if it holds, in order.
    pub then: Vec<Op>,
    /// The operations if it does not, in order.
    pub otherwise: Vec<Op>,
    /// What may become of it in a crash.
    pub durability: Durability,
}

/// What a crash may do to a transaction that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Nothing (S1, S2).
    #[default]
    Durable,
    /// It may undo it, with the volatile ones after it, if it was answered in the last second or
    /// so. A backend for which that is no faster makes it durable. What is written so should never
    /// be written durably, too: leases of nodes and events are meant.
    Volatile,
}

impl Txn {
    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds an operation for when all conditions hold.
    #[must_use]
    pub fn and_then(mut self, op: Op) -> Self {
        self.then.push(op);
        self
    }

    /// Says what a crash may do to it.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Adds an operation for when a condition fails.
    #[must_use]
    pub fn or_else(mut self, op: Op) -> Self {
        self.otherwise.push(op);
        self
    }
}

/// A condition on one key. A key that is absent has version, creation and modification revision 0
/// and an empty value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key to look at.
    pub key: Bytes,
    /// What of it to look at, and what to compare that with.
    pub target: Target,
    /// How they must relate: `key's target <operator> target's operand`.
    pub operator: Operator,
}

/// What a [`Compare`] looks at, with the operand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// How often the key was written since it was created.
    Version(u64),
    /// The revision that created the key.
    Created(Revision),
    /// The revision that wrote the key last.
    Modified(Revision),
    /// The bytes of the value.
    Value(Bytes),
}

/// How a [`Compare`] relates what it sees to its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Both are the same.
    Equal,
    /// They differ.
    NotEqual,
    /// What the store holds is less.
    Less,
    /// What the store holds is greater.
    Greater,
}

impl Compare {
    /// `key` holds nothing.
    #[must_use]
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self::version(key, 0)
    }

    /// `key` holds something.
    #[must_use]
    pub fn present(key: impl Into<Bytes>) -> Self {
        Self::version(key, 0).operator(Operator::Greater)
    }

    /// `key` was written `version` times.
    #[must_use]
    pub fn version(key: impl Into<Bytes>, version: u64) -> Self {
        Self { key: key.into(), target: Target::Version(version), operator: Operator::Equal }
    }

    /// `key` was created by `revision`.
    #[must_use]
    pub fn created(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self { key: key.into(), target: Target::Created(revision), operator: Operator::Equal }
    }

    /// `key` was last written by `revision`; `Revision(0)` means it is absent.
    #[must_use]
    pub fn modified(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self { key: key.into(), target: Target::Modified(revision), operator: Operator::Equal }
    }

    /// `key` holds exactly `bytes`.
    #[must_use]
    pub fn value(key: impl Into<Bytes>, bytes: impl Into<Bytes>) -> Self {
        Self { key: key.into(), target: Target::Value(bytes.into()), operator: Operator::Equal }
    }

    /// The same comparison with another operator.
    #[must_use]
    pub fn operator(mut self, operator: Operator) -> Self {
        self.operator = operator;
        self
    }

    /// Whether the condition holds for `record`, what the store holds under the key.
    #[must_use]
    pub fn holds(&self, record: Option<&Record>) -> bool {
        let ordering = match &self.target {
            Target::Version(version) => record.map_or(0, |r| r.version).cmp(version),
            Target::Created(created) => record.map_or(0, |r| r.created.0).cmp(&created.0),
            Target::Modified(modified) => record.map_or(0, |r| r.modified.0).cmp(&modified.0),
            Target::Value(bytes) => record.map_or(&[][..], |r| &r.value.bytes[..]).cmp(&bytes[..]),
        };
        match self.operator {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::Greater => ordering.is_gt(),
        }
    }
}

/// One step of a transaction.
///
/// It is exhaustive on purpose: a new operation is something each backend has to think about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put {
        /// The key to write.
        key: Bytes,
        /// What it will hold.
        value: Value,
        /// The lease to attach it to; none detaches it.
        lease: Option<LeaseId>,
    },
    /// Deletes every key of a range.
    Delete(KeyRange),
    /// Reads, seeing what earlier operations of the same transaction wrote.
    Range(KeyRange, RangeOptions),
}

impl Op {
    /// Writes `value` under `key`, attached to no lease.
    #[must_use]
    pub fn put(key: impl Into<Bytes>, value: impl Into<Value>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }

    /// Writes `value` under `key`, attached to `lease`.
    #[must_use]
    pub fn put_with_lease(key: impl Into<Bytes>, value: impl Into<Value>, lease: LeaseId) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: Some(lease) }
    }

    /// Deletes `key`.
    #[must_use]
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete(KeyRange::single(key))
    }

    /// Deletes every key of `range`.
    #[must_use]
    pub fn delete_range(range: KeyRange) -> Self {
        Self::Delete(range)
    }

    /// Reads `range`.
    #[must_use]
    pub fn range(range: KeyRange, options: RangeOptions) -> Self {
        Self::Range(range, options)
    }
}

/// What a transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxnResult {
    /// True if all compares held and `then` was done.
    pub succeeded: bool,
    /// The revision after the transaction: its own if it wrote, else the current one.
    pub revision: Revision,
    /// One result per operation done, in order.
    pub responses: Vec<OpResult>,
    /// If a compare failed, what each compared key held, in the order of the compares; else empty.
    pub current: Vec<Option<Record>>,
}

/// What one operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    /// A key was written.
    Put {
        /// What it held before.
        previous: Option<Record>,
    },
    /// Keys were deleted.
    Delete {
        /// What they held, in key order.
        deleted: Vec<Record>,
    },
    /// A range was read.
    Range(Page),
}
