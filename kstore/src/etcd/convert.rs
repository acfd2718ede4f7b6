//! Records and key-values are the same thing in two words.

use super::proto::KeyValue;
#[cfg(feature = "etcd")]
use crate::Value;
use crate::{LeaseId, Record, Revision};

/// A revision as etcd counts it.
pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// A revision as we count it: nothing is negative here.
pub(super) fn revision(signed: i64) -> Revision {
    Revision(u64::try_from(signed).unwrap_or(0))
}

/// A lease's name as etcd has it; zero is none.
pub(super) fn lease(id: i64) -> Option<LeaseId> {
    (id != 0).then(|| LeaseId(id.cast_unsigned()))
}

/// A lease's name for etcd.
pub(super) fn lease_id(lease: Option<LeaseId>) -> i64 {
    lease.map_or(0, |lease| lease.0.cast_signed())
}

/// What a key holds, in our words.
#[cfg(feature = "etcd")]
pub(super) fn record(kv: KeyValue) -> Record {
    Record {
        key: kv.key,
        value: Value::new(kv.value),
        created: revision(kv.create_revision),
        modified: revision(kv.mod_revision),
        version: u64::try_from(kv.version).unwrap_or(0),
        lease: lease(kv.lease),
    }
}

/// What a key holds, in etcd's words.
#[cfg(feature = "etcd-server")]
pub(super) fn key_value(record: Record) -> KeyValue {
    KeyValue {
        key: record.key,
        create_revision: signed(record.created),
        mod_revision: signed(record.modified),
        version: i64::try_from(record.version).unwrap_or(i64::MAX),
        value: record.value.bytes,
        lease: lease_id(record.lease),
    }
}
