//! Which nodes changed since when.

use std::collections::VecDeque;
use std::sync::Arc;

/// Changes that a snapshot remembers; whoever is further behind looks at every node.
pub const MAX_CHANGES: usize = 65_536;

/// A state of a snapshot, to ask later what has changed since.
#[derive(Debug, Clone)]
pub struct Mark {
    lineage: Arc<()>,
    at: u64,
}

/// The positions that changed, in the order they did. A clone is another history: marks of one
/// mean nothing to the other.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lineage: Arc<()>,
    base: u64,
    positions: VecDeque<u32>,
}

impl Log {
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, position: u32) {
        if self.positions.len() >= MAX_CHANGES {
            self.positions.pop_front();
            self.base += 1;
        }
        self.positions.push_back(position);
    }

    pub(crate) fn mark(&self) -> Mark {
        let at = self.base + self.positions.len() as u64;
        Mark { lineage: Arc::clone(&self.lineage), at }
    }

    pub(crate) fn since<'a>(&'a self, mark: &Mark) -> Option<impl Iterator<Item = u32> + use<'a>> {
        if !Arc::ptr_eq(&mark.lineage, &self.lineage) || mark.at < self.base {
            return None;
        }
        let from = usize::try_from(mark.at - self.base).ok()?;
        Some(self.positions.range(from..).copied())
    }
}

impl Clone for Log {
    fn clone(&self) -> Self {
        Self::default()
    }
}
