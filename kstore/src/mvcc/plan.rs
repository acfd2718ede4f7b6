//! What can be said against a transaction without looking at the store.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;

use super::MemoryOptions;
use crate::{Error, Op, Result, Txn};

/// The most compares and operations in one transaction.
const MAX_TXN_OPS: usize = 4096;

/// The longest key in bytes.
const MAX_KEY_BYTES: usize = 64 << 10;

/// Refuses a transaction that no state of the store could accept.
pub(super) fn check(txn: &Txn, options: &MemoryOptions) -> Result<()> {
    let size = txn.compares.len() + txn.then.len() + txn.otherwise.len();
    if size > MAX_TXN_OPS {
        return Err(Error::TooLarge { what: "transaction", size, limit: MAX_TXN_OPS });
    }
    for op in txn.then.iter().chain(&txn.otherwise) {
        if let Op::Put { key, value, .. } = op {
            check_size(key, value.bytes.len(), options)?;
        }
    }
    check_duplicates(&txn.then)?;
    check_duplicates(&txn.otherwise)
}

fn check_size(key: &Bytes, size: usize, options: &MemoryOptions) -> Result<()> {
    if key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::TooLarge { what: "key", size: key.len(), limit: MAX_KEY_BYTES });
    }
    let limit = options.max_value_bytes;
    if size > limit { Err(Error::TooLarge { what: "value", size, limit }) } else { Ok(()) }
}

/// One revision holds one version of a key, so nothing may write a key twice.
pub(crate) fn check_duplicates(ops: &[Op]) -> Result<()> {
    if ops.len() < 2 {
        return Ok(());
    }
    let mut puts: BTreeSet<&[u8]> = BTreeSet::new();
    for op in ops {
        if let Op::Put { key, .. } = op
            && !puts.insert(&key[..])
        {
            return Err(Error::DuplicateKey { key: key.clone() });
        }
    }
    for op in ops {
        let Op::Delete(range) = op else { continue };
        let from_start = (Bound::Included(&range.start()[..]), Bound::Unbounded);
        if let Some(key) = puts.range::<[u8], _>(from_start).next()
            && range.contains(key)
        {
            return Err(Error::DuplicateKey { key: Bytes::copy_from_slice(key) });
        }
    }
    Ok(())
}
