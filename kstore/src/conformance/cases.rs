//! The cases, as values.

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::Suite;
use super::{concurrent, drops, leases, range, reopen, space, txn, watch, watch_history};

/// One case of the suite.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// Its name, as in a Contract list.
    pub name: &'static str,
    /// The capability it needs.
    pub capability: &'static str,
    pub(super) body: fn(&Suite) -> LocalBoxFuture<'_, ()>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

crate::__kstore_cases! { __kstore_case_table {} }
