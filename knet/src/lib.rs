#![doc = include_str!("../README.md")]

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "mock")]
mod mock;
mod programmer;
mod recording;
mod router;
pub mod table;
mod userspace;

pub use error::{Error, Result};
#[cfg(feature = "mock")]
pub use mock::MockNetworkProgrammer;
pub use programmer::{Failure, NetworkProgrammer, SyncReport};
pub use recording::RecordingProgrammer;
pub use router::ServiceRouter;
pub use userspace::UserspaceProgrammer;
