//! A programmer that touches nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::table::{ChangeSet, ServiceTable};
use crate::{NetworkProgrammer, Result, SyncReport};

/// Syncs that are remembered.
const REMEMBERED: usize = 1_024;

/// Remembers what it was asked to program. Clones share one memory.
#[derive(Debug, Clone, Default)]
pub struct RecordingProgrammer {
    syncs: Arc<Mutex<VecDeque<(ServiceTable, ChangeSet)>>>,
}

impl RecordingProgrammer {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last table, if there was one.
    #[must_use]
    pub fn table(&self) -> Option<ServiceTable> {
        self.syncs.lock().back().map(|(table, _)| table.clone())
    }

    /// The last syncs, oldest first: at most 1,024.
    #[must_use]
    pub fn syncs(&self) -> Vec<(ServiceTable, ChangeSet)> {
        self.syncs.lock().iter().cloned().collect()
    }
}

#[async_trait]
impl NetworkProgrammer for RecordingProgrammer {
    async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport> {
        let mut syncs = self.syncs.lock();
        if syncs.len() == REMEMBERED {
            syncs.pop_front();
        }
        syncs.push_back((desired.clone(), changed.clone()));
        Ok(SyncReport::new(desired.addresses().count(), Vec::new()))
    }
}
