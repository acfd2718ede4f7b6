//! The suite that every backend runs: one test per line of the Contract lists.
//!
//! A backend's whole test file:
//!
//! ```
//! use kstore::conformance::Capabilities;
//! use kstore::{MemoryOptions, MemoryStore};
//!
//! kstore::conformance::suite!(
//!     memory_store,
//!     Capabilities::default().virtual_time().leases().quota(1 << 20),
//!     || async {
//!         let options = MemoryOptions::default().quota_bytes(1 << 20);
//!         ((), MemoryStore::with_options(options)) // a guard, and the store it keeps alive
//!     }
//! );
//! # fn main() {}
//! ```
//!
//! The guard is dropped after the store: a temporary directory, or a server's process. The factory
//! is called for each case, and by some cases more than once; each store has to be empty. A case
//! whose capability is not declared is skipped, and prints its name.

mod capabilities;
mod cases;
mod concurrent;
mod drops;
mod leases;
mod list;
mod range;
mod recording;
mod space;
mod subject;
mod txn;
mod watch;
mod watch_history;

pub use capabilities::Capabilities;
pub use cases::{CASES, Case};
pub use subject::Suite;

#[doc(inline)]
pub use crate::__kstore_suite as suite;
