//! Hash maps whose iteration order depends on their content alone.
//!
//! The standard hasher is seeded per process, so iterating such a map makes two runs of one seed
//! differ. These hash with a fixed seed; keys that a stranger controls belong in a `BTreeMap`.
#![allow(clippy::disallowed_types, reason = "this is where the fixed hasher is put in")]

use foldhash::fast::FixedState;

/// A hash map with a fixed hasher. Build it with `HashMap::default()`.
pub type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A hash set with a fixed hasher. Build it with `HashSet::default()`.
pub type HashSet<T> = std::collections::HashSet<T, FixedState>;
