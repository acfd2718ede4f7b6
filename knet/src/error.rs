//! What can go wrong while a node is programmed.

/// Why a table could not be applied at all. What failed for one Service alone stands in the
/// [`SyncReport`](crate::SyncReport).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data path refused the table; the one before is still in force.
    #[error("the service table cannot be applied, the one before stays in force")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What fallible calls of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
