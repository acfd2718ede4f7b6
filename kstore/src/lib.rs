#![doc = include_str!("../README.md")]

mod compaction;
#[cfg(feature = "conformance")]
pub mod conformance;
mod digest;
mod error;
#[cfg(any(feature = "etcd", feature = "etcd-server"))]
pub mod etcd;
mod event;
mod ext;
mod faulty;
mod forward;
#[cfg(feature = "conformance")]
pub mod history;
pub mod journal;
mod key_range;
mod lease;
mod limited;
mod memory;
mod metered;
#[cfg(feature = "mock")]
mod mock;
mod mvcc;
mod record;
mod status;
mod store;
mod txn;
mod watch;

pub use compaction::Compaction;
pub use error::{Error, Result};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdError, EtcdHealth, EtcdOptions, EtcdStore};
#[cfg(feature = "etcd-server")]
pub use etcd::{EtcdFace, EtcdFaceOptions};
pub use event::{Event, EventKind, WatchBatch};
pub use ext::StoreExt;
pub use faulty::{Faults, FaultyStore, InjectedFault};
pub use journal::{JournalOptions, JournalStore};
pub use key_range::{KeyRange, Page, RangeOptions};
pub use lease::{LeaseId, LeaseStatus, Leases};
pub use limited::{LimitedStore, Limits};
pub use memory::MemoryStore;
pub use metered::MeteredStore;
#[cfg(feature = "mock")]
pub use mock::MockStore;
pub use mvcc::MemoryOptions;
pub use record::{Attachment, Record, Revision, Value};
pub use status::StoreStatus;
pub use store::Store;
pub use txn::{Compare, Durability, Op, OpResult, Operator, Target, Txn, TxnResult};
pub use watch::{WatchOptions, WatchStream};

#[doc(no_inline)]
pub use bytes::Bytes;
