//! The suite that every backend runs: one test per line of the Contract lists.
//!
//! Start at [`suite!`]. The cases are made of the checkers in [`history`](crate::history).

mod capabilities;
mod cases;
mod concurrent;
mod drops;
mod explore;
mod leases;
mod list;
mod range;
mod recording;
mod reopen;
mod space;
mod subject;
mod txn;
mod watch;
mod watch_history;

pub use capabilities::Capabilities;
pub use cases::{CASES, Case};
pub use explore::Explored;
pub use subject::Suite;

#[doc(inline)]
pub use crate::__kstore_suite as suite;
