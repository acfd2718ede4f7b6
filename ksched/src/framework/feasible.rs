//! The nodes that passed all filters.

use std::cell::OnceCell;
use std::fmt;

/// The nodes that passed all filters, as positions in the snapshot, in its order. Asking how many
/// there are is free; listing them may cost a pass over the cluster, and is done once.
pub struct Feasible<'a> {
    len: usize,
    list: OnceCell<Vec<u32>>,
    make: &'a dyn Fn() -> Vec<u32>,
    in_classes: bool,
}

impl<'a> Feasible<'a> {
    /// So many nodes, that `make` lists.
    #[must_use]
    pub fn new(len: usize, make: &'a dyn Fn() -> Vec<u32>) -> Self {
        Self { len, list: OnceCell::new(), make, in_classes: false }
    }

    /// The same, of which the scorers will be told [by
    /// classes](super::ScoreClasses::feasible).
    #[must_use]
    pub fn in_classes(len: usize, make: &'a dyn Fn() -> Vec<u32>) -> Self {
        Self { in_classes: true, ..Self::new(len, make) }
    }

    /// Whether the scorers will be told of them by classes: then there is no need to list them.
    #[must_use]
    pub fn is_in_classes(&self) -> bool {
        self.in_classes
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Their positions.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        self.list.get_or_init(self.make)
    }
}

impl fmt::Debug for Feasible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feasible").field("len", &self.len).finish_non_exhaustive()
    }
}
