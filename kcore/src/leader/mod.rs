//! Leader election: of several replicas, one works.
//!
//! The replicas meet in a Lease. Who holds it renews it; who does not, watches it and takes it
//! when it was not renewed for as long as it says, by their own clock. A leader that cannot renew
//! stops before anybody else may start. <https://kubernetes.io/docs/concepts/architecture/leases/>

mod config;
mod elected;
mod elector;
mod lease;
mod plan;
#[cfg(test)]
mod tests;

pub use config::{JITTER, LEASE_DURATION, LeaderConfig, RENEW_DEADLINE, RETRY_PERIOD, STOP_MARGIN};
pub use elected::Elected;
pub use elector::{LeaderElector, Term};
pub use plan::{Observation, Step};
