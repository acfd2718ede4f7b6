//! What a PostFilter plugin would do, if extenders let it.

use std::collections::BTreeMap;
use std::fmt;

use super::{NodeVictims, PostFilterResult};

type Choose = Box<dyn FnOnce(BTreeMap<String, NodeVictims>) -> PostFilterResult + Send>;

/// Nodes on which room can be made, of which extenders may take some away before one is chosen.
///
/// A PostFilter plugin returns it, in place of a choice, where
/// [`Filters::extenders_choose`](super::Filters::extenders_choose).
pub struct Proposal {
    /// Who would have to leave, by node.
    pub(crate) victims: BTreeMap<String, NodeVictims>,
    choose: Choose,
}

impl Proposal {
    /// A proposal; `choose` goes on with what is left of it, maybe nothing.
    #[must_use]
    pub fn new(
        victims: BTreeMap<String, NodeVictims>,
        choose: impl FnOnce(BTreeMap<String, NodeVictims>) -> PostFilterResult + Send + 'static,
    ) -> Self {
        Self { victims, choose: Box::new(choose) }
    }

    /// Takes its victims out, to ask about them.
    pub(crate) fn take(&mut self) -> BTreeMap<String, NodeVictims> {
        std::mem::take(&mut self.victims)
    }

    /// Chooses among what is left.
    #[must_use]
    pub fn choose(self, left: BTreeMap<String, NodeVictims>) -> PostFilterResult {
        (self.choose)(left)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal").field("victims", &self.victims).finish_non_exhaustive()
    }
}
