//! A mock of the seam, for tests of what stands above it.
#![allow(missing_docs, reason = "the expectations a macro makes have no place for docs")]

use async_trait::async_trait;

use crate::table::{ChangeSet, ServiceTable};
use crate::{NetworkProgrammer, Result, SyncReport};

mockall::mock! {
    /// A programmer that answers as a test tells it.
    #[derive(Debug)]
    pub NetworkProgrammer {}

    #[async_trait]
    impl NetworkProgrammer for NetworkProgrammer {
        async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport>;
    }
}
